// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Package safefile reads and replaces files whose content decides what runs as
// root: records, confs, binaries.
//
// It checks the file, not the directories above it: whoever can write to one
// of those can still replace the file.
package safefile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// ErrIrregular means that a path leads to something other than a regular file:
// a directory, a fifo, a device.
var ErrIrregular = errors.New("not a regular file")

// Open opens a file as open(2) does, with O_CLOEXEC. It does not use
// os.OpenFile, which tries to register each file with the runtime's poller:
// three system calls for each file of an ADD.
func Open(path string, flags int, mode fs.FileMode) (*os.File, error) {
	fd, err := open(path, flags, mode)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

func open(path string, flags int, mode fs.FileMode) (int, error) {
	for {
		fd, err := unix.Open(path, flags|unix.O_CLOEXEC, uint32(mode.Perm()))
		switch {
		case err == nil:
			return fd, nil
		case !errors.Is(err, unix.EINTR):
			return 0, &fs.PathError{Op: "open", Path: path, Err: err}
		}
	}
}

// Check returns the state of an open file, and an error when anybody but the
// user who runs multus owns it or can write to it. The error is ErrIrregular
// for what is not a regular file.
func Check(fd int) (unix.Stat_t, error) {
	var st unix.Stat_t
	switch err := unix.Fstat(fd, &st); {
	case err != nil:
		return st, fmt.Errorf("fstat: %w", err)
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return st, ErrIrregular
	case int(st.Uid) != os.Geteuid() || st.Mode&0o022 != 0:
		return st, fmt.Errorf("unsafe file: owned by uid %d with mode %04o, so that others can write to it",
			st.Uid, st.Mode&0o7777)
	}
	return st, nil
}

// Read returns the content of a file that passes Check. It follows no symbolic
// link and does not wait for the writer of a fifo.
func Read(path string) ([]byte, error) {
	fd, err := open(path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	st, err := Check(fd)
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	text.Grow(int(st.Size) + bytes.MinRead) // read at once, the end of the file included
	if _, err := text.ReadFrom(reader(fd)); err != nil {
		return nil, &fs.PathError{Op: "read", Path: path, Err: err}
	}
	return text.Bytes(), nil
}

// reader reads from a descriptor. An os.File would hand one that was opened
// with O_NONBLOCK to the poller.
type reader int

func (r reader) Read(p []byte) (int, error) {
	for {
		n, err := unix.Read(int(r), p)
		switch {
		case err == nil && n == 0 && len(p) > 0:
			return 0, io.EOF
		case err == nil:
			return n, nil
		case !errors.Is(err, unix.EINTR):
			return 0, err
		}
	}
}

// Write replaces the file at path: it writes the text to temp and renames that,
// so that a reader gets the old content or the new one and never a part. The
// file has exactly this mode, whatever the umask is.
//
// temp must be in the same directory, and no other process may use it at the
// same time. A file of that name which a killed process has left is removed.
// On an error temp is removed and path is as it was.
func Write(path, temp string, text []byte, mode fs.FileMode) error {
	if err := create(temp, text, mode); err != nil {
		_ = unix.Unlink(temp)
		return err
	}
	// os.Rename looks first whether path is a directory, rename(2) refuses that.
	if err := unix.Rename(temp, path); err != nil {
		_ = unix.Unlink(temp)
		return &os.LinkError{Op: "rename", Old: temp, New: path, Err: err}
	}
	return nil
}

func create(path string, text []byte, mode fs.FileMode) error {
	const flags = unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL
	file, err := Open(path, flags, mode)
	if errors.Is(err, fs.ErrExist) {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		file, err = Open(path, flags, mode)
	}
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	if err == nil {
		err = file.Chmod(mode)
	}
	return errors.Join(err, file.Close())
}

var _ io.Reader = reader(0)
