// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Package defaultroute decides through which interface of an attachment the
// pod's default route leads, IPv4 and IPv6 each: the primary's, or that of the
// first secondary that installed one when the primary installed none.
//
// Each delegate meets a pod without the default routes of the other delegates,
// so that one that adds its own exclusively does not fail. At the end the
// owner's routes are put back as they were. Only the main table is looked at,
// and only routes through interfaces of the attachment: a default route that a
// delegate adds through any other interface is taken for another network's.
package defaultroute

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// nobody is the index of no delegate.
const nobody = -1

// Keeper takes the default routes of delegates out and puts them back.
type Keeper struct {
	table   table
	primary int
	links   map[string]int // index of the delegate, by the name of its interface
	held    []held
	// others are the routes that were there when last looked, and belong to
	// other networks or to nobody.
	others   []route
	replaced []route // those of others that a delegate has replaced
	watching bool
}

// held is a default route of a delegate of this ADD.
type held struct {
	route
	links    []string // names of the interfaces of the next hops
	delegate int
	chained  bool // it was there before this ADD
	out      bool // it was taken out
	// behind means that an IPv4 route of another network with the same metric
	// comes first.
	behind bool
}

// New looks at the pod before the first delegate runs. Routes that are there
// are left alone, but for those through the interface ifname: in a chain, that
// interface and its routes were made before multus, and count as the primary's.
// primary is the index of that delegate.
func New(nl Netlink, ifname string, primary int) (*Keeper, error) {
	k := &Keeper{table: table{nl}, primary: primary, links: map[string]int{ifname: primary}}
	now, err := k.table.list()
	if err != nil {
		return nil, err
	}
	for _, r := range now {
		names, err := k.table.linkNames(&r)
		if err != nil {
			return nil, err
		}
		if slices.Contains(names, ifname) && !isLearned(&r) {
			k.hold(held{route: r, links: names, delegate: primary, chained: true, behind: isBehind(k.others, &r)})
		} else {
			k.others = append(k.others, r)
		}
	}
	return k, nil
}

// Before prepares the pod for the delegate with an index: the routes of all
// others are taken out, and its own, which only the primary of a chain has by
// then, are put back.
func (k *Keeper) Before(delegate int) error {
	if len(k.others) > 0 && !k.watching {
		if err := k.table.nl.Watch(); err != nil {
			return fmt.Errorf("watch the pod's routes: %w", err)
		}
		k.watching = true
	}
	return k.only(func(h *held) bool { return h.delegate == delegate })
}

// After looks at what a delegate has changed. interfaces are the names of its
// interfaces in the pod: the one that multus gave it, and those of its result.
func (k *Keeper) After(delegate int, interfaces []string) error {
	for _, name := range interfaces {
		if _, taken := k.links[name]; !taken {
			k.links[name] = delegate
		}
	}
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
		h := held{route: r, delegate: nobody}
		if !contains(k.others, &r) && !isLearned(&r) {
			if h, err = k.identify(&r, delegate); err != nil {
				return err
			}
		}
		if h.delegate == nobody {
			others = append(others, r)
			continue
		}
		h.behind = isBehind(others, &r)
		k.hold(h)
	}
	if err := k.noteReplaced(present); err != nil {
		return err
	}
	k.others = others
	k.held = slices.DeleteFunc(k.held, func(h held) bool { return !h.out && !present[h.key()] })
	return nil
}

// identify returns whose a route is that appeared while a delegate ran. One
// without an interface is that delegate's; any other one belongs to the delegate
// whose interface it leads through.
func (k *Keeper) identify(r *route, delegate int) (held, error) {
	h := held{route: *r, delegate: nobody}
	if len(r.hops) == 0 {
		h.delegate = delegate
		return h, nil
	}
	names, err := k.table.linkNames(r)
	if err != nil {
		return h, err
	}
	h.links = names
	for _, name := range names {
		if owner, ok := k.links[name]; ok && h.delegate != delegate {
			h.delegate = owner
		}
	}
	return h, nil
}

// Settle leaves the pod with the owner's routes and without those of all other
// delegates, and checks that it does.
func (k *Keeper) Settle() error {
	owners := k.owners()
	kept := func(h *held) bool { return owners[h.header.Family] == h.delegate }
	changed := slices.ContainsFunc(k.held, func(h held) bool { return h.out == kept(&h) })
	if err := k.only(kept); err != nil || !changed {
		return err
	}
	return k.verify()
}

// verify lists the routes again: that the kernel has reported no error does
// not mean that the right one of several IPv6 next hops is gone.
func (k *Keeper) verify() error {
	now, err := k.table.list()
	if err != nil {
		return err
	}
	for i := range k.held {
		h := &k.held[i]
		there := contains(now, &h.route)
		if !there && !h.out {
			return fmt.Errorf("the default route %s was put back and is not there", h.text(h.links))
		}
		twin := func(other held) bool { return !other.out && other.key() == h.key() }
		if there && h.out && !slices.ContainsFunc(k.held, twin) {
			return fmt.Errorf("the default route %s was removed and is still there", h.text(h.links))
		}
	}
	return nil
}

// Restore undoes what Before, After and Settle did to routes that were there
// before the ADD, for a rollback. What the delegates installed is theirs to
// remove.
func (k *Keeper) Restore() error {
	var errs []error
	for i := range k.held {
		h := &k.held[i]
		if !h.chained || !h.out {
			continue
		}
		if err := k.putBack(h); !errors.Is(err, unix.ENODEV) { // the interface is gone, and its routes with it
			errs = append(errs, err)
		}
	}
	errs = append(errs, k.putBackReplaced())
	return errors.Join(errs...)
}

// Owners returns the index of the delegate that has the default route, by
// "ipv4" and "ipv6". A family without a default route has no entry.
func (k *Keeper) Owners() map[string]int {
	owners := make(map[string]int, 2)
	for family, delegate := range k.owners() {
		owners[familyName(family)] = delegate
	}
	return owners
}

// Interfaces returns the names of the interfaces through which the default
// routes lead, as Owners does the delegates. A default route that leads
// nowhere has no entry.
func (k *Keeper) Interfaces() map[string]string {
	interfaces := make(map[string]string, 2)
	metric := map[uint8]uint32{}
	owners := k.owners()
	for _, h := range k.held {
		family := h.header.Family
		if owners[family] != h.delegate || len(h.links) == 0 || h.links[0] == "" {
			continue
		}
		if best, ok := metric[family]; !ok || h.metric < best {
			metric[family], interfaces[familyName(family)] = h.metric, h.links[0]
		}
	}
	return interfaces
}

// Taken returns the routes that were taken from delegates for good, as Verify
// takes them.
func (k *Keeper) Taken() []string {
	var taken, kept []string
	owners := k.owners()
	for _, h := range k.held {
		if owners[h.header.Family] == h.delegate {
			kept = append(kept, h.texts(h.links)...)
		} else {
			taken = append(taken, h.texts(h.links)...)
		}
	}
	return slices.DeleteFunc(taken, func(text string) bool { return slices.Contains(kept, text) })
}

func (k *Keeper) owners() map[uint8]int {
	owners := make(map[uint8]int, 2)
	for _, h := range k.held {
		owner, ok := owners[h.header.Family]
		if !ok || h.delegate == k.primary || owner != k.primary && h.delegate < owner {
			owners[h.header.Family] = h.delegate
		}
	}
	return owners
}
