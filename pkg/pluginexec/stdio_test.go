// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package pluginexec

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	"golang.org/x/sys/unix"

	"multus-cni/pkg/cnierror"
)

// What a plugin gets on stdin comes out of it on stdout, be it more than a pipe
// holds or nothing.
func TestStdinAndStdoutOfAnySize(t *testing.T) {
	bothWays(t, func(t *testing.T, e *Exec) {
		for _, size := range []int{0, 1, 400, 4096, 64 << 10, 64<<10 + 1, 1 << 20} {
			want := bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
			got, err := e.ExecPlugin(t.Context(), self(t), want, []string{"PLUGIN=echo"})
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d bytes: got %d bytes, %v", size, len(got), err)
			}
		}
	})
}

func TestStdinThatIsNotRead(t *testing.T) {
	bothWays(t, func(t *testing.T, e *Exec) {
		for _, plugin := range []string{"print", "deaf"} {
			got, err := e.ExecPlugin(t.Context(), self(t), make([]byte, 1<<20), []string{"PLUGIN=" + plugin, "ARG={}"})
			if err != nil || string(got) != "{}" {
				t.Errorf("%s: got %q, %v, want {}", plugin, got, err)
			}
		}
	})
}

// A memory file is truncated when it is opened again for writing, and cannot
// be polled. Every runtime gives a pipe.
func TestStdioIsPipes(t *testing.T) {
	for _, plugin := range []string{"reopen", "epoll"} {
		var stderr bytes.Buffer
		e := &Exec{Stderr: &stderr}
		const want = "first half, second half"
		got, err := e.ExecPlugin(t.Context(), self(t), []byte(want), []string{"PLUGIN=" + plugin})
		if err != nil || string(got) != want {
			t.Errorf("%s: got %q, %v, stderr %q", plugin, got, err, &stderr)
		}
		if plugin == "reopen" && stderr.String() != want {
			t.Errorf("stderr is %q, want %q", &stderr, want)
		}
	}
	e := &Exec{}
	path := script(t, `cat /dev/stdin >/dev/null`, `printf one >/dev/stdout`, `printf two`, `printf three >/dev/stdout`)
	if got, err := e.ExecPlugin(t.Context(), path, nil, os.Environ()); err != nil || string(got) != "onetwothree" {
		t.Errorf("a script: got %q, %v, want onetwothree", got, err)
	}
}

func TestStdoutIsCapped(t *testing.T) {
	e := &Exec{}
	run := func(size int) (int, error) {
		got, err := e.ExecPlugin(t.Context(), self(t), nil, []string{"PLUGIN=spew", fmt.Sprint("ARG=", size)})
		return len(got), err
	}
	if got, err := run(maxOutput); err != nil || got != maxOutput {
		t.Errorf("got %d bytes, %v, want all %d", got, err, maxOutput)
	}
	got, err := run(maxOutput + 1)
	if err == nil || got != 0 || cnierror.Code(err) != types.ErrIOFailure || !strings.Contains(err.Error(), "more than 16777216 bytes") {
		t.Errorf("one byte more: got %d bytes, %v, want an error of code 5", got, err)
	}
}

// The plugin waits for a SIGTERM, which it gets when its stderr has arrived.
func TestStderrIsPassedOnAtOnce(t *testing.T) {
	bothWays(t, func(t *testing.T, e *Exec) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		e.Stderr = whenReady(cancel)
		got, err := e.ExecPlugin(ctx, self(t), nil, []string{"PLUGIN=term", "ARG=done"})
		if err != nil || string(got) != "done" {
			t.Errorf("got %q, %v, want done", got, err)
		}
	})
}

func TestAllOfStderrIsPassedOnAndTheEndQuoted(t *testing.T) {
	bothWays(t, func(t *testing.T, e *Exec) {
		var stderr, want bytes.Buffer
		e.Stderr = &stderr
		if err := repeat(&want, "20000"); err != nil {
			t.Fatal(err)
		}
		path := script(t, `PLUGIN=chat ARG=20000 "$SELF"`, `exit 7`)
		_, err := e.ExecPlugin(t.Context(), path, nil, []string{"SELF=" + self(t)})
		if stderr.String() != want.String() {
			t.Errorf("got %d bytes, want %d", stderr.Len(), want.Len())
		}
		tail := want.String()[want.Len()-maxTail:]
		if got := cnierror.From(err).Details; got != strings.TrimSpace(tail) {
			t.Errorf("the error quotes %q, want %q", got, tail)
		}
	})
}

// closedStderr is a stderr whose reader has gone.
type closedStderr struct{}

func (closedStderr) Write([]byte) (int, error) { return 0, unix.EPIPE }

func TestStderrThatIsClosed(t *testing.T) {
	e := &Exec{Stderr: closedStderr{}}
	_, err := e.ExecPlugin(t.Context(), self(t), nil, []string{"PLUGIN=fail"})
	if got := cnierror.From(err).Details; got != "why" {
		t.Errorf("the error quotes %q, want why", got)
	}
}

// A signal that this process handles interrupts what the thread waits in.
func TestSignalsDoNotDisturb(t *testing.T) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGUSR1)
	defer signal.Stop(signals)
	bothWays(t, func(t *testing.T, e *Exec) {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer interrupt(unix.Gettid())()
		want := bytes.Repeat([]byte("x"), 1<<20)
		got, err := e.ExecPlugin(t.Context(), self(t), want, []string{"PLUGIN=echo"})
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("got %d bytes, %v", len(got), err)
		}
	})
}

// interrupt sends signals to a thread until the function it returns is called.
func interrupt(thread int) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-done:
				return
			default:
				_ = unix.Tgkill(os.Getpid(), thread, unix.SIGUSR1)
				runtime.Gosched()
			}
		}
	}()
	return func() {
		close(done)
		<-ended
	}
}

func TestSeveralAtOnce(t *testing.T) {
	e := &Exec{Stderr: closedStderr{}}
	var all sync.WaitGroup
	for i := range 8 {
		all.Add(1)
		go func() {
			defer all.Done()
			want := bytes.Repeat([]byte(fmt.Sprint(i)), 200<<10)
			for range 3 {
				got, err := e.ExecPlugin(t.Context(), self(t), want, []string{"PLUGIN=echo"})
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("plugin %d: got %d bytes, %v", i, len(got), err)
				}
			}
		}()
	}
	all.Wait()
}
