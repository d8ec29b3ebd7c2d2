// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package commandline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"multus-cni/pkg/commandline/lint"
)

const (
	binaryMode = 0o755
	confMode   = 0o600 // a delegate's conf may hold a secret
	// lookInterval is how often install --wait looks whether all is in place.
	lookInterval = time.Second
	// retryInterval is how long it waits after something that it could not mend.
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

// stamps tell whether something was touched: binary, conf, the conf's source,
// and whether the runtime reads the conf.
type stamps [4]string

// install puts binary and conf where a runtime finds them.
func (p *program) install(args []string) error {
	binDir, confDir := DefaultCNIPath, DefaultConfDir
	var wait bool
	rest, err := options(args, map[string]*string{"--bin-dir": &binDir, "--conf-dir": &confDir}, map[string]*bool{"--wait": &wait})
	if err != nil {
		return err
	}
	if len(rest) != 1 || rest[0] == "-" {
		return &usageError{"say which conf to install, one file"}
	}
	i := &installation{
		program: p, source: rest[0],
		binary: filepath.Join(binDir, "multus"), conf: filepath.Join(confDir, filepath.Base(rest[0])),
	}
	if i.self, err = os.ReadFile("/proc/self/exe"); err != nil {
		return fmt.Errorf("read this binary: %w", err)
	}
	if !wait {
		return i.run()
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := i.run(); err != nil {
		return err
	}
	return i.watch(ctx)
}

// run validates the conf, then puts the binary and last the conf in place:
// from then on the runtime calls multus. What is in place already stays as it
// is.
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
		info, changed, err := put(f.path, f.text, f.mode)
		if err != nil {
			return err
		}
		i.known[n] = stamp(info)
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

// accept returns the conf's text when it may be installed.
func (i *installation) accept() ([]byte, error) {
	for _, file := range []string{i.binary, i.conf} {
		if info, err := os.Stat(filepath.Dir(file)); err != nil || !info.IsDir() {
			return nil, fmt.Errorf("there is no folder %s: name the one that the runtime uses, or make it (mkdir -p)", filepath.Dir(file))
		}
	}
	if info, err := os.Stat(i.source); err == nil { // before it is read: who writes it then is noticed
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
			return i.say("stopped: the files stay")
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

// put gives a file its content whole: written beside it and renamed, so that
// who reads or executes it meanwhile gets the old one or the new one. changed
// is false when the file is so already.
func put(path string, text []byte, mode os.FileMode) (info os.FileInfo, changed bool, err error) {
	info, err = os.Lstat(path)
	if err == nil && info.Mode() == mode { // a regular file, with these permissions
		if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, text) {
			return info, false, nil
		}
	}
	sweep(path)
	// Runtimes do not read this name: it ends in digits.
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".new-")
	if err != nil {
		return nil, false, fmt.Errorf("install %s: %w", path, err)
	}
	defer os.Remove(f.Name()) // what is renamed is not there any more
	_, err = f.Write(text)
	err = errors.Join(err, f.Chmod(mode))
	info, statErr := f.Stat()
	if err = errors.Join(err, statErr, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return nil, false, fmt.Errorf("install %s: %w", path, err)
	}
	return info, true, nil
}

// sweep removes what killed installs left. Another one that is at work now
// needs seconds.
func sweep(path string) {
	dir, prefix := filepath.Dir(path), "."+filepath.Base(path)+".new-"
	entries, _ := os.ReadDir(dir) // the install itself reports what is wrong with it
	for _, entry := range entries {
		info, err := entry.Info()
		if err == nil && strings.HasPrefix(entry.Name(), prefix) && time.Since(info.ModTime()) > time.Minute {
			_ = os.Remove(filepath.Join(dir, entry.Name()))
		}
	}
}
