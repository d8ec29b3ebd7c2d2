// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Package sandbox gives a test a node of its own on which multus runs with fake
// plugins: a network and a mount namespace, an empty /run, an empty
// /var/lib/cni, and a log of all that the fakes are called for. Processes are
// shared with the machine.
package sandbox

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// RecordDir is where multus keeps its records unless a conf says otherwise.
	RecordDir = "/var/lib/cni/multus"
	// Patience is how long a test waits for what must happen: no machine is so
	// busy that it takes longer, and go test gives up later.
	Patience = 3 * time.Minute

	poll = 2 * time.Millisecond
)

// usual are the types of fakes that every sandbox has on CNI_PATH.
func usual() []string { return []string{"sriov", "ptp", "flannel", "tuning", "flannel@0.4.0"} }

// Sandbox is the node of one test.
type Sandbox struct {
	Work string // the test's directory; plugins/ in it is on CNI_PATH
	Dir  string // the log of the calls, and the fifos of those that are held
	seen int    // how many lines of the log NewCalls has returned
}

// New is called on the goroutine of the test, which stays on this thread from
// here on; so whatever the test starts is in the namespaces too. They go with
// the thread, which Go ends with the goroutine, since it is never unlocked.
func New(work string) (*Sandbox, error) {
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET | unix.CLONE_NEWNS); err != nil {
		return nil, fmt.Errorf("make namespaces for the test: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return nil, fmt.Errorf("make mounts private: %w", err)
	}
	if err := coverDirectories(); err != nil {
		return nil, err
	}
	s := &Sandbox{Work: work, Dir: filepath.Join(work, ".fake")}
	for _, dir := range []string{s.Dir, filepath.Join(work, "plugins"), filepath.Join(work, "got")} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return nil, err
		}
	}
	return s, s.Install(usual())
}

// coverDirectories puts empty directories in the place of /run and of
// /var/lib/cni, which does not exist on every machine.
func coverDirectories() error {
	covered := filepath.Dir(RecordDir)
	if _, err := os.Stat(covered); err != nil {
		covered = filepath.Dir(covered)
	}
	for _, dir := range []string{"/run", covered} {
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=755"); err != nil {
			return fmt.Errorf("mount an empty %s: %w", dir, err)
		}
	}
	return os.MkdirAll(filepath.Dir(RecordDir), 0o755)
}

// Install puts fakes on CNI_PATH under these types.
func (s *Sandbox) Install(types []string) (err error) {
	for _, t := range types {
		err = errors.Join(err, os.Symlink(os.Getenv("FAKES"), filepath.Join(s.Work, "plugins", t)))
	}
	return err
}

// Env is the environment in which multus runs a verb for the attachment of
// container c1 to the interface eth0, as far as the verb concerns one. The pairs
// come in addition, or instead.
func (s *Sandbox) Env(verb string, pairs ...string) []string {
	env := []string{
		"CNI_COMMAND=" + verb, "CNI_PATH=" + filepath.Join(s.Work, "plugins"),
		"FAKE=" + s.Dir, "WORK=" + s.Work, "GOCOVERDIR=" + os.Getenv("GOCOVERDIR"),
	}
	if verb != "STATUS" && verb != "GC" {
		env = append(env, "CNI_CONTAINERID=c1", "CNI_NETNS=/run/netns/pod", "CNI_IFNAME=eth0")
	}
	for _, pair := range pairs {
		env = Setenv(env, pair)
	}
	return env
}

// Log returns the lines of the fakes' log.
func (s *Sandbox) Log() ([]string, error) {
	text, err := os.ReadFile(filepath.Join(s.Dir, "calls"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n"), err
}

// NewCalls returns the lines that the log has got since it was called last.
func (s *Sandbox) NewCalls() ([]string, error) {
	lines, err := s.Log()
	from := s.seen
	s.seen = len(lines)
	return lines[from:], err
}

// WaitFor waits for what until it is done, and no longer than Patience.
func WaitFor(what string, done func() bool) error {
	for end := time.Now().Add(Patience); !done(); time.Sleep(poll) {
		if time.Now().After(end) {
			return fmt.Errorf("waited in vain for %s", what)
		}
	}
	return nil
}

// Await waits until a process is held under that name.
func (s *Sandbox) Await(name string) error {
	return WaitFor("something to be held at "+name, func() bool { return len(s.Held(name)) > 0 })
}

// Held returns the fifos of the living processes that are held under that name.
func (s *Sandbox) Held(name string) []string {
	fifos, _ := filepath.Glob(filepath.Join(s.Dir, "hold-"+name+"-*"))
	return slices.DeleteFunc(fifos, func(fifo string) bool { return !Lives(PidOf(fifo)) })
}

// PidOf returns the process that is held at a fifo.
func PidOf(fifo string) int {
	pid, _ := strconv.Atoi(fifo[strings.LastIndexByte(fifo, '-')+1:])
	return pid
}

// Lives reports whether a process runs. A zombie does not.
func Lives(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !bytes.Contains(stat, []byte(") Z "))
}

// Release lets go of all processes that are held under that name, at least one,
// and returns when one of them has written its last line.
func (s *Sandbox) Release(name string) error {
	before, err := s.Log()
	if err != nil {
		return err
	}
	if err := WaitFor("something to release at "+name, func() bool { return s.open(name) > 0 }); err != nil {
		return err
	}
	return WaitFor(name+" to go on", func() bool {
		now, _ := s.Log()
		return slices.Contains(now[min(len(before), len(now)):], "over "+name)
	})
}

// ReleaseAll leaves no process behind.
func (s *Sandbox) ReleaseAll() { s.open("*") }

// open lets go of all that are held, and returns how many these are.
func (s *Sandbox) open(name string) (opened int) {
	for _, fifo := range s.Held(name) {
		if fd, err := unix.Open(fifo, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0); err == nil {
			_ = unix.Close(fd)
			opened++
		}
	}
	return opened
}

// LookOn runs another multus to its end, several times, one after the other, and
// stops at the first error of check. On a busy machine time alone would give what
// runs in the background no chance to go wrong.
func LookOn(times int, check func() error) error {
	for range times {
		other := exec.Command(os.Getenv("MULTUS"))
		other.Env = []string{"CNI_COMMAND=VERSION", "GOCOVERDIR=" + os.Getenv("GOCOVERDIR")}
		if err := errors.Join(other.Run(), check()); err != nil {
			return err
		}
	}
	return nil
}

// Records lists a directory as ls does: mode and name.
func Records(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var lines []string
	for _, entry := range entries {
		info, infoErr := entry.Info()
		if infoErr != nil {
			return nil, infoErr
		}
		lines = append(lines, info.Mode().String()+" "+entry.Name())
	}
	return lines, err
}
