// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package commandline

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"multus-cni/pkg/netconf"
)

// ownConfs are the confs of multus in a directory.
type ownConfs struct {
	files   []string
	cniDirs []string // where these keep their records, each once
	unknown []error  // for each file of which that cannot be known
}

func readOwnConfs(dir string) (*ownConfs, error) {
	files, err := confFiles(dir)
	if err != nil {
		return nil, fmt.Errorf("look for confs: %w", err)
	}
	confs := &ownConfs{}
	for _, file := range files {
		var cniDirs []string
		var ours bool
		text, err := os.ReadFile(file)
		if err == nil {
			cniDirs, ours, err = own(text)
		}
		if err != nil {
			confs.unknown = append(confs.unknown, fmt.Errorf("whether %s is a conf of multus, and where its records are, is unknown: %w", file, err))
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

// confFiles returns the paths of all files in a directory that a runtime could
// read as confs, in the order in which it sorts them.
func confFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var paths []string
	for _, entry := range entries {
		if !entry.IsDir() && slices.Contains([]string{".conf", ".conflist", ".json"}, filepath.Ext(entry.Name())) {
			paths = append(paths, filepath.Join(dir, entry.Name()))
		}
	}
	return paths, nil
}

// own reports whether multus is called by a conf: alone, in a list, or as a
// delegate of another multus. cniDirs are the directories of the records of each
// multus in it. A conf that cannot be read is an error, whoever's it is.
func own(text []byte) (cniDirs []string, ours bool, err error) {
	var conf struct {
		Type      string            `json:"type"`
		CNIDir    json.RawMessage   `json:"cniDir"`
		Plugins   []json.RawMessage `json:"plugins"`
		Delegates []json.RawMessage `json:"delegates"`
	}
	if err := json.Unmarshal(text, &conf); err != nil {
		return nil, false, err
	}
	if conf.Type == "multus" {
		var dir *string
		if conf.CNIDir != nil {
			if err := json.Unmarshal(conf.CNIDir, &dir); err != nil {
				return nil, true, fmt.Errorf("cniDir: %w", err)
			}
		}
		if dir == nil {
			dir = new(string)
		}
		cniDirs, ours = []string{cmp.Or(*dir, netconf.DefaultCNIDir)}, true
	}
	for _, nested := range append(conf.Plugins, conf.Delegates...) {
		dirs, nestedOurs, err := own(nested)
		if err != nil {
			return nil, ours, err
		}
		cniDirs, ours = append(cniDirs, dirs...), ours || nestedOurs
	}
	return cniDirs, ours, nil
}
