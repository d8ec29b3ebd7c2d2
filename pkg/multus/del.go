// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package multus

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
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
		return nil // the ADD was refused, and the record belongs to the multus that called this one
	case err != nil:
		return ioError(err)
	}
	r, err := a.load()
	if err == nil {
		p := c.openPodToDelete(c.args.Netns, r)
		defer p.close()
		return a.undo(ctx, r, p)
	}
	if err := a.fallBackToConf(err); err != nil {
		return err
	}
	p := c.openPodToDelete(c.args.Netns, nil)
	defer p.close()
	return a.undoConf(ctx, p)
}

// whereRecorded returns the call with the default cniDir if the record of the
// attachment is there and not in the conf's cniDir: somebody has set cniDir in
// the conf since the pod was attached.
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

// lockToDelete locks an attachment that is to be undone. If it cannot, it goes on
// without a lock: a disk that is full or read-only must not prevent a pod from
// being deleted.
func (c *call) lockToDelete(ctx context.Context, key record.Key, env delegate.Env) (*attachment, error) {
	a, err := c.lockAttachment(ctx, key, env)
	if err == nil || errors.Is(err, record.ErrUnsafe) || errors.Is(err, lock.ErrInherited) || ctx.Err() != nil {
		return a, err
	}
	a.warn("%v: going on without a lock", err)
	return a, nil
}

// fallBackToConf returns nil when a DEL must use the conf, since the record could
// not be loaded for this reason; a damaged record is quarantined. It returns the
// reason when the DEL must fail.
func (a *attachment) fallBackToConf(reason error) error {
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

// target is one delegate to DEL or, if it comes from a record, to CHECK.
type target struct {
	delegate netconf.Delegate
	inputs   netconf.Inputs // PrevResult is that of its ADD, nil when that is not known
	// seen reports that its ADD made its interface in the pod. unknown reports
	// that this is not known: the ADD failed, was killed, or left no record.
	seen, unknown bool
	// foreign reports that an interface of its name in the pod belongs to another
	// attachment.
	foreign bool
	// today is the delegate in today's conf with the same interface, which is tried
	// when the plugin refuses the configuration in the record. It is nil when it is
	// the same; dropped reports that the conf has no such delegate.
	today   *netconf.Delegate
	dropped bool
}

// targetsOf lists the delegates of a record.
func targetsOf(r *record.Record) ([]target, error) {
	var runtimeConfig rawjson.Object
	if r.RuntimeConfig != nil {
		if err := runtimeConfig.UnmarshalJSON(r.RuntimeConfig); err != nil {
			return nil, err
		}
	}
	targets := make([]target, len(r.Delegates))
	for i, recorded := range r.Delegates {
		d, err := fromRecord(recorded)
		if err != nil {
			return nil, err
		}
		targets[i] = target{
			delegate: d, inputs: netconf.Inputs{RuntimeConfig: runtimeConfig, PrevResult: recorded.Result},
			seen: recorded.InterfaceSeen || namesInterface(recorded.Result, d.IfName),
		}
	}
	return targets, nil
}

// undo DELs what a record lists and, when all DELs have succeeded, removes the
// record. If the file cannot be removed, a later ADD or GC removes it.
func (a *attachment) undo(ctx context.Context, r *record.Record, p *pod) error {
	targets, err := targetsOf(r)
	if err != nil {
		return err
	}
	if !r.Complete {
		for i := range targets {
			targets[i].unknown = targets[i].inputs.PrevResult == nil
		}
		a.compareWithConf(targets)
		a.markForeign(targets, identity(r))
	}
	if err := a.delete(ctx, targets, p); err != nil {
		if !isLegacy(r) && p.markSeen(r.Delegates) {
			err = cnierror.Join(err, a.store.Save(r))
		}
		return cnierror.WithDetails(err, a.advice(a.pathOf(r)))
	}
	if err := a.remove(r); err != nil {
		a.warn("%v: the next ADD or GC removes it, or: %s", err, a.forgetCommand())
	}
	return nil
}

// markForeign marks the delegates of a failed ADD whose interface belongs to
// another attachment in the same network namespace: that one may have made it
// after this ADD had checked that the name was free. A delegate with a result
// has made its interface itself.
func (a *attachment) markForeign(targets []target, id netns.Identity) {
	owners := a.ownersOf(id)
	for i := range targets {
		_, owned := owners[targets[i].delegate.IfName]
		targets[i].foreign = owned && targets[i].inputs.PrevResult == nil
	}
}

// remove removes a record, or the legacy record that it was made from.
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

// compareWithConf finds the delegate of today's conf for each delegate of the
// record. The ADD may have failed because of a mistake in the conf, for which the
// plugin refuses a DEL too; once the conf is corrected, the DEL must succeed.
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
// configuration, apart from white space.
func sameConfig(a, b netconf.Delegate) bool {
	return slices.EqualFunc(a.Plugins, b.Plugins, func(p, q netconf.Plugin) bool {
		x, _ := json.Marshal(p.Config) // without white space
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
		targets[i] = target{delegate: d, inputs: netconf.Inputs{RuntimeConfig: a.conf.RuntimeConfig}, unknown: true}
		if d.Primary {
			targets[i].inputs.PrevResult = a.conf.PrevResult
		}
	}
	if p.netns != nil {
		owners := a.ownersOf(p.netns.Identity)
		for i := range targets {
			_, targets[i].foreign = owners[targets[i].delegate.IfName]
		}
	}
	return a.delete(ctx, targets, p)
}

// delete runs DEL on delegates in reverse, each whatever the others do.
func (a *attachment) delete(ctx context.Context, targets []target, p *pod) error {
	p.lookFor(namesOf(targets))
	var errs []error
	for _, t := range slices.Backward(targets) {
		errs = append(errs, a.deleteOne(ctx, t, p))
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
// If it fails and the delegate's interface is no longer in the pod, a second DEL
// is run without a network namespace. Plugins such as host-device need that: with
// a namespace they fail when the interface is missing, so that after a DEL that
// failed half-way, or an ADD that found no device, no DEL could succeed. A
// delegate whose ADD succeeded without an interface (DPDK) gets no second DEL,
// since it has something else to give back, nor does one that asks to be tried
// again later.
func (a *attachment) deleteOne(ctx context.Context, t target, p *pod) error {
	path := p.current()
	if t.foreign {
		path = ""
	}
	run := func(d netconf.Delegate, path string) error {
		return a.callDelegate(ctx, a.undoer.With("CNI_NETNS="+path), "DEL", d, t.inputs)
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
