// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

// Package delegate runs the CNI verbs of one delegate: of its plugin, or of
// the plugins of its list one after the other, as libcni would run them.
//
// libcni itself is not used. It sends every configuration through
// map[string]any, which changes its numbers, and keeps a cache of its own
// beside the record.
package delegate

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/containernetworking/cni/pkg/types"

	"multus-cni/pkg/cnierror"
	"multus-cni/pkg/netconf"
)

// Failure marks an error that a plugin caused: errors.As finds it in what the
// methods of Runner return. The text of such an error can quote the plugin's
// configuration and CNI_ARGS, secrets included.
type Failure struct{ error }

// Unwrap returns the error without the mark.
func (f *Failure) Unwrap() error { return f.error }

// Runner runs delegates with one environment. It is not safe for concurrent
// use.
type Runner struct {
	exec  invoke.Exec
	env   Env
	found map[string]string // paths of binaries by plugin type
}

// NewRunner returns a Runner that starts plugins through exec. env is what the
// runtime set for multus.
func NewRunner(exec invoke.Exec, env Env) *Runner {
	return &Runner{exec: exec, env: env, found: map[string]string{}}
}

// With returns a Runner with these KEY=VALUE pairs in its environment.
func (r *Runner) With(pairs ...string) *Runner {
	other := *r
	other.env = r.env.With(pairs...)
	return &other
}

// Find looks up every binary of the delegate on CNI_PATH. The error names the
// delegate; it has code 7.
func (r *Runner) Find(d netconf.Delegate) error {
	for i, p := range d.Plugins {
		if _, err := r.find(p.Type); err != nil {
			return cnierror.New(types.ErrInvalidNetworkConfig, "%s: %w", label(d, i), err)
		}
	}
	return nil
}

func (r *Runner) find(plugin string) (string, error) {
	if path, ok := r.found[plugin]; ok {
		return path, nil
	}
	path, err := r.exec.FindInPath(plugin, filepath.SplitList(r.env.get("CNI_PATH")))
	if err == nil {
		r.found[plugin] = path
	}
	return path, err
}

// Add attaches the pod to the delegate's network. It returns the delegate with
// the CNI versions that its plugins were run at, and the result of its last
// plugin, or nil if that was empty.
//
// After each plugin it calls step with what it would return if this were the
// last one; if step fails, so does the ADD. When Add fails, some plugins may
// have run: a DEL undoes what they did, given the delegate and the result that
// step got last.
func (r *Runner) Add(ctx context.Context, d netconf.Delegate, in netconf.Inputs,
	step func(netconf.Delegate, *Result) error,
) (netconf.Delegate, *Result, error) {
	var result *Result
	for i := range d.Plugins {
		stdout, version, err := r.call(ctx, d, i, "ADD", in)
		if err != nil {
			return d, nil, failed(d, i, "ADD", err)
		}
		d = atVersion(d, i, version)
		if result, err = DecodeResult(stdout, version); err != nil {
			return d, nil, failed(d, i, "ADD", err)
		}
		if err := step(d, result); err != nil {
			return d, nil, err
		}
		in.PrevResult = nil
		if result != nil {
			in.PrevResult = result.Text
		}
	}
	return d, result, nil
}

// Run runs DEL, CHECK, STATUS or GC.
//
// DEL runs the plugins in reverse, and goes on after one that fails. (libcni
// stops there, so that an interface is left behind because of a firewall rule
// that could not be removed.) GC goes on too. CHECK and STATUS end with the
// first plugin that fails. Run skips the plugins whose CNI version does not
// have the verb, and all of them if the delegate's list disables it.
func (r *Runner) Run(ctx context.Context, verb string, d netconf.Delegate, in netconf.Inputs) error {
	if verb == "CHECK" && d.DisableCheck || verb == "GC" && d.DisableGC {
		return nil
	}
	var errs []error
	for n := range d.Plugins {
		i := n
		if verb == "DEL" {
			i = len(d.Plugins) - 1 - n
		}
		if _, _, err := r.call(ctx, d, i, verb, in); err != nil {
			errs = append(errs, failed(d, i, verb, err))
			if verb == "CHECK" || verb == "STATUS" {
				break
			}
		}
	}
	return cnierror.Join(errs...)
}

// atVersion returns the delegate with another CNI version for one plugin.
func atVersion(d netconf.Delegate, plugin int, version string) netconf.Delegate {
	if d.Plugins[plugin].CNIVersion != version {
		d.Plugins = slices.Clone(d.Plugins)
		d.Plugins[plugin].CNIVersion = version
	}
	return d
}

// failed says which delegate it was that failed at what.
func failed(d netconf.Delegate, plugin int, verb string, err error) error {
	return cnierror.Prefix(&Failure{err}, "%s: %s", label(d, plugin), verb)
}

// label names a delegate for the operator: its place in "delegates", its type
// and its interface.
func label(d netconf.Delegate, plugin int) string {
	var where []string
	if d.IfName != "" {
		where = append(where, d.IfName)
	}
	if d.List {
		where = append(where, fmt.Sprintf("plugins[%d]", plugin))
	}
	text := fmt.Sprintf("delegate %d %q", d.Index, d.Plugins[plugin].Type)
	if len(where) > 0 {
		text += " (" + strings.Join(where, ", ") + ")"
	}
	return text
}
