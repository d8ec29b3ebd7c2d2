// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package multus

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"

	"multus-cni/pkg/delegate"
	"multus-cni/pkg/netconf"
	"multus-cni/pkg/state"
)

// GC deletes the attachments of this network that the runtime does not call
// valid, and has the delegates collect what else is left of such.
//
// A conf without cni.dev/valid-attachments has none that are valid, for libcni
// and the reference plugins as for us: cnitool gc sends such a one.
func (m *Multus) GC(ctx context.Context, args *skel.CmdArgs) error {
	conf, err := m.parse(args.StdinData)
	if err != nil {
		return err
	}
	if conf.Delegates, err = conf.Plan(""); err != nil {
		return err
	}
	store := state.Store{Dir: conf.CNIDir}
	if err := store.Prepare(); err != nil {
		return ioError(err)
	}
	keys, err := store.List()
	if err != nil {
		return ioError(err)
	}
	valid := make(map[types.GCAttachment]bool, len(conf.ValidAttachments))
	for _, v := range conf.ValidAttachments {
		valid[v] = true
	}
	var errs []error
	inUse := interfaces{}
	for _, key := range keys {
		attachment := types.GCAttachment{ContainerID: key.ContainerID, IfName: key.IfName}
		if key.Network == conf.Name && !valid[attachment] {
			if err := m.collect(ctx, args.StdinData, conf, key); err != nil {
				errs = append(errs, err)
			}
			continue
		}
		if record, err := store.Load(key); err == nil {
			inUse.add(record)
			if key.Network == conf.Name {
				delete(valid, attachment)
			}
		} else if !errors.Is(err, state.ErrNotExist) {
			m.warn("%v", err)
		}
	}
	inUse.plan(conf, valid) // of those without a record that can be read
	a := m.attachment(conf, "", "", m.Env)
	for i := range conf.Delegates {
		d := &conf.Delegates[i]
		if err := a.logged("GC", d, nil, func() error { return a.runner.GC(ctx, d, inUse.of(d.Name)) }); err != nil {
			errs = append(errs, err)
		}
	}
	return delegate.Join(errs)
}

// collect deletes one attachment as a DEL from the runtime would, with what
// the runtime would have said of it.
func (m *Multus) collect(ctx context.Context, stdin []byte, conf *netconf.Conf, key state.Key) error {
	own, err := netconf.Parse(stdin) // a plan of its own, under its own interface name
	if err != nil {
		return err
	}
	var netns, cniArgs string
	record, err := state.Store{Dir: conf.CNIDir}.Load(key)
	damaged := errors.As(err, new(*state.DamagedError))
	if err == nil {
		cniArgs = record.CNIArgs
		if isOf(record, record.Netns) {
			netns = record.Netns
		}
	}
	env := m.Env.With("CNI_CONTAINERID="+key.ContainerID, "CNI_NETNS="+netns, "CNI_ARGS="+cniArgs)
	a := m.attachment(conf, key.ContainerID, key.IfName, env)
	withoutRecord := func() error {
		if !damaged {
			return nil // a DEL was faster
		}
		return a.deleteConf(ctx, own, nil, netns)
	}
	if err := a.detach(ctx, own, netns, withoutRecord); err != nil {
		e := *delegate.AsError(err)
		e.Msg = fmt.Sprintf("container %s (%s): %s", key.ContainerID, key.IfName, e.Msg)
		return &e
	}
	return nil
}

// interfaces are those in use, by the name of the delegate's network. Networks
// can share a name; what is in use on one of them is in use on all.
type interfaces map[string][]types.GCAttachment

func (n interfaces) add(record *state.Record) {
	for _, d := range record.Delegates {
		n[d.Name] = append(n[d.Name], types.GCAttachment{ContainerID: record.ContainerID, IfName: d.IfName})
	}
}

// plan adds the interfaces that an ADD with this conf would make.
func (n interfaces) plan(conf *netconf.Conf, valid map[types.GCAttachment]bool) {
	for v := range valid {
		for _, d := range conf.Delegates {
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
