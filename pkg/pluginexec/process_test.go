// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package pluginexec

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"multus-cni/pkg/cnierror"
)

func TestALeftBehindProcessHoldsUpNobody(t *testing.T) {
	bothWays(t, func(t *testing.T, e *Exec) {
		var stderr bytes.Buffer
		e.Stderr = &stderr
		got, err := e.ExecPlugin(t.Context(), self(t), nil, []string{"PLUGIN=leave", "ARG=stay"})
		if err != nil || string(got) != "result\n" {
			t.Errorf("got %q, %v, want the result", got, err)
		}
		var daemon int
		if _, err := fmt.Sscanf(stderr.String(), "daemon %d", &daemon); err != nil {
			t.Fatalf("stderr %q: %v", &stderr, err)
		}
		if err := unix.Kill(daemon, unix.SIGKILL); err != nil {
			t.Errorf("the daemon is no more: %v", err)
		}
	})
}

func TestALeftBehindProcessThatGoesOnWriting(t *testing.T) {
	bothWays(t, func(t *testing.T, e *Exec) {
		got, err := e.ExecPlugin(t.Context(), self(t), nil, []string{"PLUGIN=leave", "ARG=shout"})
		if err != nil || !strings.Contains(string(got), "result\n") {
			t.Errorf("got %d bytes, %v, want the result", len(got), err)
		}
	})
}

func TestACancelledContextStopsThePlugin(t *testing.T) {
	bothWays(t, func(t *testing.T, e *Exec) {
		ctx, cancel := context.WithCancelCause(t.Context())
		e.Stderr = whenReady(func() { cancel(errors.New("enough")) })
		// This one dies of the signal, unlike "term".
		_, err := e.ExecPlugin(ctx, script(t, `echo ready >&2`, `sleep 60`, `echo late`), nil, os.Environ())
		want := cnierror.WithDetails(cnierror.New(999, "stopped: enough"), "ready")
		wantError(t, err, want)
	})
}

func TestACancelledContextStartsNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	guard := &fakeGuard{t: t}
	e := &Exec{Guard: guard}
	_, err := e.ExecPlugin(ctx, script(t, `true`), nil, os.Environ())
	wantError(t, err, cnierror.New(999, "stopped: context canceled"))
	guard.want("acquire", "release false") // a process that was started might be stopped before it shows
}

// The wrapper dies of the signal, and the real plugin goes on for a while: the
// rollback must not overtake it.
func TestTheSignalReachesTheWholeGroup(t *testing.T) {
	bothWays(t, func(t *testing.T, e *Exec) {
		ctx, cancel := context.WithCancel(t.Context())
		e.Stderr = whenReady(cancel)
		file := filepath.Join(t.TempDir(), "ended")
		guard := &fakeGuard{t: t, released: func() { wantFile(t, file) }}
		e.Guard = guard
		_, err := e.ExecPlugin(ctx, script(t, `WRAPPER=$$ "$SELF"`, `exit $?`), nil,
			[]string{"SELF=" + self(t), "PLUGIN=orphan", "WAIT=1", "ARG=" + file})
		wantError(t, err, cnierror.WithDetails(cnierror.New(999, "stopped: context canceled"), "ready"))
		guard.want("acquire", "started", "release true")
	})
}

// A wrapper that handles the signal, and ends before what it has started.
func TestAPluginThatEndsWellAfterTheSignal(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	file := filepath.Join(t.TempDir(), "ended")
	e := &Exec{Stderr: whenReady(cancel)}
	_, err := e.ExecPlugin(ctx, script(t, `trap 'exit 1' TERM`, `WRAPPER=$$ "$SELF" &`, `wait`), nil,
		[]string{"SELF=" + self(t), "PLUGIN=orphan", "WAIT=1", "ARG=" + file})
	wantError(t, err, cnierror.WithDetails(cnierror.New(999, "stopped: context canceled"), "ready"))
	// The init of a container may not reap what is handed to it.
	if parent := wantFile(t, file); parent != strconv.Itoa(os.Getpid()) {
		t.Errorf("the real plugin was handed to process %s, want %d", parent, os.Getpid())
	}
}

func TestAKilledPluginsGroupIsWaitedFor(t *testing.T) {
	bothWays(t, func(t *testing.T, e *Exec) {
		file := filepath.Join(t.TempDir(), "ended")
		_, err := e.ExecPlugin(t.Context(), script(t, `WRAPPER=$$ "$SELF" &`, `kill -KILL $$`), nil,
			[]string{"SELF=" + self(t), "PLUGIN=orphan", "ARG=" + file})
		if err == nil || !strings.HasPrefix(err.Error(), "killed by a signal: SIGKILL, with no error on stdout") {
			t.Errorf("got %v", err)
		}
		wantFile(t, file)
	})
}

func TestAGroupThatDoesNotEndIsWaitedForWithABound(t *testing.T) {
	pid, err := syscall.ForkExec(self(t), []string{"stay"}, &syscall.ProcAttr{
		Env: []string{"PLUGIN=stay"}, Sys: &syscall.SysProcAttr{Setpgid: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	const grace = 30 * time.Millisecond
	start := time.Now()
	awaitGroup(pid, grace)
	if waited := time.Since(start); waited < grace {
		t.Errorf("waited for %v, want %v", waited, grace)
	}
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	start = time.Now()
	awaitGroup(pid, time.Minute)
	if waited := time.Since(start); waited > 30*time.Second {
		t.Errorf("waited for %v, although the group has ended", waited)
	}
}

func TestABinaryThatIsBeingWritten(t *testing.T) {
	path := script(t, `echo '{}'`)
	written, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer written.Close()
	e, tries := &Exec{}, 0
	ctx := beforeTry{t.Context(), func() {
		if tries++; tries == 3 {
			written.Close()
		}
	}}
	got, err := e.ExecPlugin(ctx, path, []byte("{}"), nil)
	if err != nil || string(got) != "{}\n" || tries < 3 {
		t.Errorf("got %q, %v after %d tries, want {} after 3", got, err, tries)
	}
}

func TestACancelledContextWhileTheBinaryIsBeingWritten(t *testing.T) {
	path := script(t, `echo '{}'`)
	written, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer written.Close()
	ctx, cancel := context.WithCancel(t.Context())
	e, tries := &Exec{}, 0
	_, err = e.ExecPlugin(beforeTry{ctx, func() { tries++; time.AfterFunc(busyPause/10, cancel) }}, path, nil, nil)
	wantError(t, err, cnierror.New(999, "stopped: context canceled"))
	if tries > 5 {
		t.Errorf("went on for %d tries", tries)
	}
}

// beforeTry is a context that calls a function whenever it is looked at, which
// is before each try to start a plugin.
type beforeTry struct {
	context.Context
	do func()
}

func (c beforeTry) Err() error {
	c.do()
	return c.Context.Err()
}

func wantError(t *testing.T, got, want error) {
	t.Helper()
	if got == nil || *cnierror.From(got) != *cnierror.From(want) {
		t.Errorf("got error %+v, want %+v", got, want)
	}
}

// wantFile checks that the plugin "orphan" has ended.
func wantFile(t *testing.T, path string) (parent string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Errorf("the real plugin has not ended: %v", err)
	}
	return string(text)
}

// Without pidfd, a plugin is asked for until it has ended, and its zombie stays:
// else its id could be somebody else's before it is waited for.
func TestHasEnded(t *testing.T) {
	cmd := exec.Command("cat") // until its stdin ends
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if hasEnded(cmd.Process.Pid) {
		t.Error("a process that is running has ended")
	}
	if err := stdin.Close(); err != nil {
		t.Fatal(err)
	}
	if err := unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if !hasEnded(cmd.Process.Pid) {
			t.Error("a process that has ended is running")
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("wait for it after that: %v", err)
	}
	if !hasEnded(cmd.Process.Pid) {
		t.Error("a process that does not exist is running")
	}
}
