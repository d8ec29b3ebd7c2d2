// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package defaultroute

import (
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

const (
	v4 = unix.AF_INET
	v6 = unix.AF_INET6
)

// begin starts a Keeper, and is called as the verb ADD does.
func (p *pod) begin(ifname string, primary int) *Keeper {
	p.t.Helper()
	k, err := New(p, ifname, primary)
	p.must(err)
	return k
}

// delegate runs one delegate, which adds routes.
func (p *pod) delegate(k *Keeper, index int, link string, routes ...spec) {
	p.t.Helper()
	p.must(k.Before(index))
	for _, s := range routes {
		p.must(p.add(s))
	}
	p.must(k.After(index, []string{link}))
}

// via is a plugin's default route through the N-th interface.
func via(family uint8, n int) spec {
	return spec{family: family, dev: podLinks[n], via: gateway(family, n, "1")}
}

func exclusive(s spec) spec      { s.flags = unix.NLM_F_EXCL; return s }
func by(s spec, proto int) spec  { s.proto = uint8(proto); return s }
func at(s spec, metric int) spec { s.metric = uint32(metric); return s }

// The families have their owners independently of each other.
func TestOwners(t *testing.T) {
	p := newPod(t)
	tests := []struct {
		name       string
		primary    int
		routes     [][]spec // by delegate
		v4, v6     []string
		interfaces map[string]string
	}{
		{
			"a family that the primary lacks", 1,
			[][]spec{{via(v6, 1)}, {via(v4, 0)}, {via(v4, 2), via(v6, 2)}},
			[]string{"eth0 10.0.0.1"},
			[]string{"net0 fd00:1::1"},
			map[string]string{"ipv4": "eth0", "ipv6": "net0"},
		},
		{
			"a family that comes after the primary", 0,
			[][]spec{{via(v4, 0)}, {via(v6, 1)}, {via(v6, 2)}},
			[]string{"eth0 10.0.0.1"},
			[]string{"net0 fd00:1::1"},
			map[string]string{"ipv4": "eth0", "ipv6": "net0"},
		},
		{
			"the first secondary keeps it", 2,
			[][]spec{{via(v4, 1)}, {via(v4, 2)}, {}},
			[]string{"net0 10.1.0.1"},
			nil,
			map[string]string{"ipv4": "net0"},
		},
		{"nobody has one", 0, [][]spec{{}, {}}, nil, nil, map[string]string{}},
		{
			"the lowest metric names the interface", 0,
			[][]spec{{at(via(v4, 0), 20), at(via(v4, 1), 10)}, {}},
			[]string{"eth0 10.0.0.1", "net0 10.1.0.1"},
			nil,
			map[string]string{"ipv4": "net0"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p.t = t
			p.flush()
			k := p.begin("eth0", tt.primary)
			for i, routes := range tt.routes {
				links := []string{"unused"}
				for _, s := range routes {
					links = append(links, s.dev)
				}
				p.must(k.Before(i))
				for _, s := range routes {
					p.must(p.add(s))
				}
				p.must(k.After(i, links))
			}
			p.must(k.Settle())
			p.want(v4, tt.v4...)
			p.want(v6, tt.v6...)
			for _, family := range []string{"ipv4", "ipv6"} {
				if got, want := k.Interfaces()[family], tt.interfaces[family]; got != want {
					t.Errorf("%s: got interface %q, want %q", family, got, want)
				}
			}
		})
	}
}

// What is there before the ADD, routes that are learned, those of other tables
// and those that another network adds meanwhile are left alone.
func TestLeavesOthersAlone(t *testing.T) {
	for _, family := range []uint8{v4, v6} {
		t.Run(familyName(family), func(t *testing.T) {
			p := newPod(t)
			policy := via(family, 1)
			policy.table = 100
			p.must(p.add(at(via(family, 3), 9)))
			k := p.begin("eth0", 1)
			p.delegate(k, 0, "net0", exclusive(via(family, 1)), policy, at(by(via(family, 1), unix.RTPROT_RA), 512), via(family, 2))
			p.delegate(k, 1, "eth0", at(via(family, 0), 1))
			p.must(k.Settle())
			var want []string
			for i, name := range podLinks { // the learned one is the one through net0
				want = append(want, name+" "+gateway(family, i, "1"))
			}
			p.want(family, want...)
			if got := p.routes(func(h unix.RtMsg) bool { return h.Table == 100 }); len(got) != 1 {
				t.Errorf("got %d routes in the other table, want 1", len(got))
			}
		})
	}
}

// IPv6 next hops of one metric are reported as one route, with the protocol of
// the first: one of ours behind a learned one is found all the same, and a
// learned one behind one of ours is not taken.
func TestMergedWithLearned(t *testing.T) {
	p := newPod(t)
	p.must(p.add(by(via(v6, 3), unix.RTPROT_RA)))
	k := p.begin("eth0", 0)
	p.delegate(k, 0, "eth0", at(via(v6, 0), 5))
	p.delegate(k, 1, "net0", via(v6, 1))
	p.must(k.Settle())
	p.want(v6, "eth0 fd00::1", "old0 fd00:3::1")

	p.flush()
	k = p.begin("eth0", 0)
	p.delegate(k, 0, "eth0", at(via(v6, 0), 5))
	learned := by(via(v6, 1), unix.RTPROT_RA)
	learned.via = gateway(v6, 1, "9")
	p.delegate(k, 1, "net0", via(v6, 1), learned)
	p.must(k.Settle())
	p.want(v6, "eth0 fd00::1", "net0 fd00:1::9")
}

// When the route to the gateway is gone, or leads elsewhere, the default route
// goes back onlink.
func TestGatewayReplaced(t *testing.T) {
	for _, tt := range []struct {
		family uint8
		subnet string
	}{{v4, "10.0.0.0/24"}, {v6, "fd00::/64"}} {
		t.Run(familyName(tt.family), func(t *testing.T) {
			p := newPod(t)
			k := p.begin("eth0", 0)
			p.delegate(k, 0, "eth0", spec{family: tt.family, mtu: 1400, nexthops: []spec{
				{dev: "eth0", via: gateway(tt.family, 0, "1"), weight: 5}, {dev: "eth0", via: gateway(tt.family, 0, "9")},
			}})
			p.must(k.Before(1))
			connected := spec{family: tt.family, dst: tt.subnet, dev: "eth0", proto: unix.RTPROT_KERNEL}
			if tt.family == v4 {
				connected.scope = unix.RT_SCOPE_LINK
			} else {
				connected.metric = 256
			}
			p.must(p.del(connected))
			p.must(p.add(spec{family: tt.family, dst: tt.subnet, dev: "net0", scope: connected.scope}))
			p.must(k.After(1, []string{"net0"}))
			p.must(k.Settle())
			p.want(tt.family, "eth0 "+gateway(tt.family, 0, "1"), "eth0 "+gateway(tt.family, 0, "9"))
			for i, hop := range p.nextHops() {
				if hop.flags != unix.RTNH_F_ONLINK || hop.weight != []uint8{4, 0}[i] {
					t.Errorf("next hop %d: got flags %d and weight %d, want onlink and the weight as it was", i, hop.flags, hop.weight+1)
				}
			}
		})
	}
}

// nextHops returns the next hops of the one multipath route in the pod.
func (p *pod) nextHops() []hop {
	p.t.Helper()
	bodies := p.defaults()
	if len(bodies) != 1 {
		p.t.Fatalf("got %d default routes, want 1", len(bodies))
	}
	attrs, err := nl.ParseRouteAttr(bodies[0][unix.SizeofRtMsg:])
	p.must(err)
	for _, a := range attrs {
		if kind(a) == unix.RTA_MULTIPATH {
			hops, err := parseHops(a.Value)
			p.must(err)
			return hops
		}
	}
	p.t.Fatal("there is no multipath route")
	return nil
}

// In a chain the interface and its default route are there before multus. A
// rollback puts back what was taken, wherever it begins.
func TestRestore(t *testing.T) {
	for _, family := range []uint8{v4, v6} {
		for steps := range 4 {
			p := newPod(t)
			before := via(family, 0)
			before.mtu, before.src = 1300, gateway(family, 0, "3")
			p.must(p.add(before))
			want := p.defaults()
			k := p.begin("eth0", 1)
			if steps > 0 {
				p.must(k.Before(0))
			}
			if steps > 1 {
				p.want(family)
				p.must(p.add(exclusive(via(family, 1))))
				p.must(k.After(0, []string{"net0"}))
			}
			if steps > 2 {
				p.must(k.Before(1))
			}
			_ = p.del(via(family, 1)) // the delegate's DEL
			p.must(k.Restore())
			if got := p.defaults(); !equalBodies(got, want) {
				t.Errorf("%s, after %d steps: got\n%x\nwant\n%x", familyName(family), steps, got, want)
			}
		}
	}
}

// The primary of a chain meets its own default route, and may change it.
func TestChainedPrimaryChangesItsRoute(t *testing.T) {
	p := newPod(t)
	p.must(p.add(via(v4, 0)))
	k := p.begin("eth0", 1)
	p.delegate(k, 0, "net0", exclusive(via(v4, 1)))
	p.must(k.Before(1))
	p.want(v4, "eth0 10.0.0.1")
	p.must(p.del(via(v4, 0)))
	other := via(v4, 0)
	other.via = gateway(v4, 0, "9")
	p.must(p.add(exclusive(other)))
	p.must(k.After(1, []string{"eth0"}))
	p.delegate(k, 2, "net1", exclusive(via(v4, 2)))
	p.must(k.Settle())
	p.want(v4, "eth0 10.0.0.9")
	p.must(k.Restore())
	p.want(v4, "eth0 10.0.0.9")
}

// Two networks that multus attaches to one pod at the same moment, step by
// step in every order: each keeps its own default route, and only that.
func TestTwoNetworksAtOnce(t *testing.T) {
	for _, family := range []uint8{v4, v6} {
		p := newPod(t)
		for order := range 1 << 8 {
			p.flush()
			a := p.network(family, "eth0", []string{"net0", "eth0"}, 1)
			b := p.network(family, "net1", []string{"net1", "old0"}, 0)
			for bit := range 8 {
				if order>>bit&1 == 0 {
					a, b = b, a
				}
				a.step()
				if order>>bit&1 == 0 {
					a, b = b, a
				}
			}
			for _, n := range []*network{a, b} {
				for n.step() {
				}
			}
			p.want(family, "eth0 "+gateway(family, 0, "1"), "net1 "+gateway(family, 2, "1"))
			for _, n := range []*network{a, b} {
				p.must(Verify(p, n.keeper.Interfaces(), n.keeper.Taken()))
			}
			if t.Failed() {
				t.Fatalf("in order %08b", order)
			}
		}
	}
}

// network is an ADD of two delegates that goes on step by step.
type network struct {
	keeper *Keeper
	steps  []func()
}

func (n *network) step() bool {
	if len(n.steps) == 0 {
		return false
	}
	n.steps[0]()
	n.steps = n.steps[1:]
	return true
}

func (p *pod) network(family uint8, ifname string, links []string, primary int) *network {
	n := &network{}
	add := func(i int) {
		for at, name := range podLinks {
			if name == links[i] {
				p.must(p.add(via(family, at)))
			}
		}
	}
	n.steps = append(n.steps, func() { n.keeper = p.begin(ifname, primary) })
	for i := range links {
		n.steps = append(n.steps,
			func() { p.must(n.keeper.Before(i)) },
			func() { add(i) },
			func() { p.must(n.keeper.After(i, links[i:i+1])) })
	}
	n.steps = append(n.steps, func() { p.must(n.keeper.Settle()) })
	return n
}

// A delegate that replaces the default route of a network that is there takes
// it away; one that another multus takes out meanwhile is not put back.
func TestReplacesAnotherNetwork(t *testing.T) {
	replace := via(v4, 0)
	replace.flags = unix.NLM_F_REPLACE
	p := newPod(t)
	p.must(p.add(via(v4, 3)))
	k := p.begin("eth0", 0)
	p.delegate(k, 0, "eth0", replace)
	p.want(v4, "eth0 10.0.0.1")
	p.must(k.Restore())
	p.want(v4, "eth0 10.0.0.1", "old0 10.3.0.1")

	p.flush()
	p.must(p.add(via(v4, 3)))
	k = p.begin("eth0", 0)
	p.must(k.Before(0))
	p.must(p.del(via(v4, 3)))
	p.must(p.add(via(v4, 0)))
	p.must(k.After(0, []string{"eth0"}))
	p.must(k.Settle())
	p.want(v4, "eth0 10.0.0.1")
}

// What somebody adds later is no mistake, unless it is what multus had taken
// from a secondary; what is missing is one.
func TestVerify(t *testing.T) {
	p := newPod(t)
	for _, family := range []uint8{v4, v6} {
		ecmp := via(family, 1)
		ecmp.flags = unix.NLM_F_APPEND
		eth0, net0 := via(family, 0), by(via(family, 1), unix.RTPROT_STATIC)
		tests := []struct {
			name string
			add  []spec
			del  []spec
			want string
		}{
			{"as it was left", nil, nil, ""},
			{"a routing daemon through the secondary", []spec{at(by(via(family, 1), unix.RTPROT_BIRD), 32)}, nil, ""},
			{"a routing daemon through another one", []spec{at(by(via(family, 3), unix.RTPROT_ZEBRA), 20)}, nil, ""},
			{"another metric", []spec{at(net0, 5)}, nil, ""},
			{"missing", nil, []spec{eth0}, "the pod has no " + familyName(family) + " default route; it should lead through eth0"},
			{"through another one only", []spec{via(family, 2)}, []spec{eth0}, familyName(family) + " default route leads through net1 instead of eth0"},
			{"taken and back", []spec{net0}, nil, "of a secondary network is back"},
			{"taken and alone", []spec{net0}, []spec{eth0}, "of a secondary network is back"},
		}
		for _, tt := range tests {
			t.Run(familyName(family)+" "+tt.name, func(t *testing.T) {
				p.t = t
				p.flush()
				k := p.begin("eth0", 0)
				p.delegate(k, 0, "eth0", eth0)
				p.delegate(k, 1, "net0", net0)
				p.must(k.Settle())
				for _, s := range tt.del {
					p.must(p.del(s))
				}
				for _, s := range tt.add {
					s.flags = unix.NLM_F_APPEND
					p.must(p.add(s))
				}
				err := Verify(p, k.Interfaces(), k.Taken())
				if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
					t.Errorf("got error %v, want one with %q", err, tt.want)
				}
			})
		}
	}
}

// The texts are in records on disk.
func TestTakenTexts(t *testing.T) {
	p := newPod(t)
	k := p.begin("eth0", 0)
	p.delegate(k, 0, "eth0", via(v4, 0), via(v6, 0))
	p.delegate(k, 1, "net0", at(via(v4, 1), 7), spec{family: v6, dev: "net0", proto: unix.RTPROT_STATIC},
		spec{family: v4, kind: unix.RTN_PROHIBIT, tos: 16})
	p.must(k.Settle())
	got := strings.Join(k.Taken(), "\n")
	want := "ipv4 default type 8 metric 0 tos 16 proto 3\n" +
		"ipv4 default via 10.1.0.1 dev net0 metric 7 proto 3\n" +
		"ipv6 default dev net0 metric 1024 proto 4"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestList(t *testing.T) {
	p := newPod(t)
	p.must(p.add(via(v4, 0)))
	p.must(p.add(at(via(v4, 1), 7)))
	p.must(p.add(spec{family: v6, dev: "net0"}))
	p.must(p.add(spec{family: v4, kind: unix.RTN_PROHIBIT, tos: 16}))
	p.must(p.add(spec{family: v4, dst: "10.9.0.0/16", dev: "net1"}))
	got, err := List(p)
	p.must(err)
	slices.Sort(got)
	want := []string{"default dev net0", "default via 10.0.0.1 dev eth0", "default via 10.1.0.1 dev net0"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Only a route with the same metric and TOS can have been replaced.
func TestReplacesNothingElse(t *testing.T) {
	p := newPod(t)
	for _, other := range []spec{at(via(v4, 3), 5), {family: v4, dev: "old0", via: gateway(v4, 3, "1"), tos: 16}} {
		p.flush()
		p.must(p.add(other))
		p.must(p.add(via(v4, 2)))
		k := p.begin("eth0", 0)
		p.must(k.Before(0))
		replace := via(v4, 0)
		replace.flags = unix.NLM_F_REPLACE
		p.must(p.add(replace))
		p.must(p.del(other)) // by its own network
		p.must(k.After(0, []string{"eth0"}))
		p.delegate(k, 1, "net0", via(v4, 1))
		p.must(k.Settle())
		p.want(v4, "eth0 10.0.0.1", "net1 10.2.0.1")
	}
}

// A route belongs to the delegate whose interface it leads through, also when
// it comes late; one through several interfaces to the delegate that ran.
func TestWhoseRoute(t *testing.T) {
	p := newPod(t)
	k := p.begin("eth0", 1)
	p.delegate(k, 0, "net0")
	p.must(k.Before(1))
	p.must(p.add(via(v4, 1)))
	p.must(k.After(1, []string{"eth0", "net0"})) // as a result with the interfaces of the pod says
	p.must(k.Settle())
	if got := k.Owners(); got["ipv4"] != 0 {
		t.Errorf("a late route of delegate 0 belongs to %v", got)
	}

	p.flush()
	k = p.begin("eth0", 0)
	p.delegate(k, 0, "eth0")
	p.delegate(k, 1, "net0", spec{family: v4, nexthops: []spec{{dev: "net0", via: "10.1.0.1"}, {dev: "eth0", via: "10.0.0.1"}}})
	p.must(k.Settle())
	if got := k.Owners(); got["ipv4"] != 1 {
		t.Errorf("a route of delegate 1 belongs to %v", got)
	}
}
