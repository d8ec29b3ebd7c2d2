// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package commandline

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The man page is written by hand: its synopsis and its descriptions have each
// command, with the flags of that command and no others.
func TestManPageHasEveryCommandAndFlag(t *testing.T) {
	text := readDoc(t, "multus.8")
	_, text, _ = strings.Cut(text, ".Sh SYNOPSIS")
	synopsis, text, _ := strings.Cut(text, ".Sh DESCRIPTION")
	description, _, _ := strings.Cut(text, ".Sh CONFIGURATION")

	inSynopsis, described := map[string]string{}, map[string]string{}
	for _, usage := range strings.Split(synopsis, "\n.Nm\n.Cm ")[1:] {
		inSynopsis[firstWord(usage)] += usage // try has two
	}
	for _, part := range strings.Split(description, "\n.It Cm ")[1:] {
		described[firstWord(part)] += part
	}
	for _, page := range []struct {
		name, flags string // a pattern: the text of a description refers to flags of other commands too
		parts       map[string]string
	}{
		{"the synopsis of multus.8", `Fl .*`, inSynopsis},
		{"the description in multus.8", `(?m)^\.It Fl .*$`, described},
	} {
		if len(page.parts) != len(commands()) {
			t.Errorf("%s has %d commands, want %d", page.name, len(page.parts), len(commands()))
		}
		for _, c := range commands() {
			flags := strings.Join(regexp.MustCompile(page.flags).FindAllString(page.parts[c.name], -1), "\n")
			checkFlags(t, page.name, c, regexp.MustCompile(`\\-[a-z-]+`).FindAllString(flags, -1), `\-`)
		}
	}
	for _, state := range states() {
		if state != stateAttached && !strings.Contains(described["list"], "\n.It "+state+"\n") {
			t.Errorf("multus.8 does not describe the state %s", state)
		}
	}
}

// What the pages tell people to type exists: the command, and its flags.
func TestPagesHaveExistingCommandsAndFlags(t *testing.T) {
	known := map[string][]string{}
	for _, c := range commands() {
		known[c.name] = flagNames(c)
	}
	pages := []string{"../../README.md", "../../doc/multus.8"}
	for _, pattern := range []string{"../../doc/*.md", "../../doc/kubernetes/*.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, found...)
	}
	// At the start of a code span, or of a line of code or roff.
	typed := regexp.MustCompile("(?m)(?:`|^\\.Dl |^ *[$#]? *)(?:/opt/cni/)?(?:bin/)?multus ([a-z]+)([^`|;\n]*)")
	seen := map[string]bool{}
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range typed.FindAllStringSubmatch(strings.ReplaceAll(string(text), `\-`, "-"), -1) {
			name, flags := m[1], regexp.MustCompile(`--([a-z-]+)`).FindAllStringSubmatch(m[2], -1)
			if known[name] == nil && len(flags) == 0 && !strings.HasPrefix(m[0], "`") {
				continue // prose, where a line begins with the name of the program
			}
			if _, exists := known[name]; !exists {
				t.Errorf("%s: there is no command %q", page, strings.TrimSpace(m[0]))
			}
			for _, flag := range flags {
				if !slices.Contains(known[name], flag[1]) {
					t.Errorf("%s: %q: there is no flag --%s", page, strings.TrimSpace(m[0]), flag[1])
				}
			}
			seen[name] = true
		}
	}
	for name := range known {
		if !seen[name] {
			t.Errorf("no page has the command %s", name)
		}
	}
}

// The completions are written by hand too.
func TestCompletionHasEveryCommandAndFlag(t *testing.T) {
	var names []string
	for _, c := range commands() {
		names = append(names, c.name)
	}
	bash := bashCompletion(t)
	checkWords(t, "bash: commands", bash("multus", ""), names)
	checkWords(t, "bash: commands of help", bash("multus", "help", ""), names)
	checkWords(t, "bash: states", bash("multus", "list", "--state", ""), states())
	checkWords(t, "bash: outputs", bash("multus", "list", "--output", ""), outputs())
	for _, c := range commands() {
		if c.name != "help" {
			checkFlags(t, "multus.bash", c, bash("multus", c.name, "-"), "--")
		}
	}

	text := readDoc(t, "completion/_multus")
	list, text, _ := strings.Cut(text, "\n)\n")
	checkWords(t, "zsh: commands", submatches(`\n    '([a-z]+):`, list), names)
	for _, c := range commands() {
		section := strings.Join(submatches(`(?s)\n    `+c.name+`\)\n(.*?)\n        ;;\n`, text), "")
		checkFlags(t, "_multus", c, regexp.MustCompile(`--[a-z-]+`).FindAllString(section, -1), "--")
	}
	checkWords(t, "zsh: states", strings.Fields(submatches(`--state=:state:\((.*)\)`, text)[0]), states())
	checkWords(t, "zsh: outputs", strings.Fields(submatches(`--output=:format:\((.*)\)`, text)[0]), outputs())
}

// bashCompletion returns what bash offers for the last of some words.
func bashCompletion(t *testing.T) func(words ...string) []string {
	t.Helper()
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("there is no bash")
	}
	const script = `source ../../doc/completion/multus.bash
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_multus
echo "${COMPREPLY[@]}"`
	return func(words ...string) []string {
		output, err := exec.Command(bash, append([]string{"-euc", script, "bash"}, words...)...).Output()
		if err != nil {
			t.Errorf("%q: %v", words, err)
		}
		return strings.Fields(string(output))
	}
}

// checkFlags compares the flags that a page has for a command, each after a
// prefix, with those that the command has.
func checkFlags(t *testing.T, where string, c command, got []string, prefix string) {
	t.Helper()
	var want []string
	for _, name := range flagNames(c) {
		want = append(want, prefix+name)
	}
	checkWords(t, where+": flags of "+c.name, got, want)
}

// checkWords compares lists as sets.
func checkWords(t *testing.T, what string, got, want []string) {
	t.Helper()
	got, want = slices.Compact(slices.Sorted(slices.Values(got))), slices.Sorted(slices.Values(want))
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

// submatches returns what the group of a pattern matches.
func submatches(pattern, text string) (found []string) {
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		found = append(found, m[1])
	}
	return found
}

func firstWord(text string) string { return strings.Fields(text)[0] }

func readDoc(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../doc", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
