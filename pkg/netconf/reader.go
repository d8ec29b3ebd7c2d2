// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package netconf

import (
	"cmp"
	"strings"

	"github.com/containernetworking/cni/pkg/types"

	"multus-cni/pkg/rawjson"
)

// reader walks a conf and collects what is wrong with it.
type reader struct {
	delegate int    // the index of the delegate that is being read, or -1
	kind     string // its type, as far as it is known
	problems Problems
}

func (r *reader) conf(object rawjson.Object, pos int) *Conf {
	r.noDuplicate(object)
	conf := &Conf{Members: object, Name: r.networkName(object.Get("name")), CNIDir: DefaultCNIDir}
	if m := object.Get("name"); m == nil || string(m.Value) == `""` {
		r.report(types.ErrInvalidNetworkConfig, "name", pos, "is missing")
	}
	if !isUnset(object.Get("cniDir")) {
		conf.CNIDir = r.path(object, "cniDir")
	}
	conf.LogFile = r.path(object, "logFile")
	conf.LogLevel = r.logLevel(object)
	conf.CNIVersion = r.confVersion(object)
	conf.RuntimeConfig = r.object(object, "runtimeConfig")
	if r.object(object, "prevResult") != nil {
		conf.PrevResult = object.Get("prevResult").Value
	}
	conf.ValidAttachments = r.validAttachments(object)
	conf.Delegates = r.delegates(object, pos, conf.CNIVersion)
	return conf
}

// validAttachments reads what a GC must leave alone. The spec of 2024 had
// another key for it; libcni sends both.
func (r *reader) validAttachments(object rawjson.Object) []types.GCAttachment {
	m := cmp.Or(object.Get("cni.dev/valid-attachments"), object.Get("cni.dev/attachments"))
	if m == nil {
		return nil
	}
	elements, ok := r.elements(m)
	if !ok {
		return nil
	}
	valid := make([]types.GCAttachment, 0, len(elements))
	for i, element := range elements {
		entry, err := rawjson.ParseObject(element.Value, element.Pos)
		if err != nil { // GC would remove a running pod for an entry that cannot be read
			r.report(types.ErrDecodingFailure, m.Key, element.Pos,
				"must be a list of {containerID, ifname}: entry %d is %s", i, kindOf(element.Value))
			continue
		}
		v := types.GCAttachment{ContainerID: r.str(entry, "containerID"), IfName: r.str(entry, "ifname")}
		if v.ContainerID == "" || v.IfName == "" {
			r.report(types.ErrInvalidNetworkConfig, m.Key, element.Pos,
				"must name a containerID and an ifname in each entry: entry %d lacks one", i)
		}
		valid = append(valid, v)
	}
	return valid
}

// delegates reads all of them. cniVersion is what they inherit.
func (r *reader) delegates(object rawjson.Object, pos int, cniVersion string) []Delegate {
	m := object.Get("delegates")
	if m == nil {
		r.report(types.ErrInvalidNetworkConfig, "delegates", pos, "is missing: list the networks of a pod there")
		return nil
	}
	elements, ok := r.elements(m)
	if !ok {
		return nil
	}
	if len(elements) == 0 {
		r.report(types.ErrInvalidNetworkConfig, "delegates", m.Pos, "is empty: list the networks of a pod there")
		return nil
	}
	delegates := make([]Delegate, len(elements))
	primaries := 0
	for i, element := range elements {
		r.delegate, r.kind = i, ""
		delegates[i] = r.readDelegate(element, cniVersion)
		if delegates[i].Primary {
			if primaries++; primaries == 2 {
				r.report(types.ErrInvalidNetworkConfig, "masterplugin", element.Pos,
					"is true for a second delegate: only one can be the pod's primary network")
			}
		}
	}
	r.noSharedIfName(delegates)
	r.delegate, r.kind = -1, ""
	if primaries == 0 && !r.problems.about("masterplugin") {
		r.report(types.ErrInvalidNetworkConfig, "delegates", m.Pos,
			`has no delegate with "masterplugin": true: say which one is the pod's primary network`)
	}
	return delegates
}

func (r *reader) readDelegate(element rawjson.Member, cniVersion string) Delegate {
	object, err := rawjson.ParseObject(element.Value, element.Pos)
	if err != nil {
		r.report(types.ErrDecodingFailure, "", element.Pos, "must be an object, not %s", kindOf(element.Value))
		return Delegate{Index: r.delegate}
	}
	r.kind = object.Get("type").String() // a type that is no string is reported below
	r.noDuplicate(object)
	d := Delegate{
		Index: r.delegate, Name: r.networkName(optional(object, "name")), Primary: r.boolean(object, "masterplugin"), Members: object,
	}
	d.IfName = r.ifName(object, d.Primary)
	plugins := object.Get("plugins")
	if plugins != nil && isNull(plugins) && object.Get("type") != nil {
		plugins = nil
	}
	own := ""
	switch {
	case plugins == nil:
		own = r.cniVersion(object)
		d.Plugins = []Plugin{r.plugin(object, element.Pos)}
	case optional(object, "type") != nil:
		r.report(types.ErrInvalidNetworkConfig, "plugins", plugins.Pos,
			`cannot be combined with "type": a delegate is either one plugin or a list of plugins`)
	default:
		own = r.listVersion(object)
		d.List = true
		d.DisableCheck = r.listBoolean(object, "disableCheck")
		d.DisableGC = r.listBoolean(object, "disableGC")
		d.Plugins = r.plugins(plugins)
	}
	for i := range d.Plugins {
		d.Plugins[i].CNIVersion, d.Plugins[i].Inherited = cmp.Or(own, cniVersion), own == ""
	}
	return d
}

func (r *reader) plugins(m *rawjson.Member) []Plugin {
	elements, ok := r.elements(m)
	if !ok {
		return nil
	}
	if len(elements) == 0 {
		r.report(types.ErrInvalidNetworkConfig, "plugins", m.Pos, "is empty: a list delegate needs at least one plugin")
	}
	plugins := make([]Plugin, 0, len(elements))
	for _, element := range elements {
		object, err := rawjson.ParseObject(element.Value, element.Pos)
		if err != nil {
			r.report(types.ErrDecodingFailure, "plugins", element.Pos, "must hold objects only, not %s", kindOf(element.Value))
			continue
		}
		r.noDuplicate(object)
		for _, key := range []string{"masterplugin", "ifname"} {
			if m := optional(object, key); m != nil {
				r.report(types.ErrInvalidNetworkConfig, key, m.Pos, `belongs beside "plugins", not inside it`)
			}
		}
		plugins = append(plugins, r.plugin(object, element.Pos))
	}
	return plugins
}

func (r *reader) plugin(object rawjson.Object, pos int) Plugin {
	p := Plugin{Type: r.text(object.Get("type")), Config: object}
	switch m := object.Get("type"); {
	case m == nil:
		r.report(types.ErrInvalidNetworkConfig, "type", pos, "is missing: name the plugin's binary")
	case string(m.Value) == `""`, p.Type == ".", p.Type == "..":
		r.report(types.ErrInvalidNetworkConfig, "type", m.Pos, "must name the plugin's binary, not %q", p.Type)
	case strings.ContainsAny(p.Type, "/\\\x00"):
		r.report(types.ErrInvalidNetworkConfig, "type", m.Pos,
			"must be the name of a binary on CNI_PATH, not a path: %q", p.Type)
	}
	for _, c := range r.object(object, "capabilities") {
		if !isBoolean(c.Value) && !isNull(&c) {
			r.report(types.ErrDecodingFailure, "capabilities", c.Pos, "must hold true or false for %q, not %s", c.Key, kindOf(c.Value))
		}
	}
	return p
}
