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

// Confs returns the names of the files in a directory that runtimes read, in
// the order in which they read them.
func Confs(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir) // sorted by name, as runtimes sort them
	if err != nil {
		return nil, fmt.Errorf("look for confs: %w", err)
	}
	var names []string
	for _, entry := range entries {
		if !entry.IsDir() && readable(entry.Name()) {
			names = append(names, entry.Name())
		}
	}
	return names, nil
}

// readable reports whether runtimes read files of that name.
func readable(name string) bool {
	return slices.Contains([]string{".conf", ".conflist", ".json"}, filepath.Ext(name))
}

// Unread explains why a runtime would not read a conf of that name in a
// directory: it reads the first file by name, and only those with certain
// extensions. It returns "" when the runtime would read it, and for a
// directory that does not exist; dir may be "" for none.
func Unread(dir, name string) (reason string, err error) {
	if !readable(name) {
		return fmt.Sprintf("runtimes read only names that end in .conf, .conflist or .json: rename %s", name), nil
	}
	if dir == "" {
		return "", nil
	}
	confs, err := Confs(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil || len(confs) == 0 || confs[0] >= name {
		return "", err
	}
	return fmt.Sprintf("%s sorts before %s, and runtimes read only the first: move it away, or give this conf a name that sorts first",
		confs[0], name), nil
}
