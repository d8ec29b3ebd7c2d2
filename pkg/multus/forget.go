// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package multus

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/containernetworking/cni/pkg/skel"

	"multus-cni/pkg/delegate"
	"multus-cni/pkg/netconf"
	"multus-cni/pkg/record"
)

var (
	// ErrNoConf means that a record does not say enough for a DEL, so that the
	// current conf is needed.
	ErrNoConf = errors.New("the record does not say what to delete")

	errChanged = errors.New("the container was attached anew meanwhile")
)

// Forgotten is what Forget did for one record.
type Forgotten struct {
	Delegates []ForgottenDelegate // in the order of their DELs
	// Lost is set when it is unknown what is left: the record could not be
	// read, and either there was no conf or a DEL with the conf failed.
	Lost error
	Err  error // why the record was not removed
}

// Released reports whether everything that the attachment had was released.
func (f *Forgotten) Released() bool {
	return f.Err == nil && f.Lost == nil &&
		!slices.ContainsFunc(f.Delegates, func(d ForgottenDelegate) bool { return d.Err != nil })
}

// ForgottenDelegate is what Forget did for one delegate.
type ForgottenDelegate struct {
	Index     int
	Types     []string // of its plugins
	IfName    string
	Addresses []string // from its result, if the record has one
	// Err is the error of its DEL, nil when that succeeded. Otherwise
	// AddressesReleased reports whether its IPAM plugin has released the
	// addresses all the same.
	Err               error
	AddressesReleased bool
}

// Forget DELs what a record lists, and then removes the record even if a DEL has
// failed. It is for records that no DEL would ever remove: because a plugin can
// no longer succeed, or because the runtime sends none after a reboot.
//
// entry is the record as the caller found it in the directory dir. conf is the
// current conf, or nil. With a conf, entry.Key must be complete: in the entry
// of a legacy record, which has only the container's id, the caller sets
// Network and IfName. Forget uses the conf where a plugin refuses the record's
// configuration, and where the record is damaged; without one, Forgotten.Err is
// ErrNoConf for a legacy record.
//
// Forget leaves in place a record of a newer format, one that an ADD has written
// since the caller looked, and any record when ctx is cancelled.
func (m *Multus) Forget(ctx context.Context, dir string, entry record.Entry, conf *netconf.Conf) Forgotten {
	switch {
	case entry.Kind == record.KindQuarantined: // its attachment was deleted, and another one may have the key by now
		return Forgotten{Err: os.Remove(entry.Path)}
	case entry.Kind == record.KindNewer:
		return Forgotten{Err: entry.Err}
	case conf == nil && isLegacyEntry(entry):
		return Forgotten{Err: ErrNoConf}
	}
	known := netconf.Conf{Name: entry.Key.Network}
	if conf != nil {
		known = *conf
	}
	known.CNIDir = dir
	c := &call{Multus: m, args: &skel.CmdArgs{ContainerID: entry.Key.ContainerID, IfName: entry.Key.IfName}, conf: &known}
	a, err := c.lockToDelete(ctx, entry.Key, m.Env.With("CNI_CONTAINERID="+entry.Key.ContainerID, "CNI_NETNS=", "CNI_ARGS="))
	defer a.release()
	if err != nil {
		return Forgotten{Err: err}
	}
	load := a.loadLegacy
	if !isLegacyEntry(entry) { // then never a legacy record in place of one that is gone
		load = func() (*record.Record, error) { return a.store.Load(a.key) }
	}
	r, err := load()
	var damaged *record.DamagedError
	switch {
	case errors.Is(err, record.ErrNotExist) && entry.Kind == record.KindLockOnly && a.lock == nil:
		return Forgotten{Err: fmt.Errorf("%s cannot be used as a lock: remove it", entry.Path)}
	case errors.Is(err, record.ErrNotExist): // no more than the lock of a killed run, or a DEL was faster
		return Forgotten{}
	case errors.As(err, &damaged):
		return a.forgetDamaged(ctx, damaged.Path, conf != nil)
	case err != nil:
		return Forgotten{Err: err}
	case entry.Record == nil && !isLegacyEntry(entry), entry.Record != nil && identity(entry.Record) != identity(r):
		return Forgotten{Err: errChanged}
	}
	return a.forget(ctx, r, conf != nil)
}

// isLegacyEntry reports whether an entry is the record of another Multus, readable or
// not: its file has the name of the container.
func isLegacyEntry(entry record.Entry) bool {
	return filepath.Base(entry.Path) == entry.Key.ContainerID
}

// forgetDamaged removes a record that cannot be read.
func (a *attachment) forgetDamaged(ctx context.Context, path string, byConf bool) Forgotten {
	f := Forgotten{Lost: ErrNoConf}
	if byConf {
		f.Lost = a.undoConf(ctx, &pod{})
	}
	if f.Err = ctx.Err(); f.Err == nil {
		f.Err = os.Remove(path)
	}
	return f
}

func (a *attachment) forget(ctx context.Context, r *record.Record, compare bool) Forgotten {
	targets, err := targetsOf(r)
	if err != nil {
		return Forgotten{Err: err}
	}
	if compare {
		a.compareWithConf(targets)
	}
	if !r.Complete {
		a.markForeign(targets, identity(r))
	}
	a.undoer = a.undoer.With("CNI_ARGS=" + r.CNIArgs)
	p := a.openPodToDelete(r.Netns, r)
	defer p.close()
	p.lookFor(namesOf(targets))
	var f Forgotten
	for _, t := range slices.Backward(targets) {
		t.dropped = false // the attachment may have been complete: what is left must be said
		f.Delegates = append(f.Delegates, a.forgetOne(ctx, t, p))
	}
	if f.Err = ctx.Err(); f.Err == nil {
		f.Err = a.remove(r)
	}
	return f
}

// forgetOne DELs a delegate or, if that fails, releases its addresses.
func (a *attachment) forgetOne(ctx context.Context, t target, p *pod) ForgottenDelegate {
	d := ForgottenDelegate{
		Index: t.delegate.Index, Types: t.delegate.Types(), IfName: t.delegate.IfName, Addresses: delegate.Addresses(t.inputs.PrevResult),
	}
	if d.Err = a.deleteOne(ctx, t, p); d.Err == nil {
		return d
	}
	err := a.undoer.With("CNI_NETNS="+p.current()).ReleaseAddresses(ctx, t.delegate, t.inputs)
	if d.AddressesReleased = err == nil; err != nil && !errors.Is(err, delegate.ErrNoIPAM) {
		d.Err = errors.Join(d.Err, err)
	}
	return d
}

// forgetCommand returns the command that removes the record when no DEL does.
func (a *attachment) forgetCommand() string {
	command := "multus forget " + a.key.ContainerID
	if a.store.Dir != netconf.DefaultCNIDir {
		command = fmt.Sprintf("%s --cni-dir %s", command, a.store.Dir)
	}
	return command
}
