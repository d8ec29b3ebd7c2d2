// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Package pluginexec runs the binaries of CNI plugins.
//
// It differs from invoke.RawExec of the CNI library in three ways. A process
// that a plugin leaves behind with stdout and stderr open does not delay
// ExecPlugin. A plugin runs in a process group of its own, so that a cancelled
// context reaches what the plugin has started too. And it has no goroutines
// that copy: the calling thread serves the plugin and its pipes.
//
// A process that a plugin leaves behind loses the pipes when the plugin ends:
// what it writes to stdout or stderr afterwards fails with EPIPE, and raises
// SIGPIPE. A daemon has to open a log of its own.
package pluginexec

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/version"
	"golang.org/x/sys/unix"

	"multus-cni/pkg/cnierror"
)

const (
	// busyRetries times busyPause is how long a plugin whose binary is being
	// written is waited for.
	busyRetries = 50
	busyPause   = 100 * time.Millisecond
	// guardFD is the descriptor under which a plugin inherits its guard's file:
	// scripts use the first ten for themselves. A plugin that is a multus hands
	// it on, and puts its own guard behind it.
	guardFD = 19
)

// Guard makes the next operation on an attachment wait for a running plugin, if
// multus is killed. It guards one plugin at a time.
type Guard interface {
	// Acquire returns a file that the plugin inherits, and hands on to the
	// processes that it starts. The Guard closes it.
	Acquire() (*os.File, error)
	// Started gives the id of the plugin's process, which is also the id of its
	// process group.
	Started(pid int)
	// Release is called when the plugin has ended. If it was killed, Release
	// waits for what it had started, such as its IPAM plugin.
	Release(killed bool)
}

// Exec runs plugins. Without a Guard it is safe for concurrent use if Stderr
// is.
type Exec struct {
	version.PluginDecoder

	Stderr io.Writer // gets what plugins write on stderr, as they write it
	Guard  Guard     // nil for calls that concern no attachment
	// GuardOptional runs a plugin without its guard if Guard.Acquire fails: a
	// disk that is full or read-only must not prevent a DEL.
	GuardOptional bool

	pidfdOpen func(pid, flags int) (int, error) // nil for unix.PidfdOpen
}

// FindInPath returns the path of a plugin's binary. It returns an error when
// there is none in the directories of paths, or none that can be executed.
func (e *Exec) FindInPath(plugin string, paths []string) (string, error) {
	path, err := invoke.FindInPath(plugin, paths)
	if err != nil {
		return "", err
	}
	if err := unix.Access(path, unix.X_OK); err != nil {
		return "", fmt.Errorf("%s cannot be executed: %w", path, err)
	}
	return path, nil
}

// ExecPlugin runs a plugin to its end and returns what it wrote on stdout, at
// most 16 MiB. A plugin that fails to start because its binary is being
// written (ETXTBSY) is tried again for 5 seconds.
//
// When ctx is cancelled, the plugin and what it has started in its process
// group get a SIGTERM. ExecPlugin returns when all of them have ended, or 10
// seconds after the plugin itself has, plus the time that Guard.Release waits.
//
// The error is always a *types.Error: the plugin's own when it printed one.
func (e *Exec) ExecPlugin(ctx context.Context, path string, stdin []byte, environ []string) ([]byte, error) {
	s, err := newStdio(stdin, e.Stderr)
	if err != nil {
		return nil, cnierror.New(types.ErrIOFailure, "%v", err)
	}
	defer s.close()
	status, err := e.run(ctx, path, environ, s)
	switch {
	case (err != nil || status != 0) && ctx.Err() != nil:
		return nil, cnierror.WithDetails(cnierror.New(types.ErrInternal, "stopped: %v", context.Cause(ctx)), s.tail())
	case err != nil:
		return nil, cnierror.New(types.ErrInternal, "%v", err)
	case status != 0:
		return nil, failure(status, s.stdout, s.tail())
	case s.excess:
		return nil, cnierror.New(types.ErrIOFailure, "the plugin wrote more than %d bytes on stdout", maxOutput)
	}
	return s.stdout, nil
}

// run starts the plugin under its guard, serves its stdio, and returns how it
// ended. The error says that it did not start.
func (e *Exec) run(ctx context.Context, path string, environ []string, s *stdio) (unix.WaitStatus, error) {
	files := []uintptr{uintptr(s.plugin[0]), uintptr(s.plugin[1]), uintptr(s.plugin[2])}
	guard, inherited, err := e.acquireGuard()
	if err != nil {
		return 0, err
	}
	killed := false
	if guard != nil {
		defer func() { guard.Release(killed) }()
		files = withGuard(files, inherited)
	}
	pid, err := start(ctx, path, &syscall.ProcAttr{
		Env: environ, Files: files, Sys: &syscall.SysProcAttr{Setpgid: true},
	})
	if err != nil {
		return 0, err
	}
	if guard != nil {
		guard.Started(pid)
	}
	s.started()
	status, cancelled, err := e.wait(ctx, pid, s)
	if err != nil {
		return 0, fmt.Errorf("wait for %s: %w", path, err)
	}
	if killed = cancelled || status.Signaled(); killed {
		awaitGroup(pid, groupGrace)
	}
	return status, nil
}

// acquireGuard returns a nil Guard if there is none, or if it cannot be
// acquired and is optional.
func (e *Exec) acquireGuard() (Guard, *os.File, error) {
	if e.Guard == nil {
		return nil, nil, nil
	}
	file, err := e.Guard.Acquire()
	switch {
	case err == nil:
		return e.Guard, file, nil
	case e.GuardOptional:
		return nil, nil, nil
	}
	return nil, nil, err
}

// withGuard adds the guard's file to those that a plugin gets, behind the
// files of other guards that have come with this process. What lies between
// is closed in the plugin.
func withGuard(files []uintptr, inherited *os.File) []uintptr {
	files = slices.Grow(files, guardFD+1-len(files)) // at once: each size on the way there would touch new memory
	for len(files) < guardFD {
		files = append(files, ^uintptr(0))
	}
	for fd := uintptr(guardFD); isInherited(fd); fd++ {
		files = append(files, fd)
	}
	return append(files, inherited.Fd())
}

// isInherited reports whether a descriptor has come with this process: those
// that it has opened itself are closed on exec.
func isInherited(fd uintptr) bool {
	flags, err := unix.FcntlInt(fd, unix.F_GETFD, 0)
	return err == nil && flags&unix.FD_CLOEXEC == 0
}

// start starts a process, trying again while its binary is being written. It
// does without os/exec, which has a goroutine for each ctx, starts a process
// to find out what the kernel can do, and with that costs a twentieth of an
// ADD.
func start(ctx context.Context, path string, attr *syscall.ProcAttr) (pid int, err error) {
	for try := 1; ctx.Err() == nil; try++ {
		pid, err = syscall.ForkExec(path, []string{path}, attr)
		if err == nil {
			return pid, nil
		}
		if !errors.Is(err, unix.ETXTBSY) || try == busyRetries {
			return 0, fmt.Errorf("start %s: %w", path, err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(busyPause):
		}
	}
	return 0, context.Cause(ctx)
}

var _ invoke.Exec = (*Exec)(nil)
