// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package state

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"multus-cni/pkg/netconf"
)

var key = Key{"net", "c1", "eth0"}

func newStore(t *testing.T) Store {
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

func newRecord(t *testing.T) *Record {
	t.Helper()
	conf, err := netconf.Parse([]byte(`{"name":"net","cniVersion":"1.0.0","runtimeConfig":{"big":9223372036854775807},
		"delegates":[{"type":"x","masterplugin":true,"n":1.10,"s":"\u00e9<&>"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if conf.Delegates, err = conf.Plan("eth0"); err != nil {
		t.Fatal(err)
	}
	return &Record{
		Network: "net", ContainerID: "c1", IfName: "eth0", NetnsID: "4:1", RuntimeConfig: conf.RuntimeConfig,
		Delegates: []Delegate{{Delegate: conf.Delegates[0], Result: []byte(`{"big":9007199254740993}`)}},
	}
}

func TestSaveAndLoad(t *testing.T) {
	s := newStore(t)
	if _, err := s.Load(key); !errors.Is(err, ErrNotExist) {
		t.Fatalf("got error %v, want ErrNotExist", err)
	}
	record := newRecord(t)
	for range 2 { // the second takes the place of the first
		if err := s.Save(record); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := files(t, s), []string{"net:c1:eth0.json"}; !slices.Equal(got, want) {
		t.Errorf("got files %q, want %q", got, want)
	}
	info, err := os.Stat(filepath.Join(s.Dir, "net:c1:eth0.json"))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != 0o600 {
		t.Errorf("got mode %v, want 0600", info.Mode())
	}
	loaded, err := s.Load(key)
	if err != nil {
		t.Fatal(err)
	}
	d := loaded.Delegates[0]
	want := `{"type":"x","n":1.10,"s":"\u00e9<&>","name":"net","cniVersion":"1.0.0"}`
	if got := string(d.Request(0, netconf.Inputs{})); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if !strings.Contains(string(d.Result), "9007199254740993") || string(loaded.RuntimeConfig[0].Value) != "9223372036854775807" {
		t.Errorf("numbers have changed: %s, %s", d.Result, loaded.RuntimeConfig[0].Value)
	}
	if err := errors.Join(s.Remove(key), s.Remove(key)); err != nil {
		t.Error(err)
	}
	if got := files(t, s); len(got) > 0 {
		t.Errorf("got files %q, want none", got)
	}
}

func TestLoadDamaged(t *testing.T) {
	good := `{"format":1,"network":"net","containerID":"c1","ifname":"eth0","netnsID":"4:1","delegates":[{"result":{},"plugins":[{"type":"x","config":{}}]}]}`
	tests := map[string]string{
		"empty":             ``,
		"torn":              good[:len(good)-20],
		"an array":          `[]`,
		"another format":    strings.Replace(good, `"format":1`, `"format":2`, 1),
		"another container": strings.Replace(good, `c1`, `c2`, 1),
		"no delegates":      strings.Replace(good, `{"result":{},"plugins":[{"type":"x","config":{}}]}`, ``, 1),
		"no netns":          strings.Replace(good, `4:1`, ``, 1),
		"no result":         strings.Replace(good, `"result":{}`, `"result":5`, 1),
		"no plugins":        strings.Replace(good, `{"type":"x","config":{}}`, ``, 1),
		"a path as type":    strings.Replace(good, `"x"`, `"../x"`, 1),
	}
	for name, text := range tests {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			path := filepath.Join(s.Dir, "net:c1:eth0.json")
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := s.Load(key)
			var damaged *DamagedError
			if !errors.As(err, &damaged) || damaged.Path != path {
				t.Fatalf("got error %v, want a DamagedError", err)
			}
			if err := damaged.PutAside(); err != nil {
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
		{"", "c", "e"}, {"n", "..", "e"}, {"n", "c", "e/f"}, {"n:m", "c", "e"}, {"n", ".c", "e"},
		{"n", strings.Repeat("c", 255), "e"},
	} {
		if _, err := s.Load(k); err == nil || errors.Is(err, ErrNotExist) {
			t.Errorf("Load(%v): got error %v, want a refusal", k, err)
		}
		if _, err := s.Lock(t.Context(), k); err == nil {
			t.Errorf("Lock(%v): got no error", k)
		}
	}
}

func TestPrepareRefusesAnUnsafeFolder(t *testing.T) {
	s := newStore(t)
	if err := os.Chmod(s.Dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := s.Prepare(); !errors.Is(err, ErrUnsafe) {
		t.Errorf("writable by all: got error %v, want ErrUnsafe", err)
	}
	if err := errors.Join(os.Chmod(s.Dir, 0o700), os.Chown(s.Dir, 12345, 0)); err != nil {
		t.Skip("this test needs root to give a folder away:", err)
	}
	if err := s.Prepare(); !errors.Is(err, ErrUnsafe) {
		t.Errorf("owned by somebody else: got error %v, want ErrUnsafe", err)
	}
}

func TestLoadRefusesARecordOfSomebodyElse(t *testing.T) {
	s := newStore(t)
	r := newRecord(t)
	if err := s.Save(r); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(s.Path(r.Key()), 12345, 0); err != nil {
		t.Skip("this test needs root to give a file away:", err)
	}
	var damaged *DamagedError
	if _, err := s.Load(r.Key()); !errors.As(err, &damaged) || !strings.Contains(err.Error(), "uid 12345") {
		t.Errorf("got error %v, want a *DamagedError that names the owner", err)
	}
}

func TestListSkipsWhatIsNoRecord(t *testing.T) {
	s := newStore(t)
	for _, name := range []string{"a:1:eth0.json", "b:2:eth1.json", "b:2:eth1.json.lock", "b:2:eth1.json.tmp", "c:3:eth0.json.lock", "d:4:eth0.json.tmp", "x:y:z.json.damaged", "c1", "x.json"} {
		if err := os.WriteFile(filepath.Join(s.Dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.List()
	if err != nil {
		t.Fatal(err)
	}
	if want := []Key{{"a", "1", "eth0"}, {"b", "2", "eth1"}, {"c", "3", "eth0"}}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestProbe(t *testing.T) {
	store := Store{Dir: t.TempDir()}
	killed := filepath.Join(store.Dir, "probe"+tempSuffix)
	if err := os.WriteFile(killed, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for range 8 {
		group.Add(1)
		go func() {
			defer group.Done()
			for range 50 {
				if err := store.Probe(); err != nil {
					t.Errorf("Probe: %v", err)
				}
			}
		}()
	}
	group.Wait()
	if entries, err := os.ReadDir(store.Dir); err != nil || len(entries) > 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

func TestLockIsForOne(t *testing.T) {
	s := newStore(t)
	first, err := s.Lock(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	other, err := s.Lock(t.Context(), Key{"net", "c1", "eth1"})
	if err != nil {
		t.Fatal("another attachment of the container:", err)
	}
	other.Unlock()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.Lock(ctx, key); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("second lock: got error %v, want to be kept waiting", err)
	}
	locked := make(chan *Lock)
	go func() {
		second, err := s.Lock(context.Background(), key)
		if err != nil {
			t.Error(err)
		}
		locked <- second
	}()
	first.Unlock()
	(<-locked).Unlock()
	if got := files(t, s); len(got) > 0 {
		t.Errorf("got files %q, want none", got)
	}
}

func TestLockTakesAwayWhatAKilledRunLeft(t *testing.T) {
	s := newStore(t)
	for _, name := range []string{"net:c1:eth0.json.lock", "net:c1:eth0.json.tmp"} {
		if err := os.WriteFile(filepath.Join(s.Dir, name), []byte("12345"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	lock, err := s.Lock(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	lock.Unlock()
	if got := files(t, s); len(got) > 0 {
		t.Errorf("got files %q, want none", got)
	}
}

// guarded starts a shell as a plugin of the lock's holder.
func guarded(t *testing.T, lock *Lock, script string) (cmd *exec.Cmd, stdin io.Closer) {
	t.Helper()
	file, err := lock.Enter()
	if err != nil {
		t.Fatal(err)
	}
	cmd = exec.Command("sh", "-c", script)
	cmd.ExtraFiles = []*os.File{file}
	stdin, err = cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lock.Started(cmd.Process.Pid)
	return cmd, stdin
}

// crash closes what a killed process would no longer have, and leaves all else.
func crash(l *Lock) {
	_ = l.plugin.Close()
	_ = l.file.Close()
}

// A plugin, and the one that it has started, are over before the next
// operation begins, though the multus that started them is gone.
func TestLockWaitsForLeftovers(t *testing.T) {
	s := newStore(t)
	lock, err := s.Lock(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	cmd, stdin := guarded(t, lock, "cat; exit 0") // cat, the inner plugin, inherits the lock
	crash(lock)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := s.Lock(ctx, key); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("while the plugin runs: got error %v, want to be kept waiting", err)
	}
	_ = stdin.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	next, err := s.Lock(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	next.Unlock()
}

// When a plugin that is killed leaves its inner plugin running, Leave waits.
func TestLeaveWaitsAfterAKill(t *testing.T) {
	s := newStore(t)
	lock, err := s.Lock(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	file, err := lock.Enter()
	if err != nil {
		t.Fatal(err)
	}
	inner := exec.Command("cat") // stands for the inner plugin: its parent is dead
	inner.Stdin, inner.ExtraFiles = r, []*os.File{file}
	if err := inner.Start(); err != nil {
		t.Fatal(err)
	}
	left := make(chan struct{})
	go func() {
		lock.Leave(true)
		close(left)
	}()
	select {
	case <-left:
		t.Error("Leave did not wait")
	case <-time.After(50 * time.Millisecond):
	}
	_ = w.Close()
	if err := inner.Wait(); err != nil {
		t.Fatal(err)
	}
	<-left
	lock.Unlock()
}

// A process that a plugin leaves behind has the file open, and no lock.
func TestLockDoesNotWaitForDaemons(t *testing.T) {
	s := newStore(t)
	lock, err := s.Lock(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	cmd, stdin := guarded(t, lock, "cat")
	lock.Leave(false) // as after a plugin that ended while its daemon goes on
	lock.Unlock()
	next, err := s.Lock(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	next.Unlock()
	_ = stdin.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
}

func TestLegacy(t *testing.T) {
	s := newStore(t)
	if _, err := s.LoadLegacy("c1"); !errors.Is(err, ErrNotExist) {
		t.Errorf("got error %v, want ErrNotExist", err)
	}
	if err := os.WriteFile(filepath.Join(s.Dir, "c1"), []byte(`[{}]`), 0o600); err != nil {
		t.Fatal(err)
	}
	text, err := s.LoadLegacy("c1")
	if err != nil || string(text) != `[{}]` {
		t.Errorf("got %s, %v", text, err)
	}
	if err := errors.Join(s.RemoveLegacy("c1"), s.RemoveLegacy("c1")); err != nil {
		t.Error(err)
	}
	if _, err := s.LoadLegacy("../c1"); err == nil || errors.Is(err, ErrNotExist) {
		t.Errorf("a path: got error %v, want a refusal", err)
	}
}
