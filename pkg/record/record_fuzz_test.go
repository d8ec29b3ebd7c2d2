// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package record

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
)

// tooLong is when an input counts as one that multus hangs on.
const tooLong = time.Minute

// Whatever a record's file holds is either refused, or a record of that
// attachment which DEL can work from and which stays the same when it is
// written again.
func FuzzRecord(f *testing.F) {
	for _, text := range []string{
		good,
		good + `{"delegate":0,"cniVersions":["1.0.0"],"result":{"n":1.10},"interfaceSeen":true}` + "\n",
		good + `{"delegate":0,"cni`,
		good + "\n\n" + `{"delegate":-1}` + "\n",
		`{"format":1,"network":"net","containerID":"c1","ifname":"eth0","netns":"/run/netns/a","netnsID":"4:1","bootID":"b","cniVersion":"1.0.0","cniArgs":"A=1","runtimeConfig":{"mac":"x"},"delegates":[{"index":0,"name":"net","ifname":"eth0","masterplugin":true,"plugins":[{"type":"ptp","cniVersion":"1.0.0","inherited":true,"config":{"type":"ptp","n":1.10}}],"result":{"cniVersion":"1.0.0","ips":[]}}],"defaultRoute":{"ipv4":"eth0"}}`,
		strings.Replace(good, `"config":{}`, `"config":null`, 1),
		strings.Replace(good, `"result":{}`, `"result":null`, 1),
		strings.Replace(good, `"x"`, `"../x"`, 1),
		`{"format":2}`, `{"format":2,"network":5}`, `[{"type":"flannel","masterplugin":true}]`, `null`, ``, `{"format":1,"delegates":[null]}`,
	} {
		f.Add([]byte(text))
	}
	store := newStore(f)
	f.Fuzz(func(t *testing.T, text []byte) {
		defer time.AfterFunc(tooLong, func() { panic("it hangs") }).Stop()
		r, err := decode(text, key)
		if err != nil {
			return
		}
		if err := store.Save(r); err != nil {
			t.Fatal(err)
		}
		again, err := store.Load(key)
		if err != nil {
			t.Fatalf("cannot read it back: %v", err)
		}
		equal(t, again, r)
		for i, d := range r.Delegates {
			if err := store.AppendResult(r, i); err != nil {
				t.Fatal(err)
			}
			for _, p := range d.Plugins {
				if p.Type != filepath.Base(p.Type) || p.Type == ".." {
					t.Errorf("delegate %d: type %q", i, p.Type)
				}
			}
		}
		if again, err = store.Load(key); err != nil {
			t.Fatalf("cannot read it with its lines: %v", err)
		}
		equal(t, again, r)
	})
}

// Whatever a legacy record's file holds is either refused, or gives delegates
// that have a configuration and a name.
func FuzzLegacyRecord(f *testing.F) {
	for _, golden := range []string{"2017.json", "upstream.json"} {
		text, err := os.ReadFile(filepath.Join("testdata", "golden", golden))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(`[null]`))
	f.Add([]byte(`[{"Bytes":"e30="},{"Bytes":"e30="}]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		defer time.AfterFunc(tooLong, func() { panic("it hangs") }).Stop()
		legacy, err := decodeLegacy(text)
		if err != nil {
			return
		}
		if len(legacy.Delegates) == 0 || legacy.Origin == "" {
			t.Errorf("got %+v", legacy)
		}
		for i, d := range legacy.Delegates {
			if !json.Valid(d.Conf) || !bytes.HasPrefix(d.Conf, []byte("{")) || d.IfName == "" && !d.Primary {
				t.Errorf("delegate %d: got %+v", i, d)
			}
		}
	})
}

// Whatever the attachment is called, its record is one file in the directory
// that can be found again, or there is no record of it.
func FuzzKey(f *testing.F) {
	f.Add("net", "c1", "eth0")
	f.Add("net", "c1", "\xff")
	f.Add("net", "../../etc/passwd", "eth0")
	f.Add("a:b", "c", "d")
	f.Add("a", "b:c", ".")
	f.Add("a", "b", "c.json")
	f.Add(strings.Repeat("n", 120), strings.Repeat("c", 120), "eth0")
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, network, container, ifname string) {
		defer time.AfterFunc(tooLong, func() { panic("it hangs") }).Stop()
		s, key := Store{filepath.Join(dir, "records")}, Key{network, container, ifname}
		if legacy, err := s.legacyPath(container); err == nil && filepath.Dir(legacy) != s.Dir {
			t.Errorf("a legacy record at %s", legacy)
		}
		if err := s.Prepare(); err != nil {
			t.Fatal(err)
		}
		r := newRecord()
		r.Network, r.ContainerID, r.IfName = network, container, ifname
		if err := s.Save(r); err != nil {
			if !errors.Is(err, ErrNoName) || s.Path(key) != "" {
				t.Errorf("%+v: %v", key, err)
			}
			return
		}
		if entries, err := s.Entries(); err != nil || len(entries) != 1 || entries[0].Key != key {
			t.Errorf("got records %+v, %v, want one of %q", entries, err, key)
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

// Whatever is in the directory, read-only callers get an answer, and nothing
// in the directory changes.
func FuzzEntries(f *testing.F) {
	f.Add("net:c1:eth0.json", []byte(`{"format":1}`))
	f.Add("net:c1:eth0.json", []byte(good))
	f.Add("net:c1:eth0.json", []byte(`{"format":2}`))
	f.Add("net:c1:eth0.json.damaged", []byte(`x`))
	f.Add("net:c1:eth0.json.tmp", []byte(`{`))
	f.Add("net:c1:eth0.json.lock", []byte(``))
	f.Add("::.json", []byte(``))
	f.Add("0a1b2c", []byte(` [{"type":"flannel","masterplugin":true}]`))
	f.Add("0a1b2c.damaged", []byte(`[`))
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
			isReadable, isLegacy, hasErr := e.Kind == KindReadable, e.Kind == KindLegacy, e.Kind == KindNewer || e.Kind == KindDamaged
			if e.Path != path || (e.Record != nil) != isReadable || (e.Legacy != nil) != isLegacy || (e.Err != nil) != hasErr {
				t.Errorf("%q: got %+v", name, e)
			}
		}
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, text) {
			t.Errorf("%q has changed: %q, %v", name, got, err)
		}
	})
}
