// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package lint

import (
	"multus-cni/pkg/netconf"
	"multus-cni/pkg/rawjson"
)

// fromList returns the conf of multus in a list of plugins as the runtime makes
// it, and its offset in the file, or nil when there is none. It checks the list
// and the other plugins too.
func (l *linter) fromList(top rawjson.Object) (own rawjson.Object, pos int) {
	for _, key := range []string{"name", "cniVersion"} {
		if m := top.Get(key); m != nil && m.Value[0] != '"' {
			l.fault(m.Pos, key, "must be a string, not %s", short(m.Value))
		}
	}
	if top.Get("name") == nil {
		l.fault(0, "name", "is missing: give the network one")
	}
	l.unknown(top, -1, listKeys(), "is an unknown key of a list: runtimes ignore it")
	plugins := top.Get("plugins")
	list, err := rawjson.Elements(plugins.Value, plugins.Pos)
	if err != nil {
		l.fault(plugins.Pos, "plugins", "must be a list of objects")
		return nil, 0
	}
	inherited := inheritance(top)
	for i, m := range list {
		plugin := m.Object()
		if plugin == nil {
			l.fault(m.Pos, "plugins", "must hold objects only")
			continue
		}
		switch kind := plugin.Get("type"); {
		case kind == nil:
			l.fault(m.Pos, "plugins", `has no "type" at index %d: name the plugin's binary`, i)
		case !IsMultus(kind.String(), l.path):
			u := &unit{delegate: -1, kind: kind.String(), pos: kind.Pos, field: "type", version: inherited.Get("cniVersion").String(), object: plugin}
			l.portmap(u)
			if l.path != nil {
				l.find(u)
			}
		case own != nil:
			l.fault(kind.Pos, "plugins", "holds multus twice: it can attach a pod only once; put all networks into one list of delegates")
		default:
			own, pos = append(plugin.Without("name", "cniVersion"), inherited...), m.Pos
		}
	}
	if own == nil {
		l.fault(plugins.Pos, "plugins", `has no plugin of type "multus"`)
	}
	return own, pos
}

// inheritance returns what the plugins of a list get from it: its name and, as
// libcni chooses it, its version.
func inheritance(top rawjson.Object) rawjson.Object {
	name := rawjson.Member{Key: "name", Value: rawjson.Quote("unnamed")} // reported by then
	if m := top.Get("name"); m != nil && m.Value[0] == '"' {
		name = *m
	}
	inherited := rawjson.Object{name}
	m := top.Get("cniVersion")
	versions := []string{m.String()}
	for _, v := range top.Get("cniVersions").Elements() {
		versions = append(versions, v.String())
	}
	switch highest := netconf.HighestVersion(versions); {
	case highest != "" && highest != m.String():
		return inherited.Set("cniVersion", rawjson.Quote(highest))
	case m != nil && m.Value[0] == '"':
		return append(inherited, *m)
	}
	return inherited
}
