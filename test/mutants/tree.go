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
	green   map[string]error // by test: how it ended without a mutation
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
	if out, err := t.compile(m); err != nil {
		return broken, fmt.Sprintf("it does not compile: %v\n%s", err, out)
	}
	if err := t.test(m); err != nil {
		return caught, ""
	}
	return survived, ""
}

// compile builds the tests of a package and, for those of another module,
// multus, so that test fails only when a test does.
func (t *tree) compile(m mutation) (out []byte, err error) {
	if isModule(m.dir) {
		out, err = t.command(".", "go", "build", "-o", "bin/multus", "./cmd/multus").CombinedOutput()
		if err != nil {
			return out, err
		}
	}
	return t.command(m.dir, "go", "test", "-c", "-o", t.tests(), ".").CombinedOutput()
}

// tests is where compile puts the tests.
func (t *tree) tests() string { return filepath.Join(t.root, "bin", "tests") }

// withoutMutation runs the mutation's test on the code as it is, once for all
// mutations that have the same test.
func (t *tree) withoutMutation(m mutation) error {
	name := m.dir + " " + m.test
	if _, ok := t.green[name]; !ok {
		if out, err := t.compile(m); err != nil {
			return fmt.Errorf("compile: %w\n%s", err, out)
		}
		t.green[name] = t.test(m)
	}
	return t.green[name]
}

// test runs the mutation's test, which compile has built. No test by that name
// is an error too.
func (t *tree) test(m mutation) error {
	out, err := t.command(m.dir, t.tests(), "-test.timeout", limit, "-test.run", m.test).CombinedOutput()
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
