// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package record

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

var (
	// ErrNotExist means that an attachment has no record.
	ErrNotExist = errors.New("no record")
	// ErrUnsafe means that users other than the one who runs multus could write
	// to the directory of the records.
	ErrUnsafe = errors.New("unsafe directory for the records")
)

// DamagedError is returned for a record that exists but cannot be used: it is
// incomplete, is not a record, or can be written to by other users.
type DamagedError struct {
	Path string
	Err  error
}

func (e *DamagedError) Error() string { return fmt.Sprintf("record %s: %v", e.Path, e.Err) }

func (e *DamagedError) Unwrap() error { return e.Err }

// Quarantine renames the record, so that it is out of the way and an operator
// can still look at it.
func (e *DamagedError) Quarantine() error {
	if err := os.Rename(e.Path, e.Path+quarantineSuffix); err != nil {
		return fmt.Errorf("quarantine the record: %w", err)
	}
	return nil
}

// unreadable returns the error for a record that exists and could not be read.
// For want of descriptors or memory a good one could not be read either: it is
// not damaged and must not be quarantined.
func unreadable(path string, err error) error {
	for _, shortage := range []error{unix.EMFILE, unix.ENFILE, unix.ENOMEM} {
		if errors.Is(err, shortage) {
			return fmt.Errorf("read the record: %w", err)
		}
	}
	return &DamagedError{path, err}
}

// NewerError is returned for a record of a format that this multus does not
// know: a newer one has written it. It must be left in place.
type NewerError struct {
	Path   string
	Format int
}

func (e *NewerError) Error() string {
	return fmt.Sprintf("record %s: %v: use the newer multus for this attachment", e.Path, newerFormat(e.Format))
}
