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
	"cmp"
	"errors"
	"slices"

	"golang.org/x/sys/unix"
)

// Keeper takes the default routes of delegates out and puts them back.
type Keeper struct {
	table   table
	primary int
	links   map[string]int // index of the delegate, by the name of its interface
	held    []held
	// others are the routes that were there when last looked, and belong to
	// other networks or to nobody.
	others []route
}

// New looks at the pod before the first delegate runs. Routes that are there
// are left alone, but for those through the interface ifname: in a chain, that
// interface and its routes were made before multus, and count as the primary's.
// primary is the index of that delegate.
func New(nl Netlink, ifname string, primary int) (*Keeper, error) {
	k := &Keeper{table: table{nl}, primary: primary, links: map[string]int{ifname: primary}}
	if err := k.look(nobody); err != nil {
		return nil, err
	}
	for i := range k.held {
		k.held[i].restore = true
	}
	return k, nil
}

// Before prepares the pod for the delegate with an index: the routes of all
// others are taken out, and its own, which only the primary of a chain has by
// then, are put back.
func (k *Keeper) Before(delegate int) error {
	if _, err := k.replacements(); err != nil {
		return err
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
	return k.look(delegate)
}

// Settle leaves the pod with the owner's routes and without those of all other
// delegates, and checks that it does.
func (k *Keeper) Settle() error {
	owners := k.Owners()
	kept := func(h *held) bool { return owners[h.family()] == h.delegate }
	changed := slices.ContainsFunc(k.held, func(h held) bool { return h.out == kept(&h) })
	if err := k.only(kept); err != nil || !changed {
		return err
	}
	return k.verify()
}

// Restore undoes what Before, After and Settle did to routes that were there
// before the ADD, for a rollback. What the delegates installed is theirs to
// remove.
func (k *Keeper) Restore() error {
	var errs []error
	for i := range k.held {
		h := &k.held[i]
		if !h.restore || !h.out {
			continue
		}
		if err := k.putBack(h); !errors.Is(err, unix.ENODEV) { // the interface is gone, and its routes with it
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Owners returns the index of the delegate that has the default route, by
// "ipv4" and "ipv6". A family without a default route has no entry.
func (k *Keeper) Owners() map[string]int {
	owners := make(map[string]int, 2)
	for _, h := range k.held {
		owner, ok := owners[h.family()]
		if h.delegate != nobody && (!ok || h.delegate == k.primary || owner != k.primary && h.delegate < owner) {
			owners[h.family()] = h.delegate
		}
	}
	return owners
}

// Interfaces returns the names of the interfaces through which the default
// routes lead, as Owners does the delegates. A default route that leads
// nowhere has no entry.
func (k *Keeper) Interfaces() map[string]string {
	interfaces := make(map[string]string, 2)
	owners := k.Owners()
	byMetric := slices.SortedStableFunc(slices.Values(k.held), func(a, b held) int { return cmp.Compare(a.metric(), b.metric()) })
	for _, h := range byMetric {
		if owners[h.family()] == h.delegate && len(h.links) > 0 && h.links[0] != "" && interfaces[h.family()] == "" {
			interfaces[h.family()] = h.links[0]
		}
	}
	return interfaces
}

// Taken returns the routes that were taken from delegates for good, as Verify
// takes them.
func (k *Keeper) Taken() []string {
	var taken, kept []string
	owners := k.Owners()
	for _, h := range k.held {
		if owners[h.family()] == h.delegate {
			kept = append(kept, h.texts(h.links)...)
		} else {
			taken = append(taken, h.texts(h.links)...)
		}
	}
	return slices.DeleteFunc(taken, func(text string) bool { return slices.Contains(kept, text) })
}
