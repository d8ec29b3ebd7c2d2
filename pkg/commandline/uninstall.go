// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package commandline

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"multus-cni/pkg/netconf"
	"multus-cni/pkg/state"
)

// removal is what uninstall removes, and where it looks for records first.
type removal struct {
	*program
	binary  string
	confs   []string
	cniDirs []string
}

// uninstall removes multus from a runtime.
func (p *program) uninstall(flags *flag.FlagSet) func([]string) error {
	binDir := flags.String("bin-dir", defaultCNIPath, "")
	confDir := flags.String("conf-dir", defaultConfDir, "")
	cniDir := flags.String("cni-dir", "", "")
	return func(args []string) error {
		if err := takesNone("uninstall", args); err != nil {
			return err
		}
		r := &removal{program: p, binary: filepath.Join(*binDir, "multus"), cniDirs: []string{p.cniDir}}
		if err := r.readConfs(*confDir); err != nil {
			return fmt.Errorf("nothing was removed: %w", err)
		}
		if len(r.confs) == 0 && *cniDir == "" && exists(r.binary) {
			return fmt.Errorf("nothing was removed: %s has no conf of multus, so that it is unknown where its records are: "+
				"name their directory with --cni-dir (%s if the conf had no cniDir)", *confDir, netconf.DefaultCNIDir)
		}
		r.addCNIDirs(filepath.SplitList(*cniDir)...)
		return r.run()
	}
}

// readConfs finds the confs of multus in a directory, and where they keep their
// records. One that cannot be read may be one of them.
func (r *removal) readConfs(dir string) error {
	files, err := confFiles(dir)
	if err != nil {
		return fmt.Errorf("look for confs: %w", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("whether a conf is one of multus is unknown: %w", err)
		}
		cniDirs, ours, err := own(text)
		if err != nil {
			return fmt.Errorf("whether %s is a conf of multus, and where its records are, is unknown: %w; "+
				"correct the file, or remove it and name the directory of the records with --cni-dir", file, err)
		}
		if ours {
			r.confs = append(r.confs, file)
			r.addCNIDirs(cniDirs...)
		}
	}
	return nil
}

func (r *removal) addCNIDirs(dirs ...string) {
	for _, dir := range dirs {
		if !slices.Contains(r.cniDirs, dir) {
			r.cniDirs = append(r.cniDirs, dir)
		}
	}
}

// run removes first the confs, so that no pod is attached any more, then the
// binary. While pods are attached it removes nothing: their DEL needs the
// binary, and under containerd the conf too.
func (r *removal) run() error {
	if err := unattached(r.cniDirs); err != nil {
		return fmt.Errorf("nothing was removed: %w", err)
	}
	for _, conf := range r.confs {
		if err := r.removeFile(conf); err != nil {
			return err
		}
	}
	// An ADD that had read the conf before may have come in between.
	if err := unattached(r.cniDirs); err != nil {
		return fmt.Errorf("%s is left in place, put the conf back: %w", r.binary, err)
	}
	return r.removeFile(r.binary)
}

// removeFile removes a file and says so.
func (r *removal) removeFile(path string) error {
	err := os.Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		return r.say("not there: %s", path)
	}
	if err != nil {
		return err
	}
	return r.say("removed %s", path)
}

// unattached returns an error when there are attachments that need a DEL, or
// when that cannot be told.
func unattached(dirs []string) error {
	total := 0
	var in []string
	for _, dir := range dirs {
		n, err := attachedIn(state.Store{Dir: dir})
		if err != nil {
			return err
		}
		if total += n; n > 0 {
			in = append(in, dir)
		}
	}
	if total == 0 {
		return nil
	}
	all := strings.Join(in, ":")
	return fmt.Errorf("%s of pods in %s: to delete these, the runtime needs multus and its conf. Drain the node, then try again. This shows them:\n"+
		"  multus list --cni-dir %s", count(total, "record"), all, all)
}

// attachedIn counts the attachments in a directory that need a DEL. One that has
// a lock and no record belongs to an ADD that is running, or was killed.
func attachedIn(store state.Store) (int, error) {
	locked, err := store.List()
	if err != nil {
		return 0, err
	}
	entries, err := store.Entries()
	if err != nil {
		return 0, err
	}
	attached := map[state.Key]bool{}
	for _, key := range locked {
		attached[key] = true
	}
	for _, e := range entries {
		if !e.Aside {
			attached[e.Key] = true
		}
	}
	return len(attached), nil
}

// exists reports whether there may be something at path.
func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}
