// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package pluginexec

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"multus-cni/pkg/cnierror"
)

func TestAPluginThatFails(t *testing.T) {
	type cniError struct {
		code         uint
		msg, details string
	}
	for _, c := range []struct {
		name, plugin, stdout string
		want                 cniError
	}{
		{"its own error", "fail", `{"cniVersion":"1.0.0","code":11,"msg":"busy","details":"try later"}`, cniError{11, "busy", "try later"}},
		{"no code", "fail", ` {"msg":"broken"} `, cniError{999, "broken", ""}},
		{"no message", "fail", `{"code":7}`, cniError{7, "exit status 3, with no message", ""}},
		{"nothing", "fail", " \n", cniError{999, "exit status 3, with no error on stdout", "why"}},
		{"text", "fail", "oops", cniError{6, "exit status 3, with something other than a CNI error on stdout", `stdout: "oops"; why`}},
		{"null", "fail", "null", cniError{6, "exit status 3, with something other than a CNI error on stdout", `stdout: "null"; why`}},
		{"wrong type", "fail", `{"code":"7"}`, cniError{6, "exit status 3, with something other than a CNI error on stdout", `stdout: "{\"code\":\"7\"}"; why`}},
		{"killed", "killed", "", cniError{999, "killed by a signal: SIGKILL, with no error on stdout", ""}},
	} {
		t.Run(c.name, func(t *testing.T) {
			bothWays(t, func(t *testing.T, e *Exec) {
				stdout, err := e.ExecPlugin(t.Context(), self(t), nil, []string{"PLUGIN=" + c.plugin, "ARG=" + c.stdout})
				got := cnierror.From(err)
				if (cniError{got.Code, got.Msg, got.Details}) != c.want || stdout != nil {
					t.Errorf("got %+v, stdout %q, want %+v", got, stdout, c.want)
				}
			})
		})
	}
}

func TestAPluginThatDoesNotStart(t *testing.T) {
	e := &Exec{}
	path := filepath.Join(t.TempDir(), "none")
	_, err := e.ExecPlugin(t.Context(), path, nil, nil)
	wantError(t, err, cnierror.New(999, "start %s: no such file or directory", path))
}

func TestFindInPath(t *testing.T) {
	e := &Exec{}
	good, bad := script(t, "true"), script(t, "true")
	if got, err := e.FindInPath("plugin", []string{filepath.Dir(good)}); err != nil || got != good {
		t.Errorf("got %q, %v, want %q", got, err, good)
	}
	if _, err := e.FindInPath("other", []string{filepath.Dir(good)}); err == nil {
		t.Error("found what is not there")
	}
	if err := os.Chmod(bad, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := e.FindInPath("plugin", []string{filepath.Dir(bad)}); !errors.Is(err, unix.EACCES) {
		t.Errorf("got %v, want permission denied", err)
	}
}

// A plugin gets the guard's file as descriptor 19, and its own children get it
// from there. A nested multus puts its own behind the outer one's, and hands on
// nothing else that it has open.
func TestTheGuardIsInherited(t *testing.T) {
	dir := t.TempDir()
	guard := &fakeGuard{t: t}
	e := &Exec{Guard: guard}
	wantFiles := func(want ...string) {
		t.Helper()
		got, err := e.ExecPlugin(t.Context(), self(t), nil, []string{"PLUGIN=files"})
		if err != nil {
			t.Fatal(err)
		}
		lines := slices.DeleteFunc(strings.Split(string(got), "\n"), func(line string) bool {
			return !strings.Contains(line, dir) && !strings.Contains(line, guard.path)
		})
		if !slices.Equal(lines, want) {
			t.Errorf("the plugin has open %q, want %q", lines, want)
		}
	}
	guard.path = filepath.Join(dir, "guard")
	wantFiles("19 " + guard.path)
	inherit(t, filepath.Join(dir, "stray"), 12)
	inherit(t, filepath.Join(dir, "outer"), 19)
	wantFiles("19 "+filepath.Join(dir, "outer"), "20 "+guard.path)
	guard.want("acquire", "started", "release false", "acquire", "started", "release false")
}

// inherit opens a file as one that has come with this process.
func inherit(t *testing.T, path string, fd int) {
	t.Helper()
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
		t.Fatalf("descriptor %d is in use", fd)
	}
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := unix.Dup3(int(file.Fd()), fd, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
}

func TestAGuardThatIsNotToBeHad(t *testing.T) {
	guard := &fakeGuard{t: t, err: unix.EROFS}
	e := &Exec{Guard: guard}
	env := []string{"PLUGIN=print", "ARG=ran"}
	got, err := e.ExecPlugin(t.Context(), self(t), nil, env)
	wantError(t, err, cnierror.New(999, "read-only file system"))
	if got != nil {
		t.Errorf("the plugin has run: %q", got)
	}
	e.GuardOptional = true
	if got, err := e.ExecPlugin(t.Context(), self(t), nil, env); err != nil || string(got) != "ran" {
		t.Errorf("optional: got %q, %v, want ran", got, err)
	}
	guard.want("acquire", "acquire")
}

func TestAGuardIsReleasedWhenNothingStarts(t *testing.T) {
	guard := &fakeGuard{t: t}
	e := &Exec{Guard: guard}
	if _, err := e.ExecPlugin(t.Context(), filepath.Join(t.TempDir(), "none"), nil, nil); err == nil {
		t.Error("got no error")
	}
	guard.want("acquire", "release false")
}

func TestNothingIsLeftOpen(t *testing.T) {
	e := &Exec{}
	count := func() int {
		open, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(open)
	}
	run := func() {
		for _, plugin := range []string{"echo", "fail", "killed", "deaf"} {
			_, _ = e.ExecPlugin(t.Context(), self(t), make([]byte, 1<<20), []string{"PLUGIN=" + plugin})
		}
		_, _ = e.ExecPlugin(t.Context(), "/none", nil, nil)
	}
	run() // what the runtime opens once
	before := count()
	run()
	if after := count(); after != before {
		t.Errorf("%d files are open, before %d", after, before)
	}
}

// fakeGuard records what is called.
type fakeGuard struct {
	t        *testing.T
	err      error
	path     string // the file, in place of a temporary one
	released func()
	file     *os.File
	calls    []string
}

func (g *fakeGuard) Acquire() (*os.File, error) {
	g.calls = append(g.calls, "acquire")
	if g.err != nil {
		return nil, g.err
	}
	if g.path == "" {
		g.path = filepath.Join(g.t.TempDir(), "guard")
	}
	var err error
	g.file, err = os.Create(g.path)
	return g.file, err
}

func (g *fakeGuard) Started(pid int) {
	g.calls = append(g.calls, "started")
	if group, err := unix.Getpgid(pid); err != nil || group != pid {
		g.t.Errorf("the plugin's group is %d, %v, want %d", group, err, pid)
	}
}

func (g *fakeGuard) Release(killed bool) {
	g.calls = append(g.calls, fmt.Sprint("release ", killed))
	if g.released != nil {
		g.released()
	}
	_ = g.file.Close()
}

func (g *fakeGuard) want(calls ...string) {
	g.t.Helper()
	if !slices.Equal(g.calls, calls) {
		g.t.Errorf("guard: got %q, want %q", g.calls, calls)
	}
}

var _ Guard = (*fakeGuard)(nil)
