// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

var key = Key{"net", "c1", "eth0"}

func newStore(t testing.TB) Store {
	t.Helper()
	s := Store{filepath.Join(t.TempDir(), "a", "multus")}
	if err := s.Prepare(); err != nil {
		t.Fatal(err)
	}
	return s
}

func files(t *testing.T, s Store) []string {
	t.Helper()
	entries, err := os.ReadDir(s.Dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// newRecord returns a record of two lists.
func newRecord() *Record {
	plugin := func(kind string) Plugin {
		return Plugin{Type: kind, CNIVersion: "1.1.0", Inherited: true, Config: raw(`{"type":"` + kind + `","n":1.10}`)}
	}
	return &Record{
		Network: key.Network, ContainerID: key.ContainerID, IfName: key.IfName, NetnsID: "4:1",
		Delegates: []Delegate{
			{Index: 0, Name: "net", IfName: "eth0", Primary: true, List: true, Plugins: []Plugin{plugin("ptp"), plugin("tuning")}},
			{Index: 1, Name: "net-net0", IfName: "net0", List: true, Plugins: []Plugin{plugin("bridge")}},
		},
	}
}

func save(t *testing.T, s Store, r *Record) {
	t.Helper()
	if err := s.Save(r); err != nil {
		t.Fatal(err)
	}
}

func load(t *testing.T, s Store) *Record {
	t.Helper()
	r, err := s.Load(key)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestSaveAndLoad(t *testing.T) {
	s := newStore(t)
	if _, err := s.Load(key); !errors.Is(err, ErrNotExist) {
		t.Fatalf("got error %v, want ErrNotExist", err)
	}
	r := newRecord()
	save(t, s, r)
	r.Complete = true
	save(t, s, r) // replaces the first
	if got, want := files(t, s), []string{"net:c1:eth0.json"}; !slices.Equal(got, want) {
		t.Errorf("got files %q, want %q", got, want)
	}
	info, err := os.Stat(s.Path(key))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != 0o600 {
		t.Errorf("got mode %v, want 0600", info.Mode())
	}
	equal(t, load(t, s), r)
	if err := errors.Join(s.Remove(key), s.Remove(key), s.RemoveTemp(key)); err != nil {
		t.Error(err)
	}
	if got := files(t, s); len(got) > 0 {
		t.Errorf("got files %q, want none", got)
	}
}

func TestSaveReplacesWhatAKilledRunLeft(t *testing.T) {
	s := newStore(t)
	temp := s.Path(key) + ".tmp"
	if err := os.WriteFile(temp, []byte(strings.Repeat("{", 1<<16)), 0o644); err != nil {
		t.Fatal(err)
	}
	save(t, s, newRecord())
	equal(t, load(t, s), newRecordSaved())
	if got, want := files(t, s), []string{"net:c1:eth0.json"}; !slices.Equal(got, want) {
		t.Errorf("got files %q, want %q", got, want)
	}
	if err := os.WriteFile(temp, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.RemoveTemp(key); err != nil {
		t.Fatal(err)
	}
	if got, want := files(t, s), []string{"net:c1:eth0.json"}; !slices.Equal(got, want) {
		t.Errorf("got files %q, want %q", got, want)
	}
}

func newRecordSaved() *Record {
	r := newRecord()
	r.Format = 1
	return r
}

// Save refuses what could not be loaded again, before anything has run.
func TestSaveRefusesAnIncompleteRecord(t *testing.T) {
	for name, change := range map[string]func(*Record){
		"no netns":              func(r *Record) { r.NetnsID = "" },
		"no delegates":          func(r *Record) { r.Delegates = nil },
		"no plugins":            func(r *Record) { r.Delegates[1].Plugins = nil },
		"no config":             func(r *Record) { r.Delegates[1].Plugins[0].Config = nil },
		"a path as type":        func(r *Record) { r.Delegates[1].Plugins[0].Type = "../x" },
		"result not an object":  func(r *Record) { r.Delegates[1].Result = raw(`5`) },
		"result not JSON":       func(r *Record) { r.Delegates[1].Result = raw(`{`) },
		"runtimeConfig a list":  func(r *Record) { r.RuntimeConfig = raw(`[]`) },
		"a key with no name":    func(r *Record) { r.IfName = "a/b" },
		"a key of another kind": func(r *Record) { r.Network = "\xff" },
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			r := newRecord()
			change(r)
			if err := s.Save(r); err == nil {
				t.Error("got no error")
			}
			if got := files(t, s); len(got) > 0 {
				t.Errorf("got files %q, want none", got)
			}
		})
	}
}

// What a plugin has returned is in the saved record at once, and the rest of
// the record is not written again.
func TestAppendResult(t *testing.T) {
	s := newStore(t)
	r := newRecord()
	save(t, s, r)
	before, err := os.ReadFile(s.Path(key))
	if err != nil {
		t.Fatal(err)
	}
	r.Delegates[0].Plugins[0].CNIVersion = "0.4.0"
	r.Delegates[0].Plugins[1].CNIVersion = "0.3.1"
	for i, result := range []string{`{"n": 1.10, "s":"<&>\u00e9"}`, `{"n":` + "\n" + `9007199254740993}`} {
		r.Delegates[0].Result = raw(result)
		r.Delegates[0].InterfaceSeen = i == 1
		if err := s.AppendResult(r, 0); err != nil {
			t.Fatal(err)
		}
		equal(t, load(t, s), r)
	}
	r.Delegates[1].Result = raw(`{"ips":[]}`)
	if err := s.AppendResult(r, 1); err != nil {
		t.Fatal(err)
	}
	r.Delegates[0].Result = nil // an empty result, of a plugin behind
	if err := s.AppendResult(r, 0); err != nil {
		t.Fatal(err)
	}
	equal(t, load(t, s), r)
	after, err := os.ReadFile(s.Path(key))
	if err != nil {
		t.Fatal(err)
	}
	if lines, ok := bytes.CutPrefix(after, before); !ok || bytes.Count(lines, []byte("\n")) != 4 {
		t.Errorf("got %s, want the record as it was and 4 lines", after)
	}
	r.Complete = true
	save(t, s, r)
	if text, err := os.ReadFile(s.Path(key)); err != nil || !json.Valid(text) {
		t.Errorf("after the ADD: got %s, %v, want one JSON document", text, err)
	}
	equal(t, load(t, s), r)
}

func TestAppendResultNeedsTheRecord(t *testing.T) {
	s := newStore(t)
	if err := s.AppendResult(newRecord(), 0); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got error %v, want fs.ErrNotExist", err)
	}
	if got := files(t, s); len(got) > 0 {
		t.Errorf("got files %q, want none", got)
	}
}

// However short the last write was, the record is the one before it or the one
// after it.
func TestATornLineIsIgnored(t *testing.T) {
	s := newStore(t)
	r := newRecord()
	save(t, s, r)
	whole, err := os.ReadFile(s.Path(key))
	if err != nil {
		t.Fatal(err)
	}
	before := load(t, s)
	r.Delegates[0].Result = raw(`{"ips":[]}`)
	if err := s.AppendResult(r, 0); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(s.Path(key))
	if err != nil {
		t.Fatal(err)
	}
	for n := len(whole); n < len(text); n++ {
		if err := os.WriteFile(s.Path(key), text[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		equal(t, load(t, s), before)
	}
}

const good = `{"format":1,"network":"net","containerID":"c1","ifname":"eth0","netnsID":"4:1","delegates":[{"result":{},"plugins":[{"type":"x","config":{}}]}]}`

func TestLoadDamaged(t *testing.T) {
	tests := map[string]string{
		"empty":             ``,
		"zeros":             strings.Repeat("\x00", 100),
		"torn":              good[:len(good)-20],
		"an array":          `[]`,
		"no format":         strings.Replace(good, `"format":1,`, ``, 1),
		"format 0":          strings.Replace(good, `"format":1`, `"format":0`, 1),
		"torn, newer":       `{"format":2,"netw`,
		"another container": strings.Replace(good, `c1`, `c2`, 1),
		"no delegates":      strings.Replace(good, `{"result":{},"plugins":[{"type":"x","config":{}}]}`, ``, 1),
		"no netns":          strings.Replace(good, `4:1`, ``, 1),
		"no result":         strings.Replace(good, `"result":{}`, `"result":5`, 1),
		"no plugins":        strings.Replace(good, `{"type":"x","config":{}}`, ``, 1),
		"a path as type":    strings.Replace(good, `"x"`, `"../x"`, 1),
		"no config":         strings.Replace(good, `,"config":{}`, ``, 1),
		"null as config":    strings.Replace(good, `"config":{}`, `"config":null`, 1),
		"text behind it":    good + "x\n",
		"no such delegate":  good + `{"delegate":1,"cniVersions":["1.0.0"]}` + "\n",
		"a plugin too many": good + `{"delegate":0,"cniVersions":["1.0.0",""]}` + "\n",
		"a bad result":      good + `{"delegate":0,"cniVersions":["1.0.0"],"result":[]}` + "\n",
	}
	for name, text := range tests {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			path := s.Path(key)
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := s.Load(key)
			var damaged *DamagedError
			if !errors.As(err, &damaged) || damaged.Path != path {
				t.Fatalf("got error %v, want a *DamagedError", err)
			}
			if err := damaged.Quarantine(); err != nil {
				t.Fatal(err)
			}
			if got, want := files(t, s), []string{"net:c1:eth0.json.damaged"}; !slices.Equal(got, want) {
				t.Errorf("got files %q, want %q", got, want)
			}
		})
	}
}

func TestKeysThatMakeNoFileName(t *testing.T) {
	s := newStore(t)
	for _, k := range []Key{
		{"", "c", "e"},
		{"n", "..", "e"},
		{"n", "c", "e/f"},
		{"n:m", "c", "e"},
		{"n", ".c", "e"},
		{"n", "c\x00", "e"},
		{"n", strings.Repeat("c", 255), "e"},
	} {
		_, loadErr := s.Load(k)
		_, lockErr := s.LockPath(k)
		for _, err := range []error{loadErr, lockErr, s.Remove(k)} {
			if !errors.Is(err, ErrNoName) {
				t.Errorf("%q: got error %v, want ErrNoName", k, err)
			}
		}
		if got := s.Path(k); got != "" {
			t.Errorf("%q: got path %s, want none", k, got)
		}
	}
}

func TestPrepareRefusesAnUnsafeDirectory(t *testing.T) {
	s := newStore(t)
	if err := os.Chmod(s.Dir, 0o770); err != nil {
		t.Fatal(err)
	}
	if err := s.Prepare(); !errors.Is(err, ErrUnsafe) {
		t.Errorf("writable by a group: got error %v, want ErrUnsafe", err)
	}
	if err := errors.Join(os.Chmod(s.Dir, 0o700), os.Chown(s.Dir, 12345, 0)); err != nil {
		t.Skip("this test needs root to give a directory away:", err)
	}
	if err := s.Prepare(); !errors.Is(err, ErrUnsafe) {
		t.Errorf("owned by somebody else: got error %v, want ErrUnsafe", err)
	}
}

// What others could have written is not believed, wherever it is.
func TestLoadRefusesAnUnsafeFile(t *testing.T) {
	tests := map[string]func(path string) error{
		"owner":     func(path string) error { return os.Chown(path, 12345, 0) },
		"group":     func(path string) error { return os.Chmod(path, 0o620) },
		"everybody": func(path string) error { return os.Chmod(path, 0o602) },
		"link":      func(path string) error { return errors.Join(os.Rename(path, path+"2"), os.Symlink(path+"2", path)) },
		"fifo":      func(path string) error { return errors.Join(os.Remove(path), unix.Mkfifo(path, 0o600)) },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			if os.Geteuid() != 0 && name == "owner" {
				t.Skip("this test needs root to give a file away")
			}
			s := newStore(t)
			save(t, s, newRecord())
			place(t, s, "2017.json", "c1")
			for _, file := range []string{s.Path(key), filepath.Join(s.Dir, "c1")} {
				if err := change(file); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := s.Load(key); !errors.As(err, new(*DamagedError)) {
				t.Errorf("record: got error %v, want a *DamagedError", err)
			}
			if legacy, err := s.LoadLegacy("c1"); err == nil {
				t.Errorf("legacy record: got %+v", legacy)
			}
		})
	}
}

// A process that has too many files open cannot read a record. That does not
// make the record a damaged one, which a DEL would rename.
func TestTooManyOpenFilesIsNoDamage(t *testing.T) {
	s := newStore(t)
	save(t, s, newRecord())
	place(t, s, "2017.json", "c1")
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 0, Max: before.Max}); err != nil {
		t.Fatal(err)
	}
	_, err := s.Load(key)
	_, legacyErr := s.LoadLegacy("c1")
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{err, legacyErr} {
		if !errors.Is(err, unix.EMFILE) || errors.As(err, new(*DamagedError)) {
			t.Errorf("got error %v, want EMFILE and no *DamagedError", err)
		}
	}
}

func TestProbe(t *testing.T) {
	s := newStore(t)
	killed := filepath.Join(s.Dir, "probe"+tempSuffix)
	if err := os.WriteFile(killed, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for range 8 {
		group.Add(1)
		go func() {
			defer group.Done()
			for range 50 {
				if err := s.Probe(); err != nil {
					t.Errorf("Probe: %v", err)
				}
			}
		}()
	}
	group.Wait()
	if got := files(t, s); len(got) > 0 {
		t.Errorf("got files %q, want none", got)
	}
}

// onDisk runs a test on a file system of its own, of that many bytes.
func onDisk(t *testing.T, bytes int, test func(s Store)) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("this test needs root to mount a file system")
	}
	dir := t.TempDir()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlock: the thread ends with its mount namespace
		if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_FS); err != nil {
			t.Errorf("unshare: %v", err)
			return
		}
		if err := errors.Join(unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
			unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("mode=0700,size=%d", bytes))); err != nil {
			t.Errorf("mount: %v", err)
			return
		}
		test(Store{dir})
	}()
	<-done
}

// The caller can tell what is wrong with the disk: nothing about records keeps
// a pod from being deleted.
func TestDiskThatTurnsReadOnly(t *testing.T) {
	onDisk(t, 1<<20, func(s Store) {
		r := newRecord()
		err := errors.Join(s.Save(r), unix.Mount("", s.Dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
		if err != nil {
			t.Error(err)
			return
		}
		for verb, err := range map[string]error{
			"Save": s.Save(r), "AppendResult": s.AppendResult(r, 0), "Remove": s.Remove(key), "Probe": s.Probe(),
			"Quarantine": (&DamagedError{Path: s.Path(key)}).Quarantine(),
		} {
			if !errors.Is(err, unix.EROFS) {
				t.Errorf("%s: got error %v, want EROFS", verb, err)
			}
		}
		if _, err := s.Load(key); err != nil {
			t.Errorf("Load: %v", err)
		}
	})
}

// On a full disk the record stays as it was, whatever could not be added.
func TestDiskThatIsFull(t *testing.T) {
	onDisk(t, 16<<10, func(s Store) {
		r := newRecord()
		if err := s.Save(r); err != nil {
			t.Error(err)
			return
		}
		r.Delegates[1].Result = raw(`{"ips":[]}`)
		if err := s.AppendResult(r, 1); err != nil {
			t.Error(err)
			return
		}
		want := *r
		want.Delegates = slices.Clone(r.Delegates)
		r.Delegates[0].Result = raw(`{"s":"` + strings.Repeat("x", 32<<10) + `"}`)
		for verb, err := range map[string]error{"AppendResult": s.AppendResult(r, 0), "Save": s.Save(r)} {
			if !errors.Is(err, unix.ENOSPC) {
				t.Errorf("%s: got error %v, want ENOSPC", verb, err)
			}
		}
		got, err := s.Load(key)
		if err != nil {
			t.Error(err)
			return
		}
		equal(t, got, &want)
		r.Delegates[0].Result = raw(`{}`) // the next one fits
		if err := s.AppendResult(r, 0); err != nil {
			t.Error(err)
		}
		if got, err = s.Load(key); err != nil {
			t.Error(err)
			return
		}
		equal(t, got, r)
	})
}

// The cost of a list delegate must not grow with the number of delegates.
func TestAppendingIsLinear(t *testing.T) {
	s := newStore(t)
	r := newRecord()
	r.Delegates = slices.Repeat(r.Delegates[:1], 1000)
	save(t, s, r)
	info, err := os.Stat(s.Path(key))
	if err != nil {
		t.Fatal(err)
	}
	size := info.Size()
	for i := range r.Delegates {
		r.Delegates[i].Result = raw(`{"cniVersion":"1.1.0","ips":[{"address":"10.1.0.2/24"}]}`)
		if err := s.AppendResult(r, i); err != nil {
			t.Fatal(err)
		}
	}
	equal(t, load(t, s), r)
	if info, err = os.Stat(s.Path(key)); err != nil {
		t.Fatal(err)
	}
	if written := info.Size() - size; written > 200*1000 {
		t.Errorf("1000 results took %d bytes", written)
	}
}
