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
)

// legacyPath is where the multus of 2017 kept the delegates of a container: a
// bare JSON array under the container's id.
func (s Store) legacyPath(containerID string) (string, error) {
	if containerID == "" || containerID[0] == '.' || strings.ContainsAny(containerID, separator+"/\x00") {
		return "", fmt.Errorf("%q cannot be a record's file name", containerID)
	}
	return filepath.Join(s.Dir, containerID), nil
}

// LoadLegacy reads the record that 2017's multus left of a container: the
// array of its delegates. It returns ErrNotExist when there is none: what has
// such a name and is no file, a folder for one, is something else's.
func (s Store) LoadLegacy(containerID string) ([]byte, error) {
	path, err := s.legacyPath(containerID)
	if err != nil {
		return nil, err
	}
	text, err := read(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errIrregular) {
		return nil, ErrNotExist
	}
	if err != nil {
		return nil, &DamagedError{path, err}
	}
	return text, nil
}

// DamagedLegacy makes the error for a record of 2017 that says nothing useful.
func (s Store) DamagedLegacy(containerID string, err error) error {
	path, pathErr := s.legacyPath(containerID)
	if pathErr != nil {
		return pathErr
	}
	return &DamagedError{path, err}
}

// RemoveLegacy deletes that record.
func (s Store) RemoveLegacy(containerID string) error {
	path, err := s.legacyPath(containerID)
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the record of 2017: %w", err)
	}
	return nil
}
