// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package lint

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// readable are the endings of the names that runtimes read.
func readable(name string) bool {
	return slices.Contains([]string{".conf", ".conflist", ".json"}, filepath.Ext(name))
}

// Unread tells why a runtime would not read a conf of that name in a folder:
// it takes the first file by name, and only certain endings. It returns ""
// when it would, and for a folder that does not exist.
func Unread(dir, name string) (reason string, err error) {
	if !readable(name) {
		return fmt.Sprintf("runtimes read only names that end in .conf, .conflist or .json: rename %s", name), nil
	}
	entries, err := os.ReadDir(dir) // sorted by name, as runtimes sort them
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return "", err
	}
	for _, entry := range entries {
		if entry.Name() >= name {
			break
		}
		if !entry.IsDir() && readable(entry.Name()) {
			return fmt.Sprintf("%s sorts before %s, and runtimes read only the first: move it away, or give this conf a name that sorts first",
				entry.Name(), name), nil
		}
	}
	return "", nil
}
