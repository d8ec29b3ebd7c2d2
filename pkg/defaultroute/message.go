// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package defaultroute

import (
	"slices"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// request returns the body of the message that adds the route.
func (r *route) request() []byte {
	header, attrs := r.header, slices.Clone(r.attrs)
	switch {
	case r.attr(rtaNextHopID) != nil:
		// The kernel reports what the nexthop object has, and refuses it beside
		// the object's id.
	case len(r.hops) == 1 && r.hops[0].weight == 0:
		h := r.hops[0]
		header.Flags = uint32(h.flags)
		attrs = append(append(attrs, newAttr(unix.RTA_OIF, nl.Uint32Attr(uint32(h.index)))), h.attrs...)
	case len(r.hops) > 0: // only a multipath route can have weights, be it of one next hop
		var multipath []byte
		for _, h := range r.hops {
			next := nl.RtNexthop{RtNexthop: unix.RtNexthop{Flags: h.flags, Hops: h.weight, Ifindex: int32(h.index)}}
			for _, a := range h.attrs {
				next.Children = append(next.Children, nl.NewRtAttr(int(a.Attr.Type), a.Value))
			}
			multipath = append(multipath, next.Serialize()...)
		}
		attrs = append(attrs, newAttr(unix.RTA_MULTIPATH, multipath))
	}
	return message(header, attrs...)
}

// removal returns the body of the message that removes the route. The
// protocol of an IPv6 route is left out: what the kernel reports may be that
// of another next hop.
func (r *route) removal() []byte {
	if r.header.Family == unix.AF_INET {
		return r.request()
	}
	bare := route{header: r.header}
	bare.header.Protocol, bare.header.Scope, bare.header.Type = unix.RTPROT_UNSPEC, unix.RT_SCOPE_NOWHERE, unix.RTN_UNSPEC
	for _, a := range r.attrs {
		if k := kind(a); k == unix.RTA_PRIORITY || k == rtaNextHopID {
			bare.attrs = append(bare.attrs, a)
		}
	}
	for _, h := range r.hops {
		encapsulation := func(a syscall.NetlinkRouteAttr) bool { return kind(a) != unix.RTA_GATEWAY }
		bare.hops = append(bare.hops, hop{index: h.index, attrs: slices.DeleteFunc(slices.Clone(h.attrs), encapsulation)})
	}
	return bare.request()
}

// onlink returns the route with the flag that makes the kernel accept a
// gateway to which it knows no route.
func (r *route) onlink() route {
	copied := *r
	copied.hops = slices.Clone(r.hops)
	for i := range copied.hops {
		copied.hops[i].flags |= unix.RTNH_F_ONLINK
	}
	return copied
}

// toGateway returns the body of the message for a route to the gateway alone,
// through the interface of the route; nil where there is no IPv6 gateway.
func (r *route) toGateway() []byte {
	if r.header.Family != unix.AF_INET6 || len(r.hops) != 1 {
		return nil
	}
	for _, a := range r.hops[0].attrs {
		if kind(a) == unix.RTA_GATEWAY {
			header := unix.RtMsg{
				Family: unix.AF_INET6, Dst_len: 128, Table: unix.RT_TABLE_MAIN, Protocol: unix.RTPROT_BOOT, Type: unix.RTN_UNICAST,
			}
			return message(header, newAttr(unix.RTA_DST, a.Value), newAttr(unix.RTA_OIF, nl.Uint32Attr(uint32(r.hops[0].index))))
		}
	}
	return nil
}

func message(header unix.RtMsg, attrs ...syscall.NetlinkRouteAttr) []byte {
	body := slices.Clone((&nl.RtMsg{RtMsg: header}).Serialize())
	for _, a := range attrs {
		body = append(body, nl.NewRtAttr(int(a.Attr.Type), a.Value).Serialize()...)
	}
	return body
}
