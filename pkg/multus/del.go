// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package multus

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"

	"multus-cni/pkg/delegate"
	"multus-cni/pkg/netconf"
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
	return m.attachment(conf, args.ContainerID, args.IfName, m.Env).detach(ctx, conf, confErr, args.Netns)
}

// detach undoes one attachment. It goes on without a lock where none can be
// made: a disk that is full or read-only must not keep a pod from being
// deleted.
func (a *attachment) detach(ctx context.Context, conf *netconf.Conf, confErr error, netns string) error {
	switch unlock, err := a.lock(ctx); {
	case err == nil:
		defer unlock()
	case errors.Is(err, state.ErrUnsafe):
		return ioError(err)
	default:
		a.warn("%v; going on without", err)
	}
	record, err := a.loadAny(conf)
	var damaged *state.DamagedError
	switch {
	case err == nil:
		env := a.runner.Env
		if _, err := route.ID(netns); err == nil && record.NetnsID != "" && !isOf(record, netns) {
			env = env.With("CNI_NETNS=") // that is another pod's by now
		}
		return a.undo(ctx, record, env)
	case errors.As(err, &damaged):
		a.warn("%v: put aside, and what the conf lists is deleted instead", errors.Join(damaged, damaged.PutAside()))
	case !errors.Is(err, state.ErrNotExist):
		return err
	}
	if confErr != nil {
		return confErr
	}
	if err := conf.Plan(a.key.IfName); err != nil {
		return err
	}
	delegates := make([]state.Delegate, len(conf.Delegates))
	for i, d := range conf.Delegates {
		delegates[i].Delegate = d
		if d.Primary {
			delegates[i].Result = conf.PrevResult
		}
	}
	return a.delete(ctx, delegates, conf.RuntimeConfig)
}

// undo deletes what a record lists and, when all of that is gone, the record.
func (a *attachment) undo(ctx context.Context, record *state.Record, env delegate.Env) error {
	a.runner.Env = env
	if err := a.delete(ctx, record.Delegates, record.RuntimeConfig); err != nil {
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
func (a *attachment) delete(ctx context.Context, delegates []state.Delegate, runtimeConfig netconf.Object) error {
	var errs []error
	for i := len(delegates) - 1; i >= 0; i-- {
		in := netconf.Inputs{RuntimeConfig: runtimeConfig, PrevResult: delegates[i].Result}
		d := &delegates[i].Delegate
		if err := a.logged("DEL", d, nil, func() error { return a.runner.Del(ctx, d, in) }); err != nil {
			errs = append(errs, err)
		}
	}
	return delegate.Join(errs)
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
	name, _ := json.Marshal(conf.Name)
	cniVersion, _ := json.Marshal(conf.CNIVersion)
	old, err := netconf.Parse(bytes.Join([][]byte{
		[]byte(`{"name":`), name, []byte(`,"cniVersion":`), cniVersion, []byte(`,"delegates":`), array, []byte(`}`),
	}, nil))
	if err != nil {
		return nil, err
	}
	if err := old.Plan(key.IfName); err != nil {
		return nil, err
	}
	record := &state.Record{Network: key.Network, ContainerID: key.ContainerID, IfName: key.IfName, RuntimeConfig: conf.RuntimeConfig}
	for _, d := range old.Delegates {
		record.Delegates = append(record.Delegates, state.Delegate{Delegate: d})
	}
	return record, nil
}
