// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package defaultroute

import (
	"encoding/binary"
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
	sizeofRtMsg    = 12  // struct rtmsg
	clockTicks     = 100 // USER_HZ, in which struct rta_cacheinfo counts
	cacheExpiresAt = 8   // offset of rta_expires in it
	tableMain      = unix.RT_TABLE_MAIN
)

// order is the byte order of rtnetlink(7): the machine's own.
var order = binary.NativeEndian

// route is a default route, or of IPv6 one next hop of it: the kernel merges
// IPv6 routes of one metric into one multipath route, whoever added them.
//
// Header and attributes are kept as the kernel reports them, so that a route
// can be put back with whatever it has, known here or not.
type route struct {
	header unix.RtMsg
	attrs  []syscall.NetlinkRouteAttr
	metric uint32
	hops   []hop // none of a blackhole and the like
	weight uint8 // of an IPv6 next hop, as in rtnh_hops: one less than ip-route(8) shows
	// merged means that this is a next hop of an IPv6 route that has several,
	// of which the kernel reports the protocol, the source and the metrics of
	// the first one only.
	merged bool
}

// hop is where a route leads.
type hop struct {
	index   int
	gateway string // "" when there is none
}

// parse returns the default routes of the main table in the body of a message
// about one route: none, one or, of IPv6, as many as it has next hops. A route
// for some sources only (RTA_SRC) is not a default route.
func parse(body []byte) ([]route, error) {
	r := route{}
	if _, err := binary.Decode(body, order, &r.header); err != nil {
		return nil, fmt.Errorf("read a route: %w", err)
	}
	h := &r.header
	if h.Family != unix.AF_INET && h.Family != unix.AF_INET6 || h.Dst_len != 0 || h.Src_len != 0 ||
		h.Table != tableMain || h.Flags&unix.RTM_F_CLONED != 0 || h.Type != unix.RTN_UNICAST && !isReject(h.Type) {
		return nil, nil
	}
	h.Flags &= unix.RTNH_F_ONLINK // the others are states, which the kernel does not take back
	attrs, err := nl.ParseRouteAttr(body[sizeofRtMsg:])
	if err != nil {
		return nil, fmt.Errorf("read a route: %w", err)
	}
	several, err := r.setAttrs(attrs)
	if err != nil {
		return nil, fmt.Errorf("read a route: %w", err)
	}
	if h.Family == unix.AF_INET6 && len(several) > 0 && r.nextHopID() == nil {
		return r.split(several), nil
	}
	return []route{r}, nil
}

// isReject reports whether routes of that type lead nowhere.
func isReject(kind uint8) bool {
	return kind == unix.RTN_BLACKHOLE || kind == unix.RTN_UNREACHABLE || kind == unix.RTN_PROHIBIT || kind == unix.RTN_THROW
}

// setAttrs keeps what can be given back to the kernel. It returns the next
// hops of a multipath route.
func (r *route) setAttrs(attrs []syscall.NetlinkRouteAttr) (several []nextHop, err error) {
	single := hop{}
	for _, a := range attrs {
		switch kind(a) {
		case unix.RTA_PRIORITY:
			if r.metric, err = number(a); err != nil {
				return nil, err
			}
		case unix.RTA_OIF:
			index, err := number(a)
			if err != nil {
				return nil, err
			}
			single.index = int(index)
		case unix.RTA_GATEWAY, unix.RTA_VIA:
			single.gateway = gatewayText(a)
		case unix.RTA_MULTIPATH:
			if several, err = parseNextHops(a.Value); err != nil {
				return nil, err
			}
		case unix.RTA_CACHEINFO:
			if a, ok := expiry(a); ok && r.header.Family == unix.AF_INET6 {
				r.attrs = append(r.attrs, a)
			}
			continue
		}
		r.attrs = append(r.attrs, a)
	}
	if !isReject(r.header.Type) {
		for _, n := range several {
			r.hops = append(r.hops, n.hop)
		}
		if len(several) == 0 && single.index != 0 {
			r.hops = []hop{single}
		}
	}
	return several, nil
}

// split returns an IPv6 multipath route as one route for each next hop.
func (r *route) split(several []nextHop) []route {
	routes := make([]route, 0, len(several))
	shared := slices.DeleteFunc(slices.Clone(r.attrs), func(a syscall.NetlinkRouteAttr) bool { return kind(a) == unix.RTA_MULTIPATH })
	for _, n := range several {
		one := *r
		one.header.Flags = uint32(n.flags)
		one.attrs = slices.Concat(shared, []syscall.NetlinkRouteAttr{attr(unix.RTA_OIF, order.AppendUint32(nil, uint32(n.index)))}, n.attrs)
		one.hops = []hop{n.hop}
		one.weight = n.weight
		one.merged = len(several) > 1
		routes = append(routes, one)
	}
	return routes
}

// nextHop is one of the next hops in RTA_MULTIPATH.
type nextHop struct {
	hop
	flags, weight uint8
	attrs         []syscall.NetlinkRouteAttr
}

// parseNextHops reads the value of RTA_MULTIPATH, and clears the flags in it
// that are states.
func parseNextHops(value []byte) ([]nextHop, error) {
	var found []nextHop
	for len(value) >= unix.SizeofRtNexthop {
		length := int(order.Uint16(value))
		if length < unix.SizeofRtNexthop || length > len(value) {
			return nil, unix.EBADMSG
		}
		value[2] &= unix.RTNH_F_ONLINK
		attrs, err := nl.ParseRouteAttr(value[unix.SizeofRtNexthop:length])
		if err != nil {
			return nil, err
		}
		n := nextHop{flags: value[2], weight: value[3], attrs: attrs}
		n.index = int(order.Uint32(value[4:]))
		for _, a := range attrs {
			if k := kind(a); k == unix.RTA_GATEWAY || k == unix.RTA_VIA {
				n.gateway = gatewayText(a)
			}
		}
		found = append(found, n)
		value = value[min(aligned(length), len(value)):]
	}
	return found, nil
}

// expiry returns what sets the lifetime that RTA_CACHEINFO reports, if there
// is one.
func expiry(a syscall.NetlinkRouteAttr) (syscall.NetlinkRouteAttr, bool) {
	if len(a.Value) < cacheExpiresAt+4 {
		return a, false
	}
	ticks := int32(order.Uint32(a.Value[cacheExpiresAt:]))
	return attr(unix.RTA_EXPIRES, order.AppendUint32(nil, uint32(ticks/clockTicks))), ticks > 0
}

// gatewayText returns the address in RTA_GATEWAY, or in RTA_VIA, where the
// family, 2 bytes, stands before it.
func gatewayText(a syscall.NetlinkRouteAttr) string {
	value := a.Value
	if kind(a) == unix.RTA_VIA && len(value) > 2 {
		value = value[2:]
	}
	address, ok := netip.AddrFromSlice(value)
	if !ok {
		return fmt.Sprintf("%x", value)
	}
	return address.String()
}

// nextHopID returns the attribute with the id of the nexthop object that the
// route uses, nil when it uses none.
func (r *route) nextHopID() *syscall.NetlinkRouteAttr {
	i := slices.IndexFunc(r.attrs, func(a syscall.NetlinkRouteAttr) bool { return kind(a) == rtaNextHopID })
	if i < 0 {
		return nil
	}
	return &r.attrs[i]
}

// key is equal for two reports of one route. Two IPv6 routes cannot differ in
// anything else; two IPv4 routes can differ in any attribute.
func (r *route) key() string {
	if r.header.Family == unix.AF_INET {
		return string(r.request())
	}
	key := fmt.Sprint(r.header.Family, r.header.Type, r.metric, r.hops)
	if id := r.nextHopID(); id != nil {
		key += fmt.Sprint(" nhid ", id.Value)
	}
	return key
}
