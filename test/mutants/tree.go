// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// verdict is what became of a mutation.
type verdict string

const (
	caught   verdict = "caught"
	survived verdict = "SURVIVED"
	broken   verdict = "BROKEN"
)

// limit ends a test that a mutation makes hang.
const limit = "5m"

// tree is the copy of the project in which mutations are made.
type tree struct {
	root    string
	plugins string           // the reference plugins, which no mutation changes
	green   map[string]error // by directory and test: how it ended without a mutation
	built   map[string]bool  // by directory: its tests were compiled without a mutation
}

// copy takes what is compiled or read by a test, and not what is built.
func (t *tree) copy(from string) error {
	for _, name := range []string{"build", "go.mod", "go.sum", "cmd", "pkg", "vendor", "test", "doc", "README.md"} {
		out, err := exec.Command("cp", "-R", filepath.Join(from, name), t.root).CombinedOutput()
		if err != nil {
			return fmt.Errorf("copy %s: %w: %s", name, err, out)
		}
	}
	return nil
}

// try makes a mutation, runs its test and takes the mutation back. The details
// explain a verdict of broken.
func (t *tree) try(m mutation) (v verdict, details string) {
	if err := t.withoutMutation(m); err != nil {
		return broken, fmt.Sprintf("it fails without the mutation: %v\n", err)
	}
	undo, err := m.apply(t.root)
	if err != nil {
		return broken, err.Error() + "\n"
	}
	defer func() {
		if err := undo(); err != nil {
			v, details = broken, err.Error()+"\n"
		}
	}()
	tests := filepath.Join(t.root, "bin", "mutated.test")
	if err := t.compile(m.dir, tests); err != nil {
		return broken, fmt.Sprintf("it does not compile: %v\n", err)
	}
	if err := t.test(m, tests); err != nil {
		return caught, ""
	}
	return survived, ""
}

// withoutMutation runs the mutation's test on the code as it is, once for all
// mutations that have the same test.
func (t *tree) withoutMutation(m mutation) error {
	name := m.dir + " " + m.test
	if err, ok := t.green[name]; ok {
		return err
	}
	tests := filepath.Join(t.root, "bin", strings.ReplaceAll(m.dir, "/", "-")+".test")
	if isModule(m.dir) || !t.built[m.dir] { // a mutation before has left its multus
		if err := t.compile(m.dir, tests); err != nil {
			return fmt.Errorf("compile: %w", err)
		}
		t.built[m.dir] = true
	}
	t.green[name] = t.test(m, tests)
	return t.green[name]
}

// compile builds the tests of a directory and, for those of another module,
// multus, so that test fails only when a test does. Without debugging
// information they are linked in half the time.
func (t *tree) compile(dir, tests string) error {
	var out []byte
	var err error
	if isModule(dir) {
		out, err = t.command(".", "go", "build", "-o", "bin/multus", "./cmd/multus").CombinedOutput()
	}
	if err == nil {
		out, err = t.command(dir, "go", "test", "-c", "-ldflags", "-s -w", "-o", tests, ".").CombinedOutput()
	}
	if err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
}

// test runs the mutation's test. No test by that name is an error too.
func (t *tree) test(m mutation, tests string) error {
	out, err := t.command(m.dir, tests, "-test.timeout", limit, "-test.run", m.test).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	if strings.Contains(string(out), "no tests to run") {
		return fmt.Errorf("no test of %s matches %s", m.dir, m.test)
	}
	return nil
}

// isModule reports whether a directory is of a module of its own, whose tests
// run multus as a process.
func isModule(dir string) bool { return strings.HasPrefix(dir, "test/") }

// command is one in a directory of the tree. A module below test/ has no vendor
// directory.
func (t *tree) command(dir, name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir = filepath.Join(t.root, dir)
	flags := "-mod=vendor"
	if isModule(dir) {
		flags = "-mod=readonly"
	}
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS="+flags,
		"MULTUS="+filepath.Join(t.root, "bin/multus"), "CNI_PLUGINS="+t.plugins)
	return cmd
}
