// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package commandline

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"multus-cni/pkg/commandline/lint"
)

const (
	binaryMode = 0o755
	confMode   = 0o600 // a delegate's conf may hold a secret
)

// installation is what to install, and where.
type installation struct {
	*program
	source   string // of the conf
	selfText []byte // of this binary
	binary   string // where the runtime calls it
	conf     string // where the runtime reads it

	named   bool // the runtime chooses confs by network name, not by file name
	drained bool // no pod needs the networks that it has had so far
	dryRun  bool
	wait    bool

	interval time.Duration // between two looks of --wait
	known    stamps        // of what was last found or installed
	beside   []string      // the siblings at the time when the conf was installed
	yielded  bool          // somebody else has changed the conf, and that was reported
}

// install installs the binary and the conf where a runtime finds them.
func (p *program) install(flags *flag.FlagSet) func([]string) error {
	i := &installation{program: p, interval: time.Second}
	binDir := flags.String("bin-dir", defaultCNIPath, "")
	confDir := flags.String("conf-dir", defaultConfDir, "")
	flags.BoolVar(&i.named, "named", false, "")
	flags.BoolVar(&i.drained, "drained", false, "")
	flags.BoolVar(&i.dryRun, "dry-run", false, "")
	flags.BoolVar(&i.wait, "wait", false, "")
	return func(args []string) error {
		if len(args) != 1 || args[0] == "-" || args[0] == "" {
			return &usageError{"say which conf to install, one file"}
		}
		if i.wait && i.dryRun {
			return &usageError{"--dry-run changes nothing, so that there is nothing to --wait for"}
		}
		i.source, i.binary = args[0], filepath.Join(*binDir, "multus")
		i.conf = filepath.Join(*confDir, filepath.Base(i.source))
		var err error
		if i.selfText, err = os.ReadFile(p.self); err != nil {
			return fmt.Errorf("read this binary: %w", err)
		}
		if !i.wait {
			return i.run()
		}
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
		defer stop()
		if err := i.run(); err != nil {
			return err
		}
		return i.watch(ctx)
	}
}

// run validates the conf, then installs the binary and last the conf: from then
// on the runtime calls multus. Files that are up to date are left in place.
func (i *installation) run() error {
	conf, err := i.accept()
	if err != nil {
		return err
	}
	moved := i.movedBefore()
	if moved != "" && !i.wait {
		return fmt.Errorf("nothing was installed: %s is a conf of multus too, and somebody may have made it from an earlier %s: remove it, then try again",
			moved, filepath.Base(i.conf))
	}
	if err := i.putBinary(); err != nil {
		return err
	}
	if moved != "" {
		i.complain("%s is left in place and %s is not installed: somebody else has made the first from the second",
			filepath.Join(filepath.Dir(i.conf), moved), filepath.Base(i.conf))
		i.known.conf, i.yielded = "", true
		return nil
	}
	return i.putConf(conf)
}

func (i *installation) putBinary() error {
	version := ": " + i.release
	if stampOf(i.binary, i.selfText, binaryMode) == replaced && exists(i.binary) {
		version += " in place of " + versionOf(i.binary)
	}
	stamp, err := i.put(i.binary, i.selfText, binaryMode, version)
	i.known.binary = stamp
	return err
}

func (i *installation) putConf(text []byte) error {
	stamp, err := i.put(i.conf, text, confMode, "")
	i.known.conf = stamp
	if err == nil {
		i.beside, i.yielded = i.siblings(), false
	}
	return err
}

// put installs one file and says so. more is appended to what it says when the
// file changes. The stamp is that of the file as it is then, also after an error.
func (i *installation) put(path string, text []byte, mode os.FileMode, more string) (stamp string, err error) {
	switch stamp := stampOf(path, text, mode); {
	case stamp != replaced:
		return stamp, i.say("unchanged %s", path)
	case i.dryRun:
		return stamp, i.say("would install %s%s", path, more)
	}
	if stamp, err = replace(path, text, mode); err != nil {
		return stampAt(path), err
	}
	return stamp, i.say("installed %s%s", path, more)
}

// accept returns the conf's text, or an error when it must not be installed.
func (i *installation) accept() ([]byte, error) {
	for _, file := range []string{i.binary, i.conf} {
		if !isDir(filepath.Dir(file)) {
			return nil, fmt.Errorf("there is no directory %s: name the one that the runtime uses, or create it (mkdir -p)", filepath.Dir(file))
		}
	}
	i.known.source = stampAt(i.source) // before it is read, so that a later change is noticed
	text, err := readRegular(i.source)
	if err != nil {
		return nil, err
	}
	report := lint.Check(i.source, text, []string{filepath.Dir(i.binary)})
	if err := i.printReport(i.source, report); err != nil {
		return nil, err
	}
	if report.Errors() > 0 {
		return nil, errors.New("nothing was installed: the conf has errors")
	}
	reason, err := i.unread()
	if err != nil {
		return nil, err
	}
	if reason != "" {
		return nil, fmt.Errorf("nothing was installed: in %s, %s", filepath.Dir(i.conf), reason)
	}
	if err := i.takeOver(text, report.Conf); err != nil {
		return nil, fmt.Errorf("nothing was installed: %w", err)
	}
	return text, nil
}

// unread explains why the runtime would not read the conf. It returns "" when
// the runtime would.
func (i *installation) unread() (reason string, err error) {
	name := filepath.Base(i.conf)
	switch {
	case !i.named:
		return lint.Unread(filepath.Dir(i.conf), name)
	case filepath.Ext(name) == ".conflist":
		return "", nil
	}
	return "podman and nerdctl look for networks in files that end in .conflist: write " +
		`{"cniVersion": ..., "name": ..., "plugins": [...]} around the content of ` + name + ", and rename the file", nil
}

// siblings returns the files in the conf's directory whose names differ from the
// conf's in the extension only: somebody may have made them from it.
func (i *installation) siblings() (names []string) {
	entries, _ := os.ReadDir(filepath.Dir(i.conf)) // who installs there reports the error
	base := filepath.Base(i.conf)
	for _, entry := range entries {
		name := entry.Name()
		if name != base && strings.HasPrefix(name, strings.TrimSuffix(base, filepath.Ext(base))+".") {
			names = append(names, name)
		}
	}
	return names
}

// movedBefore returns the name of a conf that somebody had made from this one
// before this installation began: linkerd turns a .conf into a .conflist. If the
// .conf was installed again, runtimes would read it instead of the .conflist.
func (i *installation) movedBefore() string {
	if exists(i.conf) {
		return ""
	}
	names := i.siblings()
	n := slices.IndexFunc(names, func(name string) bool {
		if reason, err := lint.Unread("", name); err != nil || reason != "" {
			return false
		}
		_, ours, err := own(filepath.Join(filepath.Dir(i.conf), name))
		return ours && err == nil
	})
	if n < 0 {
		return ""
	}
	return names[n]
}
