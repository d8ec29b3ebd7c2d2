// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

const ownNetns = "/proc/thread-self/ns/net"

// makeNetns makes /run/netns/name. The caller is locked to its thread and
// stays where it is.
func makeNetns(name string) (err error) {
	path := filepath.Join("/run/netns", name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path, nil, 0o444); err != nil {
		return err
	}
	own, err := netns.Get()
	if err != nil {
		return err
	}
	defer own.Close()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return err
	}
	return errors.Join(
		// No link-local addresses: they come when the kernel likes.
		os.WriteFile("/proc/sys/net/ipv6/conf/default/addr_gen_mode", []byte("1"), 0),
		unix.Mount(ownNetns, path, "", unix.MS_BIND, ""),
		netns.Set(own),
	)
}

func deleteNetns(name string) error {
	path := filepath.Join("/run/netns", name)
	return errors.Join(unix.Unmount(path, unix.MNT_DETACH), os.Remove(path))
}

// inNetns opens a netlink socket in a network namespace.
func inNetns(path string) (*netlink.Handle, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ns, err := netns.GetFromPath(path)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	defer ns.Close()
	return netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
}

// change does one of link, addr and default to an interface.
func change(path, ifname string, words []string) error {
	h, err := inNetns(path)
	if err != nil {
		return err
	}
	defer h.Close()
	if words[0] == "link" {
		return addLink(h, ifname)
	}
	link, err := h.LinkByName(ifname)
	if err != nil {
		return err
	}
	if words[0] == "addr" {
		addr, err := netlink.ParseAddr(words[1])
		if err != nil {
			return err
		}
		addr.Flags = unix.IFA_F_NODAD // nobody else is there
		return h.AddrAdd(link, addr)
	}
	return addDefault(h, link, words[1:])
}

// addLink makes a veth whose other end is in the netns of the caller.
func addLink(h *netlink.Handle, ifname string) error {
	host, err := netns.Get()
	if err != nil {
		return err
	}
	defer host.Close()
	veth := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: ifname},
		PeerName:  peerName(ifname), PeerNamespace: netlink.NsFd(host),
	}
	if err := h.LinkAdd(veth); err != nil {
		return err
	}
	other, err := netlink.LinkByName(veth.PeerName)
	if err != nil {
		return err
	}
	return errors.Join(netlink.LinkSetUp(other), h.LinkSetUp(veth))
}

func peerName(ifname string) string {
	name := fmt.Sprintf("v%d%s", os.Getpid(), ifname)
	return name[:min(len(name), unix.IFNAMSIZ-1)]
}

// deleteLink succeeds when there is no such link, or no netns.
func deleteLink(path, ifname string) error {
	if _, err := os.Stat(path); err != nil {
		return nil
	}
	h, err := inNetns(path)
	if err != nil {
		return err
	}
	defer h.Close()
	link, err := h.LinkByName(ifname)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil
	}
	if err != nil {
		return err
	}
	return h.LinkDel(link)
}

// hasLink tells whether there is such a link. An empty path has none.
func hasLink(path, ifname string) (bool, error) {
	if path == "" {
		return false, nil
	}
	h, err := inNetns(path)
	if err != nil {
		return false, err
	}
	defer h.Close()
	_, err = h.LinkByName(ifname)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return false, nil
	}
	return err == nil, err
}

func addDefault(h *netlink.Handle, link netlink.Link, words []string) error {
	gateway := net.ParseIP(words[0])
	dst := anywhere(gateway)
	route := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: &dst, Gw: gateway}
	add := h.RouteAddEcmp // the plugins' own choice: it creates, and minds nothing that is there
	for i := 1; i < len(words); i++ {
		switch words[i] {
		case "excl":
			add = h.RouteAdd
			continue
		case "replace":
			add = h.RouteReplace
			continue
		case "append":
			add = h.RouteAppend
			continue
		}
		if i++; i == len(words) {
			return fmt.Errorf("%s what?", words[i-1])
		}
		n, _ := strconv.Atoi(words[i])
		switch words[i-1] + " " + words[i] {
		case "proto ra":
			route.Protocol = unix.RTPROT_RA
		case "metric " + strconv.Itoa(n):
			route.Priority = n
		case "table " + strconv.Itoa(n):
			route.Table = n
		default:
			return fmt.Errorf("unknown: %s %s", words[i-1], words[i])
		}
	}
	return add(route)
}

// anywhere is the destination of a default route of the gateway's family.
func anywhere(gateway net.IP) net.IPNet {
	if gateway.To4() != nil {
		return net.IPNet{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)}
	}
	return net.IPNet{IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)}
}

// linkLines describes the pod's interfaces, but lo.
func linkLines(path string) ([]string, error) {
	h, err := inNetns(path)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	links, err := h.LinkList()
	if err != nil {
		return nil, err
	}
	var lines []string
	for _, link := range links {
		if link.Attrs().Name == "lo" {
			continue
		}
		addrs, err := h.AddrList(link, netlink.FAMILY_ALL)
		if err != nil {
			return nil, err
		}
		fields := []string{link.Attrs().Name}
		for _, a := range addrs {
			fields = append(fields, a.IPNet.String())
		}
		lines = append(lines, strings.Join(fields, " "))
	}
	slices.Sort(lines)
	return lines, nil
}

// defaultLines describes the default routes of all tables, a line for each
// next hop.
func defaultLines(path string) ([]string, error) {
	h, err := inNetns(path)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	routes, err := h.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{Type: unix.RTN_UNICAST},
		netlink.RT_FILTER_TABLE|netlink.RT_FILTER_TYPE) // table 0: all of them
	if err != nil {
		return nil, err
	}
	var lines []string
	for _, r := range routes {
		if r.Dst != nil {
			if ones, _ := r.Dst.Mask.Size(); ones > 0 {
				continue
			}
		}
		hops := r.MultiPath
		if len(hops) == 0 {
			hops = []*netlink.NexthopInfo{{LinkIndex: r.LinkIndex, Gw: r.Gw}}
		}
		for _, hop := range hops {
			link, err := h.LinkByIndex(hop.LinkIndex)
			if err != nil {
				return nil, err
			}
			lines = append(lines, fmt.Sprintf("via %s dev %s%s", hop.Gw, link.Attrs().Name, peculiar(r)))
		}
	}
	slices.Sort(lines)
	return lines, nil
}

// peculiar tells what is not usual for a default route.
func peculiar(r netlink.Route) (text string) {
	usual := map[int]int{netlink.FAMILY_V6: 1024}[r.Family] // the kernel's own
	if r.Priority != usual {
		text += fmt.Sprintf(" metric %d", r.Priority)
	}
	if r.Table != unix.RT_TABLE_MAIN {
		text += fmt.Sprintf(" table %d", r.Table)
	}
	if r.Protocol == unix.RTPROT_RA {
		text += " proto ra"
	}
	return text
}

// snapshot describes everything that may not change in a pod that is running.
func snapshot(path string) (string, error) {
	h, err := inNetns(path)
	if err != nil {
		return "", err
	}
	defer h.Close()
	var text strings.Builder
	links, err := h.LinkList()
	if err != nil {
		return "", err
	}
	for _, link := range links {
		a := link.Attrs()
		fmt.Fprintln(&text, a.Index, a.Name, a.HardwareAddr, a.Flags&net.FlagUp, a.MTU, a.Alias, a.AltNames)
		addrs, err := h.AddrList(link, netlink.FAMILY_ALL)
		if err != nil {
			return "", err
		}
		for _, addr := range addrs {
			fmt.Fprintln(&text, " ", addr.IPNet, addr.Scope)
		}
	}
	routes, err := h.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return "", err
	}
	for _, r := range routes {
		if r.Dst == nil || !r.Dst.IP.IsMulticast() { // these come when the kernel likes
			fmt.Fprintln(&text, r)
		}
	}
	return text.String(), nil
}
