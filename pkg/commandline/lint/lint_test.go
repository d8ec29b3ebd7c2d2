// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package lint

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"multus-cni/pkg/netconf"
)

func TestNear(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want bool
	}{
		{"masterplugin", "masterPlugin", true},
		{"masterplugin", "master_plugin", true},
		{"masterplugin", "mastrplugin", true},
		{"masterplugin", "mastrplugni", false},
		{"cniVersion", "cni-version", true},
		{"type", "tpye", true},
		{"routes", "route", true},
		{"mode", "name", false},
		{"dns", "dst", false},
		{"rangeStart", "rangeEnd", false},
		{"vlan", "vlanTrunk", false},
		{"", "x", false},
	} {
		if got := near(test.a, test.b); got != test.want {
			t.Errorf("near(%q, %q) = %t, want %t", test.a, test.b, got, test.want)
		}
		if got := near(test.b, test.a); got != test.want {
			t.Errorf("near(%q, %q) = %t, want %t", test.b, test.a, got, test.want)
		}
	}
}

func TestPosition(t *testing.T) {
	const text = "{\n\t\"é\": 1,\r\n  x\n"
	for _, test := range []struct{ offset, line, column int }{
		{0, 1, 1},
		{2, 2, 1},
		{3, 2, 2},
		{8, 2, 6}, // a letter of two bytes is one column
		{15, 3, 3},
		{100, 4, 1}, // what is missing is missed at the end
	} {
		line, column := position([]byte(text), test.offset)
		if line != test.line || column != test.column {
			t.Errorf("offset %d: got %d:%d, want %d:%d", test.offset, line, column, test.line, test.column)
		}
	}
}

func TestUnread(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"00-notes", "10-b.conflist", ".20-hidden.json"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		dir, name string
		read      bool
	}{
		{dir, "00-a.conf", false}, // behind .20-hidden.json
		{dir, ".10-a.conf", true},
		{dir, ".10-a.cfg", false},
		{filepath.Join(dir, "none"), "99-a.json", true},
	} {
		reason, err := Unread(test.dir, test.name)
		if err != nil || (reason == "") != test.read {
			t.Errorf("%s: got %q, %v, want that it is read: %t", test.name, reason, err, test.read)
		}
	}
	if _, err := Unread(filepath.Join(dir, "00-notes"), "a.conf"); err == nil {
		t.Error("a directory that is a file: got no error")
	}
}

// What multus refuses only with the names of one attachment is found before.
func TestCheckKnowsTheNamesOfAPod(t *testing.T) {
	const conf = `{"name": %q, "type": "multus", "delegates": [{"type": "strange", "masterplugin": true}, {"type": "ptp", "ifname": %q}]}`
	for _, test := range []struct{ name, ifname, want string }{
		{"n", "data0", ""},
		{strings.Repeat("n", netconf.MaxNameLength), "data0", ""},
		{strings.Repeat("n", netconf.MaxNameLength+1), "data0", `"name" is 162 bytes long: a record's file name has room for 161`},
		{"n", "eth0", `delegate 1: "ifname" "eth0" is what runtimes call the interface of the primary: choose another name`},
	} {
		report := Check("a.conf", fmt.Appendf(nil, conf, test.name, test.ifname), []string{t.TempDir()})
		var got []string
		for _, f := range report.Findings {
			if f.Field != "type" { // nothing is installed
				got = append(got, f.Error())
			}
		}
		if strings.Join(got, "\n") != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
}

// A copy of this program under another name is multus, and another program of
// that name is not.
func TestCheckKnowsItsCopies(t *testing.T) {
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, test := range []struct {
		text []byte
		want bool
	}{{self, true}, {self[:len(self)-1], false}, {[]byte("#!/bin/sh\n"), false}} {
		if err := os.WriteFile(filepath.Join(dir, "multus-cni"), test.text, 0o755); err != nil {
			t.Fatal(err)
		}
		if got := IsMultus("multus-cni", []string{dir}); got != test.want {
			t.Errorf("a file of %d bytes: got that it is multus: %t, want %t", len(test.text), got, test.want)
		}
	}
}

// A plugin that hangs, ignores SIGTERM and has started another process is
// killed, and so is that one.
func TestVersionsOfAPluginThatHangs(t *testing.T) {
	dir := t.TempDir()
	plugin, child := filepath.Join(dir, "stubborn"), filepath.Join(dir, "child")
	text := "#!/bin/sh\ntrap '' TERM\nsleep 1000 &\necho $! >" + child + ".new\nmv " + child + ".new " + child + "\nwait\n"
	if err := os.WriteFile(plugin, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	limit := time.Second
	var pid int
	for ; pid == 0 && limit < time.Minute; limit *= 2 { // a busy machine takes its time until it has started
		if _, err := versionsOf(plugin, limit); err == nil || err.Error() != "no answer in "+limit.String() {
			t.Fatalf("got error %v, want that there was no answer in %v", err, limit)
		}
		line, _ := os.ReadFile(child)
		pid, _ = strconv.Atoi(strings.TrimSpace(string(line)))
	}
	if pid == 0 {
		t.Fatal("the plugin never started its process")
	}
	for end := time.Now().Add(30 * time.Second); syscall.Kill(pid, 0) == nil; {
		if stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); strings.Contains(string(stat), ") Z ") {
			break // nobody has waited for it yet, but it is dead
		}
		if time.Now().After(end) {
			t.Fatalf("process %d, which the plugin has started, still runs", pid)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// Whatever a file holds, there is an answer, each finding lies in the file, and
// what multus refuses is refused here too.
func FuzzCheck(f *testing.F) {
	confs, err := filepath.Glob("../testdata/validate/*.conf*")
	if err != nil || len(confs) == 0 {
		f.Fatalf("got %d confs, %v", len(confs), err)
	}
	for _, conf := range confs {
		text, err := os.ReadFile(conf)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(filepath.Ext(conf), text)
	}
	f.Add(".conf", []byte("\xec\x920"))
	path := []string{f.TempDir()}
	f.Fuzz(func(t *testing.T, ext string, text []byte) {
		report := Check("a"+ext, text, path)
		if (report.Conf == nil) != (report.Errors() > 0) {
			t.Errorf("got %d errors and conf %v", report.Errors(), report.Conf)
		}
		if _, err := netconf.Parse(text); err != nil && ext == ".conf" && report.Errors() == 0 {
			t.Errorf("got no error where multus has %v", err)
		}
		lines := bytes.Count(text, []byte("\n")) + 1
		for _, f := range report.Findings {
			if f.Pos < 0 || f.Pos > len(text) || f.Line < 1 || f.Line > lines || f.Column < 1 || f.Msg == "" {
				t.Errorf("finding outside of the file: %+v", f)
			}
		}
	})
}
