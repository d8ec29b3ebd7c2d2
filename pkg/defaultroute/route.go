// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package defaultroute

import (
	"fmt"
	"net/netip"
	"slices"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// These are of linux/rtnetlink.h.
const (
	rtaNextHopID   = 30  // RTA_NH_ID, see ip-nexthop(8)
	clockTicks     = 100 // USER_HZ, in which struct rta_cacheinfo counts
	cacheExpiresAt = 8   // offset of rta_expires in it
)

// route is a default route of IPv4, or one next hop of a default route of IPv6:
// the kernel merges all IPv6 routes with the same metric into one multipath
// route.
//
// Header and attributes are kept as the kernel reports them, so that a route
// can be put back with whatever it has, known here or not.
type route struct {
	header unix.RtMsg
	attrs  []syscall.NetlinkRouteAttr // all but those of the next hops
	hops   []hop
	// merged means that this is a next hop of an IPv6 route that has several,
	// of which the kernel reports the protocol, the source and the metrics of
	// the first one only.
	merged bool
}

// hop is a next hop: where a route leads.
type hop struct {
	index  int
	flags  uint8                      // as in rtnh_flags, but for those that are states
	weight uint8                      // as in rtnh_hops: one less than ip-route(8) shows
	attrs  []syscall.NetlinkRouteAttr // gateway and encapsulation
}

// parse returns the default routes of the main table in the body of a message
// about one route: none, one or, of IPv6, as many as it has next hops. A route
// for some sources only (RTA_SRC) is not a default route.
func parse(body []byte) ([]route, error) {
	if len(body) < unix.SizeofRtMsg {
		return nil, fmt.Errorf("read a route: %w", unix.EBADMSG)
	}
	r := route{header: nl.DeserializeRtMsg(body).RtMsg}
	h := &r.header
	if h.Family != unix.AF_INET && h.Family != unix.AF_INET6 || h.Dst_len != 0 || h.Src_len != 0 ||
		h.Table != unix.RT_TABLE_MAIN || h.Flags&unix.RTM_F_CLONED != 0 || h.Type != unix.RTN_UNICAST && !r.rejects() {
		return nil, nil
	}
	attrs, err := nl.ParseRouteAttr(body[unix.SizeofRtMsg:])
	if err == nil {
		err = r.setAttrs(attrs)
	}
	if err != nil {
		return nil, fmt.Errorf("read a route: %w", err)
	}
	if h.Family == unix.AF_INET || len(r.hops) < 2 || r.attr(rtaNextHopID) != nil {
		return []route{r}, nil
	}
	var several []route
	for i := range r.hops {
		several = append(several, route{header: r.header, attrs: r.attrs, hops: r.hops[i : i+1], merged: true})
	}
	return several, nil
}

// rejects reports whether the route leads nowhere: RTN_BLACKHOLE, RTN_UNREACHABLE,
// RTN_PROHIBIT and RTN_THROW follow each other.
func (r *route) rejects() bool {
	return r.header.Type >= unix.RTN_BLACKHOLE && r.header.Type <= unix.RTN_THROW
}

// hasLink reports whether an interface shows whose route it is. The kernel
// reports IPv6 routes that lead nowhere with the interface lo.
func (r *route) hasLink() bool { return len(r.hops) > 0 && !r.rejects() }

// setAttrs sets the attributes and the next hops, without what the kernel would
// not accept in a new route.
func (r *route) setAttrs(attrs []syscall.NetlinkRouteAttr) (err error) {
	single := hop{flags: uint8(r.header.Flags & unix.RTNH_F_ONLINK)}
	r.header.Flags = 0
	for _, a := range attrs {
		switch kind(a) {
		case unix.RTA_OIF:
			single.index = int(number(&a))
		case unix.RTA_GATEWAY, unix.RTA_VIA, unix.RTA_ENCAP, unix.RTA_ENCAP_TYPE:
			single.attrs = append(single.attrs, a)
		case unix.RTA_MULTIPATH:
			if r.hops, err = parseHops(a.Value); err != nil {
				return err
			}
		case unix.RTA_CACHEINFO: // reports the lifetime, which a new route gets as RTA_EXPIRES
			if r.header.Family == unix.AF_INET6 && len(a.Value) >= cacheExpiresAt+4 {
				if ticks := int32(nl.NativeEndian().Uint32(a.Value[cacheExpiresAt:])); ticks > 0 {
					r.attrs = append(r.attrs, newAttr(unix.RTA_EXPIRES, nl.Uint32Attr(uint32(ticks/clockTicks))))
				}
			}
		default:
			r.attrs = append(r.attrs, a)
		}
	}
	if single.index != 0 {
		r.hops = []hop{single}
	}
	return nil
}

// parseHops reads the value of RTA_MULTIPATH.
func parseHops(value []byte) (hops []hop, err error) {
	for len(value) >= unix.SizeofRtNexthop {
		h := nl.DeserializeRtNexthop(value).RtNexthop
		if h.Len < unix.SizeofRtNexthop || int(h.Len) > len(value) {
			return nil, unix.EBADMSG
		}
		attrs, err := nl.ParseRouteAttr(value[unix.SizeofRtNexthop:h.Len])
		if err != nil {
			return nil, err
		}
		hops = append(hops, hop{int(h.Ifindex), h.Flags & unix.RTNH_F_ONLINK, h.Hops, attrs})
		value = value[min((int(h.Len)+unix.NLA_ALIGNTO-1)&^(unix.NLA_ALIGNTO-1), len(value)):]
	}
	return hops, nil
}

// key identifies a route: it is the message that removes it. Two IPv6 routes
// cannot differ in anything else; two IPv4 routes can differ in any attribute.
func (r *route) key() string { return string(r.removal()) }

func (r *route) metric() uint32 { return number(r.attr(unix.RTA_PRIORITY)) }

// gateway returns the address of the gateway, "" when there is none.
func (h hop) gateway() string {
	for _, a := range h.attrs {
		if k := kind(a); k == unix.RTA_GATEWAY || k == unix.RTA_VIA {
			bytes := a.Value[len(a.Value)%4:] // without the family in RTA_VIA, 2 bytes
			address, _ := netip.AddrFromSlice(bytes)
			return address.String()
		}
	}
	return ""
}

// attr returns the attribute of a kind, nil when the route has none.
func (r *route) attr(wanted uint16) *syscall.NetlinkRouteAttr {
	i := slices.IndexFunc(r.attrs, func(a syscall.NetlinkRouteAttr) bool { return kind(a) == wanted })
	if i < 0 {
		return nil
	}
	return &r.attrs[i]
}

func kind(a syscall.NetlinkRouteAttr) uint16 {
	return a.Attr.Type &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
}

// number returns the value of an attribute that has 4 bytes, 0 without one.
func number(a *syscall.NetlinkRouteAttr) uint32 {
	if a == nil || len(a.Value) != 4 {
		return 0
	}
	return nl.NativeEndian().Uint32(a.Value)
}

func newAttr(kind uint16, value []byte) syscall.NetlinkRouteAttr {
	return syscall.NetlinkRouteAttr{Attr: syscall.RtAttr{Type: kind}, Value: value}
}
