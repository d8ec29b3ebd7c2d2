// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package commandline

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"multus-cni/pkg/commandline/lint"
	"multus-cni/pkg/safefile"
)

const (
	binaryMode = 0o755
	confMode   = 0o600 // a delegate's conf may hold a secret
	// lookInterval is how often install --wait checks that all is in place.
	lookInterval = time.Second
	// retryInterval is how long it waits after something that it could not fix.
	retryInterval = 30 * time.Second
)

// installation is what belongs where.
type installation struct {
	*program
	source string // of the conf
	self   []byte // this binary
	binary string // where the runtime calls it
	conf   string // where the runtime reads it

	known stamps // of what was found or put in place last
}

// stamps change when one of these does: binary, conf, the conf's source, and
// whether the runtime reads the conf.
type stamps [4]string

// install puts binary and conf where a runtime finds them.
func (p *program) install(flags *flag.FlagSet) func([]string) error {
	binDir := flags.String("bin-dir", defaultCNIPath, "")
	confDir := flags.String("conf-dir", defaultConfDir, "")
	wait := flags.Bool("wait", false, "")
	return func(args []string) error {
		if len(args) != 1 || args[0] == "-" {
			return &usageError{"say which conf to install, one file"}
		}
		self, err := os.ReadFile("/proc/self/exe")
		if err != nil {
			return fmt.Errorf("read this binary: %w", err)
		}
		i := &installation{
			program: p, source: args[0], self: self,
			binary: filepath.Join(*binDir, "multus"), conf: filepath.Join(*confDir, filepath.Base(args[0])),
		}
		if !*wait {
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

// run validates the conf, then puts the binary and last the conf in place:
// from then on the runtime calls multus. Files that are already as they should
// be are left in place.
func (i *installation) run() error {
	conf, err := i.accept()
	if err != nil {
		return err
	}
	for n, f := range []struct {
		path string
		text []byte
		mode os.FileMode
	}{{i.binary, i.self, binaryMode}, {i.conf, conf, confMode}} {
		stamp, changed, err := put(f.path, f.text, f.mode)
		if err != nil {
			return err
		}
		i.known[n] = stamp
		word := "unchanged"
		if changed {
			word = "installed"
		}
		if err := i.say("%s %s", word, f.path); err != nil {
			return err
		}
	}
	return nil
}

// accept returns the conf's text, or an error when it must not be installed.
func (i *installation) accept() ([]byte, error) {
	for _, file := range []string{i.binary, i.conf} {
		if info, err := os.Stat(filepath.Dir(file)); err != nil || !info.IsDir() {
			return nil, fmt.Errorf("there is no directory %s: name the one that the runtime uses, or create it (mkdir -p)", filepath.Dir(file))
		}
	}
	if info, err := os.Stat(i.source); err == nil { // before it is read, so that a later change is noticed
		i.known[2] = stamp(info)
	}
	text, err := os.ReadFile(i.source)
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
	reason, err := lint.Unread(filepath.Dir(i.conf), filepath.Base(i.conf))
	if err != nil {
		return nil, err
	}
	if reason != "" {
		return nil, fmt.Errorf("nothing was installed: in %s, %s", filepath.Dir(i.conf), reason)
	}
	return text, nil
}

// watch keeps what was installed in place until ctx is cancelled: it puts back
// what is removed or changed, and follows the conf that it was installed from.
func (i *installation) watch(ctx context.Context) error {
	if err := i.say("watching %s and %s", i.binary, i.conf); err != nil {
		return err
	}
	var failed time.Time
	tick := time.NewTicker(lookInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return i.say("stopped: the files are left in place")
		case <-tick.C:
		}
		now := i.look()
		if now == i.known && (failed.IsZero() || time.Since(failed) < retryInterval) {
			continue
		}
		for n, file := range []string{i.binary, i.conf, i.source} {
			if now[n] != i.known[n] {
				i.complain("%s %s", file, fate(now[n]))
			}
		}
		i.known, failed = now, time.Time{}
		if err := i.run(); err != nil {
			failed = time.Now()
			i.complain("%v; trying again in %v", err, retryInterval)
		}
	}
}

func (i *installation) look() (s stamps) {
	for n, file := range []string{i.binary, i.conf, i.source} {
		if info, err := os.Stat(file); err == nil {
			s[n] = stamp(info)
		}
	}
	s[3], _ = lint.Unread(filepath.Dir(i.conf), filepath.Base(i.conf)) // run reports the error
	return s
}

func stamp(info os.FileInfo) string {
	st, _ := info.Sys().(*syscall.Stat_t)
	return fmt.Sprint(st.Dev, st.Ino, info.Size(), info.ModTime().UnixNano(), info.Mode())
}

func fate(stamp string) string {
	if stamp == "" {
		return "is gone"
	}
	return "has changed"
}

// put replaces a file, so that whoever reads or executes it meanwhile gets either
// the old one or the new one whole. changed is false when content and mode are
// already right.
func put(path string, text []byte, mode os.FileMode) (stamp string, changed bool, err error) {
	if stamp := stampOf(path, text, mode); stamp != replaced {
		return stamp, false, nil
	}
	sweep(path)
	// Runtimes do not read this name, whatever path ends in. The process id would
	// not do: two containers that install in one directory can have the same.
	temp := newPrefix(path) + strconv.FormatUint(rand.Uint64(), 36)
	if err := safefile.Write(path, temp, text, mode); err != nil {
		return "", false, fmt.Errorf("install %s: %w", path, err)
	}
	return stampOf(path, text, mode), true, nil
}

// replaced is the stamp of a file that somebody else has written.
const replaced = "replaced"

// stampOf returns the stamp of a file if it is a regular one with this content
// and mode, and otherwise replaced. The stamp is older than what is read: a
// change in between shows in the next one.
func stampOf(path string, text []byte, mode os.FileMode) string {
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != mode {
		return replaced
	}
	if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, text) {
		return replaced
	}
	return stamp(info)
}

// newPrefix is what the temporary files for path begin with.
func newPrefix(path string) string {
	return filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".new-")
}

// sweep removes what killed installs have left. It leaves files of the last
// minute in place: another install may be at work, and needs seconds.
func sweep(path string) {
	dir := filepath.Dir(path)
	entries, _ := os.ReadDir(dir) // the install itself reports what is wrong with it
	for _, entry := range entries {
		file := filepath.Join(dir, entry.Name())
		info, err := entry.Info()
		if err == nil && strings.HasPrefix(file, newPrefix(path)) && time.Since(info.ModTime()) > time.Minute {
			_ = os.Remove(file)
		}
	}
}
