// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package lint

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/containernetworking/cni/pkg/invoke"

	"multus-cni/pkg/delegate"
)

// answerTime is how long a plugin may take to say its VERSION.
const answerTime = 5 * time.Second

// binaries sees that every plugin can be found and run, and speaks the version
// of the CNI spec that it will be spoken to in.
func (l *linter) binaries(units []*unit) {
	if !l.anyFolder() {
		l.fault(0, "", "plugins are looked for in %s, and there is no such folder: say with --cni-path where they are",
			strings.Join(l.path, ", "))
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

func (l *linter) anyFolder() bool {
	return slices.ContainsFunc(l.path, func(dir string) bool {
		info, err := os.Stat(dir)
		return err == nil && info.IsDir()
	})
}

// find looks for the binary of one plugin and asks it what it speaks.
func (l *linter) find(u *unit) {
	path, err := find(u.kind, l.path)
	what := fmt.Sprintf("names %q", u.kind)
	if u.implied {
		what = fmt.Sprintf("is left out, which means %q", u.kind)
	}
	switch {
	case errors.Is(err, fs.ErrPermission):
		l.report(u.problem(u.field, u.pos, "%s, and %v: make it executable (chmod +x)", what, err), false)
		return
	case err != nil:
		advice := "install it there, or correct the name"
		if similar := similarIn(l.path, u.kind); similar != "" {
			advice += fmt.Sprintf(" (%q is there)", similar)
		}
		l.report(u.problem(u.field, u.pos, "%s, which is not in %s: %s", what, strings.Join(l.path, ", "), advice), false)
		return
	}
	speaks, err := l.ask(path)
	if err != nil {
		l.report(u.problem(u.field, u.pos, "%s, and %s does not tell its VERSION: %v", what, path, err), true)
		return
	}
	l.compare(u, what, path, speaks)
}

// compare sees that a plugin speaks the version that it will get.
func (l *linter) compare(u *unit, what, path string, speaks []string) {
	version := u.version
	if version == "" {
		version = "0.1.0" // what no version means, see the CNI spec
	}
	if slices.Contains(speaks, version) {
		return
	}
	common := highestOf(speaks)
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
	l.report(u.problem(u.field, u.pos, "%s, which does not speak CNI %s (%s speaks %s): %s",
		what, version, path, strings.Join(speaks, ", "), advice), false)
}

func find(kind string, path []string) (string, error) {
	return (&delegate.Exec{}).FindInPath(kind, path)
}

// ask returns the versions of the CNI spec that a plugin speaks. Each plugin
// is asked once.
func (l *linter) ask(path string) ([]string, error) {
	if a, ok := l.asked[path]; ok {
		return a.versions, a.err
	}
	ctx, cancel := context.WithTimeoutCause(context.Background(), answerTime, fmt.Errorf("no answer in %v", answerTime))
	defer cancel()
	var a answer
	info, err := invoke.GetVersionInfo(ctx, path, &delegate.Exec{Stderr: io.Discard})
	if a.err = err; err == nil {
		a.versions = info.SupportedVersions()
	}
	if l.asked == nil {
		l.asked = map[string]answer{}
	}
	l.asked[path] = a
	return a.versions, a.err
}

type answer struct {
	versions []string
	err      error
}

// similarIn returns the name of a binary that is spelt nearly so.
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
