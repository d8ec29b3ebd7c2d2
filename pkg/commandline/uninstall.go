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

	"golang.org/x/sys/unix"

	"multus-cni/pkg/record"
)

// removal is what uninstall removes, and where the records are.
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
		confs, err := readOwnConfs(*confDir)
		if err == nil && len(confs.unknown) > 0 {
			err = fmt.Errorf("%w; correct the file, or remove it and name the directory of the records with --cni-dir", confs.unknown[0])
		}
		if err != nil {
			return fmt.Errorf("nothing was removed: %w", err)
		}
		binary := filepath.Join(*binDir, "multus")
		if len(confs.files) == 0 && *cniDir == "" && exists(binary) {
			return fmt.Errorf("nothing was removed: %s has no conf of multus, which would say where its records are: "+
				"name their directory with --cni-dir (%s if the conf had no cniDir)", *confDir, p.defaultCNIDir)
		}
		dirs := slices.Concat(splitDirs(*cniDir), confs.cniDirs, []string{p.defaultCNIDir})
		slices.Sort(dirs)
		return (&removal{p, binary, confs.files, slices.Compact(dirs)}).run()
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
	err := unix.Unlink(path) // os.Remove would remove a directory too
	if errors.Is(err, fs.ErrNotExist) {
		return r.say("not there: %s", path)
	}
	if err != nil {
		return fmt.Errorf("remove %s: %w", path, err)
	}
	return r.say("removed %s", path)
}

// unattached returns an error when there are attachments that need a DEL, or
// when the records cannot be read.
func unattached(dirs []string) error {
	records, err := recordsIn(dirs)
	if err != nil {
		return err
	}
	// A lock without a record counts: its ADD is running, or was killed.
	records = slices.DeleteFunc(records, func(r stored) bool { return r.Kind == record.KindQuarantined })
	if len(records) == 0 {
		return nil
	}
	var in []string
	for _, r := range records {
		if !slices.Contains(in, r.dir) {
			in = append(in, r.dir)
		}
	}
	return fmt.Errorf("%[1]s of pods in %[2]s: to delete the pods, the runtime needs multus and its conf. Drain the node, then try again. To show the records, and to remove those whose pods are gone:\n"+
		"  multus list --cni-dir %[2]s\n  multus forget --stale --cni-dir %[2]s", count(len(records), "record"), strings.Join(in, ":"))
}

// isDir reports whether path leads to a directory.
func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// exists reports whether there may be something at path.
func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}
