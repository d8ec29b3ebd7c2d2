// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"fmt"
	"slices"
)

// fault is how one delegate misbehaves. It has done its work by then, but for
// a DEL that fails: that leaves the interface.
type fault struct {
	name string
	ops  func(c cell) []string // of the fake
	// code is the error that the delegate's call ends with, 0 for none: what is
	// on stdout matters for ADD only.
	add, others int
	fails       bool // without having done a DEL's work
	ends        bool // having printed, so that a DEL's work has to come first
	unread      bool // stdin, which is told in the fake's environment
	disk        bool // needs a small one
	// unlike changes the rule for what the fault does beside that.
	unlike func(c cell, w *want)
}

func faults() []fault {
	return []fault{
		{name: "error", ops: just("error 11 no room"), add: 11, others: 11, fails: true},
		{name: "silent", ops: just("exit 3"), add: 999, others: 999, fails: true},
		{name: "signal", ops: just("kill"), add: 999, others: 999, fails: true},
		{name: "garbage", ops: just("print Hello, world! {"), add: 6, ends: true},
		{name: "truncated", ops: just(`print {"cniVersion": "1.1.0", "interfaces": [{"name": "e`), add: 6, ends: true},
		{name: "wrong-version", ops: just(`print {"cniVersion": "9.9.9", "interfaces": []}`), add: 6, ends: true},
		{name: "output-10MB", ops: just("spew 10000000"), ends: true},
		{name: "output-20MB", ops: just("spew 20000000"), add: 5, others: 5, ends: true}, // more than multus takes
		{name: "stderr-4MB", ops: just("flood 4000000")},
		{name: "child", ops: just("leave child")},
		{name: "unread", ops: just(), unread: true, unlike: unread},
		{name: "netns", ops: just("forget pod"), unlike: netnsDeleted},
		{name: "unlink", ops: func(c cell) []string { return []string{"unlink " + c.ifname(c.victim())} }, unlike: unlinked},
		{name: "default-route", ops: func(c cell) []string {
			return []string{
				fmt.Sprintf("steal %s 10.%d.0.1", c.ifname(c.faulty), c.faulty+1),
				fmt.Sprintf("steal %s fd0%d::1", c.ifname(c.faulty), c.faulty+1),
			}
		}, unlike: stolen},
		{name: "disk-full", ops: just("fill " + cellDir + "/fill"), disk: true, unlike: filled},
	}
}

func just(ops ...string) func(cell) []string { return func(cell) []string { return ops } }

// victim is the delegate that loses its interface.
func (c cell) victim() int { return (c.faulty + last) % len(kinds) }

// want returns what a cell must come to: the rules.
func (c cell) want() want {
	w := c.whenWell()
	if c.fault == nil {
		if c.around.unlike != nil {
			c.around.unlike(c, &w)
		}
		return w
	}
	code := c.fault.others
	if c.verb == "ADD" {
		code = c.fault.add
	}
	if code != 0 {
		c.fail(&w, c.faulty, code)
	}
	if c.fault.unlike != nil {
		c.fault.unlike(c, &w)
	}
	return w
}

// whenWell is what a verb comes to when all goes well. (The rollback has a
// delegate whose ADD fails as its reason.)
func (c cell) whenWell() want {
	w := want{record: true, links: c.allLinks(), owner: c.primary}
	switch c.verb {
	case "ROLLBACK":
		w = want{code: 11, msg: `^delegate 2 "flannel".*: ADD: no room$`, owner: nobody}
		w.calls = append(c.calls("ADD", 0, 1, 2), c.calls("DEL", 2, 1, 0)...)
	case "DEL":
		w = want{calls: c.calls("DEL", 2, 1, 0), owner: nobody}
	case "COLLECT":
		w = want{calls: append(c.calls("DEL", 2, 1, 0), c.calls("GC", 0, 1, 2)...), owner: nobody}
	default:
		w.calls = c.calls(c.verb, 0, 1, 2)
	}
	return w
}

// fail changes w for a delegate whose call fails.
func (c cell) fail(w *want, at, code int) {
	text := fmt.Sprintf("delegate %d %q.*%s: ", at, kinds[at], c.delegateVerb())
	if c.verb == "ROLLBACK" {
		w.details = text
	} else {
		w.code, w.msg = code, text
	}
	switch c.verb {
	case "ADD":
		w.calls = append(c.calls("ADD", upTo(at)...), c.calls("DEL", downFrom(at, 0)...)...)
		w.record, w.links, w.owner = false, nil, nobody
	case "CHECK", "STATUS":
		w.calls = c.calls(c.verb, upTo(at)...)
		if c.verb == "STATUS" && code != 50 && code != 51 { // is the plugin too old to know STATUS?
			w.calls = append(w.calls, "VERSION - - "+kinds[at])
		}
	case "GC":
		w.calls = slices.Insert(w.calls, at+1, "VERSION - - "+kinds[at])
	case "ROLLBACK", "DEL", "COLLECT":
		w.record = true
		if c.fault.fails {
			w.links = []string{c.ifname(at)}
			// In a rollback the defaults are taken away, but for that of the last delegate, at which nobody has looked yet.
			if at == last && c.verb == "ROLLBACK" || at == c.primary && c.verb != "ROLLBACK" {
				w.owner = at
			}
		}
	}
}

// unread: a primary that has not read its conf brings no default route.
func unread(c cell, w *want) {
	if c.verb == "ADD" && c.faulty == c.primary {
		w.owner = 0
		if c.primary == 0 {
			w.owner = 1
		}
	}
}

// netnsDeleted: what comes after it in an ADD cannot be done.
func netnsDeleted(c cell, w *want) {
	if c.verb == "ADD" && c.faulty < last {
		c.fail(w, c.faulty, 8)
		w.msg = "network namespace"
	}
}

// unlinked: that the primary's interface is gone shows when its default route is
// put back, after the last delegate, or in a CHECK.
func unlinked(c cell, w *want) {
	victim := c.victim()
	isThere := c.verb != "ADD" || c.faulty > 0
	if !isThere {
		return
	}
	w.links = slices.DeleteFunc(w.links, func(name string) bool { return name == c.ifname(victim) })
	if victim != c.primary {
		return
	}
	w.owner = nobody
	switch c.verb {
	case "ADD":
		c.fail(w, last, 999)
		w.msg = "default route"
	case "CHECK":
		w.code, w.msg = 999, "default route"
	}
}

// stolen: ADD puts the default route right, CHECK sees where it leads.
func stolen(c cell, w *want) {
	switch c.verb {
	case "CHECK":
		w.owner = c.faulty
		if c.faulty != c.primary {
			w.code, w.msg = 999, "default"
		}
	case "STATUS", "GC": // are not about the pod
		w.owner = c.faulty
	}
}

// filled: the second record cannot be written.
func filled(c cell, w *want) {
	if c.verb == "ADD" {
		c.fail(w, last, 5)
		w.msg = "no space left on device"
	}
}

// refuse changes w for a verb that does nothing but fail.
func (c cell) refuse(w *want, code int, msg string) {
	*w = want{code: code, msg: msg, record: !c.begins(), owner: nobody}
	if !c.begins() {
		w.links, w.owner = c.allLinks(), c.primary
	}
	if c.verb == "STATUS" {
		w.code = 50
	}
}

func noNetns(c cell, w *want) {
	if c.begins() || c.verb == "CHECK" {
		c.refuse(w, 4, "no network namespace")
	}
}

// noPlugins: ADD has a code of its own for this.
func noPlugins(c cell, w *want) {
	code := 999
	if c.begins() {
		code = 7
	}
	c.refuse(w, code, "failed to find plugin")
}
