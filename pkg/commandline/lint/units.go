// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package lint

import (
	"fmt"

	"multus-cni/pkg/netconf"
	"multus-cni/pkg/rawjson"
)

// unit is one plugin that an ADD runs, whoever starts it: multus starts the
// plugins of its delegates, and these start IPAM plugins and delegates of
// their own.
type unit struct {
	delegate  int    // index, -1 for a plugin beside multus
	network   string // the delegate's
	kind      string // its type
	field     string // the path of the type in the delegate, such as "ipam.type"
	pos       int    // of the type, 0 when there is none
	object    rawjson.Object
	parent    *unit  // the plugin that starts it, nil for multus
	version   string // of the CNI spec that it will be called with
	inherited bool   // multus chooses another version when this one is refused
}

// unitsOf lists the plugins of all delegates, each before those that it
// starts.
func unitsOf(conf *netconf.Conf) []*unit {
	var units []*unit
	for i, d := range conf.Delegates {
		for j, p := range d.Plugins {
			field, pos := "type", 0
			if d.List {
				field = fmt.Sprintf("plugins[%d].type", j)
			}
			if m := p.Config.Get("type"); m != nil {
				pos = m.Pos
			}
			u := &unit{
				delegate: i, network: d.Name, kind: p.Type, field: field, pos: pos, object: p.Config,
				version: p.CNIVersion, inherited: p.Inherited,
			}
			units = append(append(units, u), u.children()...)
		}
	}
	return units
}

// children lists the plugins that u starts, and those that these start.
func (u *unit) children() []*unit {
	var units []*unit
	add := func(child *unit) {
		if child != nil {
			units = append(append(units, child), child.children()...)
		}
	}
	add(u.from("ipam", u.object.Get("ipam")))
	add(u.from("delegate", u.object.Get("delegate")))
	for i, inner := range u.object.Get("delegates").Elements() { // a multus inside multus
		add(u.from(fmt.Sprintf("delegates[%d]", i), &inner))
	}
	return units
}

// from returns the plugin whose configuration is the value of a member, nil
// when there is none. key is the path of the member from u.
func (u *unit) from(key string, m *rawjson.Member) *unit {
	inner := m.Object()
	kind := inner.Get("type")
	if kind.String() == "" {
		return nil
	}
	version := inner.Get("cniVersion").String()
	return &unit{
		delegate: u.delegate, network: u.network, parent: u,
		kind: kind.String(), field: u.prefix() + key + ".type", pos: kind.Pos, object: inner,
		version: version, inherited: version == "" && u.kind == "multus",
	}
}

// prefix is the path of the unit's configuration in its delegate, such as
// "ipam.", and "" for the delegate itself.
func (u *unit) prefix() string { return u.field[:len(u.field)-len("type")] }

// owner is the plugin that multus itself starts.
func (u *unit) owner() *unit {
	for u.parent != nil {
		u = u.parent
	}
	return u
}

// problem makes a problem of the delegate that the unit belongs to.
func (u *unit) problem(field string, pos int, format string, args ...any) netconf.Problem {
	return netconf.Problem{
		Delegate: u.delegate, Type: u.owner().kind, Field: field, Pos: pos, Msg: fmt.Sprintf(format, args...),
	}
}
