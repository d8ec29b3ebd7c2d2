// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package commandline

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestWrongUseExitsWith2(t *testing.T) {
	for _, test := range []struct{ args, want string }{
		{"bogus", `multus: there is no command "bogus": see "multus help"`},
		{"help bogus", `multus: there is no command "bogus": see "multus help help"`},
		{"help list install", `multus: help takes one command: see "multus help help"`},
		{"version now", `multus: version takes no argument such as "now": see "multus help version"`},
		{"validate", `multus: say which conf to validate: see "multus help validate"`},
		{"validate --cni-path", `multus: --cni-path needs a value: see "multus help validate"`},
		{"validate --json=yes -", `multus: --json takes no value: see "multus help validate"`},
		{"validate --jsn -", `multus: there is no option --jsn: see "multus help validate"`},
		{"list all", `multus: list takes no argument such as "all": see "multus help list"`},
		{"install", `multus: say which conf to install, one file: see "multus help install"`},
		{"install -", `multus: say which conf to install, one file: see "multus help install"`},
		{"install a.conf b.conf", `multus: say which conf to install, one file: see "multus help install"`},
		{"uninstall a.conf", `multus: uninstall takes no argument such as "a.conf": see "multus help uninstall"`},
	} {
		got, code := call(t, nil, "", strings.Fields(test.args)...)
		if got != test.want+"\n" || code != exitUsage {
			t.Errorf("multus %s: got %q, %d, want %q, %d", test.args, got, code, test.want, exitUsage)
		}
	}
}

func TestHelpFitsTheScreen(t *testing.T) {
	for _, command := range []string{"help", "validate", "list", "install", "uninstall", "version"} {
		got, code := call(t, nil, "", "help", command)
		if code != exitOK {
			t.Errorf("help %s: got exit code %d", command, code)
		}
		lines := strings.Split(strings.TrimSuffix(got, "\n"), "\n")
		if len(lines) > 24 {
			t.Errorf("help %s: %d lines", command, len(lines))
		}
		for _, line := range lines {
			if len(line) > screen {
				t.Errorf("help %s: line of %d columns: %s", command, len(line), line)
			}
		}
		if same, _ := call(t, nil, "", command, "--help"); same != got {
			t.Errorf("%s --help: got %q, want the same as help", command, same)
		}
	}
	first, _ := call(t, nil, "", "help")
	for _, args := range []string{"--help", "-h"} {
		if got, code := call(t, nil, "", args); got != first || code != exitOK {
			t.Errorf("%s: got %q, %d, want the same as help", args, got, code)
		}
	}
}

// The man page is written by hand, and must not forget an option.
func TestManPageHasEveryOption(t *testing.T) {
	text, err := os.ReadFile("../../doc/multus.8")
	if err != nil {
		t.Fatal(err)
	}
	_, body, _ := strings.Cut(string(text), ".Sh DESCRIPTION")
	for _, command := range []string{"validate", "list", "install", "uninstall", "version", "help"} {
		_, part, found := strings.Cut(body, "\n.It Cm "+command)
		if !found {
			t.Errorf("multus.8 does not describe %s", command)
		}
		part, _, _ = strings.Cut(part, "\n.It Cm ")
		help, _ := call(t, nil, "", "help", command)
		usage, _, _ := strings.Cut(help, "\n")
		for _, option := range regexp.MustCompile(`--[a-z-]+`).FindAllString(usage, -1) {
			if !regexp.MustCompile(`Fl \\` + option[1:] + `\b`).MatchString(part) {
				t.Errorf("multus.8 does not describe %s %s", command, option)
			}
		}
	}
}

func TestVersion(t *testing.T) {
	got, code := call(t, nil, "", "version")
	want := "multus v1.2.3\nCNI spec: 0.1.0, 0.2.0, 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0\nbuilt with go"
	if !strings.HasPrefix(got, want) || code != exitOK {
		t.Errorf("got %q, %d, want %q", got, code, want)
	}
}

func TestOptions(t *testing.T) {
	var dir string
	var wide bool
	rest, err := options([]string{"a", "--wide", "-", "--dir", "--x", "--dir=b=c", "--", "--wide", "--y"},
		map[string]*string{"--dir": &dir}, map[string]*bool{"--wide": &wide})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"a", "-", "--wide", "--y"}; !slices.Equal(rest, want) || dir != "b=c" || !wide {
		t.Errorf("got %q, dir %q, wide %t, want %q", rest, dir, wide, want)
	}
}
