// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package defaultroute

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Verify checks that the default route of each family in expected leads
// through the interface that stands there, as Keeper.Interfaces returned it,
// and that none of the routes in taken, as Keeper.Taken returned them, has
// come back. Other routes are no mistake: a routing daemon may add its own,
// through any interface.
func Verify(nl Netlink, expected map[string]string, taken []string) error {
	t := table{nl}
	routes, err := t.list()
	if err != nil {
		return err
	}
	through := map[string][]string{}
	for _, r := range routes {
		names, err := t.linkNames(&r)
		if err != nil {
			return err
		}
		through[r.family()] = append(through[r.family()], names...)
		for _, text := range r.texts(names) {
			if slices.ContainsFunc(taken, func(other string) bool { return isTaken(&r, text, other) }) {
				return fmt.Errorf("the pod's default route of a secondary network is back: %s", text)
			}
		}
	}
	for _, family := range []string{"ipv4", "ipv6"} {
		want, ok := expected[family]
		switch {
		case !ok || slices.Contains(through[family], want):
		case len(through[family]) == 0:
			return fmt.Errorf("the pod has no %s default route, want one through %s", family, want)
		default:
			return fmt.Errorf("the pod's %s default route leads through %s, want %s", family, strings.Join(through[family], ", "), want)
		}
	}
	return nil
}

// isTaken compares texts without the protocol where that may be another one's.
func isTaken(r *route, text, taken string) bool {
	if r.merged {
		text, _, _ = strings.Cut(text, protocolText)
		taken, _, _ = strings.Cut(taken, protocolText)
	}
	return text == taken
}

// protocolText stands before the protocol, which is the last thing in a text.
const protocolText = " proto "

// text is for messages.
func (r *route) text(links []string) string { return strings.Join(r.texts(links), ", ") }

// texts returns one line for each next hop, such as "ipv4 default via 10.1.0.1
// dev net0 metric 0 proto 3". links are the names of the interfaces, nil when
// they are not known. The lines are kept in records: they must not change.
func (r *route) texts(links []string) []string {
	var end strings.Builder
	fmt.Fprintf(&end, " metric %d", r.metric())
	if r.header.Tos != 0 {
		fmt.Fprintf(&end, " tos %d", r.header.Tos)
	}
	fmt.Fprintf(&end, "%s%d", protocolText, r.header.Protocol)
	start := r.family() + " default"
	if !r.hasLink() {
		return []string{fmt.Sprintf("%s type %d%s", start, r.header.Type, end.String())}
	}
	var texts []string
	for i, h := range r.hops {
		text := start
		if gateway := h.gateway(); gateway != "" {
			text += " via " + gateway
		}
		if i < len(links) && links[i] != "" {
			text += " dev " + links[i]
		} else {
			text += fmt.Sprintf(" dev index %d", h.index)
		}
		texts = append(texts, text+end.String())
	}
	return texts
}

func (r *route) family() string {
	if r.header.Family == unix.AF_INET6 {
		return "ipv6"
	}
	return "ipv4"
}
