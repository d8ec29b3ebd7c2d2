// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package pluginexec

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"
)

const (
	// maxOutput bounds what is kept of a plugin's stdout, in bytes. A result
	// is a few hundred.
	maxOutput = 16 << 20
	// maxTail bounds how much of a plugin's stderr goes into an error text.
	maxTail = 1 << 10
	// endPause is how often to look whether a plugin has ended where nothing
	// can be polled for that, in milliseconds.
	endPause = 5
	// fullPause is how long a plugin that has filled its stdout at once may
	// have to wait until it is read, in milliseconds.
	fullPause = 100
)

// stdio is a plugin's stdin, stdout and stderr: pipes, as under every runtime,
// so that a plugin can poll them and open them again as /dev/stdin and the
// like. They are plain descriptors, since an os.File of a pipe is registered
// with the runtime's poller, which nobody needs here.
type stdio struct {
	plugin [3]int // the plugin's ends, by their number there; -1 when closed
	ours   [3]int // the other ends, which do not block; -1 when closed

	stdin  []byte // what is left to write
	stdout []byte // what was read
	excess bool   // there was more than maxOutput
	stderr io.Writer
	last   []byte // the end of what the plugin wrote on stderr
	buf    [4096]byte
}

// newStdio makes the pipes and fills stdin as far as it takes it, which for a
// plugin configuration is nearly always all.
func newStdio(stdin []byte, stderr io.Writer) (*stdio, error) {
	s := &stdio{plugin: [3]int{-1, -1, -1}, ours: [3]int{-1, -1, -1}, stdin: stdin, stderr: stderr}
	for i := range s.ours {
		if err := s.open(i); err != nil {
			s.close()
			return nil, fmt.Errorf("make a pipe for the plugin: %w", err)
		}
	}
	s.write()
	return s, nil
}

// open makes the pipe for the plugin's descriptor i. Only our end is set not
// to block: a plugin expects that its own ends do.
func (s *stdio) open(i int) error {
	var ends [2]int // reading, writing
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
		return err
	}
	s.ours[i], s.plugin[i] = ends[0], ends[1]
	if i == 0 {
		s.ours[i], s.plugin[i] = ends[1], ends[0]
	}
	_, err := unix.FcntlInt(uintptr(s.ours[i]), unix.F_SETFL, unix.O_NONBLOCK)
	return err
}

// started closes the plugin's end of stdin, so that writing fails when the
// plugin has closed it. It keeps the other two open until the call is over: else
// poll would wake up when the plugin closes them, for nothing.
func (s *stdio) started() { closeFD(&s.plugin[0]) }

// serve moves what goes through the pipes until the plugin has ended, and then
// what is there still, but it does not wait for the pipes' end: a process that
// the plugin left behind may keep them open for ever. pidfd is -1 where the
// kernel has none.
func (s *stdio) serve(pid, pidfd int) {
	for first, ended := true, false; !ended; first = false {
		fds := s.poll(pidfd, first)
		ended = fds[3].Revents != 0 || pidfd < 0 && hasEnded(pid)
		if fds[0].Revents != 0 {
			s.write()
		}
		for i := 1; i <= 2; i++ {
			if fds[i].Revents != 0 {
				s.read(i, len(s.buf))
			}
		}
	}
	s.drain(1)
	s.drain(2)
}

// poll waits for something to do. It may return with nothing, and then wants to
// be called again: after a while, when interrupted, or for want of memory.
//
// The first time it does not wait for stdout. Most plugins end right after
// they have written a result, which fits in the pipe, and waking up for each
// of the two takes more CPU than all the rest of what is done here.
func (s *stdio) poll(pidfd int, first bool) (fds [4]unix.PollFd) {
	fds = [4]unix.PollFd{
		{Fd: int32(s.ours[0]), Events: unix.POLLOUT},
		{Fd: int32(s.ours[1]), Events: unix.POLLIN},
		{Fd: int32(s.ours[2]), Events: unix.POLLIN},
		{Fd: int32(pidfd), Events: unix.POLLIN},
	}
	pause := -1
	if first {
		fds[1].Fd, pause = -1, fullPause
	}
	if pidfd < 0 {
		pause = endPause
	}
	_, _ = unix.Poll(fds[:], pause)
	return fds
}

// write writes as much of stdin as the pipe takes, and closes it behind the
// last byte. A plugin need not read its stdin: EPIPE is no error.
func (s *stdio) write() {
	for len(s.stdin) > 0 {
		n, err := unix.Write(s.ours[0], s.stdin)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return
		case errors.Is(err, unix.EINTR):
		case err != nil:
			s.stdin = nil
		default:
			s.stdin = s.stdin[n:]
		}
	}
	closeFD(&s.ours[0])
}

// read takes at most limit bytes from stdout (1) or stderr (2), and returns how
// many it got. What is too much on stdout is dropped, so that the plugin does
// not block.
func (s *stdio) read(i, limit int) int {
	n, err := unix.Read(s.ours[i], s.buf[:limit])
	if err != nil { // nothing there
		return 0
	}
	switch chunk := s.buf[:n]; {
	case i == 2:
		s.passOn(chunk)
	case len(s.stdout)+n > maxOutput:
		s.excess = true
	default:
		s.stdout = append(s.stdout, chunk...)
	}
	return n
}

// passOn passes stderr on and keeps its end. A stderr that is closed or full
// must not fail a pod.
func (s *stdio) passOn(chunk []byte) {
	if s.stderr != nil {
		_, _ = s.stderr.Write(chunk)
	}
	s.last = append(s.last, chunk...)
	if extra := len(s.last) - maxTail; extra > 0 {
		s.last = append(s.last[:0], s.last[extra:]...)
	}
}

// drain reads what is in stdout (1) or stderr (2) at this moment, and no more:
// a process that the plugin left behind may go on writing.
func (s *stdio) drain(i int) {
	left, err := unix.IoctlGetInt(s.ours[i], unix.TIOCINQ)
	for err == nil && left > 0 {
		n := s.read(i, min(left, len(s.buf)))
		if n == 0 {
			return
		}
		left -= n
	}
}

// tail returns the end of what the plugin wrote on stderr.
func (s *stdio) tail() string { return string(bytes.TrimSpace(s.last)) }

func (s *stdio) close() {
	for i := range s.ours {
		closeFD(&s.ours[i])
		closeFD(&s.plugin[i])
	}
}

func closeFD(fd *int) {
	if *fd >= 0 {
		_ = unix.Close(*fd)
		*fd = -1
	}
}
