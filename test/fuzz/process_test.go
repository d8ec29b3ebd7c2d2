// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

// Package fuzz gives multus confs and environments with mistakes in them. The
// fuzz functions of single packages are beside these.
package fuzz

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"multus-cni/test/pod"
	"multus-cni/test/sandbox"
)

func TestMain(m *testing.M) { os.Exit(sandbox.NewSuite(m).Run()) }

// TestProcess gives the real binary confs and environments with mistakes in
// them: those that it has stumbled over once (testdata/process), a few that are
// right, and as many others as it is told to make. Whatever it gets, it must
// answer with one document and a code that the specification knows, and leave
// nothing behind; when it refuses the conf, nothing has run and nothing was
// written; when it fails later, each delegate that was called is DELed.
func TestProcess(t *testing.T) {
	work := t.TempDir() // which goes with this goroutine, for which the tree is not read-only
	t.Run("attempts", func(t *testing.T) { attempts(t, newProcess(t, work)) })
}

func attempts(t *testing.T, p *process) {
	for _, conf := range rightConfs {
		if got := p.try(t, attempt{usualEnv(p), conf}); got != "attached" {
			t.Fatalf("%s: got %q", conf, got)
		}
		if wrong := failing.Replace(conf); wrong != conf {
			if got := p.try(t, attempt{usualEnv(p), wrong}); got != "rolled back" {
				t.Fatalf("%s: got %q", wrong, got)
			}
		}
	}
	for _, file := range stumbledOver(t) {
		p.replay(t, file)
	}
	seed, enough := limits(t)
	counts := map[string]int{}
	n := uint64(0)
	for ; !enough(n) && !t.Failed(); n++ {
		a := newMutator(seed, n).attempt(usualEnv(p))
		counts[p.try(t, a)]++
		if t.Failed() {
			t.Logf("run %d of seed %d; kept as %s", n, seed, a.keep(t))
		}
	}
	t.Logf("seed %d: %d runs, of which %v", seed, n, counts)
	for _, outcome := range []string{"attached", "refused", "rolled back"} {
		if counts[outcome] == 0 && !t.Failed() {
			t.Errorf("none was %s: the mutations are useless", outcome)
		}
	}
}

// limits reads from the environment where to begin, and when to end: after
// some CPU time (MULTUS_FUZZ_CPU=10m), or after a small number of runs.
func limits(t *testing.T) (seed uint64, enough func(uint64) bool) {
	t.Helper()
	seed, enough = 1, func(n uint64) bool { return n >= 40 }
	if text := os.Getenv("MULTUS_FUZZ_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	if text := os.Getenv("MULTUS_FUZZ_CPU"); text != "" {
		budget, err := time.ParseDuration(text)
		if err != nil {
			t.Fatal(err)
		}
		enough = func(uint64) bool { return cpuTime() >= budget }
	}
	return seed, enough
}

// cpuTime is that of the tests and of all that they have started.
func cpuTime() (sum time.Duration) {
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var usage unix.Rusage
		if unix.Getrusage(who, &usage) == nil {
			sum += time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
		}
	}
	return sum
}

// attempt is what one call of multus gets: an ADD, and then a DEL, or any other
// verb.
type attempt struct {
	env   []string
	stdin string
}

// process is the node on which the attempts are made. A mutated path can be
// any: nothing can be written but in the directorys where files are looked for.
type process struct{ *sandbox.Sandbox }

func newProcess(t *testing.T, work string) *process {
	t.Helper()
	s, err := sandbox.New(work)
	if err != nil {
		t.Fatal(err)
	}
	own := []string{work}
	if cover := os.Getenv("GOCOVERDIR"); cover != "" {
		own = append(own, cover)
	}
	for _, dir := range own {
		err = errors.Join(err, unix.Mount(dir, dir, "", unix.MS_BIND, ""))
	}
	err = errors.Join(err, readOnly(true, "/"))
	for _, dir := range append(own, "/run", "/proc") {
		err = errors.Join(err, readOnly(false, dir))
	}
	covered := filepath.Dir(sandbox.RecordDir)
	if coveredErr := readOnly(false, covered); errors.Is(coveredErr, unix.EINVAL) { // it is the directory above
		err = errors.Join(err, readOnly(false, filepath.Dir(covered)))
	}
	if err == nil {
		err = pod.Make("pod")
	}
	if err != nil {
		t.Fatal(err)
	}
	return &process{s}
}

// readOnly changes a mount, and with "/" all that there are.
func readOnly(yes bool, path string) error {
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	if !yes {
		attr = unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY}
	}
	flags := uint(0)
	if path == "/" {
		flags = unix.AT_RECURSIVE
	}
	if err := unix.MountSetattr(unix.AT_FDCWD, path, flags, &attr); err != nil {
		return fmt.Errorf("make %s read-only, %t: %w", path, yes, err)
	}
	return nil
}

func usualEnv(p *process) []string {
	return []string{
		"CNI_COMMAND=ADD", "CNI_CONTAINERID=c1", "CNI_NETNS=/run/netns/pod", "CNI_IFNAME=eth0",
		"CNI_ARGS=K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0", "CNI_PATH=" + filepath.Join(p.Work, "plugins"),
	}
}

// answer is how multus has ended.
type answer struct {
	stdout, stderr string
	exit           int
	err            *sandbox.Error
	calls          []string
}

// call runs multus and looks at what is the same for every call.
func (p *process) call(t *testing.T, env []string, stdin string) answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), sandbox.Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Getenv("MULTUS"))
	cmd.Env = append(slices.Clone(env), "FAKE="+p.Dir, "WORK="+p.Work, "GOCOVERDIR="+os.Getenv("GOCOVERDIR"))
	cmd.Stdin = strings.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); cmd.ProcessState == nil {
		t.Fatal(err)
	}
	a := answer{stdout: stdout.String(), stderr: stderr.String(), exit: cmd.ProcessState.ExitCode()}
	var err error
	if a.calls, err = p.NewCalls(); err != nil {
		t.Fatal(err)
	}
	switch {
	case ctx.Err() != nil:
		t.Errorf("it hangs")
	case a.exit != 0 && a.exit != 1, strings.Contains(a.stderr, "goroutine "):
		t.Errorf("exit status %d, stderr %s", a.exit, a.stderr)
	case a.exit == 1:
		if a.err, err = sandbox.DecodeError(a.stdout); err != nil {
			t.Errorf("%v: %q", err, a.stdout)
			a.err = &sandbox.Error{}
		}
		if sandbox.Match("itself is broken|internal error", a.err.Msg) == nil {
			t.Errorf("a panic: %s", a.err.Msg)
		}
		known := []int{1, 2, 3, 4, 5, 6, 7, 8, 11, 50, 51, 999}
		if len(a.calls) == 0 && !slices.Contains(known, a.err.Code) { // a delegate may say any
			t.Errorf("code %d: %s", a.err.Code, a.err.Msg)
		}
	}
	return a
}

// try makes one attempt, checks that the answer is right, and names it.
func (p *process) try(t *testing.T, a attempt) string {
	t.Helper()
	defer func() {
		if t.Failed() {
			t.Logf("environment %q\nstdin %s", a.env, a.stdin)
		}
	}()
	verb := sandbox.Getenv(a.env, "CNI_COMMAND")
	got := p.call(t, a.env, a.stdin)
	outcome := ""
	if verb == "ADD" {
		outcome = p.checkAdd(t, got)
	} else if got.exit == 0 && got.stdout != "" && verb != "VERSION" {
		t.Errorf("%s prints %s", verb, got.stdout)
	}
	// Whatever it was: what a runtime sends then.
	del := sandbox.Setenv(slices.Clone(a.env), "CNI_COMMAND=DEL")
	if end := p.call(t, del, a.stdin); end.exit == 0 {
		p.checkNothingLeft(t)
	}
	p.reset(t)
	if outcome == "" {
		return "another verb"
	}
	return outcome
}

// checkAdd looks at the answer of an ADD. That the delegates get what the conf
// says is for the fuzz functions of the packages that read it.
func (p *process) checkAdd(t *testing.T, got answer) string {
	t.Helper()
	if got.exit == 0 {
		var result struct{ CNIVersion string }
		if err := json.Unmarshal([]byte(got.stdout), &result); err != nil || result.CNIVersion == "" {
			t.Errorf("no result: %s, %v", got.stdout, err)
		}
		return "attached"
	}
	if len(got.calls) == 0 {
		if files := p.files(t); len(files) > 0 {
			t.Errorf("refused (%s), but it has written %q", got.err.Msg, files)
		}
		return "refused"
	}
	for i, line := range got.calls {
		f := strings.Fields(line)
		undone := func(later string) bool {
			return strings.HasPrefix(later, strings.Join([]string{"DEL", f[1], f[2], f[3]}, " "))
		}
		if f[0] == "ADD" && !slices.ContainsFunc(got.calls[i+1:], undone) {
			t.Errorf("failed (%s), and no DEL after %q: called %q", got.err.Msg, line, got.calls)
		}
	}
	return "rolled back"
}

// files lists those that only multus can have made.
func (p *process) files(t *testing.T) (files []string) {
	t.Helper()
	for _, dir := range []string{"/run", filepath.Dir(sandbox.RecordDir)} {
		err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
			if err == nil && !entry.IsDir() && path != pod.Path {
				files = append(files, path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return files
}

func (p *process) checkNothingLeft(t *testing.T) {
	t.Helper()
	links, err := pod.Links(pod.Path)
	if files := p.files(t); err != nil || len(links) > 0 || len(files) > 0 {
		t.Errorf("after DEL: interfaces %q, files %q, %v", links, files, err)
	}
}

// reset takes away what a DEL that failed has left.
func (p *process) reset(t *testing.T) {
	t.Helper()
	for _, file := range p.files(t) {
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
	if links, err := pod.Links(pod.Path); err != nil || len(links) > 0 {
		if err := errors.Join(pod.Delete("pod"), pod.Make("pod")); err != nil {
			t.Fatal(err)
		}
	}
	got, err := filepath.Glob(filepath.Join(p.Work, "got", "*"))
	for _, file := range got {
		err = errors.Join(err, os.Remove(file))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// keep writes an attempt down, so that it is made again from now on: a line for
// each variable, the last one for stdin.
func (a attempt) keep(t *testing.T) string {
	t.Helper()
	var text strings.Builder
	for _, line := range append(slices.Clone(a.env), a.stdin) {
		fmt.Fprintf(&text, "%q\n", line)
	}
	hash := fnv.New64a()
	hash.Write([]byte(text.String()))
	file := filepath.Join("testdata", "process", fmt.Sprintf("%016x", hash.Sum64()))
	// Not on this thread, for which the tree is read-only.
	done := make(chan error)
	go func() {
		done <- errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(text.String()), 0o644))
	}()
	if err := <-done; err != nil {
		t.Error(err)
	}
	return file
}

func stumbledOver(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "process", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func (p *process) replay(t *testing.T, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		unquoted, err := strconv.Unquote(line)
		if err != nil {
			t.Fatalf("%s: %s: %v", file, line, err)
		}
		lines = append(lines, unquoted)
	}
	env := usualEnv(p)
	for _, pair := range lines[:len(lines)-1] {
		if !strings.HasPrefix(pair, "CNI_PATH=") {
			env = sandbox.Setenv(env, pair)
		}
	}
	p.try(t, attempt{env, lines[len(lines)-1]})
}
