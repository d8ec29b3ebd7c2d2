// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package defaultroute

import (
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// style is a way in which plugins add their default route. n is the number of
// the interface that they have, see podLinks.
type style struct {
	name string
	add  func(p *pod, family uint8, n int) error
	// elsewhere means that it is no default route of the main table.
	elsewhere bool
	only      uint8 // the only family that has it
}

// gateway returns an address in the subnet of the n-th interface.
func gateway(family uint8, n int, host string) string {
	if family == unix.AF_INET6 {
		return netip.MustParseAddr(fmt.Sprintf("fd00:%d::%s", n, host)).String()
	}
	return fmt.Sprintf("10.%d.0.%s", n, host)
}

// simple is a style of one route by the gateway, changed by change.
func simple(name string, change func(s *spec, n int)) style {
	return style{name: name, add: func(p *pod, family uint8, n int) error {
		s := spec{family: family, dev: podLinks[n], via: gateway(family, n, "1")}
		change(&s, n)
		return p.add(s)
	}}
}

func styles() []style {
	return []style{
		{name: "none", elsewhere: true, add: func(*pod, uint8, int) error { return nil }},
		simple("plain", func(*spec, int) {}),
		simple("exclusive", func(s *spec, _ int) { s.flags = unix.NLM_F_EXCL }),
		simple("append", func(s *spec, _ int) { s.flags = unix.NLM_F_APPEND }),
		simple("replace", func(s *spec, _ int) { s.flags = unix.NLM_F_REPLACE }),
		simple("metric", func(s *spec, n int) { s.metric = uint32(100 + n) }),
		simple("static", func(s *spec, _ int) { s.proto = unix.RTPROT_STATIC }),
		simple("static exclusive", func(s *spec, _ int) { s.proto, s.flags = unix.RTPROT_STATIC, unix.NLM_F_EXCL }),
		simple("source and mtu", func(s *spec, n int) { s.src, s.mtu = gateway(s.family, n, "3"), 1400 }),
		simple("onlink", func(s *spec, _ int) {
			s.onlink, s.via = true, map[bool]string{true: "198.51.100.1", false: "2001:db8::1"}[s.family == unix.AF_INET]
		}),
		simple("device only", func(s *spec, _ int) {
			s.via, s.scope = "", map[bool]uint8{true: unix.RT_SCOPE_LINK}[s.family == unix.AF_INET]
		}),
		simple("policy table", func(s *spec, _ int) { s.table, s.flags = 100, unix.NLM_F_REPLACE }).elsewhereToo(),
		simple("blackhole", func(s *spec, _ int) { s.dev, s.via, s.kind = "", "", unix.RTN_BLACKHOLE }),
		simple("unreachable with a metric", func(s *spec, _ int) { s.dev, s.via, s.kind, s.metric = "", "", unix.RTN_UNREACHABLE, 50 }),
		simple("preference", func(s *spec, _ int) { s.pref = 1 }).onlyOn(unix.AF_INET6),
		simple("source specific", func(s *spec, _ int) { s.from = "2001:db8:1::/48" }).onlyOn(unix.AF_INET6).elsewhereToo(),
		simple("by inet6", func(s *spec, n int) { s.via = gateway(unix.AF_INET6, n, "1") }).onlyOn(unix.AF_INET),
		{name: "link-local gateway", add: linkLocal},
		{name: "metric list", add: func(p *pod, family uint8, n int) error {
			s := spec{family: family, dev: podLinks[n], via: gateway(family, n, "1"), metric: 20}
			if err := p.add(s); err != nil {
				return err
			}
			s.metric, s.via = 10, gateway(family, n, "9")
			return p.add(s)
		}},
		{name: "two of one metric", add: func(p *pod, family uint8, n int) error {
			s := spec{family: family, dev: podLinks[n], via: gateway(family, n, "1"), flags: unix.NLM_F_APPEND}
			if err := p.add(s); err != nil {
				return err
			}
			s.proto, s.mtu, s.via = unix.RTPROT_STATIC, 1300, gateway(family, n, "9")
			return p.add(s)
		}},
		{name: "multipath", add: func(p *pod, family uint8, n int) error {
			return p.add(spec{family: family, nexthops: []spec{
				{dev: podLinks[n], via: gateway(family, n, "1"), weight: 3}, {dev: podLinks[n], via: gateway(family, n, "9"), onlink: true},
			}})
		}},
		{name: "nexthop object", add: func(p *pod, family uint8, n int) error {
			if err := p.addNextHop(uint32(n+1), family, podLinks[n], gateway(family, n, "1")); err != nil {
				return err
			}
			return p.add(spec{family: family, nhid: uint32(n + 1), flags: unix.NLM_F_EXCL})
		}},
	}
}

func (s style) elsewhereToo() style       { s.elsewhere = true; return s }
func (s style) onlyOn(family uint8) style { s.only = family; return s }

// leads reports whether it is a default route through an interface.
func (s style) leads() bool {
	return !s.elsewhere && !strings.HasPrefix(s.name, "blackhole") && !strings.HasPrefix(s.name, "unreachable")
}

func linkLocal(p *pod, family uint8, n int) error {
	if family == unix.AF_INET6 {
		return p.add(spec{family: family, dev: podLinks[n], via: "fe80::1", flags: unix.NLM_F_EXCL})
	}
	err := p.add(spec{family: family, dst: "169.254.1.1/32", dev: podLinks[n], scope: unix.RT_SCOPE_LINK, flags: unix.NLM_F_APPEND})
	if err != nil {
		return err
	}
	return p.add(spec{family: family, dev: podLinks[n], via: "169.254.1.1", flags: unix.NLM_F_EXCL})
}

// matrixCase is one ADD: the styles in list binary.NativeEndian, the primary's place among
// them, and what another network has in the pod already.
type matrixCase struct {
	family  uint8
	styles  []style
	primary int
	foreign uint32 // metric of another network's default route, modulo 1024; 0: there is none
	chain   *style // what an earlier plugin of a chain has added through eth0
}

func (c matrixCase) String() string {
	var names []string
	for i, s := range c.styles {
		if i == c.primary {
			names = append(names, strings.ToUpper(s.name))
		} else {
			names = append(names, s.name)
		}
	}
	if c.chain != nil {
		names = append(names, "behind "+c.chain.name)
	}
	return fmt.Sprintf("%s: %s, other network's metric %d", familyName(c.family), strings.Join(names, ", "), c.foreign)
}

// link returns the number of the interface of the delegate with an index.
func (c matrixCase) link(i int) int {
	switch {
	case i == c.primary:
		return 0
	case i > c.primary:
		return i
	}
	return i + 1
}

// owner returns the index of the delegate that has to have the default route.
func (c matrixCase) owner() int {
	if !c.styles[c.primary].elsewhere || c.chain != nil && c.chain.leads() {
		return c.primary
	}
	return slices.IndexFunc(c.styles, func(s style) bool { return !s.elsewhere })
}

// Every style as primary and as secondary, before and after each other: what
// is left is what the owner alone would have left, byte by byte. All cases are
// tried with MULTUS_MATRIX=full or when -run names this test, else a sample.
func TestMatrix(t *testing.T) {
	p := newPod(t)
	all := matrix()
	cases := all
	if os.Getenv("MULTUS_MATRIX") != "full" && !strings.Contains(flag.Lookup("test.run").Value.String(), "Matrix") {
		cases = sample(all)
	}
	skipped := 0
	alone := map[string]outcome{}
	for _, c := range cases {
		want, known := alone[c.aloneKey()]
		if !known {
			want = c.alone(p)
			alone[c.aloneKey()] = want
		}
		if !c.run(p, want) {
			skipped++
		}
		if t.Failed() {
			t.Fatalf("in %s", c)
		}
	}
	fmt.Printf("matrix: %d of %d cases, %d of which cannot work for the owner alone either\n", len(cases), len(all), skipped)
}

// sample returns every pair of styles in each order, on each family, with each
// of the two as the primary, beside another network in every second of them,
// and one in 29 of the cases behind a chain and with three delegates.
func sample(all []matrixCase) []matrixCase {
	var cases []matrixCase
	pairs, rest := 0, 0
	for _, c := range all {
		if len(c.styles) == 2 && c.chain == nil {
			if even := pairs%8 < 4; even == ((c.primary == 0) == (c.foreign == 0)) {
				cases = append(cases, c)
			}
			pairs++
			continue
		}
		if rest%29 == 0 {
			cases = append(cases, c)
		}
		rest++
	}
	return cases
}

func matrix() []matrixCase {
	var cases []matrixCase
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		var all []style
		for _, s := range styles() {
			if s.only == 0 || s.only == family {
				all = append(all, s)
			}
		}
		for _, a := range all {
			for _, b := range all {
				for primary := range 2 {
					for _, foreign := range []uint32{0, 1024} {
						cases = append(cases, matrixCase{family, []style{a, b}, primary, foreign, nil})
					}
					if a.leads() || a.elsewhere {
						list := slices.Insert([]style{b}, primary, all[0])
						cases = append(cases, matrixCase{family, list, primary, 0, &a})
					}
				}
				for _, c := range []style{all[0], all[2]} { // none and exclusive
					for primary := range 3 {
						list := slices.Insert([]style{a, b}, primary, c)
						cases = append(cases, matrixCase{family, list, primary, 0, nil})
					}
				}
			}
		}
	}
	return cases
}

// addForeign adds the default route of another network, if that is not there.
func (c matrixCase) addForeign(p *pod) {
	if c.foreign == 0 {
		return
	}
	err := p.add(spec{
		family: c.family, dev: "old0", via: gateway(c.family, 3, "1"), metric: c.foreign % 1024,
		proto: unix.RTPROT_STATIC, flags: unix.NLM_F_APPEND,
	})
	if !errors.Is(err, unix.EEXIST) {
		p.must(err)
	}
}

func (c matrixCase) addOthers(p *pod) {
	c.addForeign(p)
	if c.chain != nil {
		p.must(c.chain.add(p, c.family, 0))
	}
}

// outcome is what an ADD leaves: the default routes in bytes and in words, and
// whether it could work at all.
type outcome struct {
	bodies [][]byte
	shown  []string
	works  bool
}

// alone returns what the owner alone would leave.
func (c matrixCase) alone(p *pod) outcome {
	p.flush()
	c.addOthers(p)
	if owner := c.owner(); owner >= 0 {
		if err := c.styles[owner].add(p, c.family, c.link(owner)); err != nil {
			return outcome{}
		}
	}
	c.addForeign(p) // in case that it was replaced
	return outcome{p.defaults(), p.show(c.family), true}
}

// aloneKey is equal for cases of which the owner alone leaves the same.
func (c matrixCase) aloneKey() string {
	key := fmt.Sprint(c.family, c.foreign)
	if owner := c.owner(); owner >= 0 {
		key += fmt.Sprint(c.styles[owner].name, c.link(owner))
	}
	if c.chain != nil {
		key += " behind " + c.chain.name
	}
	return key
}

// run reports whether the case can work.
func (c matrixCase) run(p *pod, want outcome) bool {
	p.t.Helper()
	if !want.works {
		return false
	}
	p.flush()
	c.addOthers(p)
	k, err := New(p, "eth0", c.primary)
	p.must(err)
	for i, s := range c.styles {
		p.must(k.Before(i))
		if err := s.add(p, c.family, c.link(i)); err != nil {
			return false // beside another network's route, since it works alone
		}
		p.must(k.After(i, []string{podLinks[c.link(i)]}))
	}
	p.must(k.Settle())
	// IPv6 next hops that are merged with another network's have no order that
	// means anything.
	got, merged := p.defaults(), c.family == unix.AF_INET6 && c.foreign != 0
	if !equalBodies(got, want.bodies) && (!merged || !equalSets(p.show(c.family), want.shown)) {
		p.t.Errorf("got %q, want %q as the owner alone leaves them; bytes\n%x\nwant\n%x", p.show(c.family), want.shown, got, want.bodies)
	}
	owner := c.owner()
	if got, ok := k.Owners()[familyName(c.family)]; ok != (owner >= 0) || ok && got != owner {
		p.t.Errorf("owner: got %d (%v), want %d", got, ok, owner)
	}
	p.must(Verify(p, k.Interfaces(), k.Taken()))
	return true
}
