// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Package try attaches a temporary network namespace to the networks of a conf,
// with the real plugins of the node, and detaches it, as a runtime would do with
// a pod.
//
// The leases, bridges and rules that plugins make on the node are real while it
// runs, and records are written where the conf says, so that what it finds
// applies to pods too. What a plugin leaves in place by design, such as a
// bridge for all pods, still exists afterwards. A plugin that looks up the pod
// in a cluster finds none.
package try

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/containernetworking/cni/pkg/types"

	"multus-cni/pkg/cnierror"
	"multus-cni/pkg/delegate"
	"multus-cni/pkg/netconf"
	"multus-cni/pkg/pluginexec"
	"multus-cni/pkg/rawjson"
)

// ifname is what runtimes call the interface of the primary.
const ifname = "eth0"

// Options are what is tried, and how.
type Options struct {
	Conf    []byte   // the text of a conf file, .conf or .conflist
	CNIPath []string // where the plugins are
	Keep    bool     // leave the attachment in place when it was made
	// SkipGateways asks no gateway whether it is there.
	SkipGateways bool
	Stderr       io.Writer // gets what plugins write there
}

// Run tries a conf. When ctx is cancelled, it goes on with the DEL at once. If
// nothing was tried, the report is nil and the error says why. Otherwise what
// was found wrong is in the report, and an error says what the try itself could
// not do, such as removing its network namespace.
func Run(ctx context.Context, o Options) (*Report, error) {
	list, err := netconf.ReadFile(o.Conf, ifname)
	if err != nil {
		return nil, fmt.Errorf("read the conf: %w", err)
	}
	removed, err := removeLeftovers(ctx, o.Stderr)
	if err != nil {
		return nil, err
	}
	t, err := begin(o)
	if err != nil {
		return nil, err
	}
	t.report.Removed = removed
	t.setList(list)
	kept, err := t.run(ctx, o)
	return &t.report, errors.Join(err, t.end(kept))
}

// run does the work between begin and end. It reports whether the attachment is
// to be kept.
func (t *trial) run(ctx context.Context, o Options) (kept bool, err error) {
	before, err := t.snapshot()
	if err != nil {
		return false, err
	}
	added := t.add(ctx)
	if added {
		t.look()
		if !o.SkipGateways {
			t.askGateways(ctx)
		}
		t.timed(&t.report.CheckMS, "CHECK", func() error { return t.runner.Run(ctx, "CHECK", t.list, t.inputs()) })
	}
	if o.Keep && added && ctx.Err() == nil {
		return true, nil
	}
	ctx = context.WithoutCancel(ctx)
	return false, errors.Join(t.del(ctx), t.compare(ctx, before))
}

// trial is one temporary attachment.
type trial struct {
	id     string
	netns  string // a path
	state  *state
	list   netconf.Delegate // of the plugins of the conf
	confs  []*netconf.Conf  // of those of them that are multus
	env    delegate.Env
	runner *delegate.Runner
	result json.RawMessage // of the whole list
	report Report
}

// setList prepares the plugins: each multus writes a log that says how long its
// delegates took.
func (t *trial) setList(list netconf.Delegate) {
	for i := range list.Plugins {
		p := &list.Plugins[i]
		if p.Config.Get("delegates") == nil {
			continue // a plugin behind multus
		}
		p.Config = p.Config.Set("logFile", rawjson.Quote(t.state.log())).Set("logLevel", rawjson.Quote("info"))
		if conf, _ := netconf.Parse(list.Request(i, netconf.Inputs{})); conf != nil {
			t.confs = append(t.confs, conf)
		}
	}
	t.list, t.report.Network = list, list.Name
	t.env = delegate.Env(os.Environ()).With("CNI_CONTAINERID="+t.id, "CNI_NETNS="+t.netns, "CNI_ARGS=", "CNI_PATH="+t.state.CNIPath)
	t.runner = delegate.NewRunner(&runtimeExec{pluginexec.Exec{Stderr: t.state.stderr}}, t.env)
}

// runtimeExec starts plugins, this program among them.
type runtimeExec struct{ pluginexec.Exec }

// FindInPath returns this program where the conf says multus: that is the one to
// try, installed or not.
func (e *runtimeExec) FindInPath(plugin string, paths []string) (string, error) {
	if plugin == "multus" {
		return "/proc/self/exe", nil
	}
	return e.Exec.FindInPath(plugin, paths)
}

// add attaches. It reports whether that succeeded.
func (t *trial) add(ctx context.Context) bool {
	return t.timed(&t.report.AddMS, "ADD", func() error {
		_, result, err := t.runner.Add(ctx, t.list, netconf.Inputs{}, func(netconf.Delegate, *delegate.Result) error { return nil })
		if err != nil || result == nil {
			return err
		}
		t.result, t.report.Result = result.Text, result.Text
		t.state.Result = result.Text
		return t.state.write()
	})
}

// inputs are those of a CHECK or a DEL: as from libcni, every plugin gets the
// result of the last one.
func (t *trial) inputs() netconf.Inputs { return netconf.Inputs{PrevResult: t.result} }

// del detaches, also after an ADD that failed, as runtimes do.
func (t *trial) del(ctx context.Context) error {
	t.timed(&t.report.DelMS, "DEL", func() error { return t.runner.Run(ctx, "DEL", t.list, t.inputs()) })
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return t.forget(ctx)
}

// timed runs one verb, notes how long it took, and reports whether it succeeded.
func (t *trial) timed(ms *float64, verb string, run func() error) bool {
	start := time.Now()
	err := run()
	*ms = float64(time.Since(start).Microseconds()) / 1000
	if err != nil {
		t.report.Problems = append(t.report.Problems, verb+": "+message(err))
	}
	return err == nil
}

// message returns what a plugin said, without the place that the plugin has in
// a list that only this package knows.
func message(err error) string {
	var failure *delegate.Failure
	if errors.As(err, &failure) {
		err = failure.Unwrap()
	}
	var e *types.Error
	if !errors.As(err, &e) {
		return err.Error()
	}
	text := e.Msg
	if e.Details != "" {
		text += "; " + e.Details
	}
	return fmt.Sprintf("%s (code %d)", cnierror.OneLine(text), e.Code)
}

// Remove removes a trial that was kept, or killed. When ctx is cancelled, it
// leaves the trial in place.
func Remove(ctx context.Context, id string, stderr io.Writer) error {
	if filepath.Base(id) != id || !isTrial(id) {
		return fmt.Errorf("%q is not the id of a try: such an id begins with %s", id, prefix)
	}
	s, err := openState(id, stderr)
	if err != nil {
		return err
	}
	if s == nil {
		return fmt.Errorf("%s is running", id)
	}
	return s.undo(ctx)
}
