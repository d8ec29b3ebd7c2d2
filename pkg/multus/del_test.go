// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package multus

import (
	"cmp"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"multus-cni/pkg/record"
)

// 5.2: each plugin of each delegate is tried, and no error gets lost.
func TestDelJoinsErrors(t *testing.T) {
	n := newNode(t)
	conf := n.conf(`{"plugins":[{"type":"a"},{"type":"b"}]},` + primary)
	n.add(conf)
	n.does["DEL a"], n.does["DEL b"] = fails(101, "a failed"), fails(102, "b failed")
	n.wantError("DEL", n.call("DEL", conf), 102, "b failed", "a failed", "details of b failed", "details of a failed",
		"the record is left in place", "multus forget c1")
	n.wantCalls("DEL", "DEL p eth0", "DEL b net0", "DEL a net0")
	n.does = nil
	n.wantOK("DEL", n.call("DEL", conf))
}

// 5.1, 5.2, 5.8, 3.1: what CNI_NETNS a delegate gets, and when an attachment
// counts as gone.
func TestDelNetns(t *testing.T) {
	with, without := []string{"DEL p eth0", "DEL a net0"}, []string{"DEL p eth0 -", "DEL a net0 -"}
	otherBoot := func(n *node) { n.edit(func(r *record.Record) { r.BootID = "of another boot" }) }
	for _, test := range []struct {
		name   string
		before func(*node)
		env    string
		del    []string
		again  bool // an ADD undoes the record and goes on
	}{
		{"as it was", func(*node) {}, "", with, false},
		{"empty", func(*node) {}, "CNI_NETNS=", without, false},
		{"gone", func(n *node) { n.must(os.Remove(n.netns)) }, "", without, false},
		{"another one", func(n *node) { n.leadTo(unshare(n.t)) }, "", without, true},
		{"multus's own, the pid was reused", func(*node) {}, "CNI_NETNS=/proc/thread-self/ns/net", without, false},
		{"rebooted", otherBoot, "", without, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := newNode(t)
			n.add(n.conf(both))
			test.before(n)
			if test.again {
				for _, name := range []string{"net0", "eth0"} { // they are gone with the pod
					_, _ = n.work(request{verb: "DEL", ifname: name, netns: n.netns})
				}
				n.wantOK("ADD", n.call("ADD", n.conf(both)))
				n.wantCalls("ADD", append(without, "ADD a net0", "ADD p eth0")...)
				test.before(n)
			}
			n.wantOK("DEL", n.call("DEL", n.conf(both), cmp.Or(test.env, "X=y")))
			n.wantCalls("DEL", test.del...)
			if r := n.record(); r != nil {
				t.Errorf("left %+v", r)
			}
		})
	}
}

// A CHECK in another netns than that of the ADD is refused, and an ADD while
// the stale record cannot be undone as well. That is DELed as it was added.
func TestOtherNetns(t *testing.T) {
	n := newNode(t)
	n.add(n.conf(both), "CNI_ARGS=X=before")
	n.leadTo(unshare(t))
	n.wantError("CHECK", n.call("CHECK", n.conf(both)), 8, "another network namespace")
	n.wantCalls("CHECK")
	n.does["DEL a"] = fails(103, "cannot")
	n.wantError("ADD", n.call("ADD", n.conf(both), "CNI_ARGS=X=now"), 103, "undo what an earlier ADD of this attachment left behind", "cannot")
	if got := n.calls[0].args; got != "X=before" {
		t.Errorf("DEL of the stale record: got CNI_ARGS %q", got)
	}
	n.wantCalls("ADD", "DEL p eth0 -", "DEL a net0 -")
}

// 5.3 to 5.6, 5.8: a DEL that has no record to go by.
func TestDelWithoutRecord(t *testing.T) {
	upstream := func(conf string) string { return `{"Bytes":"` + base64.StdEncoding.EncodeToString([]byte(conf)) + `"` }
	for _, test := range []struct {
		name   string
		before func(*node)
		env    string
		del    []string
		code   uint   // 0 for success
		left   string // a file in the directory of the records
	}{
		{name: "none", del: []string{"DEL p eth0", "DEL a net0"}},
		{name: "multus's own netns", env: "CNI_NETNS=/proc/thread-self/ns/net", del: []string{"DEL p eth0 -", "DEL a net0 -"}},
		{name: "CNI_IFNAME=net0", env: "CNI_IFNAME=net0"},
		{
			name: "damaged", before: func(n *node) { n.write("net:c1:eth0.json", `{"format":`) },
			del: []string{"DEL p eth0", "DEL a net0"}, left: "net:c1:eth0.json.damaged",
		},
		{name: "newer", before: func(n *node) { n.write("net:c1:eth0.json", `{"format":99}`) }, code: 999, left: "net:c1:eth0.json"},
		{
			name: "of 2017", before: func(n *node) { n.write("c1", `[{"type":"x"},{"type":"y","masterplugin":true},{"type":"z"}]`) },
			del: []string{"DEL z net1", "DEL y eth0", "DEL x net0"},
		},
		{
			name: "of 2017, and the netns was unmounted", before: func(n *node) {
				n.write("c1", `[{"type":"x"},{"type":"y","masterplugin":true},{"type":"z"}]`)
				n.must(errors.Join(os.Remove(n.netns), os.WriteFile(n.netns, nil, 0o600)))
			},
			del: []string{"DEL z net1 -", "DEL y eth0 -", "DEL x net0 -"},
		},
		{
			name: "of 2017, damaged", before: func(n *node) { n.write("c1", `[{"type":"x"}]`) },
			del: []string{"DEL p eth0", "DEL a net0"}, left: "c1.damaged",
		},
		{
			name: "of upstream", before: func(n *node) {
				n.write("c1", "["+upstream(`{"type":"x"}`)+`},`+upstream(`{"plugins":[{"type":"y"}]}`)+`},`+upstream(`{"type":"z"}`)+`,"ifnameRequest":"data0"}]`)
			}, del: []string{"DEL z data0", "DEL y net1", "DEL x eth0"},
		},
		{
			name: "another attachment owns net0", before: func(n *node) {
				n.add(n.conf(both), "CNI_IFNAME=eth1")
			}, del: []string{"DEL p eth0", "DEL a net0 -"}, left: "net:c1:eth1.json",
		},
		{
			name: "an attachment in another netns has net0", before: func(n *node) {
				n.add(n.conf(both), "CNI_CONTAINERID=c2")
				n.leadTo(unshare(n.t))
			}, del: []string{"DEL p eth0", "DEL a net0"}, left: "net:c2:eth0.json",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := newNode(t)
			if test.before != nil {
				test.before(n)
			}
			a := n.call("DEL", n.conf(both), cmp.Or(test.env, "X=y"))
			if test.code == 0 {
				n.wantOK("DEL", a)
			} else {
				n.wantError("DEL", a, test.code)
			}
			n.wantCalls("DEL", test.del...)
			n.wantFiles(test.left)
		})
	}
}

// wantFiles checks what is in the directory of the records besides locks.
func (n *node) wantFiles(want string) {
	n.t.Helper()
	files, err := filepath.Glob(filepath.Join(n.dir, "*"))
	n.must(err)
	var got []string
	for _, file := range files {
		if !strings.HasSuffix(file, ".lock") {
			got = append(got, filepath.Base(file))
		}
	}
	if strings.Join(got, " ") != want {
		n.t.Errorf("left %q, want %q", got, want)
	}
}

// 5.6, the second try: only a delegate whose interface was in this
// netns gets one, and none that asks to be tried again later.
func TestSecondTry(t *testing.T) {
	for _, test := range []struct {
		name  string
		made  bool // ADD makes net0, and somebody has removed it since
		code  uint
		calls []string
	}{
		{"its interface is gone", true, 999, []string{"DEL p eth0", "DEL a net0", "DEL a net0 -"}},
		{"try again later", true, 11, []string{"DEL p eth0", "DEL a net0"}},
		{"it never made one", false, 999, []string{"DEL p eth0", "DEL a net0"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := newNode(t)
			n.does["ADD a"] = func(r request) (string, error) {
				if test.made {
					return n.work(r)
				}
				return "{}", nil
			}
			a := n.add(n.conf(both))
			if test.made == strings.Contains(a.stderr, "created no interface net0") {
				t.Errorf("stderr: %s", a.stderr)
			}
			_, _ = n.work(request{verb: "DEL", ifname: "net0", netns: n.netns})
			n.does["DEL a"] = func(r request) (string, error) {
				if r.netns == "" {
					return "", nil
				}
				return fails(test.code, "not found")(r)
			}
			del := n.call("DEL", n.conf(both))
			n.wantCalls("DEL", test.calls...)
			if len(test.calls) == 3 {
				n.wantOK("DEL", del)
			} else {
				n.wantError("DEL", del, test.code, "not found")
			}
		})
	}
}

// Of a list, whichever of the plugins asks to be tried again later: its device
// would be lost.
func TestSecondTryOfList(t *testing.T) {
	n := newNode(t)
	conf := n.conf(`{"plugins":[{"type":"a"},{"type":"b"}]},` + primary)
	n.add(conf)
	_, _ = n.work(request{verb: "DEL", ifname: "net0", netns: n.netns})
	n.does["DEL b"], n.does["DEL a"] = fails(999, "not found"), fails(11, "device busy")
	n.wantError("DEL", n.call("DEL", conf), 999, "not found", "device busy")
	n.wantCalls("DEL", "DEL p eth0", "DEL b net0", "DEL a net0")
}

// 5.7: a conf with a mistake strands no pod once it has been corrected.
func TestCorrectedConf(t *testing.T) {
	wrong := `{"type":"a","mistake":1},` + primary
	refuse := func(r request) (string, error) {
		if strings.Contains(r.stdin, "mistake") {
			return "", errors.New("refused")
		}
		return "", nil
	}
	for _, test := range []struct {
		name     string
		conf     string
		complete bool
		verb     string
		code     uint
		calls    []string
	}{
		{name: "as it was", conf: wrong, verb: "DEL", code: 999, calls: []string{"DEL p eth0", "DEL a net0"}},
		{name: "corrected", conf: both, verb: "DEL", calls: []string{"DEL p eth0", "DEL a net0", "DEL a net0"}},
		{name: "complete", conf: both, complete: true, verb: "DEL", code: 999, calls: []string{"DEL p eth0", "DEL a net0"}},
		{name: "dropped", conf: primary, verb: "DEL", calls: []string{"DEL p eth0", "DEL a net0"}},
		{name: "GC", conf: both, verb: "GC", calls: []string{"DEL p eth0", "DEL a net0", "DEL a net0", "GC a", "GC p"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := newNode(t)
			if !test.complete {
				n.does["ADD p"] = fails(104, "no")
				n.does["DEL a"] = refuse
				n.wantError("ADD", n.call("ADD", n.conf(wrong)), 104, "no", "refused")
				n.calls = nil
			} else {
				n.add(n.conf(wrong))
				n.does["DEL a"] = refuse
			}
			a := n.call(test.verb, n.conf(test.conf))
			if test.code == 0 {
				n.wantOK(test.verb, a)
				n.wantFiles("")
			} else {
				n.wantError(test.verb, a, test.code, "refused")
			}
			n.wantCalls(test.verb, test.calls...)
		})
	}
}

// 5.6: nothing about records keeps a pod from being deleted, but for a
// directory in which others could have written what to run.
func TestDelWithoutDirectory(t *testing.T) {
	n := newNode(t)
	n.must(os.WriteFile(n.dir, nil, 0o600))
	a := n.call("DEL", n.conf(both))
	n.wantOK("DEL", a)
	n.wantCalls("DEL", "DEL p eth0", "DEL a net0")
	if !strings.Contains(a.stderr, "going on without a lock") {
		t.Errorf("stderr: %q", a.stderr)
	}
	n.must(os.Remove(n.dir))
	n.must(os.Mkdir(n.dir, 0o700))
	n.must(os.Chmod(n.dir, 0o777))
	n.wantError("DEL", n.call("DEL", n.conf(both)), 5, "unsafe directory")
	n.wantCalls("DEL")
}

// What another Multus has left counts as a record also where its DEL fails.
func TestLegacyDelFails(t *testing.T) {
	n := newNode(t)
	n.write("c1", `[{"type":"x"},{"type":"y","masterplugin":true}]`)
	_, _ = n.work(request{verb: "ADD", ifname: "net0"})
	n.does["DEL x"] = fails(113, "busy")
	a := n.call("DEL", n.conf(both))
	n.wantError("DEL", a, 113, "busy", filepath.Join(n.dir, "c1")+"; the next DEL")
	if strings.Contains(a.Msg, "record") {
		t.Errorf("got %q", a.Msg)
	}
	n.wantFiles("c1")
}

// 5.1: DEL needs name and cniDir of the conf, and nothing else of it.
func TestDelOfABrokenConf(t *testing.T) {
	for _, cniVersion := range []string{`"9.9.9"`, `7`, `null`} {
		n := newNode(t)
		n.add(n.conf(both))
		n.wantOK("DEL", n.call("DEL", `{"cniVersion":`+cniVersion+`,"name":"net","cniDir":"`+n.dir+`"}`))
		n.wantCalls("DEL", "DEL p eth0", "DEL a net0")
		n.wantFiles("")
	}
}
