// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package delegate

import (
	"context"
	"slices"
	"strings"

	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/version"

	"multus-cni/pkg/cnierror"
	"multus-cni/pkg/netconf"
	"multus-cni/pkg/rawjson"
)

// call runs one verb of one plugin. It returns what the plugin wrote on stdout
// and the CNI version that it was run at. If the plugin refuses the version and
// the delegate has only inherited that, call runs it once more at another one.
// If the second attempt fails too, the first error is returned.
func (r *Runner) call(ctx context.Context, d netconf.Delegate, i int, verb string, in netconf.Inputs) (stdout []byte, cniVersion string, err error) {
	p := d.Plugins[i]
	stdout, err = r.attempt(ctx, d, i, verb, in)
	if err == nil || !p.Inherited || !refusesVersion(err) && !unknownVerb(verb, err) {
		return stdout, p.CNIVersion, err
	}
	chosen := r.commonVersion(ctx, p)
	if chosen == "" {
		return nil, p.CNIVersion, err
	}
	d = atVersion(d, i, chosen)
	if verb == "ADD" { // the plugin may have begun, if it was its IPAM plugin that refused
		_, _ = r.attempt(ctx, d, i, "DEL", in)
	}
	stdout, again := r.attempt(ctx, d, i, verb, in)
	if again != nil {
		return nil, p.CNIVersion, cnierror.WithDetails(err, "at CNI version "+chosen+": "+again.Error())
	}
	return stdout, chosen, nil
}

// attempt runs one verb of one plugin, unless the verb does not exist in the
// plugin's CNI version.
func (r *Runner) attempt(ctx context.Context, d netconf.Delegate, i int, verb string, in netconf.Inputs) ([]byte, error) {
	p := d.Plugins[i]
	if !exists(verb, p.CNIVersion) {
		return nil, nil
	}
	path, err := r.find(p.Type)
	if err != nil {
		return nil, err
	}
	in.PrevResult, err = convertResult(in.PrevResult, p.CNIVersion)
	if err != nil && verb != "DEL" { // a DEL without a prevResult is better than none
		return nil, err
	}
	return r.exec.ExecPlugin(ctx, path, d.Request(i, in), r.env.forDelegate(verb, d))
}

// exists reports whether a version of the CNI spec has a verb.
func exists(verb, cniVersion string) bool {
	since := map[string]string{"CHECK": "0.4.0", "STATUS": "1.1.0", "GC": "1.1.0"}[verb]
	if since == "" {
		return true
	}
	ok, err := version.GreaterThanOrEqualTo(cniVersion, since)
	return err == nil && ok
}

// unknownVerb reports whether an error may mean that the plugin is older than
// the verb. Such a plugin refuses STATUS or GC before it looks at the CNI
// version, for whatever its own check of the environment finds missing: code 4
// and "unknown CNI_COMMAND" or "missing containerID" with the reference plugins.
// (CHECK is another matter: it only follows an ADD, which chose the version.)
func unknownVerb(verb string, err error) bool {
	code := cnierror.Code(err)
	answered := code == 50 || code == 51 // what STATUS is for: section "Error" of the spec
	return (verb == "STATUS" || verb == "GC") && !answered
}

// refusesVersion reports whether an error may mean that the plugin does not
// support the CNI version of its request. The spec gives code 1 that meaning,
// but many scripts use it for every failure. Running those again would repeat
// what they have done, so an error that does say something and never mentions
// a version is taken for one of theirs.
func refusesVersion(err error) bool {
	e := cnierror.From(err)
	text := strings.ToLower(e.Msg + e.Details)
	return e.Code == types.ErrIncompatibleCNIVersion && (text == "" || strings.Contains(text, "version"))
}

// commonVersion returns the highest CNI version that multus, a plugin and the
// plugins below it support, after the plugin's own one was refused. It returns
// "" when there is none, and when all of them support the refused one: then
// the plugin has failed for another reason.
//
// Where the plugin itself supports the refused version, it was a plugin below
// it that refused, and the version only ever goes down.
func (r *Runner) commonVersion(ctx context.Context, p netconf.Plugin) string {
	own := r.supported(ctx, p.Type)
	common := slices.Clone(own)
	for _, plugin := range pluginsBelow(p.Config) {
		if supported := r.supported(ctx, plugin); supported != nil {
			common = slices.DeleteFunc(common, func(v string) bool { return !slices.Contains(supported, v) })
		}
	}
	if slices.Contains(common, p.CNIVersion) {
		return ""
	}
	if slices.Contains(own, p.CNIVersion) {
		common = slices.DeleteFunc(common, func(v string) bool {
			higher, err := version.GreaterThan(v, p.CNIVersion)
			return err != nil || higher
		})
	}
	return netconf.HighestVersion(common)
}

// supported asks a plugin for its VERSION. It returns nil when the plugin
// cannot be found or does not answer.
func (r *Runner) supported(ctx context.Context, plugin string) []string {
	path, err := r.find(plugin)
	if err != nil {
		return nil
	}
	info, err := invoke.GetVersionInfo(ctx, path, r.exec)
	if err != nil {
		return nil
	}
	return info.SupportedVersions()
}

// pluginsBelow lists the plugins that a plugin runs itself, as far as its
// configuration names them in the usual places: its IPAM plugin, and the
// plugin that a meta-plugin delegates to with its own IPAM plugin.
func pluginsBelow(config rawjson.Object) []string {
	var plugins []string
	for _, key := range []string{"ipam", "delegate"} {
		inner := config.Get(key).Object()
		if inner == nil {
			continue
		}
		if plugin := inner.Get("type").String(); plugin != "" {
			plugins = append(plugins, plugin)
		}
		plugins = append(plugins, pluginsBelow(inner)...)
	}
	return plugins
}
