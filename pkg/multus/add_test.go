// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package multus

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"multus-cni/pkg/lock"
)

// One attachment from ADD to DEL.
func TestAttachment(t *testing.T) {
	n := newNode(t)
	conf := n.conf(`{"type":"a","capabilities":{"x":true},"k":1.10},
		{"masterplugin":true,"plugins":[{"type":"p"},{"type":"q"}]},{"type":"b","ifname":"data0","cniVersion":"0.4.0","name":"own"}`,
		`"runtimeConfig":{"x":[1.10],"y":2}`)
	a := n.call("ADD", conf, "CNI_ARGS=K8S_POD_NAME=a;IP=10.0.0.9;MAC=02:00:00:00:00:01;GATEWAY=10.0.0.1")
	n.wantOK("ADD", a)
	if !strings.Contains(a.stdout, `"name": "eth0"`) || !strings.Contains(a.stdout, `"cniVersion": "1.1.0"`) || strings.Contains(a.stdout, "net0") {
		t.Errorf("got %s", a.stdout)
	}
	calls := n.calls
	n.wantCalls("ADD", "ADD a net0", "ADD p eth0", "ADD q eth0", "ADD b data0")
	names := []string{"net-net0", "net", "net", "own"}
	for i, r := range calls {
		args := "K8S_POD_NAME=a"
		if r.ifname == "eth0" {
			args += ";IP=10.0.0.9;MAC=02:00:00:00:00:01;GATEWAY=10.0.0.1"
		}
		if r.args != args || r.conf.Name != names[i] {
			t.Errorf("%s: got CNI_ARGS %q and name %q", r.plugin, r.args, r.conf.Name)
		}
	}
	if got := string(calls[0].conf.RuntimeConfig); got != `{"x":[1.10]}` || !strings.Contains(calls[0].stdin, `"k":1.10`) {
		t.Errorf("a got %s", calls[0].stdin)
	}
	if prev := string(calls[2].conf.PrevResult); calls[1].conf.PrevResult != nil || !strings.Contains(prev, `"eth0"`) {
		t.Errorf("q got prevResult %s", prev)
	}
	if r := n.record(); r == nil || !r.Complete || !r.Delegates[0].InterfaceSeen || r.Delegates[2].Result == nil {
		t.Errorf("got record %+v", r)
	}

	n.wantOK("CHECK", n.call("CHECK", conf))
	calls = n.calls
	n.wantCalls("CHECK", "CHECK a net0", "CHECK p eth0", "CHECK q eth0", "CHECK b data0")
	if prev := string(calls[3].conf.PrevResult); !strings.Contains(prev, `"data0"`) || !strings.Contains(prev, `"0.4.0"`) {
		t.Errorf("b got prevResult %s", prev)
	}
	n.wantOK("DEL", n.call("DEL", `{"cniVersion":"1.1.0","name":"net","type":"multus","cniDir":"`+n.dir+`","delegates":7}`))
	n.wantCalls("DEL", "DEL b data0", "DEL q eth0", "DEL p eth0", "DEL a net0")
	if r := n.record(); r != nil {
		t.Errorf("after DEL there is %+v", r)
	}
	n.wantOK("DEL again", n.call("DEL", conf))
	n.wantCalls("DEL again", "DEL b data0", "DEL q eth0", "DEL p eth0", "DEL a net0")
}

// 3.1, 2.2, 5.4: what is refused before any plugin runs.
func TestAddRefuses(t *testing.T) {
	for _, test := range []struct {
		name   string
		before func(*node)
		env    string
		conf   func(*node) string
		code   uint
		want   string
	}{
		{name: "no netns", env: "CNI_NETNS=/nonexistent", code: 4, want: "there is no network namespace"},
		{name: "own netns", env: "CNI_NETNS=/proc/thread-self/ns/net", code: 8, want: "the node's own interfaces"},
		{name: "an attachment", before: func(n *node) { n.add(n.conf(both)) }, code: 999, want: "already has interface eth0 of network \"net\""},
		{
			name: "somebody's interface", before: func(n *node) { _, _ = n.work(request{verb: "ADD", ifname: "net0"}) },
			code: 999, want: "interface net0 already exists in ",
		},
		{
			name: "an interface of another attachment", before: func(n *node) { n.add(n.conf(both)) }, env: "CNI_IFNAME=eth1", code: 999,
			want: `it belongs to network "net", delegate 0 "a" of container c1; give this delegate another name with "ifname"`,
		},
		{name: "CNI_IFNAME of a secondary", env: "CNI_IFNAME=net0", code: 4, want: "net0"},
		{name: "a plugin that is missing", before: func(n *node) { n.missing = "p" }, code: 7, want: `delegate 1 "p" (eth0): no plugin "p"`},
		{name: "two primaries", conf: func(n *node) string { return n.conf(primary + "," + primary) }, code: 7, want: "masterplugin"},
		{name: "several mistakes", conf: func(n *node) string { return n.conf(`7,{"type":"a/b"}`) }, code: 6, want: "and also: "},
		{
			name: "a newer record", before: func(n *node) { n.write("net:c1:eth0.json", `{"format":99}`) },
			code: 999, want: "99",
		},
		{
			name: "a damaged record", before: func(n *node) { n.write("net:c1:eth0.json", `{"format":`) },
			code: 999, want: "DEL this attachment first",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := newNode(t)
			if test.before != nil {
				test.before(n)
			}
			conf := n.conf(both)
			if test.conf != nil {
				conf = test.conf(n)
			}
			n.wantError("ADD", n.call("ADD", conf, cmp.Or(test.env, "X=y")), test.code, test.want)
			n.wantCalls("ADD")
		})
	}
}

// 3.2: the record is on disk before the first delegate runs, and of a list what
// its plugins have returned before the next one runs.
func TestRecordDuringAdd(t *testing.T) {
	n := newNode(t)
	n.does["ADD p"] = func(r request) (string, error) {
		if got := n.record(); len(got.Delegates) != 2 || got.Delegates[0].Result != nil || got.Complete {
			t.Errorf("before the first plugin: %+v", got)
		}
		return n.work(r)
	}
	n.does["ADD q"] = func(r request) (string, error) {
		if got := n.record(); !strings.Contains(string(got.Delegates[0].Result), `"eth0"`) {
			t.Errorf("before the second plugin: %+v", got)
		}
		return n.work(r)
	}
	n.add(n.conf(`{"masterplugin":true,"plugins":[{"type":"p"},{"type":"q"}]},` + secondary))
}

// 1.6: the record keeps the CNI version that was chosen, and DEL uses it.
func TestRecordKeepsTheChosenVersion(t *testing.T) {
	n := newNode(t)
	n.does["VERSION a"] = func(request) (string, error) { return supports("0.4.0", "1.0.0"), nil }
	n.does["ADD a"] = func(r request) (string, error) {
		if r.conf.CNIVersion == "1.1.0" {
			return fails(1, "incompatible CNI versions")(r)
		}
		return n.work(r)
	}
	n.add(n.conf(both))
	if got := n.record().Delegates[0].Plugins[0].CNIVersion; got != "1.0.0" {
		t.Errorf("the record has version %q, want 1.0.0", got)
	}
	n.wantOK("DEL", n.call("DEL", n.conf(both)))
	if r := n.calls[1]; r.plugin != "a" || r.conf.CNIVersion != "1.0.0" {
		t.Errorf("%s %s: got version %q, want 1.0.0", r.verb, r.plugin, r.conf.CNIVersion)
	}
}

// 3.3: an error has the conf's version.
func TestVersionOfAnError(t *testing.T) {
	n := newNode(t)
	n.does["ADD a"] = fails(11, "busy")
	a := n.call("ADD", strings.Replace(n.conf(both), "1.1.0", "0.4.0", 1))
	n.wantError("ADD", a, 11, "busy")
	if !strings.Contains(a.stdout, `"cniVersion": "0.4.0"`) {
		t.Errorf("got %s", a.stdout)
	}
}

// 7.2: whatever runs plugins of an attachment keeps others away from it.
func TestPluginsRunUnderTheLock(t *testing.T) {
	n := newNode(t)
	locked := func(r request) (string, error) {
		path, err := n.store().LockPath(n.key(""))
		n.must(err)
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		defer cancel()
		l, err := lock.Acquire(ctx, path)
		if err == nil {
			l.Release()
		}
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s %s: somebody else could lock the attachment: %v", r.verb, r.plugin, err)
		}
		return n.work(r)
	}
	for _, verb := range []string{"ADD", "CHECK", "DEL"} {
		n.does[verb+" p"] = locked
	}
	for _, verb := range []string{"ADD", "CHECK", "DEL", "ADD", "GC"} {
		n.wantOK(verb, n.call(verb, n.conf(both)))
	}
}
