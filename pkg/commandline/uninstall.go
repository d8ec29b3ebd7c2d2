// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package commandline

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"multus-cni/pkg/netconf"
	"multus-cni/pkg/state"
)

// uninstall takes multus away from a runtime: first the confs, so that no pod
// is attached any more, then the binary. While pods are attached it takes
// nothing: their DEL needs the binary, and under containerd the conf too.
func (p *program) uninstall(args []string) error {
	binDir, confDir, cniDir := DefaultCNIPath, DefaultConfDir, ""
	rest, err := options(args, map[string]*string{"--bin-dir": &binDir, "--conf-dir": &confDir, "--cni-dir": &cniDir}, nil)
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return &usageError{fmt.Sprintf("uninstall takes no argument such as %q", rest[0])}
	}
	confs, dirs, err := confsIn(confDir)
	if err != nil {
		return err
	}
	for _, dir := range filepath.SplitList(cniDir) {
		if !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	if len(dirs) == 0 {
		dirs = append(dirs, netconf.DefaultCNIDir)
	}
	if err := unattached(dirs); err != nil {
		return fmt.Errorf("nothing was removed: %w", err)
	}
	for _, conf := range confs {
		if err := p.removeFile(conf); err != nil {
			return err
		}
	}
	binary := filepath.Join(binDir, "multus")
	if err := unattached(dirs); err != nil { // by an ADD that had read the conf before
		return fmt.Errorf("%s stays, put the conf back: %w", binary, err)
	}
	return p.removeFile(binary)
}

// unattached returns an error when there are attachments that need a DEL.
func unattached(dirs []string) error {
	n, in, err := recordsIn(dirs)
	if err != nil || n == 0 {
		return err
	}
	all := strings.Join(in, ":")
	return fmt.Errorf("there are pods that need multus and its conf to be deleted, %s in %s. Drain the node, then try again;\n"+
		"  multus list --cni-dir %s shows them", count(n, "record"), all, in[0])
}

// confsIn returns the confs of multus in a folder, and the folders in which
// they keep their records.
func confsIn(dir string) (confs, cniDirs []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("look for confs: %w", err)
	}
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		if entry.IsDir() || !slices.Contains([]string{".conf", ".conflist", ".json"}, filepath.Ext(path)) {
			continue
		}
		cniDir, ours := ownConf(path)
		if !ours {
			continue
		}
		confs = append(confs, path)
		if !slices.Contains(cniDirs, cniDir) {
			cniDirs = append(cniDirs, cniDir)
		}
	}
	return confs, cniDirs, nil
}

// ownConf tells whether a file is a conf of multus, alone or in a list, and
// where that one keeps its records. One that cannot be read is nobody's.
func ownConf(path string) (cniDir string, ours bool) {
	type plugin struct {
		Type   string `json:"type"`
		CNIDir string `json:"cniDir"`
	}
	var conf struct {
		plugin
		Plugins []plugin `json:"plugins"`
	}
	text, err := os.ReadFile(path)
	if err != nil || json.Unmarshal(text, &conf) != nil {
		return "", false
	}
	for _, p := range append(conf.Plugins, conf.plugin) {
		if p.Type == "multus" {
			if p.CNIDir == "" {
				p.CNIDir = netconf.DefaultCNIDir
			}
			return p.CNIDir, true
		}
	}
	return "", false
}

// recordsIn counts the attachments that need a DEL, and returns the folders
// that have some.
func recordsIn(dirs []string) (n int, in []string, err error) {
	for _, dir := range dirs {
		entries, err := state.Store{Dir: dir}.Entries()
		if err != nil {
			return 0, nil, err
		}
		before := n
		for _, e := range entries {
			if !e.Aside {
				n++
			}
		}
		if n > before {
			in = append(in, dir)
		}
	}
	return n, in, nil
}

// removeFile removes a file and says so.
func (p *program) removeFile(path string) error {
	err := os.Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		return p.say("not there: %s", path)
	}
	if err != nil {
		return err
	}
	return p.say("removed %s", path)
}
