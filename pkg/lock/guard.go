// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package lock

import (
	"context"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"multus-cni/pkg/safefile"
)

// Guard makes the next holder of a lock wait for the plugin that this holder
// runs, if this holder is killed. It is for one plugin at a time.
type Guard struct {
	lock   *Lock
	plugin *os.File // inherited by the plugin that is running
	noted  bool     // a process's id may be in the file
}

// Guard returns the guard of the plugins that the holder of the lock runs.
func (l *Lock) Guard() *Guard { return &Guard{lock: l, noted: l.found} }

// Acquire returns the file that the next plugin must inherit, with a byte
// locked that no other plugin has. Release closes it.
//
// The file is opened through its descriptor, since it may no longer be at its
// path: a cleaner may have removed it, or something may be mounted over the
// directory. On a file system that has become read-only Acquire fails
// (unix.EROFS): a caller that undoes something should go on without a guard.
func (g *Guard) Acquire() (*os.File, error) {
	path := "/proc/self/fd/" + strconv.Itoa(int(g.lock.file.Fd()))
	file, err := safefile.Open(path, unix.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("open the plugin's lock: %w", err)
	}
	g.plugin = file
	if err := g.lockByte(); err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("lock for the plugin: %w", err)
	}
	if err := g.forget(); err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("write to the plugin's lock: %w", err)
	}
	return file, nil
}

// lockByte locks the first byte that is free. Others are taken when
// waitForPlugins has given up on somebody.
func (g *Guard) lockByte() error {
	for start := int64(firstPluginByte); ; start++ {
		if free, err := tryLock(g.plugin, start, 1); free || err != nil {
			return err
		}
	}
}

// forget removes the id of the plugin before, which must not be taken for that
// of the next one. If it cannot be overwritten, since the disk is full, the
// file is truncated.
func (g *Guard) forget() error {
	if !g.noted {
		return nil
	}
	if g.note("") != nil {
		return g.plugin.Truncate(0)
	}
	return nil
}

// Started writes the plugin's pid to the lock's file: the next holder waits for
// that process without a time limit.
func (g *Guard) Started(pid int) {
	g.noted = true
	_ = g.note(strconv.Itoa(pid)) // without it the wait is limited
}

// note overwrites the content of the file. It does not truncate it: ext4, for
// one, writes a file that was truncated to the disk when it is closed.
func (g *Guard) note(text string) error {
	_, err := g.plugin.WriteAt(fmt.Appendf(nil, "%-15s", text), 0)
	return err
}

// Release must be called when the plugin has ended. Processes that it has left
// behind then no longer hold its byte. If the plugin was killed, it has not
// left them on purpose: Release waits for them, for a limited time.
func (g *Guard) Release(killed bool) {
	if !killed {
		_ = unlock(g.plugin, firstPluginByte, 0)
	}
	_ = g.plugin.Close()
	if killed {
		_ = g.lock.waitForPlugins(context.Background(), orphanGrace)
	}
}
