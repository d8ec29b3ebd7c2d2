// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package real

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containernetworking/plugins/pkg/netlinksafe"
	"github.com/containernetworking/plugins/pkg/ns"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// pod is a network namespace on the node, and the container id that a runtime
// would give it. Its lo is up, as a runtime leaves it.
type pod struct {
	id    string
	netns string // path
}

func (n *node) pod(t *testing.T, id string) *pod {
	t.Helper()
	p := &pod{id: id, netns: "/run/netns/" + id}
	if err := os.WriteFile(p.netns, nil, 0o444); err != nil {
		t.Fatal(err)
	}
	output(t, "unshare", "--net="+p.netns, "ip", "link", "set", "lo", "up")
	return p
}

// vanish takes the pod's network namespace away, as a node does when a pod's
// last process ends.
func (p *pod) vanish(t *testing.T) {
	t.Helper()
	if err := errors.Join(unix.Unmount(p.netns, unix.MNT_DETACH), os.Remove(p.netns)); err != nil {
		t.Fatal(err)
	}
}

// inside runs f in the pod's network namespace.
func (p *pod) inside(t *testing.T, f func() error) {
	t.Helper()
	if err := ns.WithNetNSPath(p.netns, func(ns.NetNS) error { return f() }); err != nil {
		t.Fatalf("in the network namespace of %s: %v", p.id, err)
	}
}

// command runs a command in the pod.
func (p *pod) command(t *testing.T, args string) string {
	t.Helper()
	return output(t, "nsenter", append([]string{"--net=" + p.netns}, strings.Fields(args)...)...)
}

// ip is all that ip(8) tells about the pod.
func (p *pod) ip(t *testing.T) string {
	t.Helper()
	return p.command(t, "ip addr") + p.command(t, "ip route show table all") + p.command(t, "ip -6 route show table all")
}

// text describes the pod, a line each: its interfaces with kind and addresses,
// without lo and link-local addresses; then its default routes, one line for
// each next hop.
func (p *pod) text(t *testing.T) string {
	t.Helper()
	var lines []string
	p.inside(t, func() error {
		links, err := netlinksafe.LinkList()
		if err != nil {
			return err
		}
		names := map[int]string{}
		for _, link := range links {
			attrs := link.Attrs()
			names[attrs.Index] = attrs.Name
			if attrs.Name == "lo" {
				continue
			}
			line := attrs.Name + " " + link.Type()
			for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
				addrs, err := netlinksafe.AddrList(link, family)
				if err != nil {
					return err
				}
				for _, a := range addrs {
					if !a.IP.IsLinkLocalUnicast() {
						line += " " + a.IPNet.String()
					}
				}
			}
			lines = append(lines, line)
		}
		defaults, err := defaultRoutes(names)
		slices.Sort(lines)
		lines = append(lines, defaults...)
		return err
	})
	return strings.Join(lines, "\n")
}

// links returns the names of the pod's interfaces, without lo.
func (p *pod) links(t *testing.T) []string {
	t.Helper()
	var names []string
	p.inside(t, func() error {
		links, err := netlinksafe.LinkList()
		for _, link := range links {
			if name := link.Attrs().Name; name != "lo" {
				names = append(names, name)
			}
		}
		return err
	})
	return names
}

// defaultRoutes lists the default routes of all tables, one for each next hop,
// IPv4 first.
func defaultRoutes(names map[int]string) ([]string, error) {
	var lines []string
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		routes, err := netlinksafe.RouteListFiltered(family, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
		if err != nil {
			return nil, err
		}
		for _, r := range routes {
			if r.Dst != nil {
				if ones, _ := r.Dst.Mask.Size(); ones > 0 {
					continue
				}
			}
			if r.Type != unix.RTN_UNICAST {
				continue // the kernel's own "unreachable" of lo
			}
			hops := r.MultiPath
			if len(hops) == 0 {
				hops = []*netlink.NexthopInfo{{LinkIndex: r.LinkIndex, Gw: r.Gw}}
			}
			for _, hop := range hops {
				line := fmt.Sprintf("default via %v dev %s", hop.Gw, names[hop.LinkIndex])
				if r.Table != unix.RT_TABLE_MAIN {
					line += fmt.Sprintf(" table %d", r.Table)
				}
				lines = append(lines, line)
			}
		}
	}
	return lines, nil
}

// settle: see the function.
func (p *pod) settle(t *testing.T) {
	t.Helper()
	p.inside(t, func() error { settle(t); return nil })
}

// ping sends an ICMP echo from where it is called and waits for the answer,
// sending again while there is none.
func ping(address string) error {
	target := net.ParseIP(address)
	network, request, answer := "ip4:icmp", byte(8), byte(0)
	if target.To4() == nil {
		network, request, answer = "ip6:ipv6-icmp", 128, 129
	}
	conn, err := net.DialIP(network, nil, &net.IPAddr{IP: target})
	if err != nil {
		return fmt.Errorf("ping %s: %w", address, err)
	}
	defer conn.Close()
	message := append([]byte{request, 0, 0, 0, 'm', 'u', 0, 1}, "multus"...)
	if request == 8 { // for ICMPv6 the kernel does it
		binary.BigEndian.PutUint16(message[2:], checksum(message))
	}
	received := make([]byte, 1500)
	for try := 0; try < 10; try++ {
		if _, err = conn.Write(message); err != nil {
			err = fmt.Errorf("ping %s: %w", address, err)
			time.Sleep(100 * time.Millisecond)
			continue
		}
		if err = conn.SetReadDeadline(time.Now().Add(500 * time.Millisecond)); err != nil {
			return err
		}
		for {
			var size int
			if size, _, err = conn.ReadFrom(received); err != nil { // not Read: that leaves IPv4's header
				err = fmt.Errorf("ping %s: no answer: %w", address, err)
				break
			}
			if size >= 8 && received[0] == answer && string(received[4:8]) == string(message[4:8]) {
				return nil
			}
		}
	}
	return err
}

func checksum(message []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(message); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(message[i:]))
	}
	sum = sum>>16 + sum&0xffff
	return ^uint16(sum + sum>>16)
}

// mustPing pings from the node.
func mustPing(t *testing.T, addresses ...string) {
	t.Helper()
	for _, address := range addresses {
		if err := ping(address); err != nil {
			t.Error(err)
		}
	}
}

// mustPing pings from the pod.
func (p *pod) mustPing(t *testing.T, addresses ...string) {
	t.Helper()
	for _, address := range addresses {
		p.inside(t, func() error { return ping(address) })
	}
}
