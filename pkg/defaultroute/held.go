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

// only takes out the routes that are not wanted and puts back those that are.
func (k *Keeper) only(wanted func(*held) bool) error {
	for i := len(k.held) - 1; i >= 0; i-- {
		if h := &k.held[i]; !h.out && !wanted(h) {
			if err := k.takeOut(h); err != nil {
				return err
			}
		}
	}
	k.held = slices.DeleteFunc(k.held, func(h held) bool { return h.delegate == nobody })
	if err := k.putBackReplaced(); err != nil {
		return err
	}
	// The kernel puts an IPv4 route either before or after all others of its
	// metric, so that those in front go back from the last to the first.
	for i := len(k.held) - 1; i >= 0; i-- {
		if h := &k.held[i]; h.out && wanted(h) && !h.behind && h.header.Family == unix.AF_INET {
			if err := k.putBack(h); err != nil {
				return err
			}
		}
	}
	for i := range k.held {
		if h := &k.held[i]; h.out && wanted(h) {
			if err := k.putBack(h); err != nil {
				return err
			}
		}
	}
	return nil
}

// takeOut removes a route. One that turns out to be learned by router
// advertisement goes back at once: as a merged IPv6 next hop it had been
// reported with the protocol of another one.
func (k *Keeper) takeOut(h *held) error {
	removed, err := k.table.remove(h.route)
	if err != nil {
		return fmt.Errorf("remove the default route %s: %w", h.text(h.links), err)
	}
	h.route, h.out = removed, true
	if isLearned(&h.route) {
		h.delegate = nobody
		k.others = append(k.others, h.route)
		return k.putBack(h)
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

// putBackReplaced puts back what delegates have replaced, in front of those of
// its metric that it was in front of. An interface that is gone has taken its
// routes with it.
func (k *Keeper) putBackReplaced() error {
	for len(k.replaced) > 0 {
		r := k.replaced[0]
		first := slices.ContainsFunc(k.held, func(h held) bool { return h.behind && !h.out && h.rivals(r) })
		if _, err := k.table.add(r, first); err != nil && !errors.Is(err, unix.ENODEV) {
			return fmt.Errorf("put back the default route of another network, %s: %w", r.text(nil), err)
		}
		k.others, k.replaced = append(k.others, r), k.replaced[1:]
	}
	return nil
}

// hold adds a route. Routes stay in the order in which they were seen.
func (k *Keeper) hold(h held) { k.held = append(k.held, h) }

// find returns the held route that r is, nil when there is none. One that had
// been taken out is back then; but where no interface shows whose route it is,
// it is taken for that of the delegate which ran last.
func (k *Keeper) find(r *route) *held {
	i := slices.IndexFunc(k.held, func(h held) bool { return h.key() == r.key() && (!h.out || len(h.hops) > 0) })
	if i < 0 {
		return nil
	}
	return &k.held[i]
}

// noteReplaced finds the routes of other networks in whose place a delegate
// has put its own: NLM_F_REPLACE replaces one of the same metric, whoever added
// it. The routes alone do not show that, since another network may have taken
// its own route out at the same moment, as another multus does.
func (k *Keeper) noteReplaced(present map[string]bool) error {
	if !k.watching {
		return nil
	}
	replacing, err := k.table.replacements()
	if err != nil {
		return err
	}
	for _, r := range k.others {
		ours := func(h held) bool { return !h.out && replacing[h.key()] && h.rivals(r) }
		if !present[r.key()] && slices.ContainsFunc(k.held, ours) {
			k.replaced = append(k.replaced, r)
		}
	}
	return nil
}

// isBehind reports whether one of the routes before r has the same place in
// the table.
func isBehind(before []route, r *route) bool {
	return slices.ContainsFunc(before, r.rivals)
}

// rivals reports whether both routes have the same place in the table: only
// their order makes the kernel choose between those of IPv4.
func (r *route) rivals(other route) bool {
	return r.header.Family == other.header.Family && r.metric == other.metric && r.header.Tos == other.header.Tos
}

// isLearned reports whether a route is one that the kernel learned by router
// advertisement. Of a merged next hop the protocol is not known.
func isLearned(r *route) bool { return r.header.Protocol == unix.RTPROT_RA && !r.merged }

func contains(routes []route, r *route) bool {
	return slices.ContainsFunc(routes, func(other route) bool { return other.key() == r.key() })
}

func familyName(family uint8) string {
	if family == unix.AF_INET6 {
		return "ipv6"
	}
	return "ipv4"
}
