// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const entry = "# it is\n# locked\nfile a.go\n-\tlock()\n-\twork()\n+\twork()\ntest pkg/a TestLock/held\n"

func TestParse(t *testing.T) {
	got, err := parse(strings.NewReader("\n" + entry + "\n" + entry))
	want := mutation{line: 2, why: "it is locked", file: "a.go", from: "\tlock()\n\twork()\n", to: "\twork()\n", dir: "pkg/a", test: "TestLock/held"}
	if err != nil || len(got) != 2 || got[0] != want {
		t.Errorf("got %+v, %v, want twice %+v", got, err, want)
	}
	for _, text := range []string{"nonsense\n", "# why\ntest pkg/a Test\n", "# why\nfile a.go\n-x\n", "# why\nfile a.go\n-x\ntest pkg/a\n"} {
		if got, err := parse(strings.NewReader(text)); err == nil {
			t.Errorf("%q: got %+v, want an error", text, got)
		}
	}
}

// An entry whose lines have changed in the product code must follow.
func TestListFitsTheProduct(t *testing.T) {
	file, err := os.Open("list")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	all, err := parse(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		text, err := os.ReadFile(filepath.Join("..", "..", m.file))
		if err != nil {
			t.Fatal(err)
		}
		if _, n := replaceLines(string(text), m.from, m.to); n != 1 {
			t.Errorf("%v: the lines to replace occur %d times, want once", m, n)
		}
	}
}

func TestApply(t *testing.T) {
	root := t.TempDir()
	path := filepath.Join(root, "a.go")
	for _, c := range []struct{ text, want string }{
		{"\tlock()\n\twork()\n", "\twork()\n"},
		{"x\n\tlock()\n\twork()\ny\n", "x\n\twork()\ny\n"},
		{"\tunlock()\n\twork()\n", ""},                  // whole lines
		{strings.Repeat("\tlock()\n\twork()\n", 2), ""}, // which one?
	} {
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		undo, err := mutation{file: "a.go", from: "\tlock()\n\twork()\n", to: "\twork()\n"}.apply(root)
		if c.want == "" {
			if err == nil {
				t.Errorf("%q: no error", c.text)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		wantFile(t, path, c.want)
		if err := undo(); err != nil {
			t.Fatal(err)
		}
		wantFile(t, path, c.text)
	}
}

func wantFile(t *testing.T, path, want string) {
	t.Helper()
	if got, err := os.ReadFile(path); err != nil || string(got) != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}
