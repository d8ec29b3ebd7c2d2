// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package pluginexec

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMain lets the test binary be the plugin: the variable PLUGIN says what it
// does, ARG with what.
func TestMain(m *testing.M) {
	act, found := plugins()[os.Getenv("PLUGIN")]
	if !found {
		os.Exit(m.Run())
	}
	// Whatever is wrong with the test, no plugin outlives it for long. (With
	// unix.Exit: os.Exit writes to stderr under go test -cover.)
	time.AfterFunc(time.Minute, func() { unix.Exit(99) })
	if err := act(os.Getenv("ARG")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		unix.Exit(98)
	}
	unix.Exit(0)
}

func plugins() map[string]func(arg string) error {
	return map[string]func(string) error{
		"echo":   func(string) error { _, err := io.Copy(os.Stdout, os.Stdin); return err },
		"print":  func(arg string) error { _, err := os.Stdout.WriteString(arg); return err },
		"fail":   fail,
		"spew":   spew,
		"chat":   func(arg string) error { return repeat(os.Stderr, arg) },
		"reopen": reopen,
		"epoll":  func(string) error { return echoByEpoll() },
		"deaf": func(arg string) error { // reads nothing, and says so to a writer
			os.Stdin.Close()
			_, err := os.Stdout.WriteString(arg)
			return err
		},
		"files":  func(string) error { return printOpenFiles() },
		"killed": func(string) error { return unix.Kill(os.Getpid(), unix.SIGKILL) },
		"leave":  leave,
		"stay":   func(string) error { select {} },
		"shout": func(string) error { // ends when nobody can hear it
			for {
				fmt.Fprintln(os.Stdout, "out")
				if _, err := fmt.Fprintln(os.Stderr, "err"); err != nil {
					return err
				}
			}
		},
		"term":   term,
		"orphan": orphan,
	}
}

func fail(arg string) error {
	fmt.Print(arg)
	fmt.Fprintln(os.Stderr, "why")
	unix.Exit(3)
	return nil
}

func spew(arg string) error {
	size, err := strconv.Atoi(arg)
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(bytes.Repeat([]byte("x"), size))
	return err
}

// repeat writes numbered lines.
func repeat(w io.Writer, count string) error {
	lines, err := strconv.Atoi(count)
	for i := range lines {
		fmt.Fprintf(w, "line %d\n", i)
	}
	return err
}

// reopen uses its stdio as a shell script may: `cat /dev/stdin`,
// `echo >/dev/stdout`.
func reopen(string) error {
	for fd := range uintptr(3) {
		if flags, err := unix.FcntlInt(fd, unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK != 0 {
			return fmt.Errorf("descriptor %d does not block: flags %#x, %w", fd, flags, err)
		}
	}
	text, err := os.ReadFile("/dev/stdin")
	if err != nil {
		return err
	}
	for _, piece := range [][]byte{text[:len(text)/2], text[len(text)/2:]} {
		for _, path := range []string{"/dev/stdout", "/dev/stderr"} {
			if err := os.WriteFile(path, piece, 0); err != nil {
				return err
			}
		}
	}
	return nil
}

func echoByEpoll() error {
	epoll, err := unix.EpollCreate1(0)
	if err != nil {
		return err
	}
	if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, 0, &unix.EpollEvent{Events: unix.EPOLLIN}); err != nil {
		return fmt.Errorf("epoll on stdin: %w", err)
	}
	if _, err := unix.EpollWait(epoll, make([]unix.EpollEvent, 1), -1); err != nil {
		return err
	}
	_, err = io.Copy(os.Stdout, os.Stdin)
	return err
}

func printOpenFiles() error {
	links, err := filepath.Glob("/proc/self/fd/*")
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil {
			fmt.Printf("%s %s\n", filepath.Base(link), target)
		}
	}
	return err
}

// leave leaves a process behind that does what arg says, names it on stderr, and
// prints a result.
func leave(arg string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	daemon := exec.Command(self)
	daemon.Env = []string{"PLUGIN=" + arg}
	daemon.Stdout, daemon.Stderr = os.Stdout, os.Stderr
	if err := daemon.Start(); err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "daemon", daemon.Process.Pid)
	fmt.Print("result\n")
	return nil
}

// term waits for SIGTERM, and prints arg then.
func term(arg string) error {
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM)
	fmt.Fprintln(os.Stderr, "ready")
	<-terminated
	fmt.Print(arg)
	return nil
}

// orphan is the real plugin behind a wrapper script: it outlives the wrapper,
// and then writes who its parent is by now to the file arg. It waits for a SIGTERM first if WAIT is set.
func orphan(arg string) error {
	signal.Ignore(syscall.SIGPIPE)
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM)
	fmt.Fprintln(os.Stderr, "ready")
	if os.Getenv("WAIT") != "" {
		<-terminated
	}
	for wrapper := os.Getenv("WRAPPER"); strconv.Itoa(os.Getppid()) == wrapper; {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(100 * time.Millisecond) // whoever does not wait for it returns now
	return os.WriteFile(arg, fmt.Append(nil, os.Getppid()), 0o600)
}

// script makes a shell script that is run as a plugin. $SELF is the test binary.
func script(t *testing.T, lines ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "plugin")
	text := "#!/bin/sh\n" + strings.Join(lines, "\n") + "\n"
	if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func self(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// whenReady is a stderr that calls a function when a plugin has written "ready".
type whenReady func()

func (f whenReady) Write(text []byte) (int, error) {
	if strings.Contains(string(text), "ready") {
		f()
	}
	return len(text), nil
}

// bothWays runs a test with a pidfd, and as on a kernel without.
func bothWays(t *testing.T, test func(t *testing.T, e *Exec)) {
	t.Helper()
	t.Run("pidfd", func(t *testing.T) { test(t, &Exec{Stderr: io.Discard}) })
	t.Run("none", func(t *testing.T) {
		test(t, &Exec{Stderr: io.Discard, pidfdOpen: func(int, int) (int, error) { return -1, unix.ENOSYS }})
	})
}
