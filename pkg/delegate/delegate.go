// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

// Package delegate runs one delegate: its plugin, or the plugins of its list
// one after the other, as libcni would run them.
//
// libcni itself is not used. It sends every configuration through
// map[string]any, which changes its numbers, and keeps a cache of its own
// beside the record.
package delegate

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/types/create"
	"github.com/containernetworking/cni/pkg/version"

	"multus-cni/pkg/netconf"
	"multus-cni/pkg/rawjson"
)

// Runner runs delegates for one call of multus.
type Runner struct {
	Exec invoke.Exec
	Env  Env

	found map[string]string // binaries by type
}

// Env is the environment of a plugin, as os.Environ returns one.
type Env []string

// With returns a copy with these KEY=VALUE pairs in the place of what the
// environment says of their keys.
func (e Env) With(pairs ...string) Env {
	env := make(Env, 0, len(e)+len(pairs))
next:
	for _, kv := range e {
		for _, pair := range pairs {
			if strings.HasPrefix(kv, pair[:strings.IndexByte(pair, '=')+1]) {
				continue next
			}
		}
		env = append(env, kv)
	}
	return append(env, pairs...)
}

// AsEnv makes an Env the arguments of an invoke call. invoke's own Args would
// set variables that the runtime did not.
func (e Env) AsEnv() []string { return e }

// Find looks up every binary of the delegate on CNI_PATH. The error names the
// delegate; it has code 7.
func (r *Runner) Find(d *netconf.Delegate) error {
	for i := range d.Plugins {
		if _, err := r.find(d.Plugins[i].Type); err != nil {
			return types.NewError(types.ErrInvalidNetworkConfig, label(d, i)+": "+err.Error(), "")
		}
	}
	return nil
}

func (r *Runner) find(plugin string) (string, error) {
	if path, ok := r.found[plugin]; ok {
		return path, nil
	}
	path, err := r.Exec.FindInPath(plugin, filepath.SplitList(r.Env.get("CNI_PATH")))
	if err != nil {
		return "", err
	}
	if r.found == nil {
		r.found = make(map[string]string)
	}
	r.found[plugin] = path
	return path, nil
}

func (e Env) get(key string) string {
	for _, kv := range e {
		if value, ok := strings.CutPrefix(kv, key+"="); ok {
			return value
		}
	}
	return ""
}

// Add attaches the pod to the delegate's network and returns the result of
// its last plugin, nil when that is an empty one. A version that was chosen on
// the way stays in d. On an error some of the plugins may have run: Del undoes
// what they did, with the last result that note was given. note gets each
// plugin's result before the next one runs; what it returns ends the ADD.
func (r *Runner) Add(ctx context.Context, d *netconf.Delegate, in netconf.Inputs, note func(types.Result) error) (types.Result, error) {
	var result types.Result
	prev := in.PrevResult
	for i := range d.Plugins {
		var err error
		if result, err = r.add(ctx, d, i, in.RuntimeConfig, prev); err != nil {
			return nil, failed(d, i, "ADD", err)
		}
		if err := note(result); err != nil {
			return nil, err
		}
		if result == nil {
			prev = nil
		} else if prev, err = json.Marshal(result); err != nil {
			return nil, failed(d, i, "ADD", fmt.Errorf("encode the result: %w", err))
		}
	}
	return result, nil
}

func (r *Runner) add(ctx context.Context, d *netconf.Delegate, i int, rc rawjson.Object, prev json.RawMessage) (types.Result, error) {
	var result types.Result
	err := r.call(ctx, d, i, "ADD", netconf.Inputs{RuntimeConfig: rc, PrevResult: prev},
		func(path string, request []byte, env Env) (err error) {
			stdout := &tee{Exec: r.Exec}
			result, err = invoke.ExecPluginWithResult(ctx, path, request, env, stdout)
			switch {
			case stdout.failed:
			case stdout.empty():
				result, err = nil, nil
			case err == nil:
				err = usable(stdout.text, result)
			default:
				err = types.NewError(types.ErrDecodingFailure, fmt.Sprintf("unusable result: %v", err), fmt.Sprintf("%.200q", stdout.text))
			}
			return err
		})
	return result, err
}

// tee keeps what a plugin printed, to tell an empty result, which a secondary
// may return, from one that cannot be read.
type tee struct {
	invoke.Exec
	text   []byte
	failed bool
}

func (t *tee) ExecPlugin(ctx context.Context, path string, stdin []byte, environ []string) (_ []byte, err error) {
	t.text, err = t.Exec.ExecPlugin(ctx, path, stdin, environ)
	t.failed = err != nil
	return t.text, err
}

func (t *tee) empty() bool {
	if len(bytes.TrimSpace(t.text)) == 0 {
		return true
	}
	var members map[string]json.RawMessage
	return json.Unmarshal(t.text, &members) == nil && len(members) == 0
}

// usable returns an error for a result that could not be handed on: cni reads
// an address that is missing, but writes "<nil>", which nobody can read.
func usable(text []byte, result types.Result) error {
	if err := refuseNulls(text); err != nil {
		return err
	}
	written, err := json.Marshal(result)
	if err == nil {
		_, err = create.Create(result.Version(), written)
	}
	if err != nil {
		return types.NewError(types.ErrDecodingFailure, fmt.Sprintf("unusable result: %v", err), fmt.Sprintf("%.200q", text))
	}
	return nil
}

// refuseNulls returns an error for a result that has null in the place of an
// interface, an address or a route: cni's converters would follow it. It looks
// at each member of such a name, however written: cni takes one of "ips" and
// "IPs", and which one depends on the way that the result has gone.
func refuseNulls(result []byte) error {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(result, &members); err != nil {
		return types.NewError(types.ErrDecodingFailure, fmt.Sprintf("unusable result: %v", err), "")
	}
	for key, value := range members {
		is := func(name string) bool { return strings.EqualFold(key, name) }
		switch {
		case is("ip4"), is("ip6"):
			if err := refuseNulls(value); err != nil {
				return err
			}
		case is("interfaces"), is("ips"), is("routes"):
			var list []json.RawMessage
			if err := json.Unmarshal(value, &list); err != nil {
				return types.NewError(types.ErrDecodingFailure, fmt.Sprintf("unusable result: %v", err), "")
			}
			if slices.ContainsFunc(list, func(m json.RawMessage) bool { return string(m) == "null" }) {
				return types.NewError(types.ErrDecodingFailure, "unusable result: null in a list of interfaces, ips or routes", "")
			}
		}
	}
	return nil
}

// Del detaches the pod from the delegate's network: the plugins in reverse,
// each tried whatever the others do. (libcni stops at the first that fails;
// then the interface outlives a firewall rule that could not be removed.)
func (r *Runner) Del(ctx context.Context, d *netconf.Delegate, in netconf.Inputs) error {
	var errs []error
	for i := len(d.Plugins) - 1; i >= 0; i-- {
		if err := r.run(ctx, d, i, "DEL", in); err != nil {
			errs = append(errs, err)
		}
	}
	return Join(errs)
}

// Check asks every plugin whether the attachment still stands, up to the
// first that says no.
func (r *Runner) Check(ctx context.Context, d *netconf.Delegate, in netconf.Inputs) error {
	if d.DisableCheck {
		return nil
	}
	for i := range d.Plugins {
		if err := r.run(ctx, d, i, "CHECK", in); err != nil {
			return err
		}
	}
	return nil
}

// Status asks every plugin whether it could ADD, up to the first that says no.
func (r *Runner) Status(ctx context.Context, d *netconf.Delegate) error {
	for i := range d.Plugins {
		if err := r.run(ctx, d, i, "STATUS", netconf.Inputs{}); err != nil {
			return err
		}
	}
	return nil
}

// GC tells every plugin which attachments of its network are valid, a JSON
// list of {containerID, ifname}.
func (r *Runner) GC(ctx context.Context, d *netconf.Delegate, valid json.RawMessage) error {
	if d.DisableGC {
		return nil
	}
	var errs []error
	for i := range d.Plugins {
		if err := r.run(ctx, d, i, "GC", netconf.Inputs{ValidAttachments: valid}); err != nil {
			errs = append(errs, err)
		}
	}
	return Join(errs)
}

func (r *Runner) run(ctx context.Context, d *netconf.Delegate, i int, verb string, in netconf.Inputs) error {
	err := r.call(ctx, d, i, verb, in, func(path string, request []byte, env Env) error {
		return invoke.ExecPluginWithoutResult(ctx, path, request, env, r.Exec)
	})
	if err != nil {
		return failed(d, i, verb, err)
	}
	return nil
}

// call makes one plugin's request and runs it; once more, at another version,
// when the plugin refuses a version that its delegate did not ask for.
func (r *Runner) call(ctx context.Context, d *netconf.Delegate, i int, verb string, in netconf.Inputs,
	run func(path string, request []byte, env Env) error,
) error {
	p := &d.Plugins[i]
	path, err := r.find(p.Type)
	if err != nil {
		return err
	}
	env := r.Env.With("CNI_COMMAND=" + verb)
	if verb != "STATUS" && verb != "GC" { // these concern no attachment
		env = env.With("CNI_IFNAME=" + d.IfName)
	}
	attempt := func() error {
		if !speaks(p.CNIVersion, verb) {
			return nil
		}
		converted := in
		converted.PrevResult, err = asVersion(in.PrevResult, p.CNIVersion)
		if err != nil && verb != "DEL" { // a DEL is better without a prevResult than not at all
			return err
		}
		return run(path, d.Request(i, converted), env)
	}
	err = attempt()
	if err == nil || !p.Inherited || AsError(err).Code != types.ErrIncompatibleCNIVersion {
		return err
	}
	chosen := r.highestCommonVersion(ctx, path)
	if chosen == "" || chosen == p.CNIVersion {
		return err
	}
	p.CNIVersion = chosen
	return attempt()
}

// speaks tells whether a verb exists in a version of the CNI spec.
func speaks(cniVersion, verb string) bool {
	since := map[string]string{"CHECK": "0.4.0", "STATUS": "1.1.0", "GC": "1.1.0"}[verb]
	ok, err := version.GreaterThanOrEqualTo(cniVersion, since)
	return since == "" || (err == nil && ok)
}

// highestCommonVersion asks a plugin for its VERSION. It returns "" when there
// is no answer, or none that multus knows.
func (r *Runner) highestCommonVersion(ctx context.Context, path string) string {
	info, err := invoke.GetVersionInfo(ctx, path, r.Exec)
	if err != nil {
		return ""
	}
	ours := version.All.SupportedVersions()
	for i := len(ours) - 1; i >= 0; i-- {
		if slices.Contains(info.SupportedVersions(), ours[i]) {
			return ours[i]
		}
	}
	return ""
}

// asVersion converts a result to another version of the CNI spec. One that has
// the version already stays as it is written.
func asVersion(result json.RawMessage, cniVersion string) (json.RawMessage, error) {
	if result == nil {
		return nil, nil
	}
	var has struct{ CNIVersion string }
	if err := json.Unmarshal(result, &has); err != nil {
		return nil, fmt.Errorf("decode prevResult: %w", err)
	}
	if has.CNIVersion == "" || has.CNIVersion == cniVersion {
		return result, nil
	}
	if err := refuseNulls(result); err != nil {
		return nil, err
	}
	typed, err := create.Create(has.CNIVersion, result)
	if err != nil {
		return nil, fmt.Errorf("decode prevResult: %w", err)
	}
	converted, err := typed.GetAsVersion(cniVersion)
	if err != nil {
		return nil, fmt.Errorf("convert prevResult to %s: %w", cniVersion, err)
	}
	return json.Marshal(converted)
}

var (
	_ invoke.CNIArgs = Env(nil)
	_ invoke.Exec    = (*tee)(nil)
)
