// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package lock

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func lockPath(t testing.TB) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "net:c1:eth0.json.lock")
}

func acquire(t *testing.T, path string) *Lock {
	t.Helper()
	l, err := Acquire(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// keptWaiting checks that the lock cannot be had now.
func keptWaiting(t *testing.T, path string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if l, err := Acquire(ctx, path); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v, error %v, want to be kept waiting", l, err)
	}
}

func noFile(t *testing.T, path string) {
	t.Helper()
	if names, err := os.ReadDir(filepath.Dir(path)); err != nil || len(names) > 0 {
		t.Errorf("got files %v, %v, want none", names, err)
	}
}

func TestLockIsForOneProcess(t *testing.T) {
	path := lockPath(t)
	holder, _ := start(t, "holder", path)
	acquire(t, path+"2").Release() // another attachment
	keptWaiting(t, path)
	holder.end()
	l := acquire(t, path)
	if l.Abandoned() {
		t.Error("the holder has released the lock, got that it was killed")
	}
	l.Release()
	noFile(t, path)
}

func TestLockOfManyProcesses(t *testing.T) {
	path := lockPath(t)
	if err := os.WriteFile(path+".count", []byte("0"), 0o600); err != nil {
		t.Fatal(err)
	}
	var counters []*process
	for range 4 {
		p, _ := start(t, "counter", path)
		counters = append(counters, p)
	}
	for _, p := range counters {
		if err := p.cmd.Wait(); err != nil {
			t.Error(err)
		}
	}
	got, err := os.ReadFile(path + ".count")
	if want := strconv.Itoa(len(counters) * countsEach); err != nil || string(got) != want {
		t.Errorf("counted to %s, %v, want %s", got, err, want)
	}
}

func TestAcquireEndsWithItsContext(t *testing.T) {
	path := lockPath(t)
	defer acquire(t, path).Release()
	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := errors.New("stopped")
	time.AfterFunc(10*time.Millisecond, func() { cancel(stopped) })
	if _, err := Acquire(ctx, path); !errors.Is(err, stopped) {
		t.Errorf("got error %v, want the cause", err)
	}
}

func TestAKilledHolderIsReported(t *testing.T) {
	path := lockPath(t)
	holder, _ := start(t, "holder", path)
	holder.kill(t)
	l := acquire(t, path)
	if !l.Abandoned() {
		t.Error("got that no holder was killed")
	}
	l.Release()
	noFile(t, path)
}

// events returns what inotify has seen of a file, in order.
func events(t *testing.T, fd int) []uint32 {
	t.Helper()
	buffer := make([]byte, 1<<12)
	n, err := unix.Read(fd, buffer)
	if err != nil {
		t.Fatal(err)
	}
	var masks []uint32
	for at := 0; at < n; {
		masks = append(masks, binary.NativeEndian.Uint32(buffer[at+4:]))
		at += unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(buffer[at+12:]))
	}
	return masks
}

// The file is removed before it is unlocked, which closing it does.
func TestReleaseRemovesBeforeItUnlocks(t *testing.T) {
	path := lockPath(t)
	l := acquire(t, path)
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if _, err := unix.InotifyAddWatch(fd, path, unix.IN_ATTRIB|unix.IN_CLOSE_WRITE); err != nil {
		t.Fatal(err)
	}
	l.Release()
	got := events(t, fd)
	if want := []uint32{unix.IN_ATTRIB, unix.IN_CLOSE_WRITE}; len(got) < 2 || !slices.Equal(got[:2], want) {
		t.Errorf("got events %#x, want that the link went before the file was closed, %#x", got, want)
	}
}

// Somebody else's lock at the same path is not removed: a cleaner had removed
// ours, so that another one could begin.
func TestReleaseLeavesTheLockOfSomebodyElse(t *testing.T) {
	path := lockPath(t)
	first := acquire(t, path)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	second := acquire(t, path)
	first.Release()
	keptWaiting(t, path)
	second.Release()
	noFile(t, path)
}

// NFS renames a file that is removed while another process has it open. Who
// has waited for that file must not take it for the lock.
func TestAFileThatWasRenamedIsNoLock(t *testing.T) {
	path := lockPath(t)
	first := acquire(t, path)
	locked := make(chan *Lock)
	go func() {
		l, err := Acquire(t.Context(), path)
		if err != nil {
			t.Error(err)
		}
		locked <- l
	}()
	for opened := 0; opened < 2; { // the other one waits for this very file
		opened = 0
		for _, file := range openFiles("self") {
			if target, err := os.Readlink(file); err == nil && target == path {
				opened++
			}
		}
	}
	renamed := filepath.Join(filepath.Dir(path), ".nfs1")
	if err := os.Rename(path, renamed); err != nil {
		t.Fatal(err)
	}
	_ = first.file.Close()
	second := <-locked
	if !second.isAt(path) || second.Abandoned() {
		t.Errorf("got a lock that is not at %s, or abandoned = %t", path, second.Abandoned())
	}
	keptWaiting(t, path)
	second.Release()
	if err := os.Remove(renamed); err != nil {
		t.Fatal(err)
	}
	noFile(t, path)
}

func TestAcquireRefusesWhatSomebodyHasPlanted(t *testing.T) {
	tests := map[string]func(path string) error{
		"second name": func(path string) error {
			return errors.Join(os.WriteFile(path+"2", nil, 0o600), os.Link(path+"2", path))
		},
		"link":                func(path string) error { return os.Symlink("/dev/null", path) },
		"fifo":                func(path string) error { return unix.Mkfifo(path, 0o600) },
		"writable by a group": func(path string) error { return errors.Join(os.WriteFile(path, nil, 0o600), os.Chmod(path, 0o620)) },
	}
	for name, plant := range tests {
		t.Run(name, func(t *testing.T) {
			path := lockPath(t)
			if err := plant(path); err != nil {
				t.Fatal(err)
			}
			if _, err := Acquire(t.Context(), path); err == nil || !strings.Contains(err.Error(), path) {
				t.Errorf("got error %v, want one that names the file", err)
			}
		})
	}
}

func TestProbe(t *testing.T) {
	dir := t.TempDir()
	done := make(chan error)
	for range 8 {
		go func() {
			var err error
			for range 50 {
				err = errors.Join(err, Probe(dir))
			}
			done <- err
		}()
	}
	for range 8 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	noFile(t, filepath.Join(dir, "x"))
	if err := Probe(filepath.Join(dir, "none")); !errors.Is(err, unix.ENOENT) {
		t.Errorf("got error %v, want ENOENT", err)
	}
}

func BenchmarkLock(b *testing.B) {
	path := lockPath(b)
	b.ReportAllocs()
	for range b.N {
		l, err := Acquire(b.Context(), path)
		if err != nil {
			b.Fatal(err)
		}
		l.Release()
	}
}
