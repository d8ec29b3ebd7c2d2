// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// install puts the fakes on CNI_PATH under these types.
func (s *scenario) install(types []string) (err error) {
	for _, t := range types {
		err = errors.Join(err, os.Symlink(os.Getenv("FAKES"), filepath.Join(s.work, "plugins", t)))
	}
	return err
}

func (s *scenario) log() ([]string, error) {
	text, err := os.ReadFile(filepath.Join(s.dir, "calls"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n"), err
}

func (s *scenario) newCalls() ([]string, error) {
	lines, err := s.log()
	from := s.seen
	s.seen = len(lines)
	return lines[from:], err
}

// failer is a scenario, or a test.
type failer interface {
	Fatalf(format string, args ...any)
}

// wait waits until done, which says what it is waiting for.
func wait(ts failer, what string, done func() bool) {
	if err := waitFor(patience, what, done); err != nil {
		ts.Fatalf("%v", err)
	}
}

func waitFor(limit time.Duration, what string, done func() bool) error {
	for end := time.Now().Add(limit); !done(); time.Sleep(poll) {
		if time.Now().After(end) {
			return fmt.Errorf("waited in vain for %s", what)
		}
	}
	return nil
}

func (s *scenario) await(ts failer, name string) {
	wait(ts, "something to be held at "+name, func() bool { return len(s.held(name)) > 0 })
}

// held returns the fifos at which processes wait that are still there.
func (s *scenario) held(name string) []string {
	fifos, _ := filepath.Glob(filepath.Join(s.dir, "hold-"+name+"-*"))
	return slices.DeleteFunc(fifos, func(fifo string) bool {
		pid, _ := strconv.Atoi(fifo[strings.LastIndexByte(fifo, '-')+1:])
		return !lives(pid)
	})
}

func lives(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !bytes.Contains(stat, []byte(") Z "))
}

// release goes on when the process that was held has written its last line.
func (s *scenario) release(ts failer, name string) {
	before, err := s.log()
	if err != nil {
		ts.Fatalf("%v", err)
	}
	wait(ts, "somebody to release at "+name, func() bool { return s.open(name) > 0 })
	wait(ts, name+" to go on", func() bool {
		now, err := s.log()
		if err != nil {
			ts.Fatalf("%v", err)
		}
		return slices.Contains(now[len(before):], "over "+name)
	})
}

// open lets go of all that are held, and returns how many these are.
func (s *scenario) open(name string) (opened int) {
	for _, fifo := range s.held(name) {
		if fd, err := unix.Open(fifo, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0); err == nil {
			_ = unix.Close(fd)
			opened++
		}
	}
	return opened
}

// releaseAll leaves nobody behind.
func (s *scenario) releaseAll() { s.open("*") }

// cmdStuck looks on for a while, in which a multus of its own comes and goes
// several times: on a machine that has much else to do, time alone would be no
// chance to go wrong.
func cmdStuck(ts *testscript.TestScript, _ []string) {
	last := ts.BackgroundCmds()[len(ts.BackgroundCmds())-1]
	before, err := state(ts).log()
	ts.Check(err)
	multus, err := os.Stat(ts.Getenv("MULTUS"))
	ts.Check(err)
	wait(ts, "multus to start", func() bool {
		exe, err := os.Stat(fmt.Sprintf("/proc/%d/exe", last.Process.Pid))
		return err != nil || os.SameFile(exe, multus)
	})
	end := time.Now().Add(lookOn)
	for n := 0; n < 10 || time.Now().Before(end); n++ {
		other := exec.Command(ts.Getenv("MULTUS"))
		other.Env = []string{"CNI_COMMAND=VERSION", "GOCOVERDIR=" + ts.Getenv("GOCOVERDIR")}
		ts.Check(other.Run())
		now, err := state(ts).log()
		ts.Check(err)
		if len(now) > len(before) {
			ts.Fatalf("it did not wait: %s", now[len(before)])
		}
		if !lives(last.Process.Pid) {
			ts.Fatalf("it did not wait: %v has ended", last.Args)
		}
	}
}

func cmdSignal(ts *testscript.TestScript, args []string) {
	for _, cmd := range ts.BackgroundCmds() {
		ts.Check(cmd.Process.Signal(unix.SignalNum("SIG" + args[0])))
	}
}

// cmdBusy puts a copy in the place of a fake, since all are one file, and
// opens it for writing.
func cmdBusy(ts *testscript.TestScript, args []string) {
	path := filepath.Join(state(ts).work, "plugins", args[0])
	program, err := os.ReadFile(path)
	ts.Check(err)
	ts.Check(os.Remove(path))
	ts.Check(os.WriteFile(path, program, 0o755))
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	ts.Check(err)
	state(ts).busy[args[0]] = f
	ts.Defer(func() { f.Close() })
}

func cmdIdle(ts *testscript.TestScript, args []string) {
	ts.Check(state(ts).busy[args[0]].Close())
}
