// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package lock

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// runPlugin starts a plugin of the lock's holder.
func runPlugin(t *testing.T, g *Guard) *process {
	t.Helper()
	file, err := g.Acquire()
	if err != nil {
		t.Fatal(err)
	}
	plugin, _ := start(t, "plugin", "", file)
	g.Started(plugin.cmd.Process.Pid)
	return plugin
}

// isFree reports whether nobody has one of the bytes locked, to the end where
// n is 0.
func isFree(t *testing.T, path string, first, n int64) bool {
	t.Helper()
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	free, err := tryLock(file, first, n)
	if err != nil {
		t.Fatal(err)
	}
	return free
}

// The plugin of a killed multus, and what that plugin has started, are over
// before the next operation begins, however long they take.
func TestAcquireWaitsForThePluginOfAKilledHolder(t *testing.T) {
	path := lockPath(t)
	crashed, _ := start(t, "crasher", path)
	crashed.kill(t)
	l, err := open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.file.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := l.waitForPlugins(ctx, 0); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got error %v, want that a plugin that lives is not given up", err)
	}
	keptWaiting(t, path)
	crashed.end()
	next := acquire(t, path)
	if !next.Abandoned() {
		t.Error("got that no holder was killed")
	}
	next.Release()
	noFile(t, path)
}

// Where the plugin is dead or unknown the wait is limited: what is still there
// may be a daemon.
func TestAcquireGivesUpOnOrphans(t *testing.T) {
	tests := map[string]struct {
		role string
		then func(t *testing.T, path string, plugin int)
	}{
		"plugin killed too": {"crasher", func(t *testing.T, _ string, plugin int) {
			if err := unix.Kill(plugin, unix.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}},
		"killed right after the fork": {"silentcrash", func(*testing.T, string, int) {}},
		"id used again": {"silentcrash", func(t *testing.T, path string, _ int) {
			other, _ := start(t, "plugin", "") // a process that has nothing to do with it
			writeID(t, path, other.cmd.Process.Pid)
		}},
		"id used again by this process": {"silentcrash", func(t *testing.T, path string, _ int) {
			writeID(t, path, os.Getpid())
		}},
		"no id": {"silentcrash", func(t *testing.T, path string, _ int) { writeID(t, path, -1) }},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			path := lockPath(t)
			crashed, line := start(t, test.role, path)
			crashed.kill(t)
			plugin, err := strconv.Atoi(strings.TrimSpace(line))
			if err != nil {
				t.Fatal(err)
			}
			test.then(t, path, plugin)
			l, err := open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer l.file.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			begin := time.Now()
			if err := l.waitForPlugins(ctx, 200*time.Millisecond); err != nil {
				t.Error(err)
			}
			if time.Since(begin) < 200*time.Millisecond {
				t.Error("it was given up at once: an IPAM plugin would still be running")
			}
			crashed.end()
			acquire(t, path).Release() // at once, or the test times out
		})
	}
}

func writeID(t *testing.T, path string, pid int) {
	t.Helper()
	if err := os.WriteFile(path, fmt.Appendf(nil, "%-15d", pid), 0o600); err != nil {
		t.Fatal(err)
	}
}

// A file on another device may have the same number.
func TestAFileOfAnotherDeviceIsNotTheLock(t *testing.T) {
	path := lockPath(t)
	l := acquire(t, path)
	defer l.Release()
	plugin := runPlugin(t, l.Guard())
	defer plugin.end()
	fd, err := unix.Dup(int(l.file.Fd())) // as if inherited: not closed on exec
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if !l.pluginLives() || !l.inherited() || !l.isAt(path) {
		t.Fatal("the lock is not found")
	}
	other := *l
	other.state.Dev++
	if other.pluginLives() || other.inherited() || other.isAt(path) {
		t.Error("a file on another device is taken for the lock")
	}
	other = *l
	other.state.Ino++
	if other.pluginLives() || other.inherited() || other.isAt(path) {
		t.Error("another file of the device is taken for the lock")
	}
}

// Each plugin has a byte of its own, and none when it has ended.
func TestAPluginHasAByteOfItsOwn(t *testing.T) {
	path := lockPath(t)
	l := acquire(t, path)
	defer l.Release()
	daemon, err := os.OpenFile(path, os.O_RDWR, 0) // of a plugin that Acquire has given up on
	if err != nil {
		t.Fatal(err)
	}
	defer daemon.Close()
	if free, err := tryLock(daemon, firstPluginByte, 1); err != nil || !free {
		t.Fatal(free, err)
	}
	g := l.Guard()
	plugin := runPlugin(t, g)
	if isFree(t, path, firstPluginByte+1, 1) {
		t.Error("the plugin has no byte")
	}
	if !isFree(t, path, firstPluginByte+2, 0) {
		t.Error("the plugin has more than one byte")
	}
	g.Release(false) // while it is running: it has become a daemon
	if !isFree(t, path, firstPluginByte+1, 0) {
		t.Error("a plugin that has ended keeps its byte")
	}
	if isFree(t, path, firstPluginByte, 1) {
		t.Error("the daemon has lost its byte")
	}
	if isFree(t, path, holderByte, 1) {
		t.Error("the holder has lost its byte")
	}
	plugin.end()
}

// A process that a plugin leaves behind has the file open, and no lock.
func TestAcquireDoesNotWaitForDaemons(t *testing.T) {
	path := lockPath(t)
	l := acquire(t, path)
	g := l.Guard()
	daemon := runPlugin(t, g)
	g.Release(false)
	l.Release()
	acquire(t, path).Release() // at once, or the test times out
	daemon.end()
	noFile(t, path)
}

// The id of a plugin that has ended is not there while the next one starts.
func TestTheIDOfThePluginBeforeIsForgotten(t *testing.T) {
	path := lockPath(t)
	l := acquire(t, path)
	defer l.Release()
	g := l.Guard()
	for range 2 {
		plugin := runPlugin(t, g)
		text, err := os.ReadFile(path)
		if err != nil || strings.TrimSpace(string(text)) != strconv.Itoa(plugin.cmd.Process.Pid) {
			t.Errorf("got %q, %v, want the plugin's id", text, err)
		}
		if !l.pluginLives() {
			t.Error("the plugin is not found")
		}
		g.Release(false) // it runs on, with the file open
		if _, err := g.Acquire(); err != nil {
			t.Fatal(err)
		}
		if l.pluginLives() {
			t.Error("the plugin before is taken for the next one")
		}
		g.Release(false)
		plugin.end()
	}
}

func TestTheIDThatAKilledHolderHasLeftIsForgotten(t *testing.T) {
	path := lockPath(t)
	writeID(t, path, 12345)
	l := acquire(t, path)
	defer l.Release()
	g := l.Guard()
	if _, err := g.Acquire(); err != nil {
		t.Fatal(err)
	}
	defer g.Release(false)
	if text, err := os.ReadFile(path); err != nil || strings.TrimSpace(string(text)) != "" {
		t.Errorf("got %q, %v, want no id", text, err)
	}
}

// When a plugin that is killed leaves its inner plugin running, Release waits.
func TestReleaseWaitsAfterAKill(t *testing.T) {
	path := lockPath(t)
	l := acquire(t, path)
	defer l.Release()
	g := l.Guard()
	file, err := g.Acquire()
	if err != nil {
		t.Fatal(err)
	}
	plugin, _ := start(t, "outer plugin", "", file)
	g.Started(plugin.cmd.Process.Pid)
	plugin.kill(t)
	released := make(chan struct{})
	go func() {
		g.Release(true)
		close(released)
	}()
	select {
	case <-released:
		t.Error("Release did not wait")
	case <-time.After(50 * time.Millisecond):
	}
	plugin.end()
	<-released
}

// A plugin that works on the attachment of its caller would wait for it for
// ever, and its caller for the plugin. It is told so, even when the caller was
// killed meanwhile.
func TestAPluginCannotTakeTheLockOfItsCaller(t *testing.T) {
	for name, crash := range map[string]func(*Lock, *Guard){
		"caller waits":  func(*Lock, *Guard) {},
		"caller killed": func(l *Lock, g *Guard) { _, _ = g.plugin.Close(), l.file.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			path := lockPath(t)
			l := acquire(t, path)
			g := l.Guard()
			file, err := g.Acquire()
			if err != nil {
				t.Fatal(err)
			}
			nested, _ := start(t, "nested", path, file)
			g.Started(nested.cmd.Process.Pid)
			crash(l, g)
			if _, err := nested.stdin.WriteString("go\n"); err != nil {
				t.Fatal(err)
			}
			if got, err := nested.stdout.ReadString('\n'); got != "inherited\n" {
				t.Errorf("got %q, %v, want ErrInherited", got, err)
			}
		})
	}
}

// It may work on any other attachment.
func TestAPluginCanTakeAnotherLock(t *testing.T) {
	path := lockPath(t)
	l := acquire(t, path)
	defer l.Release()
	file, err := l.Guard().Acquire()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	nested, _ := start(t, "nested", path+"2", file)
	if _, err := nested.stdin.WriteString("go\n"); err != nil {
		t.Fatal(err)
	}
	if got, err := nested.stdout.ReadString('\n'); got != "held\n" {
		t.Errorf("got %q, %v, want the lock", got, err)
	}
}

// A cleaner that removes the records' directory in mid-ADD keeps no plugin
// from being started: the rollback needs them.
func TestGuardOutlivesItsPath(t *testing.T) {
	for name, remove := range map[string]func(path string) error{
		"file removed":      os.Remove,
		"directory removed": func(path string) error { return os.RemoveAll(filepath.Dir(path)) },
		"directory renamed": func(path string) error { return os.Rename(filepath.Dir(path), filepath.Dir(path)+"2") },
		"file replaced": func(path string) error {
			return errors.Join(os.Remove(path), os.WriteFile(path, nil, 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "multus", "lock")
			if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			l := acquire(t, path)
			g := l.Guard()
			if err := remove(path); err != nil {
				t.Fatal(err)
			}
			plugin := runPlugin(t, g)
			if !l.pluginLives() {
				t.Error("the plugin has another file")
			}
			plugin.end()
			g.Release(true)
			l.Release()
		})
	}
}

// The caller can tell a disk that has become read-only: DEL goes on without a
// guard.
func TestGuardOnAReadOnlyDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("this test needs root to mount a file system")
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "lock")
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlock: the thread ends with its mount namespace
		err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_FS)
		if err == nil {
			err = errors.Join(unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
				unix.Mount("tmpfs", dir, "tmpfs", 0, ""), os.WriteFile(path, nil, 0o600),
				unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
		}
		if err != nil {
			t.Error(err)
		}
		_, err = Acquire(context.Background(), path)
		done <- err
		// A file that is open for writing keeps a test from making the disk
		// read-only; errors of the disk do that all the same.
		file, err := os.Open(path)
		if err != nil {
			t.Error(err)
		}
		_, err = (&Lock{file: file}).Guard().Acquire()
		done <- err
	}()
	for _, call := range []string{"Lock", "Guard"} {
		if err := <-done; !errors.Is(err, unix.EROFS) {
			t.Errorf("%s: got error %v, want EROFS", call, err)
		}
	}
}
