// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package sandbox

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Suite are the tests of a package, the multus that they test (the one that
// $MULTUS names, as ./build test does, or one built for them), and the fakes.
type Suite struct {
	*testing.M
	dir string
}

// NewSuite prepares for the tests a directory for all temporary files. Where the
// process is not root, it runs itself again as root of a user namespace, and does
// not return.
func NewSuite(m *testing.M) Suite {
	if os.Geteuid() != 0 {
		os.Exit(asRoot())
	}
	return Suite{m, tempDir()}
}

// Run builds the programs and runs the tests.
func (s Suite) Run() int {
	defer os.RemoveAll(s.dir)
	// The tests wait more than they compute. (-parallel still counts.)
	err := flag.Set("test.parallel", "4")
	err = errors.Join(err, s.program("FAKES", ".", "-mod=readonly", "multus-cni/test/fake"))
	if os.Getenv("MULTUS") == "" {
		err = errors.Join(err, s.program("MULTUS", filepath.Join("..", ".."), "-mod=vendor", "./cmd/multus"))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return s.M.Run()
}

// program builds a package in a directory, and makes the variable name the result.
func (s Suite) program(variable, dir, flags, pkg string) error {
	path := filepath.Join(s.dir, strings.ToLower(variable))
	build := exec.Command("go", "build", "-o", path, pkg)
	build.Dir = dir
	build.Env = append(os.Environ(), "GOFLAGS="+flags, "GOWORK=off", "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", path, err, out)
	}
	return os.Setenv(variable, path)
}

// tempDir makes a directory for all temporary files, which goes on Ctrl-C too.
func tempDir() string {
	dir, err := os.MkdirTemp("", "multus-test")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Setenv("TMPDIR", dir)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM)
	go func() {
		<-signals // and become something that makes no more files
		err := unix.Exec("/bin/sh", []string{"sh", "-c", `rm -rf "$0"; exit 1`, dir}, os.Environ())
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}()
	return dir
}

// asRoot runs the tests again as root of a user namespace.
func asRoot() int {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}},
	}
	if err := cmd.Run(); cmd.ProcessState == nil {
		fmt.Fprintf(os.Stderr, "these tests need root, or a user who may create user namespaces: %v\n", err)
		return 1
	}
	return cmd.ProcessState.ExitCode()
}
