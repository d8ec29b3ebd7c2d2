// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package commandline

import (
	"flag"
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
		{"validate --cni-path", `multus: flag needs an argument: -cni-path: see "multus help validate"`},
		{"validate --json=yes -", `multus: invalid boolean value "yes" for -json: parse error: see "multus help validate"`},
		{"validate --jsn -", `multus: flag provided but not defined: -jsn: see "multus help validate"`},
		{"compose", `multus: say which conf is that of the primary: see "multus help compose"`},
		{"compose --ifname a p.conf", `multus: more --ifname (1) than secondaries (0): see "multus help compose"`},
		{"list --state gone", `multus: there is no state "gone", only attached, partial, stale, locked, damaged, newer, quarantined, 2017, upstream: see "multus help list"`},
		{"list --output yaml", `multus: there is no output "yaml", only table, wide, json: see "multus help list"`},
		{"forget", `multus: say which container to forget, or --stale: see "multus help forget"`},
		{"forget a b", `multus: say which container to forget, or --stale: see "multus help forget"`},
		{"forget --stale a", `multus: --stale is for all containers that are gone: name none: see "multus help forget"`},
		{"try", `multus: name one conf to try, or one try to --remove: see "multus help try"`},
		{"try --remove x --json", `multus: --remove goes with no other option: see "multus help try"`},
		{"try --remove x a.conf", `multus: name one conf to try, or one try to --remove: see "multus help try"`},
		{"list all", `multus: list takes no argument such as "all": see "multus help list"`},
		{"install", `multus: say which conf to install, one file: see "multus help install"`},
		{"install -", `multus: say which conf to install, one file: see "multus help install"`},
		{"install a.conf b.conf", `multus: say which conf to install, one file: see "multus help install"`},
		{"validate --offline --cni-path /opt/cni/bin -", `multus: --offline asks no plugins: leave out --cni-path: see "multus help validate"`},
		{
			"install --wait --dry-run a.conf",
			`multus: --dry-run changes nothing, so that there is nothing to --wait for: see "multus help install"`,
		},
		{"ready a.conf b.conf", `multus: name one CONF, or none: see "multus help ready"`},
		{"uninstall a.conf", `multus: uninstall takes no argument such as "a.conf": see "multus help uninstall"`},
	} {
		got, code := call(t, nil, "", strings.Fields(test.args)...)
		if got != test.want+"\n" || code != exitUsage {
			t.Errorf("multus %s: got %q, %d, want %q, %d", test.args, got, code, test.want, exitUsage)
		}
	}
}

func TestHelpFitsTheScreen(t *testing.T) {
	for _, c := range commands() {
		got, code := call(t, nil, "", "help", c.name)
		if code != exitOK {
			t.Errorf("help %s: got %q, %d", c.name, got, code)
		}
		lines := strings.Split(strings.TrimSuffix(got, "\n"), "\n")
		if len(lines) > 24 {
			t.Errorf("help %s: %d lines", c.name, len(lines))
		}
		for _, line := range lines {
			if len(line) > screen {
				t.Errorf("help %s: line of %d columns: %s", c.name, len(line), line)
			}
		}
		if same, code := call(t, nil, "", c.name, "--help"); same != got || code != exitOK {
			t.Errorf("%s --help: got %q, %d, want the same as help", c.name, same, code)
		}
	}
	first, _ := call(t, nil, "", "help")
	for _, args := range []string{"--help", "-h"} {
		if got, code := call(t, nil, "", args); got != first || code != exitOK {
			t.Errorf("%s: got %q, %d, want the same as help", args, got, code)
		}
	}
}

// A page has the flags of its command, each in the usage line and on a line of
// its own, and no others. The first page has all commands.
func TestHelpHasEveryCommandAndFlag(t *testing.T) {
	first, _ := call(t, nil, "", "help")
	for _, c := range commands() {
		if !strings.Contains(first, "\n  multus "+c.name+" ") {
			t.Errorf("help does not show %s", c.name)
		}
		page, _ := call(t, nil, "", "help", c.name)
		if c.name == "help" {
			continue
		}
		usage, _, _ := strings.Cut(page, "\n\n")
		if !strings.HasPrefix(usage, "usage: multus "+c.name) {
			t.Errorf("help %s begins with %q", c.name, usage)
		}
		known := map[string]bool{}
		for _, name := range flagNames(c) {
			known["--"+name] = true
			if !strings.Contains(usage, "--"+name) || !strings.Contains(page, "\n  --"+name+" ") {
				t.Errorf("help %s does not describe --%s", c.name, name)
			}
		}
		for _, name := range regexp.MustCompile(`--[a-z-]+`).FindAllString(usage, -1) {
			if !known[name] {
				t.Errorf("help %s has %s, which is no flag of it", c.name, name)
			}
		}
	}
}

// flagNames lists the flags of a command.
func flagNames(c command) (names []string) {
	flags := flag.NewFlagSet(c.name, flag.ContinueOnError)
	c.setup(&program{}, flags)
	flags.VisitAll(func(f *flag.Flag) { names = append(names, f.Name) })
	return names
}

func TestVersion(t *testing.T) {
	got, code := call(t, nil, "", "version")
	want := "multus v1.2.3\nCNI spec: 0.1.0, 0.2.0, 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0\nbuilt with go"
	if !strings.HasPrefix(got, want) || code != exitOK {
		t.Errorf("got %q, %d, want %q", got, code, want)
	}
}

func TestFlagsStandAnywhere(t *testing.T) {
	for _, test := range []struct {
		args, rest []string
		dir        string
	}{
		{[]string{"a", "--wide", "-", "--dir", "--x", "b"}, []string{"a", "-", "b"}, "--x"},
		{[]string{"a", "--dir=b=c", "-wide", "--", "--wide", "--y"}, []string{"a", "--wide", "--y"}, "b=c"},
		{[]string{"--wide", "--dir", "d", "a", "--", "--", "b"}, []string{"a", "--", "b"}, "d"},
		{[]string{"--wide", "--dir", "d", "--"}, nil, "d"},
	} {
		flags := flag.NewFlagSet("", flag.ContinueOnError)
		dir, wide := flags.String("dir", "", ""), flags.Bool("wide", false, "")
		rest, err := parse(flags, test.args)
		if err != nil || !slices.Equal(rest, test.rest) || *dir != test.dir || !*wide {
			t.Errorf("%q: got %q, dir %q, wide %t, %v, want %q, dir %q", test.args, rest, *dir, *wide, err, test.rest, test.dir)
		}
	}
}
