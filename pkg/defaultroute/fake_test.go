// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package defaultroute

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// fakeNetlink is a pod with IPv4 routes, which does as it is told and records
// the calls.
type fakeNetlink struct {
	routes [][]byte
	links  map[int]string
	calls  []string
	// fail returns the error of a call, as it is recorded.
	fail func(call string) error
	// deaf makes changes succeed without an effect.
	deaf bool
}

var _ Netlink = (*fakeNetlink)(nil)

func (f *fakeNetlink) call(format string, args ...any) error {
	call := fmt.Sprintf(format, args...)
	f.calls = append(f.calls, call)
	if f.fail == nil {
		return nil
	}
	return f.fail(call)
}

func (f *fakeNetlink) Request(kind uint16, _ int, body []byte) ([][]byte, error) {
	if kind == unix.RTM_GETROUTE {
		return cloneAll(f.routes), f.call("list")
	}
	routes, err := parse(slices.Clone(body))
	if err != nil || len(routes) != 1 {
		return nil, fmt.Errorf("bad request %x: %w", body, err)
	}
	text := routes[0].text([]string{f.links[routes[0].hops[0].index]})
	if kind == unix.RTM_NEWROUTE {
		if err := f.call("add %s", text); err != nil || f.deaf {
			return nil, err
		}
		f.routes = append(f.routes, body)
		return nil, nil
	}
	if err := f.call("remove %s", text); err != nil || f.deaf {
		return nil, err
	}
	f.routes = slices.DeleteFunc(f.routes, func(other []byte) bool { return string(other) == string(body) })
	return [][]byte{body}, nil
}

func (f *fakeNetlink) LinkName(index int) (string, error) {
	if err := f.call("link %d", index); err != nil {
		return "", err
	}
	return f.links[index], nil
}

func (f *fakeNetlink) Replacements() ([][]byte, error) { return nil, f.call("replacements") }

func cloneAll(bodies [][]byte) [][]byte {
	var cloned [][]byte
	for _, body := range bodies {
		cloned = append(cloned, slices.Clone(body))
	}
	return cloned
}

// fakePod has a default route of each of the interfaces named, whose index is
// their place among podLinks and 1.
func fakePod(links ...string) *fakeNetlink {
	f := &fakeNetlink{links: map[int]string{}}
	for i, name := range podLinks {
		f.links[i+1] = name
	}
	for _, name := range links {
		f.add(name)
	}
	return f
}

func (f *fakeNetlink) add(link string) {
	i := slices.Index(podLinks, link)
	f.routes = append(f.routes, via(v4, i).body(map[string]int{link: i + 1}))
}

// addAll goes through an ADD of a secondary and then the primary, each of which
// adds its default route, and stops at the first error. It checks after each
// step that nothing was called without need.
func addAll(f *fakeNetlink) error {
	k, err := New(f, "eth0", 1)
	if err != nil {
		return err
	}
	for i, link := range []string{"net0", "eth0"} {
		if err := k.Before(i); err != nil {
			return err
		}
		f.add(link)
		if err := k.After(i, []string{link}); err != nil {
			return err
		}
	}
	return k.Settle()
}

func TestCalls(t *testing.T) {
	f := fakePod()
	if err := addAll(f); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"list",
		"list", "link 2",
		"remove ipv4 default via 10.1.0.1 dev net0 metric 0 proto 3",
		"list", "link 1",
	}
	if !slices.Equal(f.calls, want) {
		t.Errorf("calls: got\n%s\nwant\n%s", strings.Join(f.calls, "\n"), strings.Join(want, "\n"))
	}
}

// Whichever call fails, the error is returned, and names the route that it is
// about.
func TestEveryErrorIsReturned(t *testing.T) {
	f := fakePod("old0")
	if err := addAll(f); err != nil {
		t.Fatal(err)
	}
	if err := Verify(f, nil, nil); err != nil {
		t.Fatal(err)
	}
	failure := errors.New("injected")
	for i, call := range f.calls {
		f := fakePod("old0")
		f.fail = func(string) error {
			if len(f.calls) == i+1 {
				return failure
			}
			return nil
		}
		err := addAll(f)
		if err == nil {
			err = Verify(f, nil, nil)
		}
		if !errors.Is(err, failure) {
			t.Errorf("call %d, %s, fails: got error %v", i, call, err)
		}
		if verb, route, _ := strings.Cut(call, " "); (verb == "add" || verb == "remove") && !strings.Contains(err.Error(), route) {
			t.Errorf("error %q does not name the route %s", err, route)
		}
	}
}

// A route that is gone already, and an interface that is, are no error.
func TestGoneAlready(t *testing.T) {
	f := fakePod("old0")
	f.fail = func(call string) error {
		switch {
		case strings.HasPrefix(call, "remove"):
			return unix.ESRCH
		case call == "link 4":
			return unix.ENODEV
		}
		return nil
	}
	k, err := New(f, "eth0", 0)
	if err != nil {
		t.Fatal(err)
	}
	f.add("net0")
	if err := errors.Join(k.After(1, []string{"net0"}), k.Before(0)); err != nil {
		t.Fatal(err)
	}
}

// Success that the kernel reports without an effect is found out.
func TestSettleChecks(t *testing.T) {
	f := fakePod()
	k, err := New(f, "eth0", 0)
	if err != nil {
		t.Fatal(err)
	}
	f.add("eth0")
	if err := k.After(0, []string{"eth0"}); err != nil {
		t.Fatal(err)
	}
	f.add("net0")
	if err := k.After(1, []string{"net0"}); err != nil {
		t.Fatal(err)
	}
	f.deaf = true
	if err := k.Settle(); err == nil || !strings.Contains(err.Error(), "dev net0 metric 0 proto 3 was removed and is still there") {
		t.Errorf("got error %v, want one that says that the route is still there", err)
	}

	f = fakePod("eth0") // of a chain
	if k, err = New(f, "eth0", 1); err != nil {
		t.Fatal(err)
	}
	if err := k.Before(0); err != nil {
		t.Fatal(err)
	}
	f.deaf = true
	if err := k.Settle(); err == nil || !strings.Contains(err.Error(), "dev eth0 metric 0 proto 3 was put back and is not there") {
		t.Errorf("got error %v, want one that says that the route is not there", err)
	}
}

// A rollback tries every route, and returns every error.
func TestRestoreGoesOn(t *testing.T) {
	f := fakePod("eth0")
	second := via(v4, 0)
	second.metric = 5
	f.routes = append(f.routes, second.body(map[string]int{"eth0": 1}))
	k, err := New(f, "eth0", 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Before(0); err != nil {
		t.Fatal(err)
	}
	f.fail = func(call string) error {
		if strings.HasPrefix(call, "add") {
			return unix.ENETDOWN
		}
		return nil
	}
	err = k.Restore()
	if err == nil || strings.Count(err.Error(), "put back the default route") != 2 {
		t.Errorf("got error %v, want one for each of two routes", err)
	}
	f.fail = func(string) error { return unix.ENODEV }
	if err := k.Restore(); err != nil {
		t.Errorf("the interface is gone, and its routes with it: got error %v", err)
	}
}

// What the kernel would never send is an error, no panic.
func TestParseCutOff(*testing.T) {
	for _, s := range []spec{
		{family: v4, nexthops: []spec{{dev: "eth0", via: "10.0.0.1"}, {dev: "eth0", via: "fe80::1"}}},
		{family: v6, nexthops: []spec{{dev: "eth0", via: "fe80::1", weight: 3}}, mtu: 1300},
		{family: v6, dev: "eth0", via: "fe80::1", metric: 9},
	} {
		body := s.body(map[string]int{"eth0": 1})
		for end := range body {
			_, _ = parse(slices.Clone(body[:end]))
			for _, value := range []byte{0, 1, 3, 255} {
				changed := slices.Clone(body)
				changed[end] = value
				routes, _ := parse(changed)
				for _, r := range routes {
					_, _, _ = r.request(), r.removal(), r.onlink()
				}
			}
		}
	}
}
