// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package defaultroute

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// request returns the body of the message that adds the route.
func (r *route) request() []byte {
	body, _ := binary.Append(nil, order, r.header) // a fixed-size struct cannot fail
	var multipath []byte
	byID := r.nextHopID() != nil
	for _, a := range r.attrs {
		switch {
		case byID && isNextHop(kind(a)):
			// The kernel reports what the nexthop object has, and refuses it
			// beside the object's id.
		case r.weight > 0 && isNextHop(kind(a)):
			if kind(a) != unix.RTA_OIF {
				multipath = appendAttr(multipath, a)
			}
		default:
			body = appendAttr(body, a)
		}
	}
	if r.weight > 0 { // only a multipath route can have weights, be it of one next hop
		h := order.AppendUint16(nil, uint16(unix.SizeofRtNexthop+len(multipath)))
		h = append(h, uint8(r.header.Flags), r.weight)
		h = order.AppendUint32(h, uint32(r.hops[0].index))
		body = appendAttr(body, attr(unix.RTA_MULTIPATH, append(h, multipath...)))
	}
	return body
}

func isNextHop(kind uint16) bool {
	switch kind {
	case unix.RTA_OIF, unix.RTA_GATEWAY, unix.RTA_VIA, unix.RTA_MULTIPATH, unix.RTA_ENCAP, unix.RTA_ENCAP_TYPE:
		return true
	}
	return false
}

// removal returns the body of the message that removes the route. The
// protocol of an IPv6 route is left out: what the kernel reports may be that
// of another next hop.
func (r *route) removal() []byte {
	if r.header.Family == unix.AF_INET {
		return r.request()
	}
	header := r.header
	header.Protocol, header.Scope, header.Type = unix.RTPROT_UNSPEC, unix.RT_SCOPE_NOWHERE, unix.RTN_UNSPEC
	body, _ := binary.Append(nil, order, header)
	for _, a := range r.attrs {
		switch kind(a) {
		case unix.RTA_OIF, unix.RTA_GATEWAY:
			if r.nextHopID() != nil {
				continue
			}
			body = appendAttr(body, a)
		case unix.RTA_PRIORITY, rtaNextHopID:
			body = appendAttr(body, a)
		}
	}
	return body
}

// onlink returns the route with the flag that makes the kernel accept a
// gateway to which it knows no route.
func (r *route) onlink() route {
	copied := *r
	copied.header.Flags |= unix.RTNH_F_ONLINK
	copied.attrs = slices.Clone(r.attrs)
	for i, a := range copied.attrs {
		if kind(a) != unix.RTA_MULTIPATH {
			continue
		}
		copied.header.Flags = r.header.Flags
		copied.attrs[i].Value = slices.Clone(a.Value)
		for value := copied.attrs[i].Value; len(value) >= unix.SizeofRtNexthop; {
			value[2] |= unix.RTNH_F_ONLINK
			value = value[min(aligned(int(order.Uint16(value))), len(value)):]
		}
	}
	return copied
}

// toGateway returns the body of the message for a route to the gateway alone,
// through the interface of the route; nil where there is no IPv6 gateway.
func (r *route) toGateway() []byte {
	if r.header.Family != unix.AF_INET6 || len(r.hops) != 1 {
		return nil
	}
	gateway, err := netip.ParseAddr(r.hops[0].gateway)
	if err != nil {
		return nil
	}
	body, _ := binary.Append(nil, order, unix.RtMsg{
		Family: unix.AF_INET6, Dst_len: 128, Table: tableMain, Protocol: unix.RTPROT_BOOT, Type: unix.RTN_UNICAST,
	})
	body = appendAttr(body, attr(unix.RTA_DST, gateway.AsSlice()))
	return appendAttr(body, attr(unix.RTA_OIF, order.AppendUint32(nil, uint32(r.hops[0].index))))
}

func kind(a syscall.NetlinkRouteAttr) uint16 {
	return a.Attr.Type &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
}

// number returns the value of an attribute that has 4 bytes.
func number(a syscall.NetlinkRouteAttr) (uint32, error) {
	if len(a.Value) != 4 {
		return 0, unix.EBADMSG
	}
	return order.Uint32(a.Value), nil
}

func attr(kind uint16, value []byte) syscall.NetlinkRouteAttr {
	return syscall.NetlinkRouteAttr{Attr: syscall.RtAttr{Type: kind}, Value: value}
}

func appendAttr(body []byte, a syscall.NetlinkRouteAttr) []byte {
	return append(body, nl.NewRtAttr(int(a.Attr.Type), a.Value).Serialize()...)
}

func aligned(length int) int { return (length + unix.NLA_ALIGNTO - 1) &^ (unix.NLA_ALIGNTO - 1) }
