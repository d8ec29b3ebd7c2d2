// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Package lock ensures that one process at a time works on an attachment, and
// that plugins which a killed process has left running have ended before the
// next process begins.
//
// The lock is a file whose bytes are locked with open file description locks,
// see fcntl(2). These belong to the open file and not to the process:
// every process that inherits the open file holds them too, and they are gone
// when the last of these processes has closed it or has ended.
//
//   - The first byte is held by the process that works on the attachment, and
//     by no other.
//   - Each of the following bytes is for a plugin: it is held by the plugin and
//     by what the plugin has started, such as its IPAM plugin.
//
// When the process is killed, the first byte becomes free at once; the plugin's
// byte becomes free when the last of the plugin's processes has ended. When a
// plugin ends as it should, its byte is unlocked: a process that the plugin
// leaves behind on purpose has the file open, but does not delay the next
// holder.
//
// # Limitations
//
// Once the plugin of a killed holder has ended, the processes that it has
// started are waited for at most ten seconds: one that still runs then is taken
// for a daemon. A process that closes the descriptors that it has inherited
// cannot be waited for. If the lock's file is removed while the lock is held,
// the holder goes on and the next one does not wait for it.
package lock

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

	"multus-cni/pkg/safefile"
)

const (
	holderByte      = 0
	firstPluginByte = 1

	fileMode = 0o600
	// pollInterval is how often a lock that is taken is tried again.
	pollInterval = 5 * time.Millisecond
	// orphanGrace is how long to wait for processes whose plugin is dead. An
	// IPAM plugin needs milliseconds. A process that is still there after that
	// was left behind on purpose, by a plugin that outlived its multus.
	orphanGrace = 10 * time.Second
)

// ErrInherited means that an ancestor of this process holds the lock. Waiting
// for it would never end, since the ancestor waits for this process.
var ErrInherited = errors.New("an ancestor of this process holds the lock")

// Lock is held from Acquire to Release.
type Lock struct {
	file  *os.File
	state unix.Stat_t
	found bool
}

// Acquire waits until nobody else holds the lock at path, and until the plugins
// that a killed holder has left running have ended. It gives up when ctx is
// cancelled, and returns ErrInherited when waiting would never end. The
// directory must exist, and nobody else may be able to write to it.
func Acquire(ctx context.Context, path string) (*Lock, error) {
	for {
		l, err := open(path)
		if err != nil {
			return nil, fmt.Errorf("open the attachment's lock: %w", err)
		}
		err = l.wait(ctx)
		if err == nil && l.isAt(path) {
			return l, nil
		}
		_ = l.file.Close()
		if err != nil {
			return nil, fmt.Errorf("lock the attachment: %w", err)
		}
		// The holder before has removed the file: it guards nothing any more.
		if ctx.Err() != nil {
			return nil, fmt.Errorf("lock the attachment: %w", context.Cause(ctx))
		}
	}
}

// Abandoned reports whether the lock's file already existed when Acquire opened
// it: an earlier holder was killed and has left it, and perhaps other files. It
// may also be that a process which still waits for the lock has just made it.
func (l *Lock) Abandoned() bool { return l.found }

// Release lets the next process work on the attachment.
//
// The file is removed while it is still locked. If it were unlocked first, a
// second process could lock it before it is removed; a third one would then
// make a new file, and both would work at the same time.
func (l *Lock) Release() {
	if path := l.file.Name(); l.isAt(path) { // else it is somebody else's by now
		_ = unix.Unlink(path)
	}
	_ = l.file.Close()
}

// Probe checks that the file system of a directory supports the kind of lock
// that Acquire needs. Probes that run side by side do not disturb each other.
func Probe(dir string) error {
	path := filepath.Join(dir, ".probe.lock")
	file, err := safefile.Open(path, unix.O_RDWR|unix.O_NOFOLLOW|unix.O_CREAT, fileMode)
	if err != nil {
		return fmt.Errorf("make a lock: %w", err)
	}
	defer file.Close()
	_, err = tryLock(file, holderByte, 1)
	if removeErr := unix.Unlink(path); err == nil && !errors.Is(removeErr, fs.ErrNotExist) {
		err = removeErr
	}
	if err != nil {
		return fmt.Errorf("lock a file in %s: %w", dir, err)
	}
	return nil
}

// open opens the lock's file, or makes it.
func open(path string) (l *Lock, err error) {
	l = &Lock{}
	l.file, l.found, err = openFile(path)
	if err != nil {
		return nil, err
	}
	l.state, err = safefile.Check(int(l.file.Fd()))
	if err == nil && l.state.Nlink > 1 {
		err = errors.New("it has several hard links, so it may belong to something else")
	}
	if err != nil {
		_ = l.file.Close()
		return nil, fmt.Errorf("%s: %w: remove it", path, err)
	}
	return l, nil
}

// openFile opens the file at path, or makes it, and reports whether it was there.
func openFile(path string) (file *os.File, found bool, err error) {
	const flags = unix.O_RDWR | unix.O_NOFOLLOW
	for {
		file, err = safefile.Open(path, flags|unix.O_CREAT|unix.O_EXCL, fileMode)
		if !errors.Is(err, fs.ErrExist) {
			return file, false, err
		}
		file, err = safefile.Open(path, flags, 0)
		if !errors.Is(err, fs.ErrNotExist) { // else its holder has just removed it
			return file, true, err
		}
	}
}

// isAt reports whether the lock's file is what is at the path. A count of its
// names would not do: NFS renames a file that is removed while it is open.
func (l *Lock) isAt(path string) bool {
	var st unix.Stat_t
	return unix.Lstat(path, &st) == nil && l.isFile(&st)
}

// isFile reports whether a file is the lock's. It has no other name and is
// open, so that its number cannot have been used again on its device.
func (l *Lock) isFile(st *unix.Stat_t) bool {
	return st.Dev == l.state.Dev && st.Ino == l.state.Ino
}

func (l *Lock) wait(ctx context.Context) error {
	err := l.poll(ctx, func() (bool, error) { return tryLock(l.file, holderByte, 1) })
	if err != nil {
		return err
	}
	return l.waitForPlugins(ctx, orphanGrace)
}

// waitForPlugins waits for the plugin that a killed holder has left running,
// and for what that plugin has started: as long as the plugin lives, and for
// grace where it does not, or where the holder was killed before it could note
// which process it is.
func (l *Lock) waitForPlugins(ctx context.Context, grace time.Duration) error {
	var orphaned time.Time
	return l.poll(ctx, func() (bool, error) {
		free, err := tryLock(l.file, firstPluginByte, 0)
		if free || err != nil {
			return free, errors.Join(err, unlock(l.file, firstPluginByte, 0))
		}
		if l.pluginLives() {
			return false, nil
		}
		if orphaned.IsZero() {
			orphaned = time.Now()
		}
		return time.Since(orphaned) > grace, nil
	})
}

// pluginLives reports whether the process whose id is in the file is the
// plugin that has inherited that file: it has it open. (So has this process,
// which may have been given the id again.)
func (l *Lock) pluginLives() bool {
	var text [16]byte
	n, _ := l.file.ReadAt(text[:], 0)
	pid, err := strconv.Atoi(strings.TrimSpace(string(text[:n])))
	if err != nil || pid == os.Getpid() {
		return false
	}
	return slices.ContainsFunc(openFiles(strconv.Itoa(pid)), func(fd string) bool {
		var st unix.Stat_t
		return unix.Stat(fd, &st) == nil && l.isFile(&st)
	})
}

// inherited reports whether an ancestor has started this process while it held
// the lock: this process has the file open without having opened it.
func (l *Lock) inherited() bool {
	return slices.ContainsFunc(openFiles("self"), func(path string) bool {
		var st unix.Stat_t
		fd, _ := strconv.Atoi(filepath.Base(path))
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		return err == nil && flags&unix.FD_CLOEXEC == 0 && unix.Fstat(fd, &st) == nil && l.isFile(&st)
	})
}

// openFiles returns the paths of what a process has open.
func openFiles(pid string) []string {
	open, _ := filepath.Glob(filepath.Join("/proc", pid, "fd", "*"))
	return open
}

// poll tries until it is done, fails, or ctx is cancelled.
func (l *Lock) poll(ctx context.Context, try func() (done bool, err error)) error {
	done, err := try()
	if done || err != nil {
		return err
	}
	if l.inherited() {
		return ErrInherited
	}
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pollInterval):
		}
		if done, err := try(); done || err != nil {
			return err
		}
	}
}

// tryLock locks bytes of the file, to its end where n is 0. It returns false
// when another open file has one of them locked.
func tryLock(file *os.File, start, n int64) (bool, error) {
	err := setLock(file, unix.F_WRLCK, start, n)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return false, nil
	}
	return err == nil, err
}

func unlock(file *os.File, start, n int64) error { return setLock(file, unix.F_UNLCK, start, n) }

func setLock(file *os.File, kind int16, start, n int64) error {
	return unix.FcntlFlock(file.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: kind, Start: start, Len: n})
}
