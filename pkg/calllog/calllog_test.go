// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package calllog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func lines(t *testing.T, path string) []map[string]any {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var all []map[string]any
	for _, line := range bytes.Split(bytes.TrimSpace(text), []byte("\n")) {
		var fields map[string]any
		if err := json.Unmarshal(line, &fields); err != nil {
			t.Fatalf("torn line %q: %v", line, err)
		}
		all = append(all, fields)
	}
	return all
}

func TestLevels(t *testing.T) {
	tests := map[string][]string{
		"error": {"bad"},
		"":      {"good", "bad"},
		"info":  {"good", "bad"},
		"debug": {"good begins", "good", "bad"},
	}
	for level, want := range tests {
		t.Run(level, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "log")
			l, err := Open(path, level, "demo")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			l.Begins("good")
			l.Succeeded("good", 1500*time.Microsecond)
			l.Failed("bad", 0, 11, "no\x1b[31m addresses", slog.String("container", "c1"))
			var got []string
			for _, fields := range lines(t, path) {
				got = append(got, fields["msg"].(string))
			}
			if !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
			last := lines(t, path)[len(want)-1]
			if last["container"] != "c1" || last["code"] != 11.0 || last["error"] != "no\x1b[31m addresses" || last["outcome"] != "failed" {
				t.Errorf("got %v", last)
			}
		})
	}
}

func TestNilLogDoesNothing(*testing.T) {
	var l *Log
	l.Begins("x", slog.String("a", "b"))
	l.Succeeded("x", 0)
	l.Close()
}

func TestRotateOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, make([]byte, maxSize), 0o600); err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for i := range 20 { // each as a process of its own would
		group.Add(1)
		go func() {
			defer group.Done()
			l, err := Open(path, "", "demo")
			if err != nil {
				t.Error(err)
				return
			}
			defer l.Close()
			l.Succeeded(fmt.Sprint(i), 0)
		}()
	}
	group.Wait()
	old, err := os.Stat(path + ".1")
	if err != nil || old.Size() < maxSize {
		t.Fatalf("got %v, %v, want the full file aside", old, err)
	}
	// A call that meets another one in the middle of this writes to the full file.
	kept, err := os.ReadFile(path + ".1")
	if err != nil {
		t.Fatal(err)
	}
	if got := len(lines(t, path)) + bytes.Count(kept[maxSize:], []byte{'\n'}); got != 20 {
		t.Errorf("got %d lines in both files, want 20", got)
	}
}

func TestOpenFollowsNoLink(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "log")
	for _, target := range []string{"there", "not-there"} {
		if err := errors.Join(os.WriteFile(filepath.Join(dir, "there"), nil, 0o600), os.Symlink(target, path)); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(path, "", "demo"); !errors.Is(err, unix.ELOOP) {
			t.Errorf("a link to what is %s: got error %v, want ELOOP", target, err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "not-there")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the link was followed: %v", err)
	}
}

// A log shipper may hold its lock for as long as it likes.
func TestAFullLogThatIsLockedKeepsNobodyWaiting(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, make([]byte, maxSize), 0o600); err != nil {
		t.Fatal(err)
	}
	shipper, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer shipper.Close()
	if err := unix.Flock(int(shipper.Fd()), unix.LOCK_SH); err != nil {
		t.Fatal(err)
	}
	l, err := Open(path, "", "demo") // would never return
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := os.Stat(path + ".1"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the log was renamed while it was locked: %v", err)
	}
}
