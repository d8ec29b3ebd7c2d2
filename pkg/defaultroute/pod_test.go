// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package defaultroute

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	vishnetns "github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"multus-cni/pkg/netns"
)

// podLinks are the interfaces of a test's pod. The N-th has the addresses
// 10.N.0.2/24, 10.N.0.3/24, fd00:N::2/64 and fd00:N::3/64.
var podLinks = []string{"eth0", "net0", "net1", "old0"}

// pod is a network namespace of a test. Routes are changed through it as a
// delegate would, by messages that the test makes itself.
type pod struct {
	*netns.Netns
	t      testing.TB
	index  map[string]int
	handle *netlink.Handle
}

func newPod(t testing.TB) *pod {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test makes network namespaces: run it as root, or under unshare -r")
	}
	file := unshare(t)
	n, err := netns.Open(filepath.Join("/proc/self/fd", strconv.Itoa(file)), false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	handle, err := netlink.NewHandleAt(vishnetns.NsHandle(file), unix.NETLINK_ROUTE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(handle.Close)
	p := &pod{Netns: n, t: t, index: map[string]int{}, handle: handle}
	for i, name := range podLinks {
		p.addLink(name, i)
	}
	return p
}

// unshare makes a network namespace on a thread that is in there for good, and
// so ends with its goroutine, and returns a descriptor of it.
func unshare(t testing.TB) int {
	t.Helper()
	errs, files := make(chan error, 1), make(chan int, 1)
	go func() {
		runtime.LockOSThread()
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			var file int
			file, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
			files <- file
		}
		errs <- err
	}()
	if err := <-errs; err != nil {
		t.Fatal(err)
	}
	file := <-files
	t.Cleanup(func() { _ = unix.Close(file) })
	return file
}

func (p *pod) addLink(name string, i int) {
	p.t.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	p.must(p.handle.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: name + "-peer"}))
	for _, end := range []string{name + "-peer", name} {
		link, err := p.handle.LinkByName(end)
		p.must(err)
		p.must(p.handle.LinkSetUp(link))
		p.index[end] = link.Attrs().Index
		for _, cidr := range []string{"10.%d.0.2/24", "10.%d.0.3/24", "fd00:%d::2/64", "fd00:%d::3/64"} {
			if end != name {
				continue
			}
			addr, err := netlink.ParseAddr(fmt.Sprintf(cidr, i))
			p.must(err)
			addr.Flags = unix.IFA_F_NODAD
			p.must(p.handle.AddrAdd(link, addr))
		}
	}
}

func (p *pod) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

// spec is a route in the words of ip-route(8). The zero value of a field means
// that the word is left out.
type spec struct {
	dst, from          string // prefixes
	dev, via, src      string
	metric, mtu, nhid  uint32
	weight             uint8 // as in ip-route(8)
	proto, scope, kind uint8
	table, tos         uint8
	pref               byte
	onlink             bool
	nexthops           []spec
	family             uint8
	flags              int // NLM_F_ of the request, beside NLM_F_CREATE
}

func (p *pod) add(s spec) error {
	_, err := p.Request(unix.RTM_NEWROUTE, unix.NLM_F_ACK|unix.NLM_F_CREATE|s.flags, s.body(p.index))
	return err
}

func (p *pod) del(s spec) error {
	_, err := p.Request(unix.RTM_DELROUTE, unix.NLM_F_ACK, s.body(p.index))
	return err
}

// body returns the body of a message about the route. index has the indexes of
// the interfaces by name.
func (s spec) body(index map[string]int) []byte {
	header := unix.RtMsg{
		Family: s.family, Table: cmpOr(s.table, unix.RT_TABLE_MAIN), Protocol: cmpOr(s.proto, unix.RTPROT_BOOT),
		Scope: s.scope, Type: cmpOr(s.kind, unix.RTN_UNICAST), Tos: s.tos,
	}
	var attrs []byte
	put := func(kind int, value []byte) { attrs = append(attrs, nl.NewRtAttr(kind, value).Serialize()...) }
	if s.dst != "" {
		prefix := netip.MustParsePrefix(s.dst)
		header.Dst_len = uint8(prefix.Bits())
		put(unix.RTA_DST, prefix.Addr().AsSlice())
	}
	if s.from != "" {
		prefix := netip.MustParsePrefix(s.from)
		header.Src_len = uint8(prefix.Bits())
		put(unix.RTA_SRC, prefix.Addr().AsSlice())
	}
	if s.src != "" {
		put(unix.RTA_PREFSRC, netip.MustParseAddr(s.src).AsSlice())
	}
	for kind, value := range map[int]uint32{unix.RTA_PRIORITY: s.metric, rtaNextHopID: s.nhid} {
		if value != 0 {
			put(kind, binary.NativeEndian.AppendUint32(nil, value))
		}
	}
	if s.mtu != 0 {
		put(unix.RTA_METRICS|unix.NLA_F_NESTED, nl.NewRtAttr(unix.RTAX_MTU, binary.NativeEndian.AppendUint32(nil, s.mtu)).Serialize())
	}
	if s.pref != 0 {
		put(unix.RTA_PREF, []byte{s.pref})
	}
	if s.onlink {
		header.Flags = unix.RTNH_F_ONLINK
	}
	attrs = append(attrs, s.nextHop(index)...)
	var several []byte
	for _, hop := range s.nexthops {
		hop.family = s.family
		inner := spec{family: s.family, via: hop.via}.nextHop(index)
		several = binary.NativeEndian.AppendUint16(several, uint16(unix.SizeofRtNexthop+len(inner)))
		flags := uint8(0)
		if hop.onlink {
			flags = unix.RTNH_F_ONLINK
		}
		several = append(several, flags, max(hop.weight, 1)-1)
		several = append(binary.NativeEndian.AppendUint32(several, uint32(index[hop.dev])), inner...)
	}
	if several != nil {
		put(unix.RTA_MULTIPATH, several)
	}
	body, _ := binary.Append(nil, binary.NativeEndian, header)
	return append(body, attrs...)
}

func (s spec) nextHop(index map[string]int) []byte {
	var attrs []byte
	if s.dev != "" {
		attrs = append(attrs, nl.NewRtAttr(unix.RTA_OIF, binary.NativeEndian.AppendUint32(nil, uint32(index[s.dev]))).Serialize()...)
	}
	if s.via == "" {
		return attrs
	}
	gateway := netip.MustParseAddr(s.via)
	if gateway.Is6() && s.family == unix.AF_INET {
		value := append(binary.NativeEndian.AppendUint16(nil, unix.AF_INET6), gateway.AsSlice()...)
		return append(attrs, nl.NewRtAttr(unix.RTA_VIA, value).Serialize()...)
	}
	return append(attrs, nl.NewRtAttr(unix.RTA_GATEWAY, gateway.AsSlice()).Serialize()...)
}

// addNextHop makes a nexthop object, see ip-nexthop(8).
func (p *pod) addNextHop(id uint32, family uint8, dev, via string) error {
	const rtmNewNextHop, nhaID, nhaOIF, nhaGateway = 104, 1, 5, 6
	body := []byte{family, 0, unix.RTPROT_BOOT, 0, 0, 0, 0, 0}
	body = append(body, nl.NewRtAttr(nhaID, binary.NativeEndian.AppendUint32(nil, id)).Serialize()...)
	body = append(body, nl.NewRtAttr(nhaOIF, binary.NativeEndian.AppendUint32(nil, uint32(p.index[dev]))).Serialize()...)
	body = append(body, nl.NewRtAttr(nhaGateway, netip.MustParseAddr(via).AsSlice()).Serialize()...)
	_, err := p.Request(rtmNewNextHop, unix.NLM_F_ACK|unix.NLM_F_CREATE, body)
	return err
}

// flush removes what tests add: routes with an odd destination, in the main
// table and in the table 100, and nexthop objects with the ids 1 to 4.
func (p *pod) flush() {
	p.t.Helper()
	const rtmDelNextHop, nhaID = 105, 1
	for id := uint32(1); id <= 4; id++ {
		body := append(make([]byte, 8), nl.NewRtAttr(nhaID, binary.NativeEndian.AppendUint32(nil, id)).Serialize()...)
		_, _ = p.Request(rtmDelNextHop, unix.NLM_F_ACK, body)
	}
	for range 5 {
		left := p.routes(func(h unix.RtMsg) bool {
			return (h.Dst_len == 0 || h.Dst_len == 32) && (h.Table == unix.RT_TABLE_MAIN || h.Table == 100)
		})
		if len(left) == 0 {
			return
		}
		for _, body := range left {
			if body[0] == unix.AF_INET6 {
				body[5] = unix.RTPROT_UNSPEC
			}
			_, _ = p.Request(unix.RTM_DELROUTE, unix.NLM_F_ACK, body)
		}
	}
	p.t.Fatal("cannot remove all routes")
}

// routes returns the bodies of the routes, without counters and states.
func (p *pod) routes(wanted func(unix.RtMsg) bool) [][]byte {
	p.t.Helper()
	all, err := p.Request(unix.RTM_GETROUTE, unix.NLM_F_DUMP, make([]byte, unix.SizeofRtMsg))
	p.must(err)
	var found [][]byte
	for _, body := range all {
		var header unix.RtMsg
		_, err := binary.Decode(body, binary.NativeEndian, &header)
		p.must(err)
		if header.Family != unix.AF_INET && header.Family != unix.AF_INET6 || !wanted(header) {
			continue
		}
		header.Flags &= unix.RTNH_F_ONLINK
		plain, err := binary.Append(nil, binary.NativeEndian, header)
		p.must(err)
		attrs, err := nl.ParseRouteAttr(body[unix.SizeofRtMsg:])
		p.must(err)
		for _, a := range attrs {
			switch a.Attr.Type {
			case unix.RTA_CACHEINFO:
				continue
			case unix.RTA_MULTIPATH:
				for hop := a.Value; len(hop) >= unix.SizeofRtNexthop; hop = hop[binary.NativeEndian.Uint16(hop):] {
					hop[2] &= unix.RTNH_F_ONLINK
				}
			}
			plain = append(plain, nl.NewRtAttr(int(a.Attr.Type), a.Value).Serialize()...)
		}
		found = append(found, plain)
	}
	return found
}

// defaults returns the default routes of the main table, as bytes.
func (p *pod) defaults() [][]byte {
	p.t.Helper()
	return p.routes(func(h unix.RtMsg) bool {
		return h.Table == unix.RT_TABLE_MAIN && h.Dst_len == 0 && h.Src_len == 0
	})
}

// want compares the default routes of a family: "DEV GATEWAY", "DEV" or "type
// N" for each next hop.
func (p *pod) want(family uint8, want ...string) {
	p.t.Helper()
	if got := p.show(family); !equalSets(got, want) {
		p.t.Errorf("default routes: got %q, want %q", got, want)
	}
}

func (p *pod) show(family uint8) []string {
	p.t.Helper()
	var found []string
	for _, body := range p.defaults() {
		if body[0] != family {
			continue
		}
		routes, err := parse(body)
		p.must(err)
		for _, r := range routes {
			if !r.hasLink() {
				found = append(found, fmt.Sprintf("type %d", r.header.Type))
			}
			for _, h := range r.hops {
				if !r.hasLink() {
					break
				}
				name, err := p.LinkName(h.index)
				p.must(err)
				found = append(found, strings.TrimSpace(name+" "+h.gateway()))
			}
		}
	}
	return found
}

func equalBodies(a, b [][]byte) bool { return slices.EqualFunc(a, b, bytes.Equal) }

func equalSets(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

func familyName(family uint8) string {
	r := route{header: unix.RtMsg{Family: family}}
	return r.family()
}

func cmpOr(value, otherwise uint8) uint8 {
	if value == 0 {
		return otherwise
	}
	return value
}
