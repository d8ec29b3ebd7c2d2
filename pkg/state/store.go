// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

// Package state keeps the record of each attachment, one file for each, and
// sees to it that one process at a time works on an attachment.
//
// Nothing is synced to disk. A record matters as long as the pod's network
// namespace exists, and that does not survive a power cut either.
package state

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

const (
	recordSuffix  = ".json"
	damagedSuffix = ".damaged"
	tempSuffix    = ".tmp"
	lockSuffix    = ".lock"
	// separator stands between the parts of a file name. CNI allows it in
	// none of them, so that no two attachments share a name.
	separator = ":"
)

// ErrNotExist says that an attachment has no record.
var ErrNotExist = errors.New("no record")

// ErrNoName says that an attachment makes no file name: there cannot be a
// record of it.
var ErrNoName = errors.New("no file name for a record")

// ErrUnsafe says that others than the user who runs multus could write to the
// folder of the records.
var ErrUnsafe = errors.New("unsafe folder for the records")

// ErrOwnDelegate says that multus has been started, as a delegate, by a multus
// that works on the very same attachment.
var ErrOwnDelegate = errors.New("multus is its own delegate, for the same network and interface")

// DamagedError says that there is a record that cannot be read.
type DamagedError struct {
	Path string
	Err  error
}

func (e *DamagedError) Error() string { return fmt.Sprintf("record %s: %v", e.Path, e.Err) }

func (e *DamagedError) Unwrap() error { return e.Err }

// Store is the folder of the records. Its methods that take a Key refuse one
// that does not make a file name.
type Store struct{ Dir string }

// Prepare makes the folder, mode 0700, and sees that it is safe to work in:
// whoever can write to it chooses what runs as root on DEL. It returns
// ErrUnsafe when it is not.
func (s Store) Prepare() error {
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return fmt.Errorf("make the folder of the records: %w", err)
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

// path returns where a file of an attachment is.
func (s Store) path(key Key, suffix string) (string, error) {
	for _, part := range []string{key.Network, key.ContainerID, key.IfName} {
		if part == "" || part[0] == '.' || strings.ContainsAny(part, separator+"/\x00") ||
			!utf8.ValidString(part) { // JSON could not hold it
			return "", fmt.Errorf("%w: %q cannot be part of it", ErrNoName, part)
		}
	}
	name := strings.Join([]string{key.Network, key.ContainerID, key.IfName}, separator) + recordSuffix
	if len(name)+len(damagedSuffix) > unix.NAME_MAX {
		return "", fmt.Errorf("%w: the names of network, container and interface are %d bytes too long",
			ErrNoName, len(name)+len(damagedSuffix)-unix.NAME_MAX)
	}
	return filepath.Join(s.Dir, name+suffix), nil
}

// Path returns where the record of an attachment is, for messages. It is ""
// when the key makes no file name.
func (s Store) Path(key Key) string {
	path, _ := s.path(key, "")
	return path
}

// Load reads the record of an attachment. The error is ErrNotExist when there
// is none, and a *DamagedError when it cannot be read.
func (s Store) Load(key Key) (*Record, error) {
	path, err := s.path(key, "")
	if err != nil {
		return nil, err
	}
	text, err := read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotExist
	}
	if err != nil {
		return nil, &DamagedError{path, err}
	}
	record, err := decode(text, key)
	if err != nil {
		return nil, &DamagedError{path, err}
	}
	return record, nil
}

// read returns what is in a record's file, unless somebody else can have put
// it there while the folder was not safe yet: what a record says runs as root.
// It waits for no fifo.
func read(path string) ([]byte, error) {
	file, err := open(path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if _, err := checkOurs(file); err != nil {
		return nil, err
	}
	return io.ReadAll(file)
}

// errIrregular is of what is a folder, a fifo and the like.
var errIrregular = errors.New("it is no regular file")

// checkOurs returns an error for a file that somebody else can write to, and
// how many names the file has.
func checkOurs(file *os.File) (links uint64, err error) {
	var st unix.Stat_t
	switch err := unix.Fstat(int(file.Fd()), &st); {
	case err != nil:
		return 0, err
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return 0, errIrregular
	case int(st.Uid) != os.Geteuid() || st.Mode&0o022 != 0:
		return 0, fmt.Errorf("it is owned by uid %d with mode %04o, so that others can write to it", st.Uid, st.Mode&0o7777)
	}
	return uint64(st.Nlink), nil
}

// Save writes the record whole and puts it in the place of the one before, so
// that nobody ever reads half of one.
func (s Store) Save(r *Record) error {
	r.Format = formatVersion
	path, err := s.path(r.Key(), "")
	if err != nil {
		return err
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(r); err != nil {
		return fmt.Errorf("encode the record: %w", err)
	}
	temp := path + tempSuffix
	if err := write(temp, text.Bytes()); err != nil {
		_ = os.Remove(temp)
		return fmt.Errorf("write the record: %w", err)
	}
	if err := os.Rename(temp, path); err != nil {
		_ = os.Remove(temp)
		return fmt.Errorf("put the record in place: %w", err)
	}
	return nil
}

// write makes a file of its own: one that is there already, left by a killed
// run, makes way.
func write(path string, text []byte) error {
	flags := os.O_WRONLY | os.O_CREATE | os.O_EXCL
	f, err := os.OpenFile(path, flags, 0o600)
	if errors.Is(err, fs.ErrExist) {
		if err := os.Remove(path); err != nil {
			return err
		}
		f, err = os.OpenFile(path, flags, 0o600)
	}
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Close())
}

// Remove deletes the record of an attachment. One that is not there is
// removed already.
func (s Store) Remove(key Key) error {
	path, err := s.path(key, "")
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the record: %w", err)
	}
	return nil
}

// PutAside renames the record, so that it is out of the way and still there to
// look at.
func (e *DamagedError) PutAside() error {
	if err := os.Rename(e.Path, e.Path+damagedSuffix); err != nil {
		return fmt.Errorf("put the record aside: %w", err)
	}
	return nil
}

// List returns the attachments that have a record, of all networks, and those
// of which a killed run has left no more than the lock. A folder that does not
// exist holds none.
func (s Store) List() ([]Key, error) {
	entries, err := os.ReadDir(s.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the records: %w", err)
	}
	var keys []Key
	seen := make(map[Key]bool, len(entries))
	for _, entry := range entries {
		name, ok := strings.CutSuffix(strings.TrimSuffix(entry.Name(), lockSuffix), recordSuffix)
		parts := strings.Split(name, separator)
		if !ok || len(parts) != 3 {
			continue
		}
		if key := (Key{parts[0], parts[1], parts[2]}); !seen[key] {
			seen[key] = true
			keys = append(keys, key)
		}
	}
	return keys, nil
}

// Probe sees whether a record could be written. All probes use one name, so
// that one that was killed leaves nothing that the next does not take away;
// the errors of two that meet there show that files can be written.
func (s Store) Probe() error {
	if err := s.Prepare(); err != nil {
		return err
	}
	probe := filepath.Join(s.Dir, "probe"+tempSuffix)
	err := write(probe, []byte("{}\n"))
	if removeErr := os.Remove(probe); err == nil {
		err = removeErr
	}
	if err != nil && !errors.Is(err, fs.ErrExist) && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("write to the folder of the records: %w", err)
	}
	return nil
}
