// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"multus-cni/test/pod"
)

// cellDir is cniDir where something is wrong with it, or with its disk.
const cellDir = "/run/cell"

// surroundings are what can be wrong around multus and the delegates.
type surroundings struct {
	name                 string
	prepare, spoil, heal func(w *world) error // before all; before the verb; after it
	again                bool                 // even an ADD is not the first
	replaces             bool                 // the pod, by another one
	unlike               func(c cell, w *want)
}

func environments() []surroundings {
	return []surroundings{
		{name: "no-directory", spoil: removed, unlike: func(c cell, w *want) {
			switch c.verb {
			case "CHECK":
				c.refuse(w, 999, "there is no record")
			case "COLLECT":
				w.calls, w.links, w.owner = c.calls("GC", 0, 1, 2), c.allLinks(), c.primary
			}
			w.record = c.verb == "ADD"
		}},
		{name: "read-only", prepare: smallDisk("size=64k"), spoil: remount(unix.MS_RDONLY), heal: remount(0), unlike: func(c cell, w *want) {
			switch c.verb {
			case "GC": // writes nothing
			case "DEL", "COLLECT": // the pod goes all the same
				w.code, w.msg, w.record = 5, "read-only file system", true
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
		{name: "symlink", prepare: symlink},
		{name: "dangling-symlink", prepare: symlink, spoil: moved(true), heal: moved(false), unlike: func(c cell, w *want) {
			if c.verb == "DEL" { // by the conf
				w.record = true
				return
			}
			c.refuse(w, 5, "file exists")
		}},
		{name: "owner", spoil: chown(1), heal: chown(0), unlike: unsafe},
		{name: "writable-by-all", spoil: chmod(0o777), heal: chmod(0o700), unlike: unsafe},
		{name: "no-netns", spoil: podGone, unlike: noNetns},
		{name: "no-netns-but-a-file", spoil: podIsFile, heal: func(*world) error { return os.Remove(pod.Path) }, unlike: func(c cell, w *want) {
			noNetns(c, w)
			if c.verb == "DEL" { // each is asked once more without the file
				w.calls = c.calls("DEL", 2, 2, 1, 1, 0, 0)
			}
		}},
		{name: "other-netns", spoil: podReplaced("eth0", "net0", "net1"), again: true, replaces: true, unlike: func(c cell, w *want) {
			switch c.verb {
			case "ADD", "ROLLBACK":
				c.refuse(w, 999, "eth0.* there already")
				w.record = true
			case "CHECK":
				c.refuse(w, 8, "another network namespace")
			}
			w.links = []string{"eth0", "net0", "net1"} // not ours
			w.owner = nobody
		}},
		{name: "other-netns-empty", spoil: podReplaced(), again: true, replaces: true, unlike: func(c cell, w *want) {
			switch c.verb {
			case "ADD", "ROLLBACK":
				w.calls = append(c.calls("DEL", 2, 1, 0), w.calls...)
				return
			case "CHECK":
				c.refuse(w, 8, "another network namespace")
			}
			w.links, w.owner = nil, nobody
		}},
		{name: "attached-already", again: true, unlike: func(c cell, w *want) {
			if c.begins() {
				c.refuse(w, 999, "has a record for interface eth0")
				w.record, w.links, w.owner = true, c.allLinks(), c.primary
			}
		}},
		{name: "path-relative", spoil: path("plugins"), heal: path("")},
		{name: "path-missing", spoil: path("none"), heal: path(""), unlike: noPlugins},
		{name: "path-unreadable", spoil: path("loop"), heal: path(""), unlike: noPlugins},
		{name: "path-missing-and-good", spoil: path("none:closed:loop:plugins"), heal: path("")},
		{name: "stdout-nobody-reads", spoil: stdoutTo("broken-pipe"), heal: stdoutTo(""), unlike: noStdout},
		{name: "stdout-full", spoil: stdoutTo("/dev/full"), heal: stdoutTo(""), unlike: noStdout},
		{name: "stdin-5MB", spoil: stdinOf(5_000_000), heal: stdinOf(0)},
	}
}

func removed(w *world) error { return os.RemoveAll(cellDir) }

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

func symlink(*world) error {
	return errors.Join(os.Rename(cellDir, cellDir+"-real"), os.Symlink(cellDir+"-real", cellDir))
}

func moved(away bool) func(*world) error {
	return func(*world) error {
		if away {
			return os.Rename(cellDir+"-real", cellDir+"-away")
		}
		return os.Rename(cellDir+"-away", cellDir+"-real")
	}
}

func chown(uid int) func(*world) error {
	return func(*world) error { return os.Chown(cellDir, uid, 0) }
}

func chmod(mode os.FileMode) func(*world) error {
	return func(*world) error { return os.Chmod(cellDir, mode) }
}

func podGone(*world) error { return pod.Delete("pod") }

func podIsFile(w *world) error {
	return errors.Join(podGone(w), os.WriteFile(pod.Path, nil, 0o600))
}

func podReplaced(ifnames ...string) func(*world) error {
	return func(w *world) error {
		err := errors.Join(podGone(w), pod.Make("pod"))
		for _, name := range ifnames {
			err = errors.Join(err, pod.Change(pod.Path, name, []string{"link"}))
		}
		return err
	}
}

func path(directorys string) func(*world) error {
	return func(w *world) error {
		w.path = directorys
		if directorys == "" || strings.HasPrefix(directorys, "plugins") {
			return nil
		}
		_ = os.Symlink("loop", filepath.Join(w.Work, "loop"))
		_ = os.Mkdir(filepath.Join(w.Work, "closed"), 0)
		var absolute []string
		for _, directory := range filepath.SplitList(directorys) {
			absolute = append(absolute, filepath.Join(w.Work, directory))
		}
		w.path = strings.Join(absolute, ":")
		return nil
	}
}

func stdoutTo(target string) func(*world) error {
	return func(w *world) error {
		w.stdout = target
		return nil
	}
}

func stdinOf(size int) func(*world) error {
	return func(w *world) error {
		w.padding = size
		return nil
	}
}
