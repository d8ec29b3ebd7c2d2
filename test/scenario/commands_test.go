// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/rogpeppe/go-internal/testscript"

	"multus-cni/test/pod"
	"multus-cni/test/sandbox"
)

type command = func(*testscript.TestScript, bool, []string)

// commands are described in the package comment.
func commands() map[string]command {
	on := func(do func(s *scenario, arg string) error) command {
		return plain(1, 1, func(ts *testscript.TestScript, args []string) { ts.Check(do(state(ts), args[0])) })
	}
	return map[string]command{
		"error":    plain(1, 2, cmdError),
		"details":  plain(1, 1, cmdDetails),
		"refuses":  plain(1, 1, cmdRefuses),
		"same-env": plain(1, 9, cmdSameEnv),
		"cmpjson":  plain(2, 2, cmdCmpJSON),
		"snapshot": plain(0, 0, cmdSnapshot),
		"pod":      plain(2, 9, func(ts *testscript.TestScript, args []string) { ts.Check(pod.Change(pod.Path, args[0], args[1:])) }),
		"netns":    plain(1, 2, cmdNetns),
		"plugins":  plain(1, 9, func(ts *testscript.TestScript, args []string) { ts.Check(state(ts).Install(args)) }),
		"await":    on(func(s *scenario, name string) error { return s.Await(name) }),
		"await-text": plain(2, 2, func(ts *testscript.TestScript, args []string) {
			ts.Check(sandbox.WaitFor(args[0]+" to say: "+args[1], func() bool { return strings.Contains(ts.ReadFile(args[0]), args[1]) }))
		}),
		"release": on(func(s *scenario, name string) error { return s.Release(name) }),
		"stuck":   plain(0, 0, cmdStuck),
		"signal":  plain(1, 1, cmdSignal),
		"busy":    plain(1, 1, cmdBusy),
		"idle":    plain(1, 1, cmdIdle),
		"calls":   listing(func(s *scenario) ([]string, error) { return s.NewCalls() }),
		"calls-in-any-order": listing(func(s *scenario) ([]string, error) {
			lines, err := s.NewCalls()
			slices.Sort(lines)
			return lines, err
		}),
		"records":  listing(func(*scenario) ([]string, error) { return sandbox.Records(sandbox.RecordDir) }),
		"links":    listing(func(*scenario) ([]string, error) { return pod.Links(pod.Path) }),
		"defaults": listing(func(*scenario) ([]string, error) { return pod.Defaults(pod.Path) }),
	}
}

// plain makes a command of a function that takes a number of arguments.
func plain(least, most int, f func(*testscript.TestScript, []string)) command {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) < least || len(args) > most {
			ts.Fatalf("wrong usage: see the package comment")
		}
		f(ts, args)
	}
}

// listing makes a command that compares lines with a file, or with nothing.
func listing(lines func(*scenario) ([]string, error)) command {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg != (len(args) == 0) || len(args) > 1 {
			ts.Fatalf("wrong usage: a file, or ! and no file")
		}
		got, err := lines(state(ts))
		ts.Check(err)
		text, name, want := strings.Join(append(got, ""), "\n"), "nothing", ""
		if !neg {
			name, want = args[0], ts.ReadFile(args[0])
		}
		if want = strings.TrimLeft(want, "\n"); text != want {
			ts.Fatalf("%s", diff.Diff(name, []byte(want), "got", []byte(text)))
		}
	}
}

func cmdError(ts *testscript.TestScript, args []string) {
	ts.Check(sandbox.CheckError(ts.ReadFile("stdout"), args[0], strings.Join(args[1:], "")))
}

func cmdDetails(ts *testscript.TestScript, args []string) {
	e, err := sandbox.DecodeError(ts.ReadFile("stdout"))
	ts.Check(err)
	ts.Check(sandbox.Match(args[0], e.Details))
}

// cmdRefuses reports every line of the table that is wrong, not only the first.
func cmdRefuses(ts *testscript.TestScript, args []string) {
	wrong, rows := 0, 0
	for _, line := range strings.Split(ts.ReadFile(args[0]), "\n") {
		if strings.TrimSpace(line) == "" || line[0] == '#' {
			continue
		}
		row := strings.SplitN(line, " | ", 3)
		if len(row) != 3 {
			ts.Fatalf("not CODE | REGEXP | CONF: %s", line)
		}
		rows++
		err := refused(ts, row)
		if called, logErr := state(ts).NewCalls(); logErr != nil || len(called) > 0 {
			err = errors.Join(fmt.Errorf("called: %v", called), logErr)
		}
		if err != nil {
			ts.Logf("%s\n\t%v", line, err)
			wrong++
		}
	}
	if wrong > 0 || rows == 0 {
		ts.Fatalf("%d of %d wrong", wrong, rows)
	}
}

// refused runs ADD as the command cni does, without a page of log each time.
func refused(ts *testscript.TestScript, row []string) error {
	cmd := exec.Command(ts.Getenv("MULTUS"))
	cmd.Stdin = strings.NewReader(row[2])
	cmd.Env = state(ts).Env("ADD")
	stdout, err := cmd.Output()
	if err == nil {
		return errors.New("accepted")
	}
	return sandbox.CheckError(string(stdout), row[0], row[1])
}

func cmdSameEnv(ts *testscript.TestScript, args []string) {
	without := func(text string) []byte {
		lines := strings.SplitAfter(text, "\n")
		return []byte(strings.Join(slices.DeleteFunc(lines, func(line string) bool {
			key, _, _ := strings.Cut(line, "=")
			return slices.Contains(args[1:], key)
		}), ""))
	}
	got := without(ts.ReadFile(filepath.Join("got", args[0]+".env")))
	want := without(ts.ReadFile(".given.env"))
	if !bytes.Equal(got, want) {
		ts.Fatalf("%s", diff.Diff("multus's environment", want, args[0], got))
	}
}

func cmdCmpJSON(ts *testscript.TestScript, args []string) {
	var texts [2]bytes.Buffer
	for i, name := range args {
		if err := json.Compact(&texts[i], []byte(ts.ReadFile(name))); err != nil {
			ts.Fatalf("%s is not one JSON document: %v", name, err)
		}
	}
	if !bytes.Equal(texts[0].Bytes(), texts[1].Bytes()) {
		ts.Fatalf("%s and %s differ:\n%s\n%s", args[0], args[1], texts[0].Bytes(), texts[1].Bytes())
	}
}

func cmdSnapshot(ts *testscript.TestScript, _ []string) {
	text, err := pod.Snapshot(pod.Path)
	ts.Check(err)
	fmt.Fprint(ts.Stdout(), text)
}

func cmdNetns(ts *testscript.TestScript, args []string) {
	if args[0] == "-d" {
		ts.Check(pod.Delete(args[1]))
		return
	}
	ts.Check(pod.Make(args[0]))
}
