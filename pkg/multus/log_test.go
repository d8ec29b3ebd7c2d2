// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package multus

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// The log says what happened, with its keys in one order, and no secret.
func TestLog(t *testing.T) {
	n := newNode(t)
	file := filepath.Join(t.TempDir(), "log")
	delegates := `{"plugins":[{"type":"a","password":"SECRET"},{"type":"b"}]},` + primary
	conf := n.conf(delegates, `"logFile":"`+file+`"`, `"logLevel":"debug"`)
	n.does["CHECK a"] = fails(106, "SECRET is wrong")
	args := "CNI_ARGS=K8S_POD_NAMESPACE=ns;K8S_POD_NAME=pod;TOKEN=SECRET"
	n.add(conf, args)
	n.wantError("CHECK", n.call("CHECK", conf, args), 106, "SECRET is wrong")
	n.wantOK("DEL", n.call("DEL", conf, args))
	n.wantError("a conf with a mistake", n.call("ADD", n.conf(secondary, `"logFile":"`+file+`"`), args), 7, "masterplugin")
	text, err := os.ReadFile(file)
	n.must(err)
	if strings.Contains(string(text), "SECRET") {
		t.Errorf("a secret is in the log:\n%s", text)
	}
	var got []string
	for line := range strings.Lines(string(text)) {
		got = append(got, strings.TrimPrefix(strings.Join(keysOf(t, line), " "), "time level msg network "))
	}
	const begins, ok, called = "container delegate ifname types", "container delegate ifname types outcome ms", "container ifname pod outcome ms"
	want := []string{
		begins, "container delegate ifname types addresses outcome ms", begins, "container delegate ifname types addresses outcome ms", called, // ADD
		begins, "container delegate ifname types code error outcome ms", "container ifname pod code error outcome ms", // CHECK
		begins, ok, begins, ok, called, // DEL
		"container ifname pod code error outcome ms",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got the keys\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, part := range []string{`"ns/pod"`, `"types":["a","b"]`, withheld, "masterplugin"} {
		if !strings.Contains(string(text), part) {
			t.Errorf("no %s in\n%s", part, text)
		}
	}
}

// keysOf returns the keys of an object in their order.
func keysOf(t *testing.T, object string) (keys []string) {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(object))
	for {
		token, err := decoder.Token()
		if err != nil {
			return keys
		}
		key, ok := token.(string)
		if !ok {
			continue // a brace
		}
		keys = append(keys, key)
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			t.Fatal(err)
		}
	}
}

// A fifo is no log, whether somebody has opened it to read or not: a call could
// wait for the reader for ever.
func TestLogIsFifo(t *testing.T) {
	n := newNode(t)
	fifo := filepath.Join(t.TempDir(), "log")
	n.must(unix.Mkfifo(fifo, 0o600))
	conf := n.conf(both, `"logFile":"`+fifo+`"`)
	for _, verb := range []string{"ADD", "DEL"} {
		a := n.call(verb, conf)
		n.wantOK(verb, a)
		if !strings.Contains(a.stderr, "this call is not logged") {
			t.Errorf("%s: stderr: %q", verb, a.stderr)
		}
		reader, err := os.OpenFile(fifo, os.O_RDWR, 0)
		n.must(err)
		defer reader.Close()
	}
}
