// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package delegate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/version"
	"golang.org/x/sys/unix"
)

const (
	// maxOutput bounds what is read of a plugin's stdout, in bytes. A result
	// is a few hundred.
	maxOutput = 16 << 20
	// maxTail bounds how much of a plugin's stderr goes into an error text.
	maxTail = 1 << 10
	// busyRetries times busyPause is how long a plugin that is being written
	// is waited for.
	busyRetries = 50
	busyPause   = 100 * time.Millisecond
	// guardFD is the descriptor under which a plugin inherits its guard's file:
	// scripts use the first ten for themselves. A plugin that is a multus hands
	// it on, and puts its own guard behind it.
	guardFD = 19
)

// Guard tells the next operation on an attachment that a plugin is still
// running, should multus be killed while it is.
type Guard interface {
	// Enter returns a file that the plugin inherits, and hands on to the
	// processes that it starts.
	Enter() (*os.File, error)
	// Started names the plugin's process.
	Started(pid int)
	// Leave says that the plugin has ended. When it was killed, Leave waits
	// for what it had started, such as its IPAM plugin.
	Leave(killed bool)
}

// Exec runs plugins. It differs from invoke.RawExec in what a plugin's stdio
// is connected to: memory files instead of pipes. There is nothing to copy
// while the plugin runs, and a process that it leaves behind with stdout and
// stderr open keeps nobody waiting.
type Exec struct {
	version.PluginDecoder

	Stderr io.Writer // gets what plugins write on stderr
	Guard  Guard     // nil for calls that concern no attachment
}

// FindInPath returns the path of a plugin's binary. It returns an error when
// there is none in the folders of paths, or none that can be executed.
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

// ExecPlugin runs a plugin to its end and returns what it wrote on stdout.
// When ctx is cancelled the plugin gets a SIGTERM and is waited for.
//
// The error is always a *types.Error: the plugin's own when it printed one.
func (e *Exec) ExecPlugin(ctx context.Context, path string, stdin []byte, environ []string) ([]byte, error) {
	stdio, err := newStdio(stdin)
	if err != nil {
		return nil, types.NewError(types.ErrIOFailure, err.Error(), "")
	}
	defer stdio.close()
	err = e.run(ctx, path, stdio, environ)
	stdout, tail, readErr := stdio.collect(e.Stderr)
	switch {
	case err != nil:
		return nil, failure(ctx, err, stdout, tail)
	case readErr != nil:
		return nil, types.NewError(types.ErrIOFailure, readErr.Error(), "")
	}
	return stdout, nil
}

// run starts the plugin, trying again while its binary is being written, and
// waits for it.
func (e *Exec) run(ctx context.Context, path string, s *stdio, environ []string) error {
	for try := 1; ; try++ {
		err := e.runOnce(ctx, path, s, environ)
		if !errors.Is(err, unix.ETXTBSY) || try == busyRetries {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(busyPause):
		}
	}
}

// runOnce does without os/exec: that has a goroutine for each ctx, starts a
// process to find out what the kernel can do, and with that costs a twentieth
// of an ADD (doc/performance.md).
func (e *Exec) runOnce(ctx context.Context, path string, s *stdio, environ []string) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	files := []uintptr{s.in.Fd(), s.out.Fd(), s.err.Fd()}
	killed := false
	if e.Guard != nil {
		inherited, err := e.Guard.Enter()
		if err != nil {
			return err
		}
		defer func() { e.Guard.Leave(killed) }()
		for len(files) < guardFD {
			files = append(files, ^uintptr(0)) // closed in the plugin
		}
		for fd := uintptr(guardFD); isInherited(fd); fd++ {
			files = append(files, fd)
		}
		files = append(files, inherited.Fd())
	}
	pid, err := syscall.ForkExec(path, []string{path}, &syscall.ProcAttr{Env: environ, Files: files})
	if err != nil {
		return fmt.Errorf("start %s: %w", path, err)
	}
	if e.Guard != nil {
		e.Guard.Started(pid)
	}
	status, err := wait(ctx, pid)
	switch killed = status.Signaled(); {
	case err != nil:
		return fmt.Errorf("wait for %s: %w", path, err)
	case killed:
		return fmt.Errorf("killed by a signal: %s", unix.SignalName(status.Signal()))
	case status.ExitStatus() != 0:
		return fmt.Errorf("exit status %d", status.ExitStatus())
	}
	return nil
}

// isInherited tells whether a descriptor has come with this process: those that
// it has opened itself are not handed on.
func isInherited(fd uintptr) bool {
	flags, err := unix.FcntlInt(fd, unix.F_GETFD, 0)
	return err == nil && flags&unix.FD_CLOEXEC == 0
}

// wait waits for a process and passes a cancelled ctx on to it. The process
// stays a zombie until nobody can signal it any more: its pid may be somebody
// else's at once afterwards.
func wait(ctx context.Context, pid int) (status unix.WaitStatus, err error) {
	signalled := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = unix.Kill(pid, unix.SIGTERM)
		close(signalled)
	})
	err = retry(func() error { return unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil) })
	if !stop() {
		<-signalled
	}
	if err != nil {
		return status, err
	}
	err = retry(func() error {
		_, err := unix.Wait4(pid, &status, 0, nil)
		return err
	})
	return status, err
}

func retry(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// failure makes the error of a plugin that did not end well. A plugin that
// says nothing on stdout (a panic, a shell script) is quoted from stderr.
func failure(ctx context.Context, err error, stdout, tail []byte) *types.Error {
	if ctx.Err() != nil {
		return types.NewError(types.ErrInternal, "stopped: "+context.Cause(ctx).Error(), string(tail))
	}
	stdout = bytes.TrimSpace(stdout)
	if len(stdout) == 0 {
		return types.NewError(types.ErrInternal, err.Error()+", with no error on stdout", string(tail))
	}
	var own types.Error
	if jsonErr := json.Unmarshal(stdout, &own); jsonErr != nil || stdout[0] != '{' {
		return types.NewError(types.ErrDecodingFailure, err.Error()+", with something else than a CNI error on stdout",
			joinText(fmt.Sprintf("stdout: %.200q", stdout), string(tail)))
	}
	if own.Code == types.ErrUnknown {
		own.Code = types.ErrInternal
	}
	if own.Msg == "" {
		own.Msg = err.Error() + ", with no message"
	}
	return &own
}

// stdio is what a plugin reads from and writes to.
type stdio struct{ in, out, err *os.File }

func newStdio(stdin []byte) (*stdio, error) {
	s := &stdio{}
	for _, f := range []struct {
		file **os.File
		name string
	}{{&s.in, "stdin"}, {&s.out, "stdout"}, {&s.err, "stderr"}} {
		var err error
		if *f.file, err = memoryFile(f.name); err != nil {
			s.close()
			return nil, err
		}
	}
	if _, err := s.in.WriteAt(stdin, 0); err != nil {
		s.close()
		return nil, fmt.Errorf("write the plugin's stdin: %w", err)
	}
	return s, nil
}

// memoryFile makes a file that has no name and lives in memory, see
// memfd_create(2).
func memoryFile(name string) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_NOEXEC_SEAL)
	if errors.Is(err, unix.EINVAL) { // before Linux 6.3
		fd, err = unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return nil, fmt.Errorf("make a memory file for the plugin's %s: %w", name, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// collect returns what the plugin wrote on stdout and the end of what it
// wrote on stderr, and copies all of the latter to w. From here on nobody can
// make the files grow: a process that the plugin left behind may go on
// writing, and memory is finite.
func (s *stdio) collect(w io.Writer) (stdout, tail []byte, err error) {
	size, err := finish(s.out)
	if err != nil {
		return nil, nil, fmt.Errorf("read the plugin's stdout: %w", err)
	}
	if size > maxOutput {
		return nil, nil, fmt.Errorf("the plugin wrote more than %d bytes on stdout", maxOutput)
	}
	stdout = make([]byte, size)
	n, err := s.out.ReadAt(stdout, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, nil, fmt.Errorf("read the plugin's stdout: %w", err)
	}
	// A stderr that is closed or full must not fail a pod.
	if size, err := finish(s.err); err == nil && size > 0 {
		_, _ = io.Copy(w, io.NewSectionReader(s.err, 0, size))
		tail = make([]byte, min(size, maxTail))
		_, _ = s.err.ReadAt(tail, size-int64(len(tail)))
	}
	return stdout[:n], bytes.TrimSpace(tail), nil
}

// finish makes sure that a memory file does not grow any more, and returns its
// size in bytes.
func finish(f *os.File) (int64, error) {
	_, _ = unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_GROW)
	var st unix.Stat_t
	err := unix.Fstat(int(f.Fd()), &st)
	return st.Size, err
}

func (s *stdio) close() {
	for _, f := range []*os.File{s.in, s.out, s.err} {
		if f != nil {
			_ = f.Close()
		}
	}
}

var _ invoke.Exec = (*Exec)(nil)
