// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Package defaultroute decides which interface of an attachment carries the
// pod's default route, separately for IPv4 and IPv6: the primary's or, if the
// primary installed none, that of the first secondary that installed one.
//
// Each delegate runs while the pod has no default routes of the other
// delegates, so that one that adds its own exclusively does not fail. At the
// end the owner's routes are put back as they were. The package handles only
// the main table, and only routes through interfaces of the attachment or
// through none (such as blackhole): it treats a default route through any other
// interface as one of another network.
package defaultroute

import (
	"cmp"
	"errors"
	"slices"

	"golang.org/x/sys/unix"
)

// Keeper removes the default routes of delegates and puts them back.
type Keeper struct {
	table   table
	primary int
	links   map[string]int // index of the delegate, by the name of its interface
	held    []held
	// others are the routes that were there when last looked, and belong to
	// other networks or to nobody.
	others []route
}

// New must be called before the first delegate runs. The Keeper leaves alone
// the routes that already exist, except those through the interface ifname: if
// multus runs inside a plugin list, an earlier plugin has made that interface
// and its routes, which count as the primary's. primary is the index of the
// primary.
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

// Before prepares the pod for a delegate, given by its index. It removes the
// routes of all other delegates and puts back those of this one. (Only the
// primary can have routes before it runs, if multus runs inside a plugin list.)
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

// Restore puts back, for a rollback, the routes that existed before the ADD.
// The delegates themselves remove the routes that they have installed.
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
// routes lead, by "ipv4" and "ipv6". A default route without an interface, such
// as blackhole, has no entry.
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

// Taken returns the routes of delegates that were removed for good, in the form
// that Verify expects.
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
