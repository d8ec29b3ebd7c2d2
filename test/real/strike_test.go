// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package real

import (
	"bytes"
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

	// With a plugin that is frozen until DEL has had its time. A DEL that does
	// not wait for it is over by then, and the plugin goes on.
	withDelegateFrozen = "SIGKILL, the delegate frozen,"
	withIPAMFrozen     = "SIGKILL, the IPAM plugin frozen,"
)

// strike is one kill: of whom, how, and when.
type strike struct {
	victim, how string
	share       float64       // of the time that the operation takes; of a plugin, the first that is there from then on
	delay       time.Duration // after that

	// Instead of a time, when multus enters a system call for the nth time.
	call       string
	nth, often int // of so many
}

func (s strike) String() string {
	if s.call != "" {
		return fmt.Sprintf("%s of %s at %s no. %d", s.how, s.victim, s.call, s.nth)
	}
	return fmt.Sprintf("%s of %s after %.3f of the time and %v", s.how, s.victim, s.share, s.delay)
}

// strikes are the kills of a campaign in their order. Half of them are by
// system call, if any calls are known, the others by time. Calls that multus
// makes seldom come first: they tend to be those that change something.
type strikes struct {
	all, calls []strike
	given      int
}

// The nodes of a campaign share these out among them.
func newStrikes(seed uint64, node, size int, calls []strike) *strikes {
	random := rand.New(rand.NewPCG(seed, uint64(node)))
	shared := rand.New(rand.NewPCG(seed, killNodes))
	s := &strikes{calls: calls}
	var byTime []strike
	for _, how := range []string{withDelegateFrozen, withIPAMFrozen} {
		byTime = append(byTime, strike{victim: victimMultus, how: how})
	}
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
		if k.victim == victimIPAM || k.how == withIPAMFrozen {
			k.delay = time.Duration(random.Int64N(int64(8 * time.Millisecond)))
		}
		s.all = append(s.all, k)
	}
	order := shared.Perm(len(calls))
	slices.SortStableFunc(order, func(a, b int) int { return calls[a].often - calls[b].often })
	for i := node; len(s.all) < size; i += killNodes {
		k := calls[order[i%len(order)]]
		if random.IntN(4) == 0 {
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

// strike kills the victim, unless it is too late. A plugin that it freezes goes
// on when that time is over.
func (r *running) strike(t *testing.T, s strike, plugins string, frozen time.Duration) bool {
	t.Helper()
	multus, plugin := r.cmd.Process.Pid, 0
	if kind := s.plugin(); kind != "" {
		if plugin = r.find(t, kind, plugins, s.victim == victimMultus); plugin == 0 {
			return false
		}
		time.Sleep(s.delay)
	}
	alive := !r.ended(t)
	kill := func(pid int, signal unix.Signal) { alive = unix.Kill(pid, signal) == nil && alive }
	victim := multus
	if s.victim != victimMultus {
		victim = plugin
	}
	switch s.how {
	case withTerm:
		kill(victim, unix.SIGTERM)
		return alive
	case withStop:
		kill(victim, unix.SIGSTOP)
		time.Sleep(20 * time.Millisecond) // what goes on without the victim must get somewhere
	case withDelegateFrozen, withIPAMFrozen:
		kill(plugin, unix.SIGSTOP)
		time.AfterFunc(frozen, func() { _ = unix.Kill(plugin, unix.SIGCONT) })
	}
	kill(victim, unix.SIGKILL)
	return alive
}

// plugin returns which kind of plugin must be there, if any.
func (s strike) plugin() string {
	switch s.how {
	case withDelegateFrozen:
		return victimDelegate
	case withIPAMFrozen:
		return victimIPAM
	}
	if s.victim == victimMultus {
		return ""
	}
	return s.victim
}

// find waits until a plugin of that kind runs, and returns its pid, or 0 when
// multus has ended before. One that is to be frozen is none that runs a GC
// itself: that concerns no attachment, and nobody waits for it.
func (r *running) find(t *testing.T, kind, plugins string, frozen bool) int {
	t.Helper()
	for ; ; time.Sleep(time.Millisecond) {
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
			if frozen {
				environ, err := os.ReadFile(filepath.Join("/proc", e.Name(), "environ"))
				if err != nil || bytes.Contains(environ, []byte("CNI_COMMAND=GC\x00")) {
					continue
				}
			}
			if pid, err := strconv.Atoi(e.Name()); err == nil && (filepath.Base(program) == "host-local") == (kind == victimIPAM) {
				return pid
			}
		}
		if ended {
			return 0
		}
	}
}

// ended reports whether multus has ended. It leaves it a zombie.
func (r *running) ended(t *testing.T) bool {
	t.Helper()
	var info unix.Siginfo
	if err := unix.Waitid(unix.P_PID, r.cmd.Process.Pid, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	return info.Signo != 0
}

// traceMultus are the options that have strace trace all threads of multus, and
// not the plugins that it runs.
var traceMultus = []string{"-f", "--detach-on=execve", "-qq", "-e", "signal=none"}

// inject has strace run the command, which gets the signal when one of its
// threads enters the system call for the nth time.
func (s strike) inject(cmd *exec.Cmd) *exec.Cmd {
	traced := exec.Command("strace", append(slices.Clone(traceMultus), "-o", "/dev/null", "-e", "trace="+s.call,
		"-e", fmt.Sprintf("inject=%s:signal=%s:when=%d", s.call, s.how, s.nth), cmd.Path)...)
	traced.Env, traced.Stdin = cmd.Env, cmd.Stdin
	return traced
}

// trace has strace note the system calls of every multus that the node runs.
func (n *node) trace(t *testing.T) {
	t.Helper()
	n.multus = filepath.Join(testDir, "traced")
	text := "#!/bin/sh\nexec strace " + strings.Join(traceMultus, " ") + " -o " + testDir + "/calls.$CNI_COMMAND '" + os.Getenv(multusEnv) + "'\n"
	if err := os.MkdirAll(testDir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(n.multus, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}

// harmless are the system calls that only ask for something, and those that
// Go's runtime makes for itself, never as many twice. A kill there is one at
// the next call that is neither.
var harmless = []string{
	"execve", "exit", "fstat", "futex", "geteuid", "getpid", "getsockname", "getsockopt", "gettid", "madvise", "mmap", "nanosleep", "newfstatat", "prlimit64",
	"rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sched_getaffinity", "sched_yield", "sigaltstack", "statfs", "tgkill",
}

// systemCalls returns a kill for each call that trace has noted of a verb.
func systemCalls(t *testing.T, verb string) []strike {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(testDir, "calls."+verb))
	if err != nil {
		t.Fatal(err)
	}
	var all []strike
	seen := map[string]int{}
	for _, match := range regexp.MustCompile(`(?m)^(\d+) +(\w+)\(`).FindAllStringSubmatch(string(text), -1) {
		call := match[2]
		if slices.Contains(harmless, call) {
			continue
		}
		seen[match[0]]++ // of one thread: so strace counts
		if nth := seen[match[0]]; nth > seen[call] {
			seen[call] = nth
			all = append(all, strike{victim: victimMultus, how: withKill, call: call, nth: nth})
		}
	}
	for i := range all {
		all[i].often = seen[all[i].call]
	}
	if len(all) < 50 || !strings.Contains(string(text), ".lock") {
		t.Fatalf("%d system calls in a %s: that cannot be all:\n%s", len(all), verb, text)
	}
	return all
}
