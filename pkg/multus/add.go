// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package multus

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/containernetworking/cni/pkg/types"

	"multus-cni/pkg/cnierror"
	"multus-cni/pkg/defaultroute"
	"multus-cni/pkg/delegate"
	"multus-cni/pkg/lock"
	"multus-cni/pkg/netconf"
	"multus-cni/pkg/netns"
	"multus-cni/pkg/record"
)

// add attaches a pod to the networks of all delegates, or to none of them. When
// ctx is cancelled half-way, it undoes what was done.
func (c *call) add(ctx context.Context) error {
	if c.confErr != nil {
		return c.confErr
	}
	delegates, err := c.conf.Plan(c.args.IfName)
	if err != nil {
		return err
	}
	p, err := c.openPod()
	if err != nil {
		return err
	}
	defer p.close()
	a, err := c.lockAttachment(ctx, c.key(), c.Env)
	defer a.release()
	switch {
	case errors.Is(err, record.ErrNoName), errors.Is(err, lock.ErrInherited):
		return cnierror.WithCode(types.ErrInvalidNetworkConfig, err)
	case err != nil:
		return ioError(err)
	}
	for _, d := range delegates {
		if err := a.runner.Find(d); err != nil {
			return err
		}
	}
	stale, err := a.staleRecord()
	if err != nil {
		return err
	}
	if err := a.refuseTaken(delegates, p); err != nil {
		return err
	}
	if stale != nil {
		before := *a
		before.undoer = a.undoer.With("CNI_ARGS=" + stale.CNIArgs)
		if err := before.undo(ctx, stale, &pod{}); err != nil {
			return cnierror.Prefix(err, "undo what an earlier ADD of this attachment left behind")
		}
	}
	r := newRecord(a.key, delegates, c.conf.RuntimeConfig)
	r.Netns, r.NetnsID, r.BootID = p.path, p.netns.Identity.Namespace, p.netns.Identity.Boot
	r.CNIVersion, r.CNIArgs = c.conf.CNIVersion, c.args.Args
	if err := a.store.Save(r); err != nil {
		return ioError(err)
	}
	return a.attach(ctx, r, delegates, p)
}

func (c *call) key() record.Key {
	return record.Key{Network: c.conf.Name, ContainerID: c.args.ContainerID, IfName: c.args.IfName}
}

// staleRecord returns the record of an attachment that no longer exists, since
// the node was rebooted or the network namespace is gone, and nil when there is
// no record. It returns an error when the attachment exists.
func (a *attachment) staleRecord() (*record.Record, error) {
	r, err := a.store.Load(a.key)
	var newer *record.NewerError
	switch {
	case errors.Is(err, record.ErrNotExist):
		return nil, nil
	case errors.As(err, &newer):
		return nil, err
	case err != nil:
		return nil, cnierror.WithDetails(err, "DEL this attachment first: that quarantines a record which cannot be read")
	case !netns.IsGone(identity(r).Check(r.Netns)):
		return nil, cnierror.WithDetails(cnierror.New(types.ErrInternal,
			"container %s already has interface %s of network %q: DEL it before another ADD",
			a.key.ContainerID, a.key.IfName, a.key.Network), "the record is "+a.store.Path(a.key))
	}
	return r, nil
}

// refuseTaken returns an error when the name of one of the interfaces is taken
// in the pod. If it belongs to another attachment of multus, the error names
// that.
func (a *attachment) refuseTaken(delegates []netconf.Delegate, p *pod) error {
	var names []string
	for _, d := range delegates {
		if d.Primary && a.conf.PrevResult != nil {
			continue // in a chain an earlier plugin has made it
		}
		names = append(names, d.IfName)
	}
	present, err := p.netns.Present(names)
	if err != nil || len(present) == 0 {
		return err
	}
	name := present[0]
	owner, known := a.ownersOf(p.netns.Identity)[name]
	switch {
	case !known:
		return cnierror.New(types.ErrInternal, "interface %s already exists in %s: remove or rename it", name, p.path)
	case name == a.key.IfName:
		return cnierror.New(types.ErrInternal, "interface %s already exists in %s: it belongs to %s", name, p.path, owner)
	}
	return cnierror.New(types.ErrInternal, "interface %s already exists in %s: it belongs to %s; give this delegate another name with \"ifname\"",
		name, p.path, owner)
}

// attach runs the delegates, completes the record and prints the primary's
// result. If any of that fails, it undoes everything.
func (a *attachment) attach(ctx context.Context, r *record.Record, delegates []netconf.Delegate, p *pod) (err error) {
	started := 0
	var keeper *defaultroute.Keeper
	defer func() {
		undo := func() error { return a.rollback(context.WithoutCancel(ctx), r, started, p, keeper, err) }
		if v := recover(); v != nil {
			err = panicked(v)
			err = onAnotherThread(undo)
		} else if err != nil {
			err = undo()
		}
	}()
	keeper, err = defaultroute.New(p.netns, a.key.IfName, primaryOf(delegates))
	if err != nil {
		return err
	}
	results := make([]*delegate.Result, len(delegates))
	for i, d := range delegates {
		if err := ready(ctx, p); err != nil {
			return err
		}
		if err := keeper.Before(i); err != nil {
			return fmt.Errorf("default route before delegate %d: %w", i, err)
		}
		started++
		if results[i], err = a.attachDelegate(ctx, d, r); err != nil {
			return err
		}
		if err := keeper.After(i, interfacesOf(d, results[i])); err != nil {
			return fmt.Errorf("default route after delegate %d: %w", i, err)
		}
	}
	if err := keeper.Settle(); err != nil {
		return err
	}
	if err := a.complete(r, results, p, keeper); err != nil {
		return err
	}
	if err := stopped(ctx); err != nil {
		return err
	}
	return a.print(results[primaryOf(delegates)])
}

func stopped(ctx context.Context) error {
	if err := context.Cause(ctx); err != nil {
		return fmt.Errorf("stopped: %w", err)
	}
	return nil
}

// ready returns an error when no further delegate may be started.
func ready(ctx context.Context, p *pod) error {
	if err := stopped(ctx); err != nil {
		return err
	}
	if p.current() != "" {
		return nil
	}
	err := p.netns.Identity.Check(p.path)
	if err == nil {
		err = netns.ErrReplaced // it was, for a moment: when current looked
	}
	return cnierror.New(types.ErrInvalidNetNS, "CNI_NETNS=%s: %w", p.path, err)
}

// attachDelegate runs one ADD and records its result. For a list, the result of
// each plugin is on disk before the next plugin runs: some plugins, such as
// firewall, can only delete what they find in prevResult.
func (a *attachment) attachDelegate(ctx context.Context, d netconf.Delegate, r *record.Record) (*delegate.Result, error) {
	in := netconf.Inputs{RuntimeConfig: a.conf.RuntimeConfig}
	if d.Primary {
		in.PrevResult = a.conf.PrevResult
	}
	result, err := a.addDelegate(ctx, d, in, func(ran netconf.Delegate, result *delegate.Result) error {
		step := toRecord(ran)
		if result != nil {
			step.Result = result.Text
		}
		r.Delegates[d.Index] = step
		if d.List {
			if err := a.store.AppendResult(r, d.Index); err != nil {
				return ioError(err)
			}
		}
		return nil
	})
	if err == nil && d.Primary && result == nil {
		return nil, cnierror.New(types.ErrInternal, "delegate %d %q (%s): ADD: the primary returned no result", d.Index, d.Plugins[0].Type, d.IfName)
	}
	return result, err
}

func primaryOf(delegates []netconf.Delegate) int {
	return slices.IndexFunc(delegates, func(d netconf.Delegate) bool { return d.Primary })
}
