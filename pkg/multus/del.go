// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package multus

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"

	"multus-cni/pkg/delegate"
	"multus-cni/pkg/netconf"
	"multus-cni/pkg/rawjson"
	"multus-cni/pkg/route"
	"multus-cni/pkg/state"
)

// Del detaches a pod from the networks that its record lists, or, without a
// record, from those that the conf lists.
func (m *Multus) Del(ctx context.Context, args *skel.CmdArgs) error {
	conf, confErr := m.parse(args.StdinData)
	if conf == nil {
		return confErr
	}
	if args.Netns != "" && !overridesNetns(args) {
		if own, err := route.IsOwn(args.Netns); err == nil && own {
			return types.NewError(types.ErrInvalidNetNS, fmt.Sprintf(
				"CNI_NETNS=%s is the network namespace of multus itself: a DEL there would take the node's own interfaces; DEL with an empty CNI_NETNS to release what the pod had",
				args.Netns), "")
		}
	}
	a := m.attachment(conf, args.ContainerID, args.IfName, m.Env)
	return a.detach(ctx, conf, args.Netns, func() error { return a.deleteConf(ctx, conf, confErr, args.Netns) })
}

// detach undoes one attachment; without a record that can be read it calls
// withoutRecord. It goes on without a lock where none can be made: a disk that is full or
// read-only must not keep a pod from being deleted.
func (a *attachment) detach(ctx context.Context, conf *netconf.Conf, netns string, withoutRecord func() error) error {
	switch unlock, err := a.lock(ctx); {
	case err == nil:
		defer unlock()
	case errors.Is(err, state.ErrUnsafe):
		return ioError(err)
	case errors.Is(err, state.ErrOwnDelegate):
		return nil // its ADD was refused, and the record is that of the multus that has called
	default:
		a.warn("%v; going on without", err)
	}
	record, err := a.loadAny(conf)
	var damaged *state.DamagedError
	switch {
	case err == nil:
		if _, err := route.ID(netns); err == nil && record.NetnsID != "" && !isOf(record, netns) {
			netns = "" // that is another pod's by now
		}
		return a.undo(ctx, record, netns)
	case errors.As(err, &damaged):
		a.warn("%v: put aside, and what the conf lists is deleted instead", errors.Join(damaged, damaged.PutAside()))
		return withoutRecord()
	case errors.Is(err, state.ErrNotExist), errors.Is(err, state.ErrNoName):
		return withoutRecord()
	}
	return err
}

// deleteConf deletes what an ADD with this conf would have made.
func (a *attachment) deleteConf(ctx context.Context, conf *netconf.Conf, confErr error, netns string) error {
	if confErr != nil {
		return confErr
	}
	planned, err := conf.Plan(a.key.IfName)
	if err != nil {
		return err
	}
	delegates := make([]state.Delegate, len(planned))
	for i, d := range planned {
		delegates[i].Delegate = d
		if d.Primary {
			delegates[i].Result = conf.PrevResult
		}
	}
	return a.delete(ctx, delegates, conf.RuntimeConfig, netns, true)
}

// undo deletes what a record lists and, when all of that is gone, the record.
func (a *attachment) undo(ctx context.Context, record *state.Record, netns string) error {
	if err := a.delete(ctx, record.Delegates, record.RuntimeConfig, netns, true); err != nil {
		e := *delegate.AsError(err)
		e.Details = strings.TrimPrefix(e.Details+"; the record stays for the next DEL: "+a.store.Path(a.key), "; ")
		return &e
	}
	if record.NetnsID == "" { // of 2017
		if err := a.store.RemoveLegacy(a.key.ContainerID); err != nil {
			return ioError(err)
		}
		return nil
	}
	if err := a.store.Remove(a.key); err != nil {
		return ioError(err)
	}
	return nil
}

// delete runs DEL on delegates in reverse, each whatever the others do.
//
// If so wanted, one that fails though its interface was not in the pod even
// before is called again without a netns. host-device, for one, cannot be
// deleted twice otherwise, so that a DEL which failed half-way could never
// succeed. (A rollback leaves that to the DEL that follows it.)
func (a *attachment) delete(ctx context.Context, delegates []state.Delegate, runtimeConfig rawjson.Object, netns string, again bool) error {
	inside, outside := a.runner, a.runner
	if outside.Env = a.runner.Env.With("CNI_NETNS="); netns == "" {
		inside = outside
	}
	var gone []string
	if again && netns != "" {
		gone = absent(netns, delegates)
	}
	var errs []error
	for i := len(delegates) - 1; i >= 0; i-- {
		d := &delegates[i].Delegate
		in := netconf.Inputs{RuntimeConfig: runtimeConfig, PrevResult: delegates[i].Result}
		err := a.logged("DEL", d, nil, func() error {
			err := inside.Del(ctx, d, in)
			if err == nil || !slices.Contains(gone, d.IfName) {
				return err
			}
			return outside.Del(ctx, d, in)
		})
		if err != nil {
			errs = append(errs, err)
		}
	}
	return delegate.Join(errs)
}

// absent returns the interfaces that are not in a network namespace: all of
// them when that is gone, none when it cannot be looked into.
func absent(path string, delegates []state.Delegate) []string {
	var names, present []string
	for _, d := range delegates {
		names = append(names, d.IfName)
	}
	netns, err := route.Open(path, true)
	if err == nil {
		defer netns.Close()
		present, err = netns.Present(names)
	}
	if err != nil && !errors.Is(err, route.ErrNotExist) {
		return nil
	}
	return slices.DeleteFunc(names, func(name string) bool { return slices.Contains(present, name) })
}

// loadAny reads the attachment's record or, when there is none, the one that
// 2017's multus left of the container. It returns state.ErrNotExist when there
// is neither.
func (a *attachment) loadAny(conf *netconf.Conf) (*state.Record, error) {
	record, err := a.store.Load(a.key)
	if !errors.Is(err, state.ErrNotExist) {
		return record, err
	}
	legacy, err := a.store.LoadLegacy(a.key.ContainerID)
	if err != nil {
		return nil, err
	}
	record, err = fromLegacy(legacy, conf, a.key)
	if err != nil {
		return nil, a.store.DamagedLegacy(a.key.ContainerID, err)
	}
	return record, nil
}

// fromLegacy makes a record of the bare array of delegates that 2017's multus
// wrote: it named the interfaces as we do, and left all else to the conf.
func fromLegacy(array []byte, conf *netconf.Conf, key state.Key) (*state.Record, error) {
	if !json.Valid(array) { // else it could hold more than the list, once it stands in a conf
		return nil, errors.New("it is no JSON")
	}
	name, _ := json.Marshal(conf.Name)
	cniVersion, _ := json.Marshal(conf.CNIVersion)
	old, err := netconf.Parse(bytes.Join([][]byte{
		[]byte(`{"name":`), name, []byte(`,"cniVersion":`), cniVersion, []byte(`,"delegates":`), array, []byte(`}`),
	}, nil))
	if err != nil {
		return nil, err
	}
	if old.Delegates, err = old.Plan(key.IfName); err != nil {
		return nil, err
	}
	record := &state.Record{Network: key.Network, ContainerID: key.ContainerID, IfName: key.IfName, RuntimeConfig: conf.RuntimeConfig}
	for _, d := range old.Delegates {
		record.Delegates = append(record.Delegates, state.Delegate{Delegate: d})
	}
	return record, nil
}
