// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package route

import (
	"fmt"
	"slices"

	"github.com/vishvananda/netlink"
)

// nobody is the index of no delegate.
const nobody = -1

// Keeper sees to it, while the delegates of a pod run, that the default route
// of each family ends up with the primary, or with the first secondary that
// brought one when the primary brings none.
//
// What a delegate brought is what is there after it and was not before. Until
// the primary has run, the routes of secondaries are taken out, so that a
// primary that adds its own exclusively finds none in its way. From then on a
// secondary's route is taken out, and the owner's put back if it was replaced.
type Keeper struct {
	netns  *Netns
	before []netlink.Route // not ours
	ipv4   family
	ipv6   family
}

// family is the state of one address family.
type family struct {
	af      int
	owner   int // index of the delegate that has the default route, or that will if the primary brings none
	routes  []netlink.Route
	settled bool // the owner keeps it: the primary has run
}

// Keep starts before the first delegate runs. Default routes that are there
// already are not touched; one through the interface ifname counts as the
// primary's, which multus has got from a chain then.
func (n *Netns) Keep(ifname string, primary int) (*Keeper, error) {
	before, err := n.defaults()
	if err != nil {
		return nil, err
	}
	k := &Keeper{
		netns: n, before: before,
		ipv4: family{af: netlink.FAMILY_V4, owner: nobody},
		ipv6: family{af: netlink.FAMILY_V6, owner: nobody},
	}
	for _, r := range before {
		name, err := n.linkName(linkIndex(r))
		if err != nil {
			return nil, err
		}
		if f := k.family(r.Family); name == ifname {
			f.owner, f.settled = primary, true
			f.routes = append(f.routes, r)
		}
	}
	return k, nil
}

func (k *Keeper) family(af int) *family {
	if af == netlink.FAMILY_V6 {
		return &k.ipv6
	}
	return &k.ipv4
}

// Ran looks at what the delegate at index has done to the default routes, and
// sets them right.
func (k *Keeper) Ran(index int, primary bool) error {
	now, err := k.netns.defaults()
	if err != nil {
		return err
	}
	for _, f := range []*family{&k.ipv4, &k.ipv6} {
		var present, brought []netlink.Route
		for _, r := range now {
			if r.Family == f.af {
				present = append(present, r)
				if !contains(k.before, r) && !(f.settled && contains(f.routes, r)) {
					brought = append(brought, r)
				}
			}
		}
		if err := k.settle(f, index, primary, present, brought); err != nil {
			return err
		}
	}
	return nil
}

func (k *Keeper) settle(f *family, index int, primary bool, present, brought []netlink.Route) error {
	if primary {
		chained := f.settled
		if chained { // what it left of the routes that it found is its own too
			brought = append(brought, intersect(f.routes, present)...)
		}
		f.settled = true
		if len(brought) > 0 || chained {
			f.take(index, brought)
			return nil
		}
		return k.restore(f, present)
	}
	if f.owner == nobody {
		f.take(index, brought)
		if f.settled {
			return nil // the first to bring one after a primary that did not
		}
	}
	for _, r := range brought {
		if err := k.netns.remove(r); err != nil {
			return err
		}
	}
	if f.settled {
		return k.restore(f, present)
	}
	return nil
}

// take makes a delegate the owner of what it brought, if that is anything.
func (f *family) take(index int, brought []netlink.Route) {
	f.owner, f.routes = nobody, brought
	if len(brought) > 0 {
		f.owner = index
	}
}

// restore puts back those of the owner's routes that are not present.
func (k *Keeper) restore(f *family, present []netlink.Route) error {
	for _, r := range f.routes {
		if !contains(present, r) {
			if err := k.netns.add(r); err != nil {
				return err
			}
		}
	}
	return nil
}

// Owners returns the indexes of the delegates that have the default routes, by
// "ipv4" and "ipv6". A family without a default route has no entry.
func (k *Keeper) Owners() map[string]int {
	owners := make(map[string]int, 2)
	for name, f := range k.families() {
		if f.owner != nobody {
			owners[name] = f.owner
		}
	}
	return owners
}

// Interfaces returns the names of the interfaces through which the default
// routes lead, as Owners does the delegates.
func (k *Keeper) Interfaces() (map[string]string, error) {
	interfaces := make(map[string]string, 2)
	for name, f := range k.families() {
		if f.owner == nobody {
			continue
		}
		link, err := k.netns.linkName(linkIndex(f.routes[0]))
		if err != nil {
			return nil, err
		}
		interfaces[name] = link
	}
	return interfaces, nil
}

func (k *Keeper) families() map[string]*family {
	return map[string]*family{"ipv4": &k.ipv4, "ipv6": &k.ipv6}
}

// Verify sees that the default route of each family in expected leads through
// the interface that stands there, and not through one of others.
func (n *Netns) Verify(expected map[string]string, others []string) error {
	routes, err := n.defaults()
	if err != nil {
		return err
	}
	through := map[string][]string{}
	var hops []netlink.Route
	for _, r := range routes {
		hops = append(hops, nextHops(r)...)
	}
	for _, r := range hops {
		name, err := n.linkName(r.LinkIndex)
		if err != nil {
			return err
		}
		af := map[int]string{netlink.FAMILY_V4: "ipv4", netlink.FAMILY_V6: "ipv6"}[r.Family]
		through[af] = append(through[af], name)
	}
	for _, af := range []string{"ipv4", "ipv6"} {
		want, ok := expected[af]
		if !ok {
			continue
		}
		if !slices.Contains(through[af], want) {
			return fmt.Errorf("the pod's %s default route leads through %v and not through %s", af, through[af], want)
		}
		for _, name := range through[af] {
			if name != want && slices.Contains(others, name) {
				return fmt.Errorf("the pod's %s default route leads through %s too, beside %s", af, name, want)
			}
		}
	}
	return nil
}

func linkIndex(r netlink.Route) int {
	if len(r.MultiPath) > 0 {
		return r.MultiPath[0].LinkIndex
	}
	return r.LinkIndex
}

func intersect(routes, others []netlink.Route) []netlink.Route {
	var both []netlink.Route
	for _, r := range routes {
		if contains(others, r) {
			both = append(both, r)
		}
	}
	return both
}

func contains(routes []netlink.Route, r netlink.Route) bool {
	return slices.ContainsFunc(routes, func(other netlink.Route) bool { return same(other, r) })
}

// same compares what tells one default route from another, not the counters
// and states that the kernel reports with it.
func same(a, b netlink.Route) bool {
	if a.Family != b.Family || a.Priority != b.Priority || a.Tos != b.Tos || a.LinkIndex != b.LinkIndex ||
		!a.Gw.Equal(b.Gw) || fmt.Sprint(a.Via) != fmt.Sprint(b.Via) || len(a.MultiPath) != len(b.MultiPath) {
		return false
	}
	for i := range a.MultiPath {
		if x, y := a.MultiPath[i], b.MultiPath[i]; x.LinkIndex != y.LinkIndex || !x.Gw.Equal(y.Gw) {
			return false
		}
	}
	return true
}
