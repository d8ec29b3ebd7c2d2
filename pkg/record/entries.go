// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package record

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"multus-cni/pkg/safefile"
)

// Kind is what an entry of the directory is.
type Kind string

// The kinds of entries, and which fields of an Entry go with them.
const (
	KindReadable    Kind = "readable"    // Entry.Record is set
	KindNewer       Kind = "newer"       // Entry.Err is a *NewerError
	KindDamaged     Kind = "damaged"     // Entry.Err is a *DamagedError; the record may be a legacy one
	KindQuarantined Kind = "quarantined" // a damaged record that a DEL has renamed
	KindLegacy      Kind = "legacy"      // Entry.Legacy is set
	KindLockOnly    Kind = "lock"        // no record, only the lock of an operation that runs or was killed
)

// Entry is what the directory holds for one attachment.
type Entry struct {
	Kind    Kind
	Key     Key // for a legacy record, quarantined or not, only ContainerID is set
	Path    string
	Written time.Time
	Record  *Record
	Legacy  *Legacy
	Err     error
}

// Entries returns what is in the directory, in the order of the file names, for
// read-only callers. It takes no lock: what other processes remove meanwhile is
// left out. A directory that does not exist is empty.
func (s Store) Entries() ([]Entry, error) {
	files, err := os.ReadDir(s.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list the records: %w", err)
	}
	names := make(map[string]bool, len(files))
	for _, file := range files {
		names[file.Name()] = true
	}
	var entries []Entry
	for _, file := range files {
		if record, isLock := strings.CutSuffix(file.Name(), lockSuffix); isLock && names[record] {
			continue
		}
		e := Entry{Path: filepath.Join(s.Dir, file.Name())}
		info, err := file.Info()
		if err != nil {
			continue
		}
		e.Written = info.ModTime()
		if s.fill(&e, file.Name()) {
			entries = append(entries, e)
		}
	}
	return entries, nil
}

// fill completes the entry of a file. It returns false for a file that does not
// belong to the store, or no longer exists.
func (s Store) fill(e *Entry, name string) bool {
	key, suffix, ok := parseFileName(name)
	if !ok {
		return s.fillLegacy(e, name)
	}
	e.Key = key
	switch suffix {
	case quarantineSuffix:
		e.Kind = KindQuarantined
	case lockSuffix:
		e.Kind = KindLockOnly
	case tempSuffix:
		return false
	default:
		e.Record, e.Err = s.Load(key)
		e.Kind = kindOf(e.Err, KindReadable)
	}
	return !errors.Is(e.Err, ErrNotExist)
}

func kindOf(err error, readable Kind) Kind {
	switch {
	case err == nil:
		return readable
	case errors.As(err, new(*NewerError)):
		return KindNewer
	}
	return KindDamaged
}

// fillLegacy completes the entry of a legacy record. It returns false for any
// other file that somebody has put into the directory.
func (s Store) fillLegacy(e *Entry, name string) bool {
	stem, quarantined := strings.CutSuffix(name, quarantineSuffix)
	if !isNamePart(stem) {
		return false
	}
	e.Key.ContainerID = stem
	if quarantined {
		e.Kind = KindQuarantined
		return true
	}
	text, err := safefile.Read(e.Path)
	switch {
	case err == nil && !bytes.HasPrefix(bytes.TrimSpace(text), []byte{'['}):
		return false
	case errors.Is(err, safefile.ErrIrregular):
		return false
	}
	e.Legacy, e.Err = s.LoadLegacy(name)
	e.Kind = kindOf(e.Err, KindLegacy)
	return !errors.Is(e.Err, ErrNotExist)
}
