// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package lint

import (
	"net"
	"slices"

	"multus-cni/pkg/netconf"
)

// hints warns of common mistakes in the configuration of a plugin that the
// plugin itself reports late or not at all.
func (l *linter) hints(conf *netconf.Conf, units []*unit) {
	for _, d := range conf.Delegates {
		if d.Primary && len(d.Plugins) > 0 {
			l.address(d.Index, &d.Plugins[0])
		}
	}
	for _, u := range units {
		if m := u.object.Get("ipam"); m != nil && m.Value[0] != '{' && string(m.Value) != "null" {
			l.report(u.problem("ipam", m.Pos, `must be an object such as {"type": "host-local", ...}, not %s`, short(m.Value)), false)
		}
		l.portmap(u)
		l.sriov(u)
		l.master(u)
	}
}

// address warns of a primary that gives the pod no address.
func (l *linter) address(delegate int, p *netconf.Plugin) {
	fromIPAM := []string{"bridge", "dummy", "host-device", "ipvlan", "macvlan", "ptp", "sriov", "tap", "vlan"}
	m := p.Config.Get("ipam")
	if !slices.Contains(fromIPAM, p.Type) || m != nil && (m.Value[0] != '{' || m.Object().Get("type") != nil) {
		return // other plugins have addresses of their own; an ipam of a wrong type is an error
	}
	pos := 0
	if kind := p.Config.Get("type"); kind != nil {
		pos = kind.Pos
	}
	l.warn(netconf.Problem{
		Delegate: delegate, Type: p.Type, Field: "ipam", Pos: pos,
		Msg: "is missing in the primary: the pod gets no address, and Kubernetes starts no pod without one",
	})
}

// portmap warns of a portmap that no runtime sends its ports to.
func (l *linter) portmap(u *unit) {
	if u.kind != "portmap" {
		return
	}
	if m := u.object.Get("capabilities").Object().Get("portMappings"); !m.IsTrue() {
		l.warn(u.problem("capabilities", u.pos, `of portmap lacks {"portMappings": true}: runtimes send it no ports without that`))
	}
}

// sriov warns of confs for a plugin of 2017, whose example is still around.
func (l *linter) sriov(u *unit) {
	if u.kind != "sriov" {
		return
	}
	if m := u.object.Get("if0"); m != nil {
		if u.version != "0.1.0" && u.version != "0.2.0" || u.inherited {
			l.warn(u.problem("if0", m.Pos, `is a key of the sriov plugin of 2017, which needs "cniVersion": "0.2.0" in its delegate; `+
				`today's releases take "deviceID", the PCI address of one VF`))
		}
		return
	}
	given := u.object.Get("capabilities").Object().Get("deviceID")
	if u.object.Get("deviceID") == nil && !given.IsTrue() {
		l.warn(u.problem("deviceID", u.pos, `is missing: write the PCI address of a VF, or declare the capability "deviceID" `+
			"if the runtime sends one to each pod"))
	}
}

// master warns of a link that this node does not have.
func (l *linter) master(u *unit) {
	m := u.object.Get("master")
	if l.path == nil || m.String() == "" || u.object.Get("linkInContainer").IsTrue() {
		return
	}
	links, err := net.Interfaces()
	if err != nil || slices.ContainsFunc(links, func(link net.Interface) bool { return link.Name == m.String() }) {
		return
	}
	l.warn(u.problem(u.prefix()+"master", m.Pos, "%s is not a link of this node: \"ip link\" lists them", short(m.Value)))
}
