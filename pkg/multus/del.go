// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package multus

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/containernetworking/cni/pkg/types"

	"multus-cni/pkg/cnierror"
	"multus-cni/pkg/delegate"
	"multus-cni/pkg/lock"
	"multus-cni/pkg/netconf"
	"multus-cni/pkg/netns"
	"multus-cni/pkg/rawjson"
	"multus-cni/pkg/record"
)

// del detaches a pod from the networks that its record lists or, without a
// record, from those that the conf lists.
func (c *call) del(ctx context.Context) error {
	if c.conf == nil {
		return c.confErr
	}
	c = c.whereRecorded(c.key())
	a, err := c.lockToDelete(ctx, c.key(), c.Env)
	defer a.release()
	switch {
	case errors.Is(err, lock.ErrInherited):
		return nil // the ADD was refused, and the record is that of the multus that has called
	case err != nil:
		return ioError(err)
	}
	r, err := a.load()
	if err == nil {
		p := c.openPodToDelete(c.args.Netns, r)
		defer p.close()
		return a.undo(ctx, r, p)
	}
	if err := a.setAside(err); err != nil {
		return err
	}
	p := c.openPodToDelete(c.args.Netns, nil)
	defer p.close()
	return a.undoConf(ctx, p)
}

// whereRecorded returns the call with the default cniDir if that, and not the
// conf's, has the record of the attachment: somebody has set cniDir in the conf
// since the pod was attached.
func (c *call) whereRecorded(key record.Key) *call {
	has := func(dir string) bool {
		_, err := os.Lstat(record.Store{Dir: dir}.Path(key))
		return err == nil
	}
	if c.conf.CNIDir == netconf.DefaultCNIDir || has(c.conf.CNIDir) || !has(netconf.DefaultCNIDir) {
		return c
	}
	there, conf := *c, *c.conf
	conf.CNIDir = netconf.DefaultCNIDir
	there.conf = &conf
	return &there
}

// lockToDelete locks an attachment that is to be undone. It goes on where no
// lock can be had: a disk that is full or read-only must keep no pod from being
// deleted.
func (c *call) lockToDelete(ctx context.Context, key record.Key, env delegate.Env) (*attachment, error) {
	a, err := c.lockAttachment(ctx, key, env)
	if err == nil || errors.Is(err, record.ErrUnsafe) || errors.Is(err, lock.ErrInherited) || ctx.Err() != nil {
		return a, err
	}
	a.warn("%v: going on without a lock", err)
	return a, nil
}

// setAside makes way for a DEL by the conf after the record could not be
// loaded for that reason: a damaged record is quarantined. It returns an error
// when the record must decide after all.
func (a *attachment) setAside(reason error) error {
	var damaged *record.DamagedError
	switch {
	case errors.As(reason, &damaged):
		a.warn("%v: quarantined; deleting what the conf lists", errors.Join(damaged, damaged.Quarantine()))
		return nil
	case errors.Is(reason, record.ErrNotExist), errors.Is(reason, record.ErrNoName):
		return nil
	}
	return reason
}

// target is one delegate to DEL.
type target struct {
	delegate netconf.Delegate
	result   json.RawMessage // of its ADD, nil when that is not known
	// seen says that its ADD made its interface in the pod, and unknown that
	// nobody knows whether it did: it failed, was killed, or left no record.
	seen, unknown bool
	// foreign says that an interface of its name in the pod belongs to another
	// attachment.
	foreign bool
	// today is what the conf of today has in its place, tried when the plugin
	// refuses what the record has. dropped says that it has nothing there.
	today   *netconf.Delegate
	dropped bool
}

// targetsOf lists the delegates of a record.
func targetsOf(delegates []record.Delegate) ([]target, error) {
	targets := make([]target, len(delegates))
	for i, r := range delegates {
		d, err := fromRecord(r)
		if err != nil {
			return nil, err
		}
		targets[i] = target{delegate: d, result: r.Result, seen: r.InterfaceSeen || namesInterface(r.Result, r.IfName)}
	}
	return targets, nil
}

// undo DELs what a record lists and, when all of that is gone, removes the
// record. Where that cannot be removed, a later ADD or GC will.
func (a *attachment) undo(ctx context.Context, r *record.Record, p *pod) error {
	targets, err := targetsOf(r.Delegates)
	if err != nil {
		return err
	}
	runtimeConfig, err := parseObject(r.RuntimeConfig)
	if err != nil {
		return err
	}
	if !r.Complete {
		for i := range targets {
			targets[i].unknown = targets[i].result == nil
		}
		a.compareWithConf(targets)
		a.markForeign(targets, identity(r))
	}
	if err := a.delete(ctx, targets, runtimeConfig, p); err != nil {
		if !isLegacy(r) && p.markSeen(r.Delegates) {
			err = cnierror.Join(err, a.store.Save(r))
		}
		return cnierror.WithDetails(err, fmt.Sprintf("the record is left in place: %s; %s", a.pathOf(r), a.advice()))
	}
	if err := a.remove(r); err != nil {
		a.warn("%v: the next ADD or GC removes it, or: %s", err, a.forgetCommand())
	}
	return nil
}

// markForeign finds out which interfaces of an ADD that has failed belong to
// another attachment in the same network namespace, which may have made them
// since they were looked for. A delegate that did not come to a result has
// failed to make its own, then.
func (a *attachment) markForeign(targets []target, id netns.Identity) {
	owners := a.ownersOf(id)
	for i := range targets {
		_, owned := owners[targets[i].delegate.IfName]
		targets[i].foreign = owned && targets[i].result == nil
	}
}

// remove removes a record, a legacy one if it is of one.
func (a *attachment) remove(r *record.Record) error {
	if isLegacy(r) {
		return a.store.RemoveLegacy(a.key.ContainerID)
	}
	return a.store.Remove(a.key)
}

// pathOf returns where a record is, for messages.
func (a *attachment) pathOf(r *record.Record) string {
	if isLegacy(r) {
		return filepath.Join(a.store.Dir, a.key.ContainerID)
	}
	return a.store.Path(a.key)
}

// compareWithConf finds for each delegate what the conf of today has in its
// place. An attachment that never was complete may be so because of a mistake
// in the conf, which the plugin refuses in a DEL too. Once the conf has been
// corrected, the DEL must succeed.
func (a *attachment) compareWithConf(targets []target) {
	if a.confErr != nil {
		return
	}
	delegates, err := a.conf.Plan(a.key.IfName)
	if err != nil {
		return
	}
	for i := range targets {
		t := &targets[i]
		at := slices.IndexFunc(delegates, func(d netconf.Delegate) bool { return d.IfName == t.delegate.IfName })
		if t.dropped = at < 0; !t.dropped && !sameConfig(delegates[at], t.delegate) {
			t.today = &delegates[at]
		}
	}
}

// sameConfig reports whether the plugins of two delegates have the same
// configuration. A record has it with other white space.
func sameConfig(a, b netconf.Delegate) bool {
	return slices.EqualFunc(a.Plugins, b.Plugins, func(p, q netconf.Plugin) bool {
		x, _ := json.Marshal(p.Config) // compact: a record is indented in its own way
		y, _ := json.Marshal(q.Config)
		return bytes.Equal(x, y)
	})
}

// undoConf DELs what an ADD with this conf would have made.
func (a *attachment) undoConf(ctx context.Context, p *pod) error {
	if a.confErr != nil {
		return a.confErr
	}
	delegates, err := a.conf.Plan(a.key.IfName)
	if err != nil {
		return nil // such an ADD was refused: CNI_IFNAME is the name of a secondary's interface
	}
	targets := make([]target, len(delegates))
	for i, d := range delegates {
		targets[i] = target{delegate: d, unknown: true}
		if d.Primary {
			targets[i].result = a.conf.PrevResult
		}
	}
	if p.netns != nil {
		owners := a.ownersOf(p.netns.Identity)
		for i := range targets {
			_, targets[i].foreign = owners[targets[i].delegate.IfName]
		}
	}
	return a.delete(ctx, targets, a.conf.RuntimeConfig, p)
}

// delete runs DEL on delegates in reverse, each whatever the others do.
func (a *attachment) delete(ctx context.Context, targets []target, runtimeConfig rawjson.Object, p *pod) error {
	p.lookFor(namesOf(targets))
	var errs []error
	for _, t := range slices.Backward(targets) {
		errs = append(errs, a.deleteOne(ctx, t, runtimeConfig, p))
	}
	return cnierror.Join(errs...)
}

func namesOf(targets []target) []string {
	names := make([]string, len(targets))
	for i, t := range targets {
		names[i] = t.delegate.IfName
	}
	return names
}

// deleteOne runs the DEL of one delegate.
//
// A delegate whose interface was in the pod once, and no longer is, gets a
// second DEL, without a network namespace: host-device, for one, cannot be
// deleted twice otherwise, so that a DEL which failed half-way could never
// succeed, nor one after an ADD that found no device. It is not for a delegate
// whose ADD succeeded without an interface (DPDK), and so has something else to
// give back, and not for one that asks to be tried again later.
func (a *attachment) deleteOne(ctx context.Context, t target, runtimeConfig rawjson.Object, p *pod) error {
	path := p.current()
	if t.foreign {
		path = ""
	}
	in := netconf.Inputs{RuntimeConfig: runtimeConfig, PrevResult: t.result}
	run := func(d netconf.Delegate, path string) error {
		return a.callDelegate(ctx, a.undoer.With("CNI_NETNS="+path), "DEL", d, in)
	}
	err := run(t.delegate, path)
	if err == nil || cnierror.HasCode(err, types.ErrTryAgainLater) { // of a list, one plugin may say so
		return err
	}
	if t.today != nil && run(*t.today, path) == nil {
		return nil
	}
	if path != "" && (t.seen || t.unknown) && p.lacked(t.delegate.IfName) && run(t.delegate, "") == nil {
		return nil
	}
	if t.dropped {
		a.warn("%v: the conf has no such delegate any more, and its ADD never succeeded", err)
		return nil
	}
	return err
}

// namesInterface reports whether a result says that its ADD made an interface
// in the pod's network namespace.
func namesInterface(result json.RawMessage, ifname string) bool {
	var r struct {
		Interfaces []struct{ Name, Sandbox string }
	}
	if json.Unmarshal(result, &r) != nil {
		return false
	}
	return slices.ContainsFunc(r.Interfaces, func(i struct{ Name, Sandbox string }) bool { return i.Name == ifname && i.Sandbox != "" })
}
