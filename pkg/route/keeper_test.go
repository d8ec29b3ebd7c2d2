// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package route

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/containernetworking/plugins/pkg/ns"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// pod is a network namespace of a test, with the interfaces eth0, net0 and
// net1 in it, which have the addresses 10.N.0.2/24 and fd00:N::2/64 with N = 0,
// 1, 2, and a handle to act in it as a delegate would.
type pod struct {
	*Netns
	t    *testing.T
	act  *netlink.Handle
	link map[string]netlink.Link
}

func newPod(t *testing.T) *pod {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test makes network namespaces: run it as root, or under unshare -r")
	}
	temp, err := ns.TempNetNS()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = temp.Close() })
	// TempNetNS names the namespace by the thread it was made on, which is in
	// its own again by now; the descriptor still names it.
	path := filepath.Join("/proc/self/fd", strconv.Itoa(int(temp.Fd())))
	opened, err := Open(path, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(opened.Close)
	act, err := netlink.NewHandleAt(netns.NsHandle(temp.Fd()), unix.NETLINK_ROUTE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(act.Close)
	p := &pod{Netns: opened, t: t, act: act, link: map[string]netlink.Link{}}
	for i, name := range []string{"eth0", "net0", "net1"} {
		p.addLink(name, i)
	}
	return p
}

func (p *pod) addLink(name string, i int) {
	p.t.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	p.must(p.act.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: name + "-peer"}))
	for _, end := range []string{name, name + "-peer"} {
		link, err := p.act.LinkByName(end)
		p.must(err)
		p.must(p.act.LinkSetUp(link))
		p.link[end] = link
	}
	for _, cidr := range []string{"10.N.0.2/24", "fd00:N::2/64"} {
		addr, err := netlink.ParseAddr(strings.Replace(cidr, "N", string(rune('0'+i)), 1))
		p.must(err)
		addr.Flags = unix.IFA_F_NODAD
		p.must(p.act.AddrAdd(p.link[name], addr))
	}
}

func (p *pod) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

// bring adds a default route as a plugin does: "IFNAME GATEWAY", without EXCL.
func (p *pod) bring(routes ...string) {
	p.t.Helper()
	for _, text := range routes {
		p.must(p.act.RouteAddEcmp(p.route(text)))
	}
}

func (p *pod) route(text string) *netlink.Route {
	name, gw, _ := strings.Cut(text, " ")
	ip := net.ParseIP(gw)
	dst := &net.IPNet{IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)}
	if ip.To4() != nil {
		dst = &net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}
	}
	return &netlink.Route{LinkIndex: p.link[name].Attrs().Index, Dst: dst, Gw: ip}
}

// want compares the default routes of the pod.
func (p *pod) want(want ...string) {
	p.t.Helper()
	routes, err := p.defaults()
	p.must(err)
	var got []string
	for _, r := range routes {
		name, err := p.linkName(r.LinkIndex)
		p.must(err)
		got = append(got, name+" "+r.Gw.String())
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		p.t.Errorf("default routes: got %q, want %q", got, want)
	}
}

func (p *pod) wantOwners(k *Keeper, ipv4, ipv6 int) {
	p.t.Helper()
	for family, want := range map[string]int{"ipv4": ipv4, "ipv6": ipv6} {
		if got, ok := k.Owners()[family]; ok != (want >= 0) || ok && got != want {
			p.t.Errorf("%s belongs to delegate %d (%v), want %d", family, got, ok, want)
		}
	}
}

const (
	eth0v4, eth0v6 = "eth0 10.0.0.1", "eth0 fd00:0::1"
	net0v4, net0v6 = "net0 10.1.0.1", "net0 fd00:1::1"
	net1v4, net1v6 = "net1 10.2.0.1", "net1 fd00:2::1"
)

func canonical(routes ...string) []string {
	for i, r := range routes {
		name, gw, _ := strings.Cut(r, " ")
		routes[i] = name + " " + net.ParseIP(gw).String()
	}
	return routes
}

// What the delegates of a pod bring, in list order, and what must be left.
func TestKeeper(t *testing.T) {
	type step struct {
		primary bool
		brings  []string
	}
	secondary := func(brings ...string) step { return step{false, brings} }
	primary := func(brings ...string) step { return step{true, brings} }
	tests := []struct {
		name       string
		steps      []step
		want       []string
		ipv4, ipv6 int // the owners
	}{
		{"primary last", []step{secondary(net0v4, net0v6), secondary(net1v4, net1v6), primary(eth0v4, eth0v6)}, []string{eth0v4, eth0v6}, 2, 2},
		{"primary first", []step{primary(eth0v4, eth0v6), secondary(net0v4, net0v6), secondary(net1v4, net1v6)}, []string{eth0v4, eth0v6}, 0, 0},
		{"primary in the middle", []step{secondary(net0v4, net0v6), primary(eth0v4, eth0v6), secondary(net1v4, net1v6)}, []string{eth0v4, eth0v6}, 1, 1},
		{"a family that the primary lacks", []step{secondary(net0v6), primary(eth0v4), secondary(net1v4, net1v6)}, []string{eth0v4, net0v6}, 1, 0},
		{"a family that comes after the primary", []step{primary(eth0v4), secondary(net0v6), secondary(net1v6)}, []string{eth0v4, net0v6}, 0, 1},
		{"the first secondary keeps it", []step{secondary(net0v4), secondary(net1v4), primary()}, []string{net0v4}, 0, -1},
		{"two next hops of one delegate", []step{secondary(net0v6), primary(eth0v6, "eth0 fd00:0::9"), secondary(net1v6)}, []string{eth0v6, "eth0 fd00:0::9"}, -1, 1},
		{"nobody brings one", []step{secondary(), primary(), secondary()}, nil, -1, -1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := newPod(t)
			at := slices.IndexFunc(tt.steps, func(s step) bool { return s.primary })
			k, err := p.Keep("eth0", at)
			p.must(err)
			for i, s := range tt.steps {
				p.bring(s.brings...)
				p.must(k.Ran(i, s.primary))
			}
			p.want(canonical(tt.want...)...)
			p.wantOwners(k, tt.ipv4, tt.ipv6)
		})
	}
}

func TestKeeperExclusivePrimary(t *testing.T) {
	p := newPod(t)
	k, err := p.Keep("eth0", 1)
	p.must(err)
	p.bring(net0v4, net0v6)
	p.must(k.Ran(0, false))
	p.must(p.act.RouteAdd(p.route(eth0v4))) // with EXCL
	p.must(p.act.RouteAdd(p.route(eth0v6)))
	p.must(k.Ran(1, true))
	p.want(canonical(eth0v4, eth0v6)...)
}

func TestKeeperRestoresWhatWasReplaced(t *testing.T) {
	p := newPod(t)
	k, err := p.Keep("eth0", 0)
	p.must(err)
	mtu := p.route(eth0v4)
	mtu.MTU, mtu.Priority = 1400, 7
	p.must(p.act.RouteAdd(mtu))
	p.bring(eth0v6)
	p.must(k.Ran(0, true))
	p.must(p.act.RouteDel(mtu))
	p.bring(net0v4)
	p.must(p.act.RouteReplace(p.route(net0v6)))
	p.must(k.Ran(1, false))
	p.want(canonical(eth0v4, eth0v6)...)
	routes, err := p.defaults()
	p.must(err)
	if routes[0].MTU != 1400 || routes[0].Priority != 7 {
		t.Errorf("got mtu %d and metric %d, want what the route had before", routes[0].MTU, routes[0].Priority)
	}
}

// Routes that are there before the ADD, learned ones and other tables are none
// of our business.
func TestKeeperLeavesForeignRoutes(t *testing.T) {
	p := newPod(t)
	p.addLink("old0", 3)
	p.bring("old0 10.3.0.1")
	k, err := p.Keep("eth0", 1)
	p.must(err)
	learned := p.route(net0v6)
	learned.Protocol, learned.Priority = unix.RTPROT_RA, 512
	p.must(p.act.RouteAdd(learned))
	other := p.route(net0v4)
	other.Table = 100
	p.must(p.act.RouteAdd(other))
	p.bring(net0v4)
	p.must(k.Ran(0, false))
	p.bring(eth0v4)
	p.must(k.Ran(1, true))
	p.want(canonical(eth0v4, "old0 10.3.0.1")...)
	for what, filter := range map[string]*netlink.Route{
		"learned":        {Protocol: unix.RTPROT_RA, Table: unix.RT_TABLE_MAIN},
		"in another one": {Protocol: unix.RTPROT_BOOT, Table: 100},
	} {
		routes, err := p.act.RouteListFiltered(netlink.FAMILY_ALL, filter, netlink.RT_FILTER_PROTOCOL|netlink.RT_FILTER_TABLE)
		p.must(err)
		if len(routes) != 1 {
			t.Errorf("the default route %s: got %v, want one", what, routes)
		}
	}
}

// In a chain the interface and its default route are there before multus.
func TestKeeperInAChain(t *testing.T) {
	p := newPod(t)
	p.bring(eth0v4)
	k, err := p.Keep("eth0", 1)
	p.must(err)
	p.bring(net0v4)
	p.must(k.Ran(0, false))
	p.must(k.Ran(1, true))
	p.want(canonical(eth0v4)...)
	p.wantOwners(k, 1, -1)
}

func TestVerify(t *testing.T) {
	p := newPod(t)
	expected := map[string]string{"ipv4": "eth0", "ipv6": "net0"}
	others := []string{"net0", "net1"}
	want := func(part string) {
		t.Helper()
		err := p.Verify(expected, others)
		if part == "" && err != nil || part != "" && (err == nil || !strings.Contains(err.Error(), part)) {
			t.Errorf("got error %v, want one with %q", err, part)
		}
	}
	p.bring(net0v6)
	want("ipv4 default route leads through [] and not through eth0")
	p.bring(eth0v4)
	want("")
	p.bring(net1v6)
	want("ipv6 default route leads through net1 too")
}

func TestPresent(t *testing.T) {
	p := newPod(t)
	p.must(p.act.LinkAddAltName(p.link["net1"], "storage0"))
	got, err := p.Present([]string{"eth0", "storage0", "net7"})
	p.must(err)
	slices.Sort(got)
	if want := []string{"eth0", "storage0"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestOpenRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]error{
		file:          ErrNotExist,
		file + "-not": ErrNotExist,
		ownNetns:      ErrOwn,
	} {
		if _, err := Open(path, false); !errors.Is(err, want) {
			t.Errorf("Open(%s): got error %v, want %v", path, err, want)
		}
	}
}
