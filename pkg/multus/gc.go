// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package multus

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"runtime"
	"slices"
	"sync"

	"github.com/containernetworking/cni/pkg/types"

	"multus-cni/pkg/cnierror"
	"multus-cni/pkg/netconf"
	"multus-cni/pkg/record"
)

// gc deletes the attachments of this network that the runtime does not list as
// valid, and then runs the GC of the delegates.
//
// A conf with neither cni.dev/valid-attachments nor cni.dev/attachments, such
// as cnitool gc sends, means that no attachment is valid: libcni and the
// reference plugins take it so too.
func (c *call) gc(ctx context.Context) error {
	if c.confErr != nil {
		return c.confErr
	}
	delegates, err := c.conf.Plan("")
	if err != nil {
		return err
	}
	store := record.Store{Dir: c.conf.CNIDir}
	if err := store.Prepare(); err != nil {
		return ioError(err)
	}
	found, err := c.examine(store, delegates)
	if err != nil {
		return ioError(err)
	}
	collectErr := c.collectAll(ctx, found.garbage)
	if len(found.garbage) > 0 {
		// That may have taken minutes, in which pods were attached to other networks.
		if found, err = c.examine(store, delegates); err != nil {
			return cnierror.Join(collectErr, ioError(err))
		}
	}
	if found.unreadable != nil {
		// What such a record has in use is not known, and a delegate's GC
		// removes whatever is not listed as valid. No delegate is exempt: a
		// delegate of the unreadable record may have the same network name.
		return cnierror.Join(collectErr, cnierror.Prefix(cnierror.Join(found.unreadable...),
			"no delegate was told to collect, since not all records can be read"))
	}
	a := c.attachment(record.Key{}, c.Env, nil)
	errs := []error{collectErr}
	for _, d := range delegates {
		in := netconf.Inputs{ValidAttachments: found.inUse.of(d.Name)}
		errs = append(errs, a.callDelegate(ctx, a.runner, "GC", d, in))
	}
	return cnierror.Join(errs...)
}

// findings is what a GC finds in the directory of the records.
type findings struct {
	garbage    []record.Key
	inUse      interfaces
	unreadable []error
}

// examine decides what to collect, and what is in use.
func (c *call) examine(store record.Store, delegates []netconf.Delegate) (findings, error) {
	entries, err := store.Entries()
	if err != nil {
		return findings{}, err
	}
	valid := make(map[types.GCAttachment]bool, len(c.conf.ValidAttachments))
	containers := make(map[string]string, len(c.conf.ValidAttachments)) // their CNI_IFNAME
	for _, v := range c.conf.ValidAttachments {
		valid[v], containers[v.ContainerID] = true, v.IfName
	}
	f := findings{inUse: interfaces{}}
	for _, e := range entries {
		attachment := types.GCAttachment{ContainerID: e.Key.ContainerID, IfName: e.Key.IfName}
		if e.Key.Network == c.conf.Name && !valid[attachment] && e.Kind != record.KindQuarantined {
			f.garbage = append(f.garbage, e.Key)
			if e.Kind == record.KindNewer {
				f.unreadable = append(f.unreadable, e.Err)
			}
			continue
		}
		r, err := e.Record, e.Err
		if e.Kind == record.KindLegacy { // of a network that it does not name
			attachment.IfName = containers[e.Key.ContainerID]
			r, err = fromLegacy(e.Legacy, c.conf, record.Key{Network: c.conf.Name, ContainerID: e.Key.ContainerID, IfName: attachment.IfName})
		}
		switch {
		case r != nil:
			f.inUse.add(r)
			if r.Network == c.conf.Name {
				delete(valid, attachment)
			}
		case err != nil && e.Kind != record.KindQuarantined:
			f.unreadable = append(f.unreadable, err)
		}
	}
	f.inUse.plan(delegates, valid)
	return f, nil
}

// collectAll deletes attachments side by side, as many as there are
// processors. The errors are joined in the order of the attachments.
//
// Each has a goroutine of its own, since a thread that cannot leave a pod's
// network namespace stays locked to its goroutine and ends with it: see netns.
func (c *call) collectAll(ctx context.Context, garbage []record.Key) error {
	errs := make([]error, len(garbage))
	slots := make(chan struct{}, runtime.NumCPU())
	var workers sync.WaitGroup
	for i, key := range garbage {
		slots <- struct{}{}
		workers.Add(1)
		go func() {
			defer workers.Done()
			errs[i] = withoutPanic(func() error { return c.collect(ctx, key) })
			<-slots
		}()
	}
	workers.Wait()
	return cnierror.Join(errs...)
}

// collect deletes one attachment as a DEL from the runtime would, with the
// CNI_NETNS and CNI_ARGS of its ADD.
func (c *call) collect(ctx context.Context, key record.Key) (err error) {
	defer func() {
		if err != nil {
			err = cnierror.Prefix(err, "container %s (%s)", key.ContainerID, key.IfName)
		}
	}()
	a, err := c.lockToDelete(ctx, key, c.Env.With("CNI_CONTAINERID="+key.ContainerID, "CNI_NETNS=", "CNI_ARGS="))
	defer a.release()
	if err != nil {
		return ioError(err)
	}
	r, err := a.store.Load(key)
	switch {
	case errors.Is(err, record.ErrNotExist):
		return nil // a DEL was faster
	case err == nil:
		a.undoer = a.undoer.With("CNI_ARGS=" + r.CNIArgs)
		p := c.openPodToDelete(r.Netns, r)
		defer p.close()
		return a.undo(ctx, r, p)
	}
	if err := a.fallBackToConf(err); err != nil {
		return err
	}
	return a.undoConf(ctx, &pod{})
}

// interfaces are those in use, by the name of the delegate's network. Networks
// can share a name; what is in use on one of them is in use on all.
type interfaces map[string][]types.GCAttachment

func (n interfaces) add(r *record.Record) {
	for _, d := range r.Delegates {
		n[d.Name] = append(n[d.Name], types.GCAttachment{ContainerID: r.ContainerID, IfName: d.IfName})
	}
}

// plan adds the interfaces that an ADD with this conf would make.
func (n interfaces) plan(delegates []netconf.Delegate, valid map[types.GCAttachment]bool) {
	for v := range valid {
		for _, d := range delegates {
			ifname := d.IfName
			if d.Primary {
				ifname = v.IfName
			}
			n[d.Name] = append(n[d.Name], types.GCAttachment{ContainerID: v.ContainerID, IfName: ifname})
		}
	}
}

// of returns the list that a delegate gets, in a fixed order.
func (n interfaces) of(name string) json.RawMessage {
	list := append([]types.GCAttachment{}, n[name]...)
	slices.SortFunc(list, func(a, b types.GCAttachment) int {
		return cmp.Or(cmp.Compare(a.ContainerID, b.ContainerID), cmp.Compare(a.IfName, b.IfName))
	})
	text, _ := json.Marshal(list) // strings only
	return text
}
