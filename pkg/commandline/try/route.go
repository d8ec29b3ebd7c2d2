// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package try

import (
	"encoding/binary"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"multus-cni/pkg/netns"
)

// lookAtRoutes lists the default routes of the main table.
func (t *trial) lookAtRoutes() error {
	pod, err := netns.Open(t.netns, false)
	if err != nil {
		return err
	}
	defer pod.Close()
	routes, err := pod.Request(unix.RTM_GETROUTE, unix.NLM_F_DUMP, make([]byte, unix.SizeofRtMsg))
	if err != nil {
		return err
	}
	for _, body := range routes {
		r, err := parseRoute(body)
		if err != nil {
			return err
		}
		for _, hop := range r.hops {
			text := "default"
			if hop.gateway.IsValid() {
				text += " via " + hop.gateway.String()
			}
			if name, err := pod.LinkName(hop.link); err == nil {
				text += " dev " + name
			}
			t.report.DefaultRoutes = append(t.report.DefaultRoutes, text)
		}
	}
	return nil
}

// hop is one way that a route leads.
type hop struct {
	gateway netip.Addr
	link    int // its index
}

// route is a default route of the main table, or one of no interest, which has
// no hops.
type route struct{ hops []hop }

// parseRoute reads the body of an RTM_NEWROUTE message, see rtnetlink(7).
func parseRoute(body []byte) (route, error) {
	var r route
	if len(body) < unix.SizeofRtMsg {
		return r, unix.EBADMSG
	}
	if bits, table, kind := body[1], body[4], body[7]; bits != 0 || table != unix.RT_TABLE_MAIN || kind != unix.RTN_UNICAST {
		return r, nil
	}
	attrs, err := nl.ParseRouteAttr(body[unix.SizeofRtMsg:])
	if err != nil {
		return r, err
	}
	var single hop
	for _, a := range attrs {
		switch a.Attr.Type {
		case unix.RTA_GATEWAY:
			single.gateway, _ = netip.AddrFromSlice(a.Value)
		case unix.RTA_VIA: // a family, two bytes, and an address of it
			single.gateway, _ = netip.AddrFromSlice(a.Value[min(2, len(a.Value)):])
		case unix.RTA_OIF:
			single.link = int(binary.NativeEndian.Uint32(a.Value))
		case unix.RTA_MULTIPATH:
			r.hops = append(r.hops, parseHops(a.Value)...)
		}
	}
	if r.hops == nil {
		r.hops = []hop{single}
	}
	return r, nil
}

// parseHops reads RTA_MULTIPATH, a list of struct rtnexthop.
func parseHops(value []byte) (hops []hop) {
	const size = unix.SizeofRtNexthop
	for len(value) >= size {
		length := int(binary.NativeEndian.Uint16(value))
		if length < size || length > len(value) {
			break
		}
		h := hop{link: int(binary.NativeEndian.Uint32(value[4:]))}
		attrs, err := nl.ParseRouteAttr(value[size:length])
		if err != nil {
			break
		}
		for _, a := range attrs {
			if a.Attr.Type == unix.RTA_GATEWAY {
				h.gateway, _ = netip.AddrFromSlice(a.Value)
			}
		}
		hops, value = append(hops, h), value[min((length+3)&^3, len(value)):]
	}
	return hops
}
