// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package multus

import (
	"encoding/json"
	"errors"
	"fmt"

	"multus-cni/pkg/netconf"
	"multus-cni/pkg/netns"
	"multus-cni/pkg/rawjson"
	"multus-cni/pkg/record"
)

// toRecord writes a delegate down as it is run.
func toRecord(d netconf.Delegate) (record.Delegate, error) {
	r := record.Delegate{
		Index: d.Index, Name: d.Name, IfName: d.IfName, Primary: d.Primary,
		List: d.List, DisableCheck: d.DisableCheck, DisableGC: d.DisableGC,
	}
	for _, p := range d.Plugins {
		config, err := p.Config.MarshalJSON()
		if err != nil {
			return r, err
		}
		r.Plugins = append(r.Plugins, record.Plugin{Type: p.Type, CNIVersion: p.CNIVersion, Inherited: p.Inherited, Config: config})
	}
	return r, nil
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

// parseObject reads an object that may be missing.
func parseObject(text json.RawMessage) (rawjson.Object, error) {
	if text == nil {
		return nil, nil
	}
	return rawjson.ParseObject(text, 0)
}

// load reads the attachment's record or, when there is none, the one that the
// multus of 2017, or the upstream of today, left of the container. It returns
// record.ErrNotExist when there is neither.
func (a *attachment) load() (*record.Record, error) {
	r, err := a.store.Load(a.key)
	if !errors.Is(err, record.ErrNotExist) {
		return r, err
	}
	old, err := a.store.LoadLegacy(a.key.ContainerID)
	if err != nil {
		return nil, err
	}
	r, err = fromLegacy(old, a.conf, a.key)
	if err != nil {
		return nil, &record.DamagedError{Path: old.Path, Err: err}
	}
	return r, nil
}

// ownersOf says to whom the interfaces in a network namespace belong, by their
// names, as far as the records of other attachments tell.
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
