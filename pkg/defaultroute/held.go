// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package defaultroute

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// nobody is the index of no delegate. A route of nobody is held only until it
// is put back.
const nobody = -1

// held is a default route of a delegate of this ADD.
type held struct {
	route
	links    []string // names of the interfaces of the next hops
	delegate int
	restore  bool // it was there before this ADD
	out      bool // it was taken out
	// behind means that it does not go in front of others with the same
	// metric: IPv4 routes of another network come first, IPv6 has no order.
	behind bool
}

// look lists the routes. delegate is the one that has run, or nobody.
func (k *Keeper) look(delegate int) error {
	now, err := k.table.list()
	if err != nil {
		return err
	}
	present := make(map[string]bool, len(now))
	var others []route
	for _, r := range now {
		present[r.key()] = true
		if h := k.find(&r); h != nil {
			h.route, h.out = r, false
			continue
		}
		h := held{route: r, delegate: nobody, behind: r.header.Family == unix.AF_INET6 || slices.ContainsFunc(others, r.rivals)}
		if !contains(k.others, &r) && !isLearned(&r) {
			if err := k.identify(&h, delegate); err != nil {
				return err
			}
		}
		if h.delegate == nobody {
			others = append(others, r)
		} else {
			k.held = append(k.held, h) // in the order in which they were seen
		}
	}
	if err := k.holdReplaced(present); err != nil {
		return err
	}
	k.others = others
	k.held = slices.DeleteFunc(k.held, func(h held) bool { return !h.out && !present[h.key()] })
	return nil
}

// find returns the held route that r is, nil when there is none. A held route
// that was taken out and is found has come back. Without an interface nothing
// shows whose route r is: then find does not return one that was taken out, and
// r counts as a route of the delegate that ran last.
func (k *Keeper) find(r *route) *held {
	i := slices.IndexFunc(k.held, func(h held) bool { return h.key() == r.key() && (!h.out || h.hasLink()) })
	if i < 0 {
		return nil
	}
	return &k.held[i]
}

// identify sets whose a route is that appeared while a delegate ran. One without
// an interface is that delegate's; any other one belongs to the delegate whose
// interface it leads through.
func (k *Keeper) identify(h *held, delegate int) (err error) {
	if !h.hasLink() {
		h.delegate = delegate
		return nil
	}
	h.links, err = k.table.linkNames(&h.route)
	for _, name := range h.links {
		if owner, ok := k.links[name]; ok && (h.delegate == nobody || h.delegate != delegate) {
			h.delegate = owner
		}
	}
	return err
}

// holdReplaced holds the routes of other networks in whose place a delegate has
// put its own, to put them back: NLM_F_REPLACE replaces one of the same metric,
// whoever added it. The routes alone do not show that, since another network
// may have taken its own route out at the same moment, as another multus does.
func (k *Keeper) holdReplaced(present map[string]bool) error {
	replacing, err := k.replacements()
	if err != nil {
		return err
	}
	for _, r := range k.others {
		ours := func(h held) bool { return !h.out && contains(replacing, &h.route) && h.rivals(r) }
		if !present[r.key()] && slices.ContainsFunc(k.held, ours) {
			inFront := slices.ContainsFunc(k.held, func(h held) bool { return h.behind && !h.out && h.rivals(r) })
			k.held = append(k.held, held{route: r, delegate: nobody, restore: true, out: true, behind: !inFront})
		}
	}
	return nil
}

// replacements returns the default routes that have replaced others since the
// last call, if there are others.
func (k *Keeper) replacements() ([]route, error) {
	if len(k.others) == 0 {
		return nil, nil
	}
	bodies, err := k.table.nl.Replacements()
	if err != nil {
		return nil, fmt.Errorf("watch the pod's routes: %w", err)
	}
	return parseAll(bodies)
}

// only takes out the routes that are not wanted and puts back those that are.
func (k *Keeper) only(wanted func(*held) bool) error {
	for i := len(k.held) - 1; i >= 0; i-- {
		if h := &k.held[i]; !h.out && h.delegate != nobody && !wanted(h) {
			if err := k.takeOut(h); err != nil {
				return err
			}
		}
	}
	var nobodys, front, rest []*held
	for i := range k.held {
		switch h := &k.held[i]; {
		case h.delegate == nobody:
			nobodys = append(nobodys, h)
		case h.out && wanted(h) && h.behind:
			rest = append(rest, h)
		case h.out && wanted(h):
			front = append(front, h)
		}
	}
	// The kernel puts an IPv4 route either before or after all others of its
	// metric, so that those in front go back from the last to the first.
	slices.Reverse(front)
	for _, h := range slices.Concat(nobodys, front, rest) {
		if !h.out { // somebody was faster
			continue
		}
		err := k.putBack(h)
		if h.delegate == nobody && errors.Is(err, unix.ENODEV) { // its interface is gone, and its routes with it
			continue
		}
		if err != nil {
			return err
		}
	}
	for _, h := range nobodys {
		k.others = append(k.others, h.route)
	}
	k.held = slices.DeleteFunc(k.held, func(h held) bool { return h.delegate == nobody })
	return nil
}

// takeOut removes a route. One that turns out to be learned by router
// advertisement is nobody's: as a merged IPv6 next hop it had been reported
// with the protocol of another one.
func (k *Keeper) takeOut(h *held) error {
	removed, err := k.table.remove(h.route)
	if err != nil {
		return fmt.Errorf("remove the default route %s: %w", h.text(h.links), err)
	}
	h.route, h.out = removed, true
	if isLearned(&h.route) {
		h.delegate, h.restore = nobody, true
	}
	return nil
}

func (k *Keeper) putBack(h *held) error {
	added, err := k.table.add(h.route, !h.behind)
	if err != nil {
		return fmt.Errorf("put back the default route %s: %w", h.text(h.links), err)
	}
	h.route, h.out = added, false
	return nil
}

// verify lists the routes again: that the kernel has reported no error does
// not mean that the right one of several IPv6 next hops is gone.
func (k *Keeper) verify() error {
	now, err := k.table.list()
	if err != nil {
		return err
	}
	wanted := map[string]bool{}
	for _, h := range k.held {
		wanted[h.key()] = wanted[h.key()] || !h.out
	}
	for _, h := range k.held {
		switch there := contains(now, &h.route); {
		case wanted[h.key()] && !there:
			return fmt.Errorf("the default route %s was put back and is not there", h.text(h.links))
		case there && !wanted[h.key()]:
			return fmt.Errorf("the default route %s was removed and is still there", h.text(h.links))
		}
	}
	return nil
}

// rivals reports whether both routes have the same place in the table: only
// their order makes the kernel choose between those of IPv4.
func (r *route) rivals(other route) bool {
	return r.header.Family == other.header.Family && r.metric() == other.metric() && r.header.Tos == other.header.Tos
}

// isLearned reports whether a route is one that the kernel learned by router
// advertisement. Of a merged next hop the protocol is not known.
func isLearned(r *route) bool { return r.header.Protocol == unix.RTPROT_RA && !r.merged }

func contains(routes []route, r *route) bool {
	return slices.ContainsFunc(routes, func(other route) bool { return other.key() == r.key() })
}
