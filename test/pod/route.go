// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"fmt"
	"net"
	"strconv"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// addDefault adds a default route: see Change.
func (h handle) addDefault(link netlink.Link, words []string) error {
	gateway := net.ParseIP(words[0])
	dst := Anywhere(gateway)
	route := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: &dst, Gw: gateway}
	add := h.RouteAddEcmp // what the reference plugins use: it creates, and accepts what exists
	for i := 1; i < len(words); i++ {
		switch words[i] {
		case "excl":
			add = h.RouteAdd
		case "replace":
			add = h.RouteReplace
		case "append":
			add = h.RouteAppend
		case "onlink":
			route.Flags = int(netlink.FLAG_ONLINK)
		case "metric", "table", "proto":
			if i++; i == len(words) {
				return fmt.Errorf("%s needs a value", words[i-1])
			}
			if err := setAttribute(route, words[i-1], words[i]); err != nil {
				return err
			}
		default:
			return fmt.Errorf("unknown word for a default route: %s", words[i])
		}
	}
	return add(route)
}

var protocols = map[string]netlink.RouteProtocol{"ra": unix.RTPROT_RA, "static": unix.RTPROT_STATIC}

func setAttribute(route *netlink.Route, name, value string) (err error) {
	switch name {
	case "metric":
		route.Priority, err = strconv.Atoi(value)
	case "table":
		route.Table, err = strconv.Atoi(value)
	default:
		var known bool
		if route.Protocol, known = protocols[value]; !known {
			err = fmt.Errorf("unknown protocol: %s", value)
		}
	}
	return err
}

// Anywhere is the destination of a default route of that address's family.
func Anywhere(gateway net.IP) net.IPNet {
	if gateway.To4() != nil {
		return net.IPNet{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)}
	}
	return net.IPNet{IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)}
}

// isDefault reports whether a route is a default route: Dst is nil or a /0.
func isDefault(r netlink.Route) bool {
	if r.Dst == nil {
		return true
	}
	ones, _ := r.Dst.Mask.Size()
	return ones == 0
}
