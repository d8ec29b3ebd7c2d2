// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package state

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// The lock of an attachment is a file whose bytes can be locked, with open
// file description locks (fcntl(2)): they belong to the open file, not to the
// process, and so to all processes that inherit it.
//
// operation is the byte that the multus holds which works on the attachment,
// and nobody else. running and the bytes behind it are for plugins: one is held
// by the plugin that multus has started and by whatever that plugin has
// started, its IPAM plugin. (Not by those that close what they inherit.) When multus is killed, operation is free at once,
// and the plugin's byte only when the last of them has ended.
//
// When a plugin has ended, multus takes the lock off the open file that the
// plugin inherited. That is why a process that a plugin leaves behind, with
// the file still open, keeps nobody waiting.
var (
	operation = unix.Flock_t{Start: 0, Len: 1}
	running   = unix.Flock_t{Start: 1, Len: 0} // up to the end, wherever that is
)

const (
	// poll is how often a lock that is taken is tried again.
	poll = 5 * time.Millisecond
	// orphanGrace is how long to wait for processes whose plugin is dead. An
	// IPAM plugin needs milliseconds. What is still there then was meant to
	// stay, and was left behind by a plugin that outlived its multus.
	orphanGrace = 10 * time.Second
)

// Lock is held while one process works on an attachment. It also is the
// guard of the plugins that it runs.
type Lock struct {
	file   *os.File
	plugin *os.File // inherited by the plugin that is running
	path   string
}

// Lock waits until nobody else works on the attachment, nor any plugin that a
// killed multus has left running there, and takes away what it left in the
// folder. It gives up when ctx is cancelled. The folder must have been
// prepared.
func (s Store) Lock(ctx context.Context, key Key) (*Lock, error) {
	path, err := s.path(key, lockSuffix)
	if err != nil {
		return nil, err
	}
	for {
		file, found, err := openLock(path)
		if err != nil {
			return nil, fmt.Errorf("open the attachment's lock: %w", err)
		}
		l := &Lock{file: file, path: path}
		if err := l.acquire(ctx); err != nil {
			_ = file.Close()
			return nil, fmt.Errorf("lock the attachment: %w", err)
		}
		if l.removed() { // by the one we have been waiting for
			_ = file.Close()
			continue
		}
		if found {
			if temp, err := s.path(key, tempSuffix); err == nil {
				_ = os.Remove(temp)
			}
		}
		return l, nil
	}
}

// openLock opens the lock file and tells whether it was there already:
// somebody works on the attachment, or was killed doing so.
func openLock(path string) (file *os.File, found bool, err error) {
	const flags = unix.O_RDWR | unix.O_NOFOLLOW | unix.O_CREAT
	file, err = open(path, flags|unix.O_EXCL)
	if !errors.Is(err, fs.ErrExist) {
		return file, false, err
	}
	if file, err = open(path, flags); err != nil {
		return nil, true, err
	}
	links, err := checkOurs(file)
	if err == nil && links > 1 {
		err = errors.New("it has another name too, and may be anything")
	}
	if err != nil {
		_ = file.Close()
		return nil, true, fmt.Errorf("%s: %w: remove it", path, err)
	}
	return file, true, nil
}

// open does without os.OpenFile, which offers each file to the poller in vain:
// five system calls for each delegate.
func open(path string, flags int) (*os.File, error) {
	for {
		fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0o600)
		switch {
		case err == nil:
			return os.NewFile(uintptr(fd), path), nil
		case !errors.Is(err, unix.EINTR):
			return nil, &fs.PathError{Op: "open", Path: path, Err: err}
		}
	}
}

func (l *Lock) acquire(ctx context.Context) error {
	free, err := tryLock(l.file, operation)
	if err == nil && !free {
		if l.inherited() {
			return ErrOwnDelegate
		}
		err = waitFor(ctx, func() (bool, error) { return tryLock(l.file, operation) })
	}
	if err != nil {
		return err
	}
	return l.waitForLeftovers(ctx)
}

// inherited tells whether this process is a plugin that whoever has the lock
// has started, for then waiting would never end: it has the file open without
// having opened it.
func (l *Lock) inherited() bool {
	var ours, other unix.Stat_t
	if unix.Fstat(int(l.file.Fd()), &ours) != nil {
		return false
	}
	return slices.ContainsFunc(openFiles("self"), func(path string) bool {
		fd, _ := strconv.Atoi(filepath.Base(path))
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		return err == nil && flags&unix.FD_CLOEXEC == 0 && unix.Fstat(fd, &other) == nil &&
			other.Dev == ours.Dev && other.Ino == ours.Ino
	})
}

// openFiles returns the paths of what a process has open.
func openFiles(pid string) []string {
	open, _ := filepath.Glob(filepath.Join("/proc", pid, "fd", "*"))
	return open
}

// waitForLeftovers waits for the plugin that a killed multus has left running,
// and for what that plugin has started.
func (l *Lock) waitForLeftovers(ctx context.Context) error {
	var orphaned time.Time
	return waitFor(ctx, func() (bool, error) {
		free, err := tryLock(l.file, running)
		if free || err != nil {
			return free, errors.Join(err, unlock(l.file, running))
		}
		if l.pluginLives() {
			return false, nil
		}
		if orphaned.IsZero() {
			orphaned = time.Now()
		}
		return time.Since(orphaned) > orphanGrace, nil
	})
}

// pluginLives tells whether the process whose id is in the lock file is still
// the plugin that inherited that file. It assumes so while no id is there:
// multus was killed right after the fork.
func (l *Lock) pluginLives() bool {
	var text [16]byte
	n, _ := l.file.ReadAt(text[:], 0)
	pid, err := strconv.Atoi(strings.TrimSpace(string(text[:n])))
	if err != nil {
		return true
	}
	ours, err := l.file.Stat()
	if err != nil {
		return true
	}
	return slices.ContainsFunc(openFiles(strconv.Itoa(pid)), func(fd string) bool {
		inherited, err := os.Stat(fd)
		return err == nil && os.SameFile(ours, inherited)
	})
}

func (l *Lock) removed() bool {
	var st unix.Stat_t
	return unix.Fstat(int(l.file.Fd()), &st) == nil && st.Nlink == 0
}

// Unlock lets the next one work on the attachment.
func (l *Lock) Unlock() {
	_ = os.Remove(l.path)
	_ = l.file.Close()
}

// Enter returns the file that the next plugin shall inherit.
func (l *Lock) Enter() (*os.File, error) {
	file, err := open(l.path, unix.O_RDWR|unix.O_NOFOLLOW)
	if err != nil {
		return nil, fmt.Errorf("open the plugin's lock: %w", err)
	}
	// The first byte is taken when waitForLeftovers has given up on somebody.
	for own := (unix.Flock_t{Start: running.Start, Len: 1}); ; own.Start++ {
		free, err := tryLock(file, own)
		if err != nil {
			_ = file.Close()
			return nil, fmt.Errorf("lock for the plugin: %w", err)
		}
		if free {
			break
		}
	}
	l.plugin = file
	// The id of the plugin before must not be taken for this one's. On a disk
	// that is full there may be no place to write, but no need either.
	if l.note("") != nil {
		err = file.Truncate(0)
	}
	return file, err
}

// Started notes the plugin's process, for pluginLives.
func (l *Lock) Started(pid int) {
	_ = l.note(strconv.Itoa(pid))
}

// note overwrites what the lock file says. It does not truncate it: some file
// systems (ext4) write a file that was truncated to the disk when it is closed.
func (l *Lock) note(text string) error {
	_, err := l.plugin.WriteAt(fmt.Appendf(nil, "%-15s", text), 0)
	return err
}

// Leave says that the plugin has ended.
func (l *Lock) Leave(killed bool) {
	if !killed {
		_ = unlock(l.plugin, running)
	}
	_ = l.plugin.Close()
	if killed {
		_ = l.waitForLeftovers(context.Background())
	}
}

// waitFor tries until it is done, fails, or ctx is cancelled.
func waitFor(ctx context.Context, try func() (done bool, err error)) error {
	for {
		if done, err := try(); done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(poll):
		}
	}
}

// tryLock locks some bytes of the file, unless another open file has them.
func tryLock(f *os.File, bytes unix.Flock_t) (bool, error) {
	bytes.Type = unix.F_WRLCK
	err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &bytes)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return false, nil
	}
	return err == nil, err
}

func unlock(f *os.File, bytes unix.Flock_t) error {
	bytes.Type = unix.F_UNLCK
	return unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &bytes)
}
