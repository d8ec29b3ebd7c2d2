// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package defaultroute

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Netlink is a netlink socket in a pod's network namespace.
type Netlink interface {
	// Request sends one rtnetlink(7) message and returns the bodies of the
	// messages that the kernel answers with. kind is an RTM_ constant and flags
	// are NLM_F_ constants, among them NLM_F_ACK or NLM_F_DUMP. If the kernel
	// refuses the message, the error is a unix.Errno.
	Request(kind uint16, flags int, body []byte) ([][]byte, error)
	// LinkName returns the name of the interface with an index. It returns
	// unix.ENODEV when there is none.
	LinkName(index int) (string, error)
	// Replacements returns the bodies of the messages about routes that have
	// replaced others (NLM_F_REPLACE) since the last call; the first call only
	// starts to collect them.
	Replacements() ([][]byte, error)
}

// table is the main routing table of a pod, of which only the default routes
// are looked at.
type table struct{ nl Netlink }

// list returns the default routes of both families, as the kernel orders them.
func (t table) list() ([]route, error) {
	bodies, err := t.nl.Request(unix.RTM_GETROUTE, unix.NLM_F_DUMP, make([]byte, unix.SizeofRtMsg))
	if err != nil {
		return nil, fmt.Errorf("list the pod's routes: %w", err)
	}
	return parseAll(bodies)
}

func parseAll(bodies [][]byte) ([]route, error) {
	var found []route
	for _, body := range bodies {
		routes, err := parse(body)
		if err != nil {
			return nil, err
		}
		found = append(found, routes...)
	}
	return found, nil
}

// add adds a route, before or after the IPv4 routes of the same metric, and
// returns it as it was added: when the route to its gateway is gone, it is
// onlink.
func (t table) add(r route, first bool) (route, error) {
	flags := unix.NLM_F_ACK | unix.NLM_F_CREATE
	if !first {
		flags |= unix.NLM_F_APPEND
	}
	_, err := t.nl.Request(unix.RTM_NEWROUTE, flags, r.request())
	if isUnreachable(err) {
		r = r.onlink()
		_, err = t.nl.Request(unix.RTM_NEWROUTE, flags, r.request())
	}
	if toGateway := r.toGateway(); isUnreachable(err) && toGateway != nil {
		// IPv6 refuses an onlink gateway to which the pod has a route through
		// another interface. It looks at that only when a route is added.
		if _, err := t.nl.Request(unix.RTM_NEWROUTE, unix.NLM_F_ACK|unix.NLM_F_CREATE|unix.NLM_F_EXCL, toGateway); err != nil {
			return r, fmt.Errorf("add a route to the gateway: %w", err)
		}
		_, err = t.nl.Request(unix.RTM_NEWROUTE, flags, r.request())
		if _, err := t.nl.Request(unix.RTM_DELROUTE, unix.NLM_F_ACK, toGateway); err != nil {
			return r, fmt.Errorf("remove the route to the gateway: %w", err)
		}
	}
	if errors.Is(err, unix.EEXIST) {
		err = nil
	}
	return r, err
}

// isUnreachable reports whether the kernel may have refused a route because of
// its gateway.
func isUnreachable(err error) bool {
	return errors.Is(err, unix.ENETUNREACH) || errors.Is(err, unix.EHOSTUNREACH) || errors.Is(err, unix.EINVAL)
}

// remove removes a route. It returns the route that the kernel says it has
// removed: for a merged IPv6 next hop, only this reply has the protocol, the
// source and the metrics. A route that is gone already is no error.
func (t table) remove(r route) (route, error) {
	replies, err := t.nl.Request(unix.RTM_DELROUTE, unix.NLM_F_ACK|unix.NLM_F_ECHO, r.removal())
	if err != nil && !errors.Is(err, unix.ESRCH) {
		return r, err
	}
	removed, err := parseAll(replies)
	if err != nil || len(removed) != 1 || r.header.Family == unix.AF_INET { // an IPv4 route was known whole
		return r, err
	}
	if removed[0].key() != r.key() {
		return r, fmt.Errorf("the kernel has removed %s instead", removed[0].text(nil))
	}
	removed[0].hops = r.hops // a next hop on its own is reported without its weight
	return removed[0], nil
}

// linkNames returns the name of the interface of each next hop. It is "" when
// the interface is gone: then so is the route.
func (t table) linkNames(r *route) ([]string, error) {
	if !r.hasLink() {
		return nil, nil
	}
	var names []string
	for _, h := range r.hops {
		name, err := t.nl.LinkName(h.index)
		if err != nil && !errors.Is(err, unix.ENODEV) {
			return nil, err
		}
		names = append(names, name)
	}
	return names, nil
}
