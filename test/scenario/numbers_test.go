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
)

var (
	clause  = regexp.MustCompile(`(?m)^\*\*(\d+\.\d+)\*\* `)
	opening = regexp.MustCompile(`^# (\d+\.\d+(?:, \d+\.\d+)*) [A-Z].*[.:]\n`)
)

// TestNumbers compares the clauses of doc/behaviour.md with what the scenarios
// say they show.
func TestNumbers(t *testing.T) {
	doc, err := os.ReadFile(filepath.Join("..", "..", "doc", "behaviour.md"))
	if err != nil {
		t.Fatal(err)
	}
	var clauses []string
	for _, m := range clause.FindAllStringSubmatch(string(doc), -1) {
		if slices.Contains(clauses, m[1]) {
			t.Errorf("doc/behaviour.md has two clauses %s", m[1])
		}
		clauses = append(clauses, m[1])
	}
	files, err := filepath.Glob(filepath.Join("testdata", "*.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]bool{}
	for _, file := range files {
		for _, number := range numbers(t, file) {
			shown[number] = true
			if !slices.Contains(clauses, number) {
				t.Errorf("%s shows %s, which doc/behaviour.md does not have", file, number)
			}
		}
	}
	for _, number := range clauses {
		if !shown[number] {
			t.Errorf("no scenario shows %s of doc/behaviour.md", number)
		}
	}
	if len(clauses) == 0 {
		t.Error("doc/behaviour.md has no clauses")
	}
}

// numbers returns what a scenario shows: its first line says so, and its name
// begins with the first of them.
func numbers(t *testing.T, file string) []string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	m := opening.FindSubmatch(text)
	if m == nil {
		t.Errorf(`%s must open with "# NUMBER Sentence." or "# NUMBER, NUMBER Sentence."`, file)
		return nil
	}
	list := strings.Split(string(m[1]), ", ")
	if !strings.HasPrefix(filepath.Base(file), list[0]+"-") {
		t.Errorf("the name of %s does not begin with the number that it shows, %s", file, list[0])
	}
	return list
}
