// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/rogpeppe/go-internal/testscript"
)

const (
	// patience is how long a scenario waits for what must happen.
	patience = 30 * time.Second
	// lookOn is how long `stuck` looks on at least. No machine is slow enough to
	// make it fail a right multus.
	lookOn = 200 * time.Millisecond
	poll   = 2 * time.Millisecond
)

// scenario is the state of one script.
type scenario struct {
	work string // $WORK
	dir  string // $FAKE: the log of the calls, and the fifos of those that are held
	seen int    // how many lines of the log `calls` has shown
	busy map[string]*os.File
}

type command = func(*testscript.TestScript, bool, []string)

// commands are described in the package comment.
var commands = map[string]command{
	"error":    plain(1, 2, cmdError),
	"details":  plain(1, 1, cmdDetails),
	"refuses":  plain(1, 1, cmdRefuses),
	"same-env": plain(1, 9, cmdSameEnv),
	"cmpjson":  plain(2, 2, cmdCmpJSON),
	"snapshot": plain(0, 0, cmdSnapshot),
	"pod":      plain(2, 9, cmdPod),
	"netns":    plain(1, 2, cmdNetns),
	"plugins":  plain(1, 9, func(ts *testscript.TestScript, args []string) { ts.Check(state(ts).install(args)) }),
	"await":    plain(1, 1, func(ts *testscript.TestScript, args []string) { state(ts).await(ts, args[0]) }),
	"release":  plain(1, 1, func(ts *testscript.TestScript, args []string) { state(ts).release(ts, args[0]) }),
	"stuck":    plain(0, 0, cmdStuck),
	"signal":   plain(1, 1, cmdSignal),
	"busy":     plain(1, 1, cmdBusy),
	"idle":     plain(1, 1, cmdIdle),
	"calls":    listing(func(s *scenario) ([]string, error) { return s.newCalls() }),
	"records":  listing(func(s *scenario) ([]string, error) { return recordLines(recordDir) }),
	"links":    listing(func(s *scenario) ([]string, error) { return linkLines("/run/netns/pod") }),
	"defaults": listing(func(s *scenario) ([]string, error) { return defaultLines("/run/netns/pod") }),
}

type stateKey struct{}

func state(ts *testscript.TestScript) *scenario { return ts.Value(stateKey{}).(*scenario) }

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

// decodeError decodes stdout, which must be nothing but one CNI error.
func decodeError(stdout string) (*cniError, error) {
	e := &cniError{}
	decoder := json.NewDecoder(strings.NewReader(stdout))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(e); err != nil {
		return nil, fmt.Errorf("stdout is no CNI error: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("stdout is more than one document")
	}
	if e.CNIVersion == "" || e.Code == 0 || e.Msg == "" {
		return nil, errors.New("stdout is an error that lacks cniVersion, code or msg")
	}
	return e, nil
}

type cniError struct {
	CNIVersion string
	Code       int
	Msg        string
	Details    string
}

func cmdError(ts *testscript.TestScript, args []string) {
	ts.Check(checkError(ts.ReadFile("stdout"), args[0], strings.Join(args[1:], "")))
}

func checkError(stdout, wantCode, pattern string) error {
	e, err := decodeError(stdout)
	if err != nil {
		return err
	}
	if strconv.Itoa(e.Code) != wantCode {
		return fmt.Errorf("code %d, want %s: %s", e.Code, wantCode, e.Msg)
	}
	return match(pattern, e.Msg)
}

func cmdDetails(ts *testscript.TestScript, args []string) {
	e, err := decodeError(ts.ReadFile("stdout"))
	ts.Check(err)
	ts.Check(match(args[0], e.Details))
}

func match(pattern, text string) error {
	ok, err := regexp.MatchString(pattern, text)
	if err == nil && !ok {
		err = fmt.Errorf("%q does not match %q", text, pattern)
	}
	return err
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
		if called, logErr := state(ts).newCalls(); logErr != nil || len(called) > 0 {
			err = fmt.Errorf("called: %v %v", called, logErr)
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
	cmd.Env = []string{"CNI_COMMAND=ADD"}
	for _, key := range []string{"CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH", "FAKE", "WORK", "GOCOVERDIR"} {
		cmd.Env = append(cmd.Env, key+"="+ts.Getenv(key))
	}
	stdout, err := cmd.Output()
	if err == nil {
		return errors.New("accepted")
	}
	return checkError(string(stdout), row[0], row[1])
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
	text, err := snapshot("/run/netns/pod")
	ts.Check(err)
	fmt.Fprint(ts.Stdout(), text)
}

func cmdPod(ts *testscript.TestScript, args []string) {
	ts.Check(change("/run/netns/pod", args[0], args[1:]))
}

func cmdNetns(ts *testscript.TestScript, args []string) {
	if args[0] == "-d" {
		ts.Check(deleteNetns(args[1]))
		return
	}
	ts.Check(makeNetns(args[0]))
}

// recordLines lists a folder as ls does: mode and name.
func recordLines(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	lines := make([]string, len(entries))
	for i, entry := range entries {
		info, err := entry.Info()
		if err != nil {
			return nil, err
		}
		lines[i] = info.Mode().String() + " " + entry.Name()
	}
	return lines, err
}
