// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package defaultroute

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Verify checks the default routes after an ADD. expected is what
// Keeper.Interfaces returned: the default route of each family in it must lead
// through that interface. taken is what Keeper.Taken returned: none of these
// routes may be back. Other routes are ignored, since a routing daemon may add
// its own through any interface.
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
			return fmt.Errorf("the pod has no %s default route; it should lead through %s", family, want)
		default:
			return fmt.Errorf("the pod's %s default route leads through %s instead of %s", family, strings.Join(through[family], ", "), want)
		}
	}
	return nil
}

// List returns a line for each next hop of the default routes, such as "default
// via 10.1.0.1 dev net0". It leaves out routes without an interface, such as
// blackhole.
func List(nl Netlink) ([]string, error) {
	t := table{nl}
	routes, err := t.list()
	if err != nil {
		return nil, err
	}
	var lines []string
	for _, r := range routes {
		names, err := t.linkNames(&r)
		if err != nil {
			return nil, err
		}
		for i, name := range names {
			lines = append(lines, "default"+r.hops[i].text(name))
		}
	}
	return lines, nil
}

// isTaken compares texts, without the protocol where the kernel may have reported
// that of another next hop.
func isTaken(r *route, text, taken string) bool {
	if r.merged {
		text, _, _ = strings.Cut(text, protocolText)
		taken, _, _ = strings.Cut(taken, protocolText)
	}
	return text == taken
}

// protocolText precedes the protocol, which is the last thing in a text.
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
		link := ""
		if i < len(links) {
			link = links[i]
		}
		texts = append(texts, start+h.text(link)+end.String())
	}
	return texts
}

// text returns the end of "default via 10.1.0.1 dev net0". link is the name of
// the interface, "" when it is not known.
func (h hop) text(link string) string {
	text := ""
	if gateway := h.gateway(); gateway != "" {
		text = " via " + gateway
	}
	return text + " dev " + cmp.Or(link, fmt.Sprintf("index %d", h.index))
}

func (r *route) family() string {
	if r.header.Family == unix.AF_INET6 {
		return "ipv6"
	}
	return "ipv4"
}
