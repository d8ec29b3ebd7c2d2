// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package real

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Who is killed.
const (
	victimMultus   = "multus"
	victimDelegate = "the delegate"
	victimIPAM     = "the IPAM plugin"
)

// How.
const (
	withKill = "SIGKILL"
	withTerm = "SIGTERM"
	withStop = "SIGSTOP, SIGKILL" // frozen for a while first
)

// strike is one kill: of whom, how, and when.
type strike struct {
	victim, how string
	share       float64       // of the time that the operation takes; of a plugin, the first that is there from then on
	delay       time.Duration // after that

	// Instead of a time, when multus enters a system call for the nth time.
	call string
	nth  int
}

func (s strike) String() string {
	if s.call != "" {
		return fmt.Sprintf("%s of %s at %s no. %d", s.how, s.victim, s.call, s.nth)
	}
	return fmt.Sprintf("%s of %s after %.3f of the time and %v", s.how, s.victim, s.share, s.delay)
}

// strikes are the kills of a campaign in their order. Half of them are by
// system call, if any calls are known, the others by time.
type strikes struct {
	all, calls []strike
	given      int
}

func newStrikes(random *rand.Rand, size int, calls []strike) *strikes {
	s := &strikes{calls: calls}
	var byTime []strike
	for _, victim := range []string{victimMultus, victimDelegate, victimIPAM} {
		for _, how := range []string{withKill, withTerm, withStop} {
			byTime = append(byTime, strike{victim: victim, how: how})
		}
	}
	timed := size
	if len(calls) > 0 {
		timed = size / 2
	}
	for i, slice := range random.Perm(timed) {
		k := byTime[i%len(byTime)]
		k.share = (float64(slice) + random.Float64()) / float64(timed) * 1.05 // some after the end, too
		if k.victim == victimIPAM {
			k.delay = time.Duration(random.Int64N(int64(8 * time.Millisecond)))
		}
		s.all = append(s.all, k)
	}
	var order []int
	for len(s.all) < size {
		if len(order) == 0 {
			order = random.Perm(len(calls))
		}
		k := calls[order[0]]
		if order = order[1:]; random.IntN(4) == 0 {
			k.how = withTerm
		}
		s.all = append(s.all, k)
	}
	random.Shuffle(size, func(i, j int) { s.all[i], s.all[j] = s.all[j], s.all[i] })
	return s
}

func (s *strikes) next() strike {
	s.given++
	return s.all[s.given-1]
}

// used returns at how many system calls the strikes were.
func (s *strikes) used() int {
	used := map[strike]bool{}
	for _, k := range s.all[:s.given] {
		if k.call != "" {
			k.how = ""
			used[k] = true
		}
	}
	return len(used)
}

// strike kills the victim, unless it is too late.
func (r *running) strike(t *testing.T, s strike, plugins string) bool {
	t.Helper()
	pid := r.cmd.Process.Pid
	if s.victim != victimMultus {
		if pid = r.find(t, s.victim, plugins); pid == 0 {
			return false
		}
		time.Sleep(s.delay)
	}
	alive := !r.ended(t)
	signals := map[string][]unix.Signal{withKill: {unix.SIGKILL}, withTerm: {unix.SIGTERM}, withStop: {unix.SIGSTOP, unix.SIGKILL}}[s.how]
	for i, signal := range signals {
		if i > 0 {
			time.Sleep(20 * time.Millisecond) // what goes on without the victim shall get somewhere
		}
		if err := unix.Kill(pid, signal); err != nil {
			alive = false
		}
	}
	return alive
}

// find waits until a plugin of that kind runs, and returns its pid, or 0 when
// multus has ended before.
func (r *running) find(t *testing.T, victim, plugins string) int {
	t.Helper()
	for ; ; time.Sleep(200 * time.Microsecond) {
		ended := r.ended(t)
		entries, err := os.ReadDir("/proc")
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			program, err := os.Readlink(filepath.Join("/proc", e.Name(), "exe"))
			if err != nil || filepath.Dir(program) != plugins {
				continue
			}
			if pid, err := strconv.Atoi(e.Name()); err == nil && (filepath.Base(program) == "host-local") == (victim == victimIPAM) {
				return pid
			}
		}
		if ended {
			return 0
		}
	}
}

// ended tells whether multus has ended. It leaves it a zombie.
func (r *running) ended(t *testing.T) bool {
	t.Helper()
	var info unix.Siginfo
	if err := unix.Waitid(unix.P_PID, r.cmd.Process.Pid, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	return info.Signo != 0
}

// inject has strace run the command, which gets the signal when it enters the
// system call. (Only multus's main thread is traced: it makes all calls that
// matter.)
func (s strike) inject(cmd *exec.Cmd) *exec.Cmd {
	traced := exec.Command("strace", "-qq", "-o", "/dev/null", "-e", "signal=none", "-e", "trace="+s.call,
		"-e", fmt.Sprintf("inject=%s:signal=%s:when=%d", s.call, s.how, s.nth), cmd.Path)
	traced.Env, traced.Stdin = cmd.Env, cmd.Stdin
	return traced
}

// trace has strace note the system calls of every multus that the node runs.
func (n *node) trace(t *testing.T) {
	t.Helper()
	n.multus = filepath.Join(testDir, "traced")
	text := "#!/bin/sh\nexec strace -qq -e signal=none -o " + testDir + "/calls.$CNI_COMMAND '" + os.Getenv(multusEnv) + "'\n"
	if err := os.MkdirAll(testDir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(n.multus, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}

// ofTheRuntime are the system calls that Go's runtime makes for itself. There
// are many of them, never as many twice, and others between them.
var ofTheRuntime = []string{"rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "futex", "mmap", "madvise", "sched_getaffinity", "execve"}

// systemCalls returns a kill for each call that trace has noted of a verb.
func systemCalls(t *testing.T, verb string) []strike {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(testDir, "calls."+verb))
	if err != nil {
		t.Fatal(err)
	}
	var all []strike
	seen := map[string]int{}
	for _, match := range regexp.MustCompile(`(?m)^(\w+)\(`).FindAllStringSubmatch(string(text), -1) {
		call := match[1]
		if slices.Contains(ofTheRuntime, call) {
			continue
		}
		seen[call]++
		all = append(all, strike{victim: victimMultus, how: withKill, call: call, nth: seen[call]})
	}
	if len(all) < 50 || !strings.Contains(string(text), ".lock") {
		t.Fatalf("%d system calls in a %s: that cannot be all:\n%s", len(all), verb, text)
	}
	return all
}
