// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package record

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"multus-cni/pkg/safefile"
)

// fileMode is that of a record: a delegate's configuration may hold a secret.
const fileMode = 0o600

// Store is the directory of the records. It locks nothing: whoever changes the
// record of an attachment must hold the attachment's lock.
//
// Methods that take a Key or a record return ErrNoName when it cannot be turned
// into a file name. Errors of the file system are wrapped: errors.Is finds
// fs.ErrPermission, unix.EROFS and unix.ENOSPC in them.
type Store struct{ Dir string }

// Prepare makes the directory, mode 0700, and checks that it is safe to work
// in: whoever can write to it chooses what runs as root on DEL. It returns
// ErrUnsafe when it is not.
func (s Store) Prepare() error {
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return fmt.Errorf("make the directory of the records: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Stat(s.Dir, &st); err != nil {
		return fmt.Errorf("stat %s: %w", s.Dir, err)
	}
	if int(st.Uid) != os.Geteuid() || st.Mode&0o022 != 0 {
		return fmt.Errorf("%w: %s is owned by uid %d with mode %04o; make it owned by uid %d and writable by nobody else",
			ErrUnsafe, s.Dir, st.Uid, st.Mode&0o7777, os.Geteuid())
	}
	return nil
}

// Probe prepares the directory and checks that a record could be written. All
// probes use one file name, so that the next one removes what a killed one has
// left. When two of them run at once, one may find that the file exists, or no
// longer exists; that too shows that files can be written.
func (s Store) Probe() error {
	if err := s.Prepare(); err != nil {
		return err
	}
	probe := filepath.Join(s.Dir, "probe")
	err := safefile.Write(probe, probe+tempSuffix, []byte("{}\n"), fileMode)
	if removeErr := os.Remove(probe); err == nil {
		err = removeErr
	}
	if err != nil && !errors.Is(err, fs.ErrExist) && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("write to the directory of the records: %w", err)
	}
	return nil
}

// Path returns where the record of an attachment is, for messages. It is ""
// when the key makes no file name.
func (s Store) Path(key Key) string {
	path, _ := s.path(key, "")
	return path
}

// LockPath returns where the lock of an attachment is.
func (s Store) LockPath(key Key) (string, error) { return s.path(key, lockSuffix) }

func (s Store) path(key Key, suffix string) (string, error) {
	name, err := key.fileName()
	if err != nil {
		return "", err
	}
	return filepath.Join(s.Dir, name+suffix), nil
}

// Load reads the record of an attachment. It returns ErrNotExist when there is
// none, a *NewerError for one of a newer format, and a *DamagedError for one
// that cannot be read.
func (s Store) Load(key Key) (*Record, error) {
	path, err := s.path(key, "")
	if err != nil {
		return nil, err
	}
	text, err := safefile.Read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotExist
	}
	if err != nil {
		return nil, unreadable(path, err)
	}
	r, err := decode(text, key)
	var newer newerFormat
	switch {
	case errors.As(err, &newer):
		return nil, &NewerError{path, int(newer)}
	case err != nil:
		return nil, &DamagedError{path, err}
	}
	return r, nil
}

// Save writes the record whole and replaces the one before, so that nobody
// ever reads a part of one. It refuses a record that Load would refuse.
func (s Store) Save(r *Record) error {
	r.Format = formatVersion
	path, err := s.path(r.Key(), "")
	if err != nil {
		return err
	}
	if err := r.check(); err != nil {
		return fmt.Errorf("encode the record: %w", err)
	}
	text, err := encode(r, "  ")
	if err != nil {
		return fmt.Errorf("encode the record: %w", err)
	}
	if err := safefile.Write(path, path+tempSuffix, text, fileMode); err != nil {
		return fmt.Errorf("write the record: %w", err)
	}
	return nil
}

// AppendResult appends the state of r.Delegates[i] to the saved record: its
// result, the versions that its plugins were run with, and whether its interface
// was seen. The cost does not depend on the number of delegates. After an error
// the saved record is as it was before.
func (s Store) AppendResult(r *Record, i int) error {
	path, err := s.path(r.Key(), "")
	if err != nil {
		return err
	}
	text, err := encode(newLine(i, &r.Delegates[i]), "")
	if err != nil {
		return fmt.Errorf("encode the result of delegate %d: %w", i, err)
	}
	if err := appendTo(path, text); err != nil {
		return fmt.Errorf("append to the record: %w", err)
	}
	return nil
}

func appendTo(path string, text []byte) error {
	file, err := safefile.Open(path, unix.O_WRONLY|unix.O_APPEND|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	n, err := file.Write(text)
	if err != nil && n > 0 { // the disk is full: the next line must not follow half of this one
		if info, statErr := file.Stat(); statErr == nil {
			err = errors.Join(err, file.Truncate(info.Size()-int64(n)))
		}
	}
	return errors.Join(err, file.Close())
}

// Remove deletes the record of an attachment. It is not an error if there is
// none.
func (s Store) Remove(key Key) error { return s.remove(key, "") }

// RemoveTemp deletes the temporary file that a killed Save has left for an
// attachment.
func (s Store) RemoveTemp(key Key) error { return s.remove(key, tempSuffix) }

func (s Store) remove(key Key, suffix string) error {
	path, err := s.path(key, suffix)
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the record: %w", err)
	}
	return nil
}
