// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package multus

import (
	"errors"
	"fmt"

	"multus-cni/pkg/netconf"
	"multus-cni/pkg/netns"
	"multus-cni/pkg/rawjson"
	"multus-cni/pkg/record"
)

// newRecord makes the record of an attachment with what is known before the
// first delegate runs.
func newRecord(key record.Key, delegates []netconf.Delegate, runtimeConfig rawjson.Object) *record.Record {
	r := &record.Record{Network: key.Network, ContainerID: key.ContainerID, IfName: key.IfName}
	if runtimeConfig != nil {
		r.RuntimeConfig = runtimeConfig.Text()
	}
	for _, d := range delegates {
		r.Delegates = append(r.Delegates, toRecord(d))
	}
	return r
}

// toRecord returns a delegate as the record has it.
func toRecord(d netconf.Delegate) record.Delegate {
	r := record.Delegate{
		Index: d.Index, Name: d.Name, IfName: d.IfName, Primary: d.Primary,
		List: d.List, DisableCheck: d.DisableCheck, DisableGC: d.DisableGC,
	}
	for _, p := range d.Plugins {
		r.Plugins = append(r.Plugins, record.Plugin{Type: p.Type, CNIVersion: p.CNIVersion, Inherited: p.Inherited, Config: p.Config.Text()})
	}
	return r
}

// fromRecord is the reverse of toRecord.
func fromRecord(r record.Delegate) (netconf.Delegate, error) {
	d := netconf.Delegate{
		Index: r.Index, Name: r.Name, IfName: r.IfName, Primary: r.Primary,
		List: r.List, DisableCheck: r.DisableCheck, DisableGC: r.DisableGC,
	}
	for _, p := range r.Plugins {
		config, err := rawjson.ParseObject(p.Config, 0)
		if err != nil {
			return d, fmt.Errorf("the record's configuration of delegate %d: %w", r.Index, err)
		}
		d.Plugins = append(d.Plugins, netconf.Plugin{Type: p.Type, CNIVersion: p.CNIVersion, Inherited: p.Inherited, Config: config})
	}
	return d, nil
}

// load reads the attachment's record or, when there is none, the one that the
// Multus of 2017 or today's Kubernetes Multus left for the container. It
// returns record.ErrNotExist when there is neither.
func (a *attachment) load() (*record.Record, error) {
	r, err := a.store.Load(a.key)
	if errors.Is(err, record.ErrNotExist) {
		return a.loadLegacy()
	}
	return r, err
}

// loadLegacy reads the legacy record of the container as the record of this
// attachment.
func (a *attachment) loadLegacy() (*record.Record, error) {
	old, err := a.store.LoadLegacy(a.key.ContainerID)
	if err != nil {
		return nil, err
	}
	r, err := fromLegacy(old, a.conf, a.key)
	if err != nil {
		return nil, &record.DamagedError{Path: old.Path, Err: err}
	}
	return r, nil
}

// ownersOf describes the owners of the interfaces in a network namespace, by
// their names, as the records of other attachments have them.
func (a *attachment) ownersOf(id netns.Identity) map[string]string {
	owners := map[string]string{}
	entries, err := a.store.Entries()
	if err != nil {
		a.warn("%v", err)
	}
	for _, e := range entries {
		if e.Record == nil || e.Key == a.key || identity(e.Record) != id {
			continue
		}
		for _, d := range e.Record.Delegates {
			owners[d.IfName] = fmt.Sprintf("network %q, delegate %d %q of container %s", e.Key.Network, d.Index, d.Plugins[0].Type, e.Key.ContainerID)
		}
	}
	return owners
}
