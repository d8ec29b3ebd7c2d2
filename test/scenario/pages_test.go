// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// How long a line may be: in an editor, and in a block of code, which a page
// shows in letters of one width and does not wrap.
const (
	pageWidth = 120
	codeWidth = 110
)

// TestPages checks that the links of the documentation lead somewhere, and that
// no line is too long to be read.
func TestPages(t *testing.T) {
	var pages []string
	for _, pattern := range []string{"*.md", ".github/*.md", "doc/*.md", "doc/kubernetes/*.md", "test/*.md", "test/e2e/*.md", "test/e2e/*/*.md"} {
		found, err := filepath.Glob(filepath.Join("..", "..", pattern))
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, found...)
	}
	if len(pages) == 0 {
		t.Fatal("no pages")
	}
	for _, page := range pages {
		text := read(t, page)
		i, width := 0, pageWidth
		for line := range strings.Lines(text) {
			i++
			if strings.HasPrefix(strings.TrimSpace(line), "```") {
				width = pageWidth + codeWidth - width // the other one
			}
			if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > width {
				t.Errorf("%s:%d: %d characters, want at most %d", page, i, n, width)
			}
		}
		for _, m := range regexp.MustCompile(`\]\(([^)#]*)(#[^)]*)?\)`).FindAllStringSubmatch(text, -1) {
			if !strings.Contains(m[1], "://") {
				followLink(t, page, m[1], m[2])
			}
		}
	}
}

// TestFuzzTargets checks that the page lists each fuzz target, and that no two
// have one name: ./build fuzz finds the package of a target by its name.
func TestFuzzTargets(t *testing.T) {
	files, err := filepath.Glob("../../pkg/*/*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	deeper, err := filepath.Glob("../../pkg/*/*/*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	var targets []string
	for _, file := range append(files, deeper...) {
		for _, m := range regexp.MustCompile(`(?m)^func (Fuzz\w+)`).FindAllStringSubmatch(read(t, file), -1) {
			targets = append(targets, m[1])
		}
	}
	var listed []string
	for _, m := range regexp.MustCompile(`(?m)^\| (Fuzz\w+) \|`).FindAllStringSubmatch(read(t, "../../doc/reliability.md"), -1) {
		listed = append(listed, m[1])
	}
	slices.Sort(targets)
	slices.Sort(listed)
	if len(targets) == 0 || !slices.Equal(targets, listed) {
		t.Errorf("the targets are\n%q\nand doc/reliability.md lists\n%q", targets, listed)
	}
}

func followLink(t *testing.T, page, target, anchor string) {
	t.Helper()
	path := page
	if target != "" {
		path = filepath.Join(filepath.Dir(page), target)
	}
	if _, err := os.Stat(path); err != nil {
		t.Errorf("%s: broken link: %v", page, err)
		return
	}
	if anchor != "" && !slices.Contains(anchors(read(t, path)), anchor) {
		t.Errorf("%s: %s has no heading for %s", page, path, anchor)
	}
}

// anchors returns those of the headings, as hosts of repositories make them.
func anchors(page string) (names []string) {
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(page, -1) {
		name := regexp.MustCompile(`[^\w -]`).ReplaceAllString(strings.ToLower(m[1]), "")
		names = append(names, "#"+strings.ReplaceAll(name, " ", "-"))
	}
	return names
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
