// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package multus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"golang.org/x/sys/unix"

	"multus-cni/pkg/delegate"
	"multus-cni/pkg/netconf"
	"multus-cni/pkg/route"
	"multus-cni/pkg/state"
)

// Add attaches a pod to the networks of all delegates, or to none of them. A
// ctx that is cancelled half-way undoes what was done.
func (m *Multus) Add(ctx context.Context, args *skel.CmdArgs) error {
	conf, err := m.parse(args.StdinData)
	if err != nil {
		return err
	}
	if conf.Delegates, err = conf.Plan(args.IfName); err != nil {
		return err
	}
	a := m.attachment(conf, args.ContainerID, args.IfName, m.Env)
	for i := range conf.Delegates {
		if err := a.runner.Find(&conf.Delegates[i]); err != nil {
			return err
		}
	}
	netns, err := openNetns(args)
	if err != nil {
		return err
	}
	defer netns.Close()
	unlock, err := a.lock(ctx)
	if errors.Is(err, state.ErrNoName) || errors.Is(err, state.ErrOwnDelegate) {
		return types.NewError(types.ErrInvalidNetworkConfig, err.Error(), "")
	}
	if err != nil {
		return ioError(err)
	}
	defer unlock()
	if err := a.preflight(ctx, conf, args, netns); err != nil {
		return err
	}
	record, err := newRecord(conf, args, netns)
	if err != nil {
		return err
	}
	if err := a.store.Save(record); err != nil {
		return ioError(err)
	}
	return a.attach(ctx, conf, record, netns)
}

// preflight refuses what would harm a pod that is running: an attachment that
// exists, and interface names that are taken. A record whose pod is gone is no
// attachment any more: it is undone first.
func (a *attachment) preflight(ctx context.Context, conf *netconf.Conf, args *skel.CmdArgs, netns *route.Netns) error {
	record, err := a.store.Load(a.key)
	switch {
	case errors.Is(err, state.ErrNotExist):
	case err != nil:
		return types.NewError(types.ErrInternal, err.Error(), "DEL this attachment first: that puts a record aside which cannot be read")
	case isOf(record, record.Netns):
		return types.NewError(types.ErrInternal, fmt.Sprintf("container %s has a record for interface %s of network %q already: DEL it before you ADD it again",
			a.key.ContainerID, a.key.IfName, a.key.Network), "the record is "+a.store.Path(a.key))
	}
	var names []string
	for _, d := range conf.Delegates {
		if d.Primary && conf.PrevResult != nil {
			continue // in a chain the interface is there: an earlier plugin made it
		}
		names = append(names, d.IfName)
	}
	present, err := netns.Present(names)
	if err != nil {
		return err
	}
	if len(present) > 0 {
		return types.NewError(types.ErrInternal,
			fmt.Sprintf("%s is there already in %s: remove it or rename it", strings.Join(present, ", "), args.Netns), "")
	}
	if record == nil {
		return nil
	}
	if err := a.undo(ctx, record, ""); err != nil {
		e := *delegate.AsError(err)
		e.Msg = "undo what is left of this attachment from before: " + e.Msg
		return &e
	}
	return nil
}

// isOf tells whether a record is of the network namespace at path: the node
// has not been booted since, and it is still the same namespace.
func isOf(record *state.Record, path string) bool {
	boot, err := state.BootID()
	if err == nil && boot != record.BootID {
		return false
	}
	id, err := route.ID(path)
	return err == nil && id == record.NetnsID
}

func newRecord(conf *netconf.Conf, args *skel.CmdArgs, netns *route.Netns) (*state.Record, error) {
	boot, err := state.BootID()
	if err != nil {
		return nil, ioError(err)
	}
	record := &state.Record{
		Network: conf.Name, ContainerID: args.ContainerID, IfName: args.IfName,
		Netns: args.Netns, NetnsID: netns.ID, BootID: boot,
		CNIVersion: conf.CNIVersion, CNIArgs: args.Args, RuntimeConfig: conf.RuntimeConfig,
	}
	for _, d := range conf.Delegates {
		record.Delegates = append(record.Delegates, state.Delegate{Delegate: d})
	}
	return record, nil
}

// attach runs the delegates, writes down what they returned and prints the
// primary's result. If anything of that fails, the printing included, it
// undoes all of it.
func (a *attachment) attach(ctx context.Context, conf *netconf.Conf, record *state.Record, netns *route.Netns) (err error) {
	started := 0
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("multus itself is broken: %v", p)
		}
		if err != nil {
			err = a.rollback(context.WithoutCancel(ctx), record, started, err)
		}
	}()
	keeper, err := netns.Keep(a.key.IfName, primaryOf(conf.Delegates))
	if err != nil {
		return err
	}
	results := make([]types.Result, len(record.Delegates))
	for i := range record.Delegates {
		d := &record.Delegates[i]
		in := netconf.Inputs{RuntimeConfig: conf.RuntimeConfig}
		if d.Primary {
			in.PrevResult = conf.PrevResult
		}
		if err = context.Cause(ctx); err != nil {
			return fmt.Errorf("stopped: %w", err)
		}
		started++
		err = a.logged("ADD", &d.Delegate, &results[i], func() (err error) {
			results[i], err = a.runner.Add(ctx, &d.Delegate, in, func(result types.Result) error {
				return a.keep(record, d, result)
			})
			return err
		})
		if err != nil {
			return err
		}
		if d.Primary && results[i] == nil {
			return types.NewError(types.ErrInternal, fmt.Sprintf("delegate %d %q (%s): ADD: the primary returned no result", i, d.Plugins[0].Type, d.IfName), "")
		}
		if err = keeper.Ran(i, d.Primary); err != nil {
			return fmt.Errorf("default route after delegate %d: %w", i, err)
		}
	}
	if err = note(record, results, keeper); err != nil {
		return err
	}
	record.Complete = true
	if err = a.store.Save(record); err != nil {
		return ioError(err)
	}
	if err = context.Cause(ctx); err != nil {
		return fmt.Errorf("stopped: %w", err)
	}
	return a.print(results[primaryOf(conf.Delegates)], conf.CNIVersion)
}

// keep puts what a plugin returned into the record. Of a list it is on disk
// before the next plugin runs: plugins like firewall find what they made through
// their prevResult alone.
func (a *attachment) keep(record *state.Record, d *state.Delegate, result types.Result) (err error) {
	if d.Result, err = encode(result); err != nil || !d.List {
		return err
	}
	if err := a.store.Save(record); err != nil {
		return ioError(err)
	}
	return nil
}

// rollback undoes the delegates that were started. It returns the error that
// made it necessary, with what went wrong here in the details.
func (a *attachment) rollback(ctx context.Context, record *state.Record, started int, cause error) error {
	record.Complete = false
	err := a.delete(ctx, record.Delegates[:started], record.RuntimeConfig, record.Netns, false)
	if err == nil {
		err = a.store.Remove(a.key)
	} else { // with the results that there are, for the DEL that the runtime sends
		err = errors.Join(err, a.store.Save(record))
	}
	e := *delegate.AsError(cause)
	if err != nil {
		e.Details = strings.TrimPrefix(fmt.Sprintf("%s; cleaning up: %v; the record %s stays", e.Details, err, a.store.Path(a.key)), "; ")
	}
	return &e
}

// note puts into the record which way the default routes go, and takes those
// that a secondary has lost out of its result, where CHECK would miss them.
func note(record *state.Record, results []types.Result, keeper *route.Keeper) (err error) {
	if record.DefaultRoute, err = keeper.Interfaces(); err != nil {
		return err
	}
	owners := keeper.Owners()
	for i := range record.Delegates {
		d := &record.Delegates[i]
		if d.Primary || results[i] == nil {
			continue
		}
		lost := map[string]bool{}
		for family, owner := range owners {
			lost[family] = owner != i
		}
		stripped, err := withoutDefaults(results[i], lost["ipv4"], lost["ipv6"])
		if err != nil {
			return fmt.Errorf("take the default route out of the result of delegate %d: %w", i, err)
		}
		if stripped == nil {
			continue
		}
		if d.Result, err = encode(stripped); err != nil {
			return err
		}
	}
	return nil
}

// withoutDefaults returns the result without its default routes of the
// families asked for, or nil when it has none.
func withoutDefaults(result types.Result, ipv4, ipv6 bool) (types.Result, error) {
	if !ipv4 && !ipv6 {
		return nil, nil
	}
	current, err := types100.NewResultFromResult(result)
	if err != nil {
		return nil, err
	}
	var kept []*types.Route
	for _, r := range current.Routes {
		ones, bits := r.Dst.Mask.Size()
		isMain := r.Table == nil || *r.Table == unix.RT_TABLE_MAIN
		if isMain && ones == 0 && (bits == 32 && ipv4 || bits == 128 && ipv6) {
			continue
		}
		kept = append(kept, r)
	}
	if len(kept) == len(current.Routes) {
		return nil, nil
	}
	stripped := *current
	stripped.Routes = kept
	return stripped.GetAsVersion(result.Version())
}

func encode(result types.Result) (json.RawMessage, error) {
	if result == nil {
		return nil, nil
	}
	text, err := json.Marshal(result)
	if err != nil {
		return nil, fmt.Errorf("encode a result: %w", err)
	}
	return text, nil
}

func (a *attachment) print(result types.Result, cniVersion string) error {
	converted, err := result.GetAsVersion(cniVersion)
	if err != nil {
		return fmt.Errorf("convert the primary's result to %s: %w", cniVersion, err)
	}
	if err := converted.PrintTo(a.Stdout); err != nil {
		return ioError(fmt.Errorf("print the result: %w", err))
	}
	return nil
}

func primaryOf(delegates []netconf.Delegate) int {
	for i, d := range delegates {
		if d.Primary {
			return i
		}
	}
	return -1
}
