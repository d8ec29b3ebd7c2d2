// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package multus

import (
	"context"
	"errors"
	"os"
	"slices"

	"github.com/containernetworking/cni/pkg/skel"

	"multus-cni/pkg/delegate"
	"multus-cni/pkg/netconf"
	"multus-cni/pkg/record"
)

// Forgotten is what Forget did for one record.
type Forgotten struct {
	Key       record.Key
	Path      string
	Delegates []ForgottenDelegate // in the order of their DELs
	Err       error               // why the record was not removed
}

// ForgottenDelegate is what Forget did for one delegate.
type ForgottenDelegate struct {
	Index  int
	Type   string
	IfName string
	// Err is the error of its DEL, nil when that succeeded. Then Released
	// reports that its IPAM plugin has released the addresses all the same.
	Err      error
	Released bool
}

// Forget DELs what a record lists once more, and removes the record whatever
// came of it. It is for records that no DEL will ever remove: because of a
// plugin that can no longer succeed, or a runtime that sends none after a
// reboot.
//
// conf is the conf of today, nil when there is none: it is tried where the
// record's configuration is refused, and is all that there is to go by where
// the record is damaged. A record of a newer format is left in place.
func (m *Multus) Forget(ctx context.Context, dir string, entry record.Entry, conf *netconf.Conf) Forgotten {
	f := Forgotten{Key: entry.Key, Path: entry.Path}
	if conf == nil {
		conf = &netconf.Conf{Name: entry.Key.Network}
	}
	own := *conf
	own.CNIDir = dir
	c := &call{Multus: m, args: &skel.CmdArgs{ContainerID: entry.Key.ContainerID, IfName: entry.Key.IfName}, conf: &own}
	a, err := c.lockToDelete(ctx, entry.Key, m.Env.With("CNI_CONTAINERID="+entry.Key.ContainerID, "CNI_NETNS=", "CNI_ARGS="))
	defer a.release()
	if err != nil {
		f.Err = err
		return f
	}
	r, err := a.load()
	var damaged *record.DamagedError
	switch {
	case err == nil:
		f.Delegates, f.Err = a.forget(ctx, r)
	case errors.Is(err, record.ErrNotExist): // only the lock of a killed run, or a quarantined record
		if entry.Kind == record.KindQuarantined {
			f.Err = os.Remove(entry.Path)
		}
	case errors.As(err, &damaged):
		f.Err = errors.Join(a.undoConf(ctx, &pod{}), damaged.Quarantine())
	default:
		f.Err = err
	}
	return f
}

func (a *attachment) forget(ctx context.Context, r *record.Record) ([]ForgottenDelegate, error) {
	targets, err := targetsOf(r.Delegates)
	if err != nil {
		return nil, err
	}
	runtimeConfig, err := parseObject(r.RuntimeConfig)
	if err != nil {
		return nil, err
	}
	a.compareWithConf(targets)
	a.undoer = a.undoer.With("CNI_ARGS=" + r.CNIArgs)
	p := a.openPodToDelete(r.Netns, r)
	defer p.close()
	p.lookFor(namesOf(targets))
	var forgotten []ForgottenDelegate
	for _, t := range slices.Backward(targets) {
		t.dropped = false // its error is for the operator to see
		d := ForgottenDelegate{Index: t.delegate.Index, Type: t.delegate.Plugins[0].Type, IfName: t.delegate.IfName}
		d.Err = a.deleteOne(ctx, t, runtimeConfig, p)
		if d.Err != nil {
			in := netconf.Inputs{RuntimeConfig: runtimeConfig, PrevResult: t.result}
			err := a.undoer.With("CNI_NETNS="+p.current()).ReleaseAddresses(ctx, t.delegate, in)
			if d.Released = err == nil; err != nil && !errors.Is(err, delegate.ErrNoIPAM) {
				d.Err = errors.Join(d.Err, err)
			}
		}
		forgotten = append(forgotten, d)
	}
	return forgotten, a.remove(r)
}
