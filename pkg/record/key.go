// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package record

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

const (
	recordSuffix = ".json"
	// quarantineSuffix follows recordSuffix, or the name of a legacy record.
	quarantineSuffix = ".damaged"
	tempSuffix       = ".tmp"
	lockSuffix       = ".lock"
	// separator is between the parts of a file name. CNI allows it in none of
	// them, so that no two attachments share a name.
	separator = ":"
)

// ErrNoName means that a key cannot be a file name: no record of that
// attachment can exist.
var ErrNoName = errors.New("no file name for a record")

// Key names one attachment.
type Key struct {
	Network     string // name of the multus network
	ContainerID string
	IfName      string // CNI_IFNAME, the interface of the primary
}

// fileName returns the name of the attachment's record, and ErrNoName when
// there is none.
func (k Key) fileName() (string, error) {
	parts := []string{k.Network, k.ContainerID, k.IfName}
	for _, part := range parts {
		if !isNamePart(part) || !utf8.ValidString(part) { // JSON could not hold it
			return "", fmt.Errorf("%w: %q cannot be part of it", ErrNoName, part)
		}
	}
	name := strings.Join(parts, separator) + recordSuffix
	if over := len(name) + len(quarantineSuffix) - unix.NAME_MAX; over > 0 {
		return "", fmt.Errorf("%w: the names of network, container and interface are %d bytes too long", ErrNoName, over)
	}
	return name, nil
}

// isNamePart reports whether a name from outside can be part of a file name
// without leading out of the directory.
func isNamePart(s string) bool {
	return s != "" && s[0] != '.' && !strings.ContainsAny(s, separator+"/\x00")
}

// parseFileName is the inverse of Key.fileName. suffix is what follows the
// name of the record: nothing, or one of the suffixes above. ok is false for a
// file that does not belong to an attachment.
func parseFileName(name string) (key Key, suffix string, ok bool) {
	for _, s := range []string{quarantineSuffix, tempSuffix, lockSuffix} {
		if strings.HasSuffix(name, recordSuffix+s) {
			suffix = s
		}
	}
	stem, ok := strings.CutSuffix(strings.TrimSuffix(name, suffix), recordSuffix)
	parts := strings.Split(stem, separator)
	if !ok || len(parts) != 3 {
		return Key{}, "", false
	}
	return Key{parts[0], parts[1], parts[2]}, suffix, true
}
