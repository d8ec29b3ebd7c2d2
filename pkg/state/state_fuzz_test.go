// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package state

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"multus-cni/pkg/netconf"
)

// tooLong is when an input counts as one that multus hangs on.
const tooLong = time.Minute

// Whatever a record's file holds is either refused, or a record of that
// attachment which DEL can work from and which stays the same when it is
// written again.
func FuzzRecord(f *testing.F) {
	for _, text := range []string{
		`{"format":1,"network":"net","containerID":"c1","ifname":"eth0","netns":"/run/netns/a","netnsID":"4:1","bootID":"b","cniVersion":"1.0.0","cniArgs":"A=1","runtimeConfig":{"mac":"x"},"delegates":[{"index":0,"name":"net","ifname":"eth0","masterplugin":true,"plugins":[{"type":"ptp","cniVersion":"1.0.0","inherited":true,"config":{"type":"ptp","n":1.10}}],"result":{"cniVersion":"1.0.0","ips":[]}}],"defaultRoute":{"ipv4":"eth0"}}`,
		`{"format":1,"network":"net","containerID":"c1","ifname":"eth0","netnsID":"1","delegates":[{"plugins":[{"type":"x","config":null}]}]}`,
		`{"format":1,"network":"net","containerID":"c1","ifname":"eth0","netnsID":"1","delegates":[{"plugins":[{"type":"x"}],"result":null}]}`,
		`{"format":1,"network":"net","containerID":"c1","ifname":"eth0","netnsID":"1","delegates":[{"plugins":[{"type":"x"}]},{"plugins":[{"type":"../x"}]}]}`,
		`{"format":2}`, `[{"type":"flannel","masterplugin":true}]`, `null`, ``, `{"format":1,"delegates":[null]}`,
	} {
		f.Add([]byte(text))
	}
	store := Store{f.TempDir()}
	f.Fuzz(func(t *testing.T, text []byte) {
		defer time.AfterFunc(tooLong, func() { panic("it hangs") }).Stop()
		record, err := decode(text, key)
		if err != nil {
			return
		}
		if err := store.Save(record); err != nil {
			t.Fatal(err)
		}
		again, err := store.Load(key)
		if err != nil {
			t.Fatalf("cannot read it back: %v", err)
		}
		for i, d := range record.Delegates {
			if len(d.Plugins) == 0 || d.Result != nil && !bytes.HasPrefix(d.Result, []byte("{")) {
				t.Errorf("delegate %d: %+v", i, d)
			}
			for p := range d.Plugins {
				if kind := d.Plugins[p].Type; kind != filepath.Base(kind) || kind == ".." {
					t.Errorf("delegate %d: type %q", i, kind)
				}
				in := netconf.Inputs{RuntimeConfig: record.RuntimeConfig, PrevResult: d.Result}
				if got, want := compact(t, again.Delegates[i].Request(p, in)), compact(t, d.Request(p, in)); got != want {
					t.Errorf("delegate %d: written again: got request %s, want %s", i, got, want)
				}
			}
		}
	})
}

func compact(t *testing.T, text []byte) string {
	t.Helper()
	var out bytes.Buffer
	if err := json.Compact(&out, text); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return out.String()
}

// Whatever the attachment is called, its record is one file in the folder that
// can be found again, or there is no record of it.
func FuzzKey(f *testing.F) {
	f.Add("net", "c1", "eth0")
	f.Add("net", "c1", "\xff")
	f.Add("net", "../../etc/passwd", "eth0")
	f.Add("a:b", "c", "d")
	f.Add("a", "b:c", ".")
	f.Add(strings.Repeat("n", 120), strings.Repeat("c", 120), "eth0")
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, network, container, ifname string) {
		defer time.AfterFunc(tooLong, func() { panic("it hangs") }).Stop()
		s, key := Store{filepath.Join(dir, "records")}, Key{network, container, ifname}
		if legacy, err := s.legacyPath(container); err == nil && filepath.Dir(legacy) != s.Dir {
			t.Errorf("a record of 2017 at %s", legacy)
		}
		if err := s.Prepare(); err != nil {
			t.Fatal(err)
		}
		record := newRecord(t)
		record.Network, record.ContainerID, record.IfName = network, container, ifname
		if err := s.Save(record); err != nil {
			if !errors.Is(err, ErrNoName) || s.Path(key) != "" {
				t.Errorf("%+v: %v", key, err)
			}
			return
		}
		if keys, err := s.List(); err != nil || !slices.Equal(keys, []Key{key}) {
			t.Errorf("got records of %q, %v, want %q", keys, err, key)
		}
		if got, err := s.Load(key); err != nil || got.Key() != key {
			t.Errorf("%q: read back: %v", key, err)
		}
		if err := s.Remove(key); err != nil {
			t.Errorf("%q: %v", key, err)
		}
		if left, err := filepath.Glob(filepath.Join(dir, "*", "*")); err != nil || len(left) > 0 {
			t.Errorf("%q leaves %q, %v", key, left, err)
		}
	})
}

// Whatever lies in the folder, those who only look get an answer, and nothing
// in the folder changes.
func FuzzEntries(f *testing.F) {
	f.Add("net:c1:eth0.json", []byte(`{"format":1}`))
	f.Add("net:c1:eth0.json.damaged", []byte(`x`))
	f.Add("net:c1:eth0.json.tmp", []byte(`{`))
	f.Add("::.json", []byte(``))
	f.Add("0a1b2c", []byte(` [{"type":"flannel","masterplugin":true}]`))
	f.Add(".hidden", []byte(`[]`))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, name string, text []byte) {
		defer time.AfterFunc(tooLong, func() { panic("it hangs") }).Stop()
		if len(name) > unix.NAME_MAX || strings.ContainsAny(name, "/\x00") || slices.Contains([]string{"", ".", ".."}, name) {
			return // no file can be called that
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		defer os.Remove(path)
		entries, err := Store{dir}.Entries()
		if err != nil || len(entries) > 1 {
			t.Fatalf("got %d entries, %v", len(entries), err)
		}
		for _, e := range entries {
			// One of these says what it is.
			kinds := []bool{e.Record != nil, e.Legacy != nil && e.Err == nil, e.Aside, e.Err != nil}
			if e.Path != path || e.Key.ContainerID == "" && e.Err == nil && !e.Aside || !slices.Contains(kinds, true) {
				t.Errorf("%q: got %+v", name, e)
			}
		}
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, text) {
			t.Errorf("%q has changed: %q, %v", name, got, err)
		}
	})
}
