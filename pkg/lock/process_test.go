// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package lock

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"
)

// The test binary is also the processes that the tests start: its environment
// then names what to be.
const roleVariable = "LOCK_TEST_ROLE"

func TestMain(m *testing.M) {
	role, ok := map[string]func(path string) error{
		"holder":       beHolder,
		"crasher":      beCrasher,
		"silentcrash":  beSilentCrasher,
		"plugin":       bePlugin,
		"outer plugin": beOuterPlugin,
		"nested":       beNested,
		"counter":      beCounter,
	}[os.Getenv(roleVariable)]
	if !ok {
		os.Exit(m.Run())
	}
	if err := role(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// process is a running test binary with a role.
type process struct {
	cmd    *exec.Cmd
	stdin  *os.File
	stdout *bufio.Reader
}

// start starts one and waits until it has printed a line, which it returns.
// The process ends when its stdin is closed, at the latest with the test.
func start(t *testing.T, role, path string, inherited ...*os.File) (*process, string) {
	t.Helper()
	p := &process{cmd: command(role, path, inherited...)}
	stdin, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	p.cmd.Stdin, p.stdin = stdin, w
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.end(); _ = p.cmd.Process.Kill(); _ = p.cmd.Wait() })
	p.stdout = bufio.NewReader(stdout)
	line, err := p.stdout.ReadString('\n')
	if err != nil {
		t.Fatalf("%s: %v", role, err)
	}
	return p, line
}

func command(role, path string, inherited ...*os.File) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", path)
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	cmd.Stderr = os.Stderr
	cmd.ExtraFiles = inherited
	return cmd
}

func (p *process) end() { _ = p.stdin.Close() }

// kill kills the process alone: what it has started goes on, with its stdin.
func (p *process) kill(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = p.cmd.Wait() // an error: it was killed
}

// untilEOF says that the process is ready, and waits for the test.
func untilEOF(line string) error {
	fmt.Println(line)
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// beHolder holds the lock.
func beHolder(path string) error {
	l, err := Acquire(context.Background(), path)
	if err != nil {
		return err
	}
	defer l.Release()
	return untilEOF("held")
}

// beCrasher is a multus that runs a plugin, and is killed meanwhile.
func beCrasher(path string) error { return crash(path, true) }

// beSilentCrasher is one that is killed right after the fork.
func beSilentCrasher(path string) error { return crash(path, false) }

func crash(path string, note bool) error {
	l, err := Acquire(context.Background(), path)
	if err != nil {
		return err
	}
	g := l.Guard()
	file, err := g.Acquire()
	if err != nil {
		return err
	}
	plugin := command("outer plugin", "", file)
	plugin.Stdin = os.Stdin
	ready, err := plugin.StdoutPipe()
	if err != nil {
		return err
	}
	if err := plugin.Start(); err != nil {
		return err
	}
	if note {
		g.Started(plugin.Process.Pid)
	}
	if _, err := bufio.NewReader(ready).ReadString('\n'); err != nil {
		return err
	}
	fmt.Println(plugin.Process.Pid)
	select {} // until it is killed
}

// bePlugin has what it inherits open.
func bePlugin(string) error { return untilEOF("running") }

// beOuterPlugin is a plugin that has started an IPAM plugin, which inherits the
// lock.
func beOuterPlugin(string) error {
	inner := command("plugin", "", os.NewFile(3, "inherited"))
	inner.Stdin = os.Stdin
	ready, err := inner.StdoutPipe()
	if err != nil {
		return err
	}
	if err := inner.Start(); err != nil {
		return err
	}
	if _, err := bufio.NewReader(ready).ReadString('\n'); err != nil {
		return err
	}
	fmt.Println("running")
	return inner.Wait()
}

// beNested is a plugin that works on an attachment itself, once the test says
// so.
func beNested(path string) error {
	fmt.Println("started")
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	l, err := Acquire(ctx, path)
	switch {
	case errors.Is(err, ErrInherited):
		return untilEOF("inherited")
	case err != nil:
		return err
	}
	defer l.Release()
	return untilEOF("held")
}

// beCounter counts in a file beside the lock, in a way that loses numbers when
// two do so at once.
func beCounter(path string) error {
	fmt.Println("started")
	for range countsEach {
		l, err := Acquire(context.Background(), path)
		if err != nil {
			return err
		}
		text, err := os.ReadFile(path + ".count")
		if err != nil {
			return err
		}
		n, err := strconv.Atoi(string(text))
		if err != nil {
			return err
		}
		if err := os.WriteFile(path+".count", strconv.AppendInt(nil, int64(n+1), 10), 0o600); err != nil {
			return err
		}
		l.Release()
	}
	return nil
}

const countsEach = 200
