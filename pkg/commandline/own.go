// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package commandline

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"multus-cni/pkg/commandline/lint"
	"multus-cni/pkg/netconf"
)

// ownConfs are the confs of multus in a directory.
type ownConfs struct {
	files   []string
	cniDirs []string // where these keep their records, each once
	unknown []error  // one for each file that may be such a conf and cannot be read
}

// readRegular reads a regular file. It refuses any other, such as a named pipe,
// on which a read might wait for ever.
func readRegular(path string) ([]byte, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, cmp.Or(err, fmt.Errorf("%s is not a regular file", path))
	}
	return io.ReadAll(file)
}

// own reads a file and returns what netconf.Own says of its text.
func own(file string) (cniDirs []string, ours bool, err error) {
	text, err := readRegular(file)
	if err != nil {
		return nil, false, err
	}
	return netconf.Own(text)
}

func readOwnConfs(dir string) (*ownConfs, error) {
	names, err := lint.Confs(dir)
	if err != nil {
		return nil, err
	}
	confs := &ownConfs{}
	for _, name := range names {
		file := filepath.Join(dir, name)
		cniDirs, ours, err := own(file)
		if err != nil {
			confs.unknown = append(confs.unknown, fmt.Errorf("cannot tell whether %s is a conf of multus, and where its records are: %w", file, err))
		}
		if !ours {
			continue
		}
		confs.files = append(confs.files, file)
		for _, dir := range cniDirs {
			if !slices.Contains(confs.cniDirs, dir) {
				confs.cniDirs = append(confs.cniDirs, dir)
			}
		}
	}
	return confs, nil
}
