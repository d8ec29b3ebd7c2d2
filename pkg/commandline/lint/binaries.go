// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package lint

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/containernetworking/cni/pkg/invoke"

	"multus-cni/pkg/netconf"
	"multus-cni/pkg/pluginexec"
)

// answerTime is how long a plugin may take to say its VERSION.
const answerTime = 5 * time.Second

// maxSaid is how many bytes of a failing plugin's output are quoted, from its
// end.
const maxSaid = 1 << 10

// Versions returns the versions of the CNI spec that a plugin supports, found by
// its type in the directories of path. It runs the plugin's VERSION, and kills it
// when it takes longer than a few seconds.
func Versions(kind string, path []string) ([]string, error) {
	file, err := find(kind, path)
	if err != nil {
		return nil, err
	}
	return versionsOf(file, answerTime)
}

// binaries checks that every plugin can be found and run, and supports the
// version of the CNI spec with which it will be called.
func (l *linter) binaries(units []*unit) {
	if err := CheckPath(l.path); err != nil {
		l.fault(0, "", "%v", err)
		return
	}
	for _, u := range units {
		if u.parent != nil && u.version == "" {
			u.version = u.parent.version
		}
		if u.kind != "" && !strings.ContainsAny(u.kind, "/\\\x00") { // a path is reported already
			l.find(u)
		}
	}
}

// CheckPath returns an error when none of the directories exists in which plugins
// are looked for.
func CheckPath(path []string) error {
	if slices.ContainsFunc(path, func(dir string) bool {
		info, err := os.Stat(dir)
		return err == nil && info.IsDir()
	}) {
		return nil
	}
	return fmt.Errorf("plugins are looked for in %s, and there is no such directory: say with --cni-path where they are", strings.Join(path, ", "))
}

// find looks for the binary of one plugin and asks it which versions it supports.
func (l *linter) find(u *unit) {
	path, err := find(u.kind, l.path)
	what := fmt.Sprintf("names %q", u.kind)
	switch {
	case errors.Is(err, fs.ErrPermission):
		l.report(u.problem(u.field, u.pos, "%s, and %v: make it executable (chmod +x)", what, err), false)
		return
	case err != nil:
		advice := "install it there, correct the name, or say where the plugins are (--cni-path; install: --bin-dir)"
		if similar := similarIn(l.path, u.kind); similar != "" {
			advice += fmt.Sprintf(" (%q is there)", similar)
		}
		l.report(u.problem(u.field, u.pos, "%s, which is not in %s: %s", what, strings.Join(l.path, ", "), advice), false)
		return
	}
	supported, err := l.ask(path)
	if errors.Is(err, fs.ErrNotExist) { // the file does exist, see ENOENT in execve(2)
		l.warn(u.problem(u.field, u.pos, "%s, and %s cannot run here: the loader that it is linked with, or its interpreter, does not exist; "+
			"on a node that lacks it too, install a statically linked release", what, path))
		return
	}
	if errors.Is(err, syscall.ENOEXEC) {
		l.warn(u.problem(u.field, u.pos, "%s, and %s cannot run here: it is for another architecture, or damaged; "+
			"install the release for this node", what, path))
		return
	}
	if err != nil {
		l.warn(u.problem(u.field, u.pos, "%s, and %s does not answer VERSION: %v", what, path, err))
		return
	}
	l.compare(u, what, path, supported)
}

// compare checks that a plugin supports the version that it will get.
func (l *linter) compare(u *unit, what, path string, supported []string) {
	version := u.version
	if version == "" {
		version = "0.1.0" // what no version means, see the CNI spec
	}
	if slices.Contains(supported, version) {
		return
	}
	common := netconf.HighestVersion(supported)
	if u.inherited && common != "" {
		u.version = common // as multus itself does then
		return
	}
	advice := "install a release of it that does"
	if common != "" {
		advice += fmt.Sprintf(", or write \"cniVersion\": %q", common)
		switch {
		case u.parent != nil:
			advice += fmt.Sprintf(" into the delegate that runs it, %q", u.parent.kind)
		case u.delegate >= 0:
			advice += " into this delegate"
		}
	}
	l.report(u.problem(u.field, u.pos, "%s, which does not support CNI %s (%s supports %s): %s",
		what, version, path, strings.Join(supported, ", "), advice), false)
}

func find(kind string, path []string) (string, error) {
	return (&pluginexec.Exec{}).FindInPath(kind, path)
}

// ask returns the versions of the CNI spec that a plugin supports. Each plugin
// is asked once.
func (l *linter) ask(path string) ([]string, error) {
	if a, ok := l.asked[path]; ok {
		return a.versions, a.err
	}
	versions, err := versionsOf(path, answerTime)
	l.asked[path] = answer{versions, err}
	return versions, err
}

// versionsOf asks a plugin, which must answer within limit.
func versionsOf(path string, limit time.Duration) ([]string, error) {
	ctx, cancel := context.WithTimeoutCause(context.Background(), limit, fmt.Errorf("no answer in %v", limit))
	defer cancel()
	info, err := invoke.GetVersionInfo(ctx, path, &stranger{})
	if err != nil {
		return nil, err
	}
	return info.SupportedVersions(), nil
}

// stranger runs plugins that may never have been run before. It kills a plugin
// that takes too long, and what the plugin has started; pluginexec.Exec would
// send SIGTERM and wait for them.
type stranger struct{ pluginexec.Exec }

// ExecPlugin returns what a plugin wrote on stdout.
func (*stranger) ExecPlugin(ctx context.Context, path string, stdin []byte, environ []string) ([]byte, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, path)
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = environ, bytes.NewReader(stdin), &stdout, &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second // should it leave a process behind that keeps stdout open
	err := cmd.Run()
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil && !errors.Is(err, exec.ErrWaitDelay):
		said := bytes.TrimSpace(append(stdout.Bytes(), stderr.Bytes()...))
		if len(said) == 0 {
			return nil, err
		}
		return nil, fmt.Errorf("%w: %s", err, said[max(0, len(said)-maxSaid):])
	}
	return stdout.Bytes(), nil
}

type answer struct {
	versions []string
	err      error
}

// similarIn returns the name of a binary that is spelt nearly like kind.
func similarIn(path []string, kind string) string {
	for _, dir := range path {
		entries, _ := os.ReadDir(dir) // one that is missing holds none
		for _, entry := range entries {
			if near(entry.Name(), kind) {
				return entry.Name()
			}
		}
	}
	return ""
}

var _ invoke.Exec = (*stranger)(nil)
