// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"multus-cni/test/pod"
)

// cellDir is cniDir where something is wrong with it, or with its disk.
const cellDir = "/run/cell"

// surroundings are what can be wrong around multus and the delegates.
type surroundings struct {
	name                 string
	prepare, spoil, heal func(w *world) error // before all; before the verb; after it
	unlike               func(c cell, w *want)
}

func environments() []surroundings {
	return []surroundings{
		{name: "no-directory", spoil: removed, unlike: func(c cell, w *want) {
			switch c.verb {
			case "CHECK":
				c.refuse(w, 999, "no record")
			case "COLLECT":
				w.calls, w.links, w.owner = c.calls("GC", 0, 1, 2), c.allLinks(), c.primary
			}
			w.record = c.verb == "ADD"
		}},
		{name: "read-only", prepare: smallDisk("size=64k"), spoil: remount(unix.MS_RDONLY), heal: remount(0), unlike: func(c cell, w *want) {
			switch c.verb {
			case "GC": // writes nothing
			case "DEL", "COLLECT": // the pod goes all the same
				w.record = true
			default:
				c.refuse(w, 5, "read-only file system")
			}
		}},
		{name: "full", prepare: smallDisk("size=64k"), spoil: onDisk(fill), heal: onDisk(os.Remove), unlike: func(c cell, w *want) {
			if c.begins() || c.verb == "STATUS" {
				c.refuse(w, 5, "no space left on device")
			}
		}},
		{name: "no-inodes", prepare: smallDisk("nr_inodes=8"), spoil: allInodes, heal: noInodes, unlike: func(c cell, w *want) {
			if c.begins() || c.verb == "STATUS" || c.verb == "CHECK" {
				c.refuse(w, 5, "no space left on device")
			}
		}},
		{name: "no-netns-but-a-file", spoil: podIsFile, heal: func(*world) error { return os.Remove(pod.Path) }, unlike: func(c cell, w *want) {
			noNetns(c, w)
		}},
		{name: "path-missing", spoil: path("/nonexistent"), heal: path(""), unlike: noPlugins},
		{name: "stdin-5MB", spoil: stdinOf(5_000_000), heal: stdinOf(0)},
	}
}

func removed(*world) error { return os.RemoveAll(cellDir) }

func smallDisk(options string) func(*world) error {
	return func(*world) error { return unix.Mount("tmpfs", cellDir, "tmpfs", 0, "mode=700,"+options) }
}

func remount(flags uintptr) func(*world) error {
	return func(*world) error { return unix.Mount("", cellDir, "", unix.MS_REMOUNT|unix.MS_BIND|flags, "") }
}

func onDisk(do func(path string) error) func(*world) error {
	return func(*world) error { return do(filepath.Join(cellDir, "fill")) }
}

// fill makes a file as large as the disk allows.
func fill(path string) error {
	err := os.WriteFile(path, make([]byte, 1<<20), 0o600) // the disk is smaller
	if errors.Is(err, unix.ENOSPC) {
		return nil
	}
	return fmt.Errorf("fill the disk: %w", err)
}

func allInodes(*world) error {
	for i := 0; ; i++ {
		f, err := os.Create(filepath.Join(cellDir, fmt.Sprintf("fill%d", i)))
		if errors.Is(err, unix.ENOSPC) {
			return nil
		}
		if err != nil {
			return err
		}
		f.Close()
	}
}

func noInodes(*world) error {
	files, err := filepath.Glob(filepath.Join(cellDir, "fill*"))
	for _, file := range files {
		err = errors.Join(err, os.Remove(file))
	}
	return err
}

func podGone(*world) error { return pod.Delete("pod") }

func podIsFile(w *world) error {
	return errors.Join(podGone(w), os.WriteFile(pod.Path, nil, 0o600))
}

func path(value string) func(*world) error {
	return func(w *world) error {
		w.path = value
		return nil
	}
}

func stdinOf(size int) func(*world) error {
	return func(w *world) error {
		w.padding = size
		return nil
	}
}
