// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Link is an interface of a pod.
type Link struct {
	Name, Type, MAC, Alias string
	Addrs                  []string // ADDRESS/BITS, without link-local ones
}

// ListLinks returns a pod's interfaces but lo, sorted by name.
func ListLinks(path string) ([]Link, error) {
	h, err := open(path)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	links, err := whole(h.LinkList)
	if err != nil {
		return nil, err
	}
	var list []Link
	for _, link := range links {
		if link.Attrs().Name == "lo" {
			continue
		}
		addrs, err := h.addrs(link)
		if err != nil {
			return nil, err
		}
		a := link.Attrs()
		l := Link{Name: a.Name, Type: link.Type(), MAC: a.HardwareAddr.String(), Alias: a.Alias}
		for _, a := range addrs {
			l.Addrs = append(l.Addrs, a.IPNet.String())
		}
		list = append(list, l)
	}
	slices.SortFunc(list, func(a, b Link) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

func (h handle) addrs(link netlink.Link) ([]netlink.Addr, error) {
	addrs, err := whole(func() ([]netlink.Addr, error) { return h.AddrList(link, netlink.FAMILY_ALL) })
	return slices.DeleteFunc(addrs, func(a netlink.Addr) bool { return a.IP.IsLinkLocalUnicast() }), err
}

// Links describes a pod's interfaces but lo, a line each: "NAME ADDRESS/BITS...".
func Links(path string) ([]string, error) {
	links, err := ListLinks(path)
	var lines []string
	for _, l := range links {
		lines = append(lines, strings.Join(append([]string{l.Name}, l.Addrs...), " "))
	}
	return lines, err
}

// Names returns the names of a pod's interfaces but lo, sorted.
func Names(path string) ([]string, error) {
	links, err := ListLinks(path)
	var names []string
	for _, l := range links {
		names = append(names, l.Name)
	}
	return names, err
}

// Defaults describes the default routes of all tables, a line for each next
// hop, as "via GATEWAY dev NAME" and what is unusual about it.
func Defaults(path string) ([]string, error) {
	h, err := open(path)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	routes, err := h.routes()
	if err != nil {
		return nil, err
	}
	var lines []string
	for _, r := range routes {
		if !isDefault(r) || r.Type != unix.RTN_UNICAST {
			continue
		}
		hops, err := h.hops(r)
		if err != nil {
			return nil, err
		}
		for _, hop := range hops {
			lines = append(lines, hop+peculiar(r))
		}
	}
	slices.Sort(lines)
	return lines, nil
}

// Routes describes the routes of the main table, without link-local ones, a line
// for each next hop: "DESTINATION via GATEWAY dev NAME".
func Routes(path string) ([]string, error) {
	h, err := open(path)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	routes, err := h.routes()
	var lines []string
	for _, r := range routes {
		if r.Table != unix.RT_TABLE_MAIN || r.Dst != nil && r.Dst.IP.IsLinkLocalUnicast() {
			continue
		}
		hops, hopErr := h.hops(r)
		if hopErr != nil {
			return nil, hopErr
		}
		for _, hop := range hops {
			lines = append(lines, fmt.Sprint(r.Dst, " ", hop))
		}
	}
	return lines, err
}

// routes lists the routes of all tables.
func (h handle) routes() ([]netlink.Route, error) {
	return whole(func() ([]netlink.Route, error) {
		return h.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{}, netlink.RT_FILTER_TABLE) // table 0: all of them
	})
}

// hops describes the next hops of a route.
func (h handle) hops(r netlink.Route) (lines []string, err error) {
	hops := r.MultiPath
	if len(hops) == 0 {
		hops = []*netlink.NexthopInfo{{LinkIndex: r.LinkIndex, Gw: r.Gw}}
	}
	for _, hop := range hops {
		link, err := whole(func() (netlink.Link, error) { return h.LinkByIndex(hop.LinkIndex) })
		name := "gone" // since the routes were listed
		if err == nil {
			name = link.Attrs().Name
		} else if !errors.As(err, &netlink.LinkNotFoundError{}) {
			return nil, err
		}
		lines = append(lines, fmt.Sprintf("via %s dev %s", hop.Gw, name))
	}
	return lines, nil
}

// peculiar says what is not usual for a default route.
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

// Snapshot describes what must not change in a running pod: interfaces,
// addresses, and routes with the attributes that somebody sets. What the kernel
// adds by itself, whenever it likes, is not in it: the table of local addresses,
// which follows the addresses, multicast, link-local addresses, and flags.
func Snapshot(path string) (string, error) {
	h, err := open(path)
	if err != nil {
		return "", err
	}
	defer h.Close()
	links, err := whole(h.LinkList)
	if err != nil {
		return "", err
	}
	var lines []string
	for _, link := range links {
		a := link.Attrs()
		line := fmt.Sprint(a.Index, " ", a.Name, a.HardwareAddr, a.Flags&net.FlagUp, a.MTU, a.Alias, a.AltNames)
		addrs, err := h.addrs(link)
		if err != nil {
			return "", err
		}
		for _, addr := range addrs {
			line += fmt.Sprint(" ", addr.IPNet, addr.Scope)
		}
		lines = append(lines, line)
	}
	routes, err := h.routes()
	if err != nil {
		return "", err
	}
	for _, r := range routes {
		if r.Table == unix.RT_TABLE_LOCAL || r.Dst != nil && (r.Dst.IP.IsMulticast() || r.Dst.IP.IsLinkLocalUnicast()) {
			continue
		}
		hops := fmt.Sprint(r.LinkIndex) // not the name: lo's own routes have an interface that cannot be looked up
		if len(r.MultiPath) > 0 {
			hops = fmt.Sprint(r.MultiPath)
		}
		lines = append(lines, fmt.Sprint("route ", r.Type, r.Dst, r.Gw, hops, r.Src, r.Priority, r.Table, r.Protocol, r.Scope, r.MTU))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n") + "\n", nil
}
