// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package lint

import (
	"fmt"
	"net/netip"

	"multus-cni/pkg/netconf"
	"multus-cni/pkg/rawjson"
)

// names warns of delegates whose networks have the same name: host-local keeps
// its leases by it, and ptp and bridge their ipMasq rules.
func (l *linter) names(conf *netconf.Conf) {
	first := map[string]int{}
	for own, d := range conf.Delegates {
		other, taken := first[d.Name]
		if !taken {
			first[d.Name] = own
			continue
		}
		name := d.Members.Get("name")
		if name == nil { // then it may be the other one that spells it out
			own, other = other, own
			name = conf.Delegates[own].Members.Get("name")
		}
		if name == nil {
			continue
		}
		p := netconf.Problem{Delegate: own, Field: "name", Pos: name.Pos, Msg: fmt.Sprintf(
			"%q is the name of delegate %d too: they would remove each other's ipMasq rules and share host-local's leases; "+
				"give each its own name, or leave it out", d.Name, other)}
		if d := conf.Delegates[own]; !d.List && len(d.Plugins) > 0 {
			p.Type = d.Plugins[0].Type
		}
		l.warn(p)
	}
}

// capabilities warns of those that a delegate declares and the conf does not,
// so that no runtime ever sends what they are for, and the other way round.
func (l *linter) capabilities(conf *netconf.Conf) {
	declared := conf.Members.Get("capabilities").Object()
	used := map[string]bool{}
	for i, d := range conf.Delegates {
		for _, p := range d.Plugins {
			for _, c := range p.Config.Get("capabilities").Object() {
				if !c.IsTrue() {
					continue
				}
				used[c.Key] = true
				if !declared.Get(c.Key).IsTrue() {
					l.warn(netconf.Problem{
						Delegate: i, Type: p.Type, Field: "capabilities." + c.Key, Pos: c.Pos,
						Msg: `never reaches the plugin: runtimes send it only to a conf that declares it; write "capabilities": {"` +
							c.Key + `": true} beside "delegates" too`,
					})
				}
			}
		}
	}
	for _, c := range declared {
		if c.IsTrue() && !used[c.Key] {
			l.warn(netconf.Problem{
				Delegate: -1, Field: "capabilities." + c.Key, Pos: c.Pos,
				Msg: "is passed to no delegate: declare it in the delegate that it is for",
			})
		}
	}
}

// pool is a range of addresses that a host-local plugin gives out.
type pool struct {
	*unit
	account     string // where it keeps its leases
	subnet      string
	first, last netip.Addr
	pos         int
	field       string
}

// subnets warns of addresses that two host-local plugins would give out without
// knowing of each other, and reports invalid subnets.
func (l *linter) subnets(units []*unit) {
	var pools []pool
	for _, u := range units {
		if u.kind != "host-local" {
			continue
		}
		for _, p := range l.pools(u) {
			for _, other := range pools {
				if p.account != other.account && p.first.Compare(other.last) <= 0 && other.first.Compare(p.last) <= 0 {
					l.warn(u.problem(p.field, p.pos, "%s overlaps %s of delegate %d, which has another name: both would give out "+
						"the same address; use another subnet, or keep them apart with rangeStart and rangeEnd",
						p.subnet, other.subnet, other.delegate))
					break
				}
			}
			pools = append(pools, p)
		}
	}
}

// pools reads the ranges of one host-local plugin.
func (l *linter) pools(u *unit) []pool {
	account := u.object.Get("dataDir").String() + "/" + u.network
	var pools []pool
	read := func(object rawjson.Object, field string) {
		m := object.Get("subnet")
		if m == nil {
			return
		}
		subnet, err := netip.ParsePrefix(m.String())
		if err != nil {
			l.report(u.problem(field, m.Pos, "must be a subnet, such as \"10.56.217.0/24\", not %s", short(m.Value)), false)
			return
		}
		if subnet != subnet.Masked() {
			l.warn(u.problem(field, m.Pos, "%s has host bits, which host-local refuses today: write %s", subnet, subnet.Masked()))
		}
		p := pool{unit: u, account: account, subnet: subnet.String(), pos: m.Pos, field: field}
		p.first, p.last = subnet.Masked().Addr(), lastOf(subnet)
		for key, bound := range map[string]*netip.Addr{"rangeStart": &p.first, "rangeEnd": &p.last} {
			if addr, err := netip.ParseAddr(object.Get(key).String()); err == nil {
				*bound = addr
			}
		}
		if !subnet.Contains(p.first) || !subnet.Contains(p.last) || p.last.Less(p.first) {
			l.report(u.problem(field, m.Pos, "%s does not hold the range from %s to %s", subnet.Masked(), p.first, p.last), false)
			return
		}
		pools = append(pools, p)
	}
	read(u.object, u.prefix()+"subnet")
	for _, set := range u.object.Get("ranges").Elements() {
		if set.Object() != nil {
			l.report(u.problem(u.prefix()+"ranges", set.Pos, "must be a list of lists of ranges, [[{...}]]"), false)
		}
		for _, r := range set.Elements() {
			read(r.Object(), u.prefix()+"ranges.subnet")
		}
	}
	return pools
}

// lastOf returns the last address of a subnet.
func lastOf(subnet netip.Prefix) netip.Addr {
	bytes := subnet.Addr().AsSlice()
	for bit := subnet.Bits(); bit < len(bytes)*8; bit++ {
		bytes[bit/8] |= 0x80 >> (bit % 8)
	}
	last, _ := netip.AddrFromSlice(bytes)
	return last
}
