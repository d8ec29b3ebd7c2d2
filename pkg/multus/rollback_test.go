// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package multus

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
)

// brokenPipe is the stdout of a runtime that has gone away.
type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

// failing is an ADD that fails. calls is nil where both delegates were started.
type failing struct {
	name   string
	breaks func(n *node, cancel func())
	calls  []string
	code   uint
	want   string
}

// 3.4, 3.5: whatever fails after the first delegate was started, each that was
// started is DELed in reverse, and the first error is the answer.
func TestRollback(t *testing.T) {
	for _, test := range []failing{
		{
			"the first delegate", func(n *node, _ func()) { n.does["ADD a"] = fails(11, "busy") },
			[]string{"ADD a net0", "DEL a net0"},
			11, `delegate 0 "a" (net0): ADD: busy`,
		},
		{
			"the last delegate", func(n *node, _ func()) { n.does["ADD p"] = fails(107, "no address") },
			nil, 107, `delegate 1 "p" (eth0): ADD: no address`,
		},
		{
			"a panic", func(n *node, _ func()) { n.does["ADD p"] = func(request) (string, error) { panic("boom") } },
			nil, 999, "internal error: panic: boom",
		},
		{
			"a primary without a result", func(n *node, _ func()) { n.does["ADD p"] = func(request) (string, error) { return "{}", nil } },
			nil, 999, "the primary returned no result",
		},
		{
			"a result that is none", func(n *node, _ func()) { n.does["ADD p"] = func(request) (string, error) { return "hello", nil } },
			nil, 6, "unusable result",
		},
		{
			"a signal before the second", func(n *node, cancel func()) { n.does["ADD a"] = n.then(cancel) },
			[]string{"ADD a net0", "DEL a net0"},
			999, "stopped: context canceled",
		},
		{
			"a signal right before printing", func(n *node, cancel func()) { n.does["ADD p"] = n.then(cancel) },
			nil, 999, "stopped: context canceled",
		},
		{"printing", func(n *node, _ func()) { n.stdout = brokenPipe{} }, nil, 0, ""},
		{
			"the record", func(n *node, _ func()) { n.does["ADD p"] = n.then(func() { n.must(os.RemoveAll(n.dir)) }) },
			nil, 5, "write the record",
		},
		{
			"another netns at the path", func(n *node, _ func()) {
				other := unshare(n.t)
				n.does["ADD a"] = n.then(func() { n.leadTo(other) })
			}, []string{"ADD a net0", "DEL a net0 -"}, 8, "there is another network namespace",
		},
	} {
		for _, stays := range []bool{false, true} {
			t.Run(test.name, func(t *testing.T) {
				test.run(t, stays)
			})
		}
	}
}

// run makes the ADD. stays says that a DEL of the rollback fails, too.
func (test failing) run(t *testing.T, stays bool) {
	n := newNode(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	test.breaks(n, cancel)
	if stays {
		n.does["DEL a"] = fails(50, "still there")
	}
	a := n.callWith(ctx, "ADD", n.conf(both))
	want := test.calls
	if want == nil {
		want = []string{"ADD a net0", "ADD p eth0", "DEL p eth0", "DEL a net0"}
	}
	n.wantCalls("ADD", want...)
	switch {
	case n.stdout == nil:
		n.wantError("ADD", a, test.code, test.want)
	case a.exit != 1 || !strings.Contains(a.stderr, "print the result: broken pipe"):
		t.Errorf("got exit code %d, stderr %q", a.exit, a.stderr)
	}
	r := n.record()
	if !stays && r != nil || stays && r != nil && r.Complete {
		t.Errorf("left a record: %+v", r)
	}
	if !stays {
		return
	}
	if test.name == "the record" {
		n.wantError("ADD", a, test.code, "rollback: ", "still there", "there is no record: the next DEL uses the conf")
		return
	}
	if r == nil {
		t.Fatal("a DEL failed, and the record is gone")
	}
	if n.stdout == nil {
		n.wantError("ADD", a, test.code, "rollback: ", "still there", "details of still there", "multus forget c1")
	}
	n.does, n.stdout = nil, nil
	n.wantOK("DEL", n.call("DEL", n.conf(both)))
}

// 3.4: a panic while one delegate is DELed does not keep the others from it.
func TestRollbackGoesOnAfterPanic(t *testing.T) {
	n := newNode(t)
	n.does["ADD p"] = fails(107, "no address")
	n.does["DEL p"] = func(request) (string, error) { panic("boom") }
	n.wantError("ADD", n.call("ADD", n.conf(both)), 107, "no address", "internal error: panic: boom")
	n.wantCalls("ADD", "ADD a net0", "ADD p eth0", "DEL p eth0", "DEL a net0")
	if r := n.record(); r == nil || r.Complete {
		t.Errorf("got record %+v", r)
	}
}

// A panic can be that of a thread which cannot leave the pod's network
// namespace: no plugin is started from there.
func TestRollbackLeavesLostThread(t *testing.T) {
	n := newNode(t)
	lose := loseThread(t)
	n.does["ADD p"] = func(r request) (string, error) {
		if _, err := lose(r); err != nil {
			t.Error(err)
		}
		panic("lost")
	}
	n.does["DEL p"] = lose
	a := n.call("ADD", n.conf(both))
	n.wantError("ADD", a, 999, "internal error: panic: lost")
	if strings.Contains(a.Details, "rollback") {
		t.Errorf("got details %q", a.Details)
	}
}

// 5.8: of two ADDs that race for a name, the rollback of the one that lost it
// leaves the other's interface alone.
func TestRollbackLeavesForeignInterface(t *testing.T) {
	n := newNode(t)
	n.does["ADD p"] = func(request) (string, error) {
		other := *n.record()
		other.ContainerID = "c2"
		n.must(n.store().Save(&other))
		return "", errors.New("exists")
	}
	n.wantError("ADD", n.call("ADD", n.conf(both)), 999, "exists")
	n.wantCalls("ADD", "ADD a net0", "ADD p eth0", "DEL p eth0 -", "DEL a net0") // a had a result: net0 is its own
}

// 5.8: so does the DEL that the runtime sends when the rollback has failed.
func TestDelLeavesForeignInterface(t *testing.T) {
	n := newNode(t)
	n.does["ADD a"] = func(request) (string, error) {
		other := *n.record()
		other.ContainerID = "c2"
		n.must(n.store().Save(&other))
		return "", errors.New("exists")
	}
	n.does["DEL a"] = fails(50, "still there")
	n.wantError("ADD", n.call("ADD", n.conf(both)), 999, "exists", "still there")
	n.wantCalls("ADD", "ADD a net0", "DEL a net0 -")
	delete(n.does, "DEL a")
	n.wantOK("DEL", n.call("DEL", n.conf(both)))
	n.wantCalls("DEL", "DEL p eth0 -", "DEL a net0 -")
}

// 4: a default route goes to the primary, wherever it stands and however the
// delegates install theirs. What a secondary has lost, CHECK does not look for.
func TestDefaultRoute(t *testing.T) {
	for name, delegates := range map[string]string{"primary last": both, "primary first": primary + "," + secondary} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t)
			n.does["ADD a"], n.does["ADD p"] = n.addsDefault, n.addsDefault
			a := n.add(n.conf(delegates))
			if !strings.Contains(a.stdout, "0.0.0.0/0") {
				t.Errorf("the primary's result has lost its route: %s", a.stdout)
			}
			r := n.record()
			for _, d := range r.Delegates {
				if has := strings.Contains(string(d.Result), "0.0.0.0/0"); has != d.Primary {
					t.Errorf("the result of %s has a default route: %t", d.IfName, has)
				}
			}
			if r.DefaultRoute["ipv4"] != "eth0" || len(r.TakenRoutes) != 1 {
				t.Errorf("got record %+v", r)
			}
			n.wantOK("CHECK", n.call("CHECK", n.conf(delegates)))
			n.must(n.links.RouteAppend(n.defaultThrough("net0"))) // what the record says was taken
			n.wantError("CHECK", n.call("CHECK", n.conf(delegates)), 999, "of a secondary network is back")
			routes, err := n.links.RouteList(nil, 2)
			n.must(err)
			for _, route := range routes {
				if route.Dst == nil || route.Dst.String() == "0.0.0.0/0" {
					n.must(n.links.RouteDel(&route))
				}
			}
			n.wantError("CHECK", n.call("CHECK", n.conf(delegates)), 999, "default route")
			changed := `"prevResult":{"cniVersion":"1.1.0","routes":[{"dst":"10.0.0.0/8"}]}`
			n.wantOK("CHECK, a plugin behind multus has removed it", n.call("CHECK", n.conf(delegates, changed)))
		})
	}
}
