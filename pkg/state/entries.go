// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Entry is one record as it lies in the folder, for those who only look.
type Entry struct {
	Key     Key // of a record of 2017 the container's id alone
	Path    string
	Written time.Time
	Record  *Record // nil when Err says why, and for a record of 2017
	Legacy  []byte  // the delegates of a record of 2017
	Aside   bool    // a damaged record that a DEL has put aside
	Err     error
}

// Entries returns all records, in the order of their file names. It takes no
// lock: what other processes remove meanwhile is left out. A folder that does
// not exist holds none.
func (s Store) Entries() ([]Entry, error) {
	files, err := os.ReadDir(s.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the records: %w", err)
	}
	var entries []Entry
	for _, file := range files {
		info, err := file.Info()
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		e := Entry{Path: filepath.Join(s.Dir, file.Name()), Written: info.ModTime()}
		if s.read(&e, file.Name()) {
			entries = append(entries, e)
		}
	}
	return entries, nil
}

// read fills in an entry. It returns false for a file that is no record.
func (s Store) read(e *Entry, name string) bool {
	stem, aside := strings.CutSuffix(name, damagedSuffix)
	stem, isRecord := strings.CutSuffix(stem, recordSuffix)
	parts := strings.Split(stem, separator)
	switch {
	case isRecord && len(parts) == 3:
		e.Key, e.Aside = Key{parts[0], parts[1], parts[2]}, aside
		if aside {
			return true
		}
		e.Record, e.Err = s.Load(e.Key)
	case name[0] != '.' && !strings.Contains(name, separator):
		e.Key.ContainerID = name
		if e.Legacy, e.Err = os.ReadFile(e.Path); e.Err == nil && !isArray(e.Legacy) {
			return false
		}
	default:
		return false
	}
	return !errors.Is(e.Err, ErrNotExist) && !errors.Is(e.Err, fs.ErrNotExist)
}

// isArray tells whether a text may be what the multus of 2017 wrote.
func isArray(text []byte) bool {
	return strings.HasPrefix(strings.TrimSpace(string(text)), "[")
}
