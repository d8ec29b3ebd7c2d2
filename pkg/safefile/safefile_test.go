// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package safefile

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// onlyFile checks that the directory holds that one file, with this content.
func onlyFile(t *testing.T, path, text string, mode fs.FileMode) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 || entries[0].Name() != filepath.Base(path) {
		t.Errorf("got files %v, %v, want %s alone", entries, err, path)
	}
	got, err := os.ReadFile(path)
	if err != nil || string(got) != text {
		t.Errorf("got %q, %v, want %q", got, err, text)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != mode {
		t.Errorf("got %v, %v, want mode %v", info, err, mode)
	}
}

func TestWriteReplacesWhateverTheUmask(t *testing.T) {
	defer unix.Umask(unix.Umask(0o077))
	dir := t.TempDir()
	path, temp := filepath.Join(dir, "f"), filepath.Join(dir, "f.tmp")
	for _, text := range []string{"long: " + strings.Repeat("x", 1<<16), "short"} {
		if err := os.WriteFile(temp, []byte(strings.Repeat("killed", 1<<16)), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := Write(path, temp, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
		onlyFile(t, path, text, 0o755)
	}
}

// Who has the old file open, as a process that executes it has, keeps it.
func TestWriteMakesANewFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	if err := Write(path, path+".tmp", []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := Write(path, path+".tmp", []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	var text [4]byte
	if n, _ := file.Read(text[:]); string(text[:n]) != "old" {
		t.Errorf("got %q, want the old content", text[:n])
	}
	onlyFile(t, path, "new", 0o600)
}

func TestWriteThatFailsLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "sub")
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Write(path, path+".tmp", []byte("x"), 0o600); !errors.Is(err, unix.EISDIR) {
		t.Errorf("got error %v, want EISDIR", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("got files %v, %v, want the directory alone", entries, err)
	}
	if err := Write(filepath.Join(dir, "none/f"), filepath.Join(dir, "none/f.tmp"), nil, 0o600); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got error %v, want fs.ErrNotExist", err)
	}
}

func TestRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	for _, size := range []int{0, 1, 511, 512, 513, 1 << 20} {
		want := bytes.Repeat([]byte{'x'}, size)
		if err := os.WriteFile(path, want, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := Read(path); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes: got %d, %v", size, len(got), err)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	tests := map[string]struct {
		make func() error
		want error // nil for any
	}{
		"nothing":               {func() error { return nil }, fs.ErrNotExist},
		"a directory":           {func() error { return os.Mkdir(path, 0o700) }, ErrIrregular},
		"a fifo":                {func() error { return unix.Mkfifo(path, 0o600) }, ErrIrregular},
		"a link":                {func() error { return os.Symlink("/dev/null", path) }, unix.ELOOP},
		"writable by a group":   {func() error { return errors.Join(os.WriteFile(path, nil, 0o600), os.Chmod(path, 0o620)) }, nil},
		"writable by everybody": {func() error { return errors.Join(os.WriteFile(path, nil, 0o600), os.Chmod(path, 0o602)) }, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if err := test.make(); err != nil {
				t.Fatal(err)
			}
			defer os.Remove(path)
			if _, err := Read(path); err == nil || test.want != nil && !errors.Is(err, test.want) {
				t.Errorf("got error %v, want %v", err, test.want)
			}
		})
	}
}
