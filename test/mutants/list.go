// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// mutation is one entry of the list.
type mutation struct {
	line     int    // of the list, where the entry begins
	why      string // what a test must notice, the comment above the entry
	file     string // relative to the project's directory
	from, to string // whole lines, without the newline after the last one
	dir      string // of the package whose tests are run, relative to the project's directory
	test     string // for go test -run
}

func (m mutation) String() string {
	return fmt.Sprintf("list:%d: %s: %s", m.line, m.file, m.why)
}

// parse reads a list, whose format the package comment has. Errors name the
// line.
func parse(r io.Reader) ([]mutation, error) {
	var all []mutation
	var m mutation
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		text := lines.Text()
		if text == "" {
			continue
		}
		if m.line == 0 {
			m.line = n
		}
		done, err := m.add(text)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if done {
			all, m = append(all, m), mutation{}
		}
	}
	if m.file != "" {
		return nil, fmt.Errorf("line %d: the entry has no test", m.line)
	}
	return all, lines.Err()
}

// add takes one line of an entry, and reports whether it was the last.
func (m *mutation) add(text string) (done bool, err error) {
	key, value, _ := strings.Cut(text, " ")
	switch {
	case text[0] == '-':
		m.from += text[1:] + "\n"
	case text[0] == '+':
		m.to += text[1:] + "\n"
	case key == "#":
		m.why = strings.TrimSpace(m.why + " " + value)
	case key == "file":
		m.file = value
	case key == "test":
		m.dir, m.test, _ = strings.Cut(value, " ")
		if m.file == "" || m.from == "" || m.test == "" || m.why == "" {
			return false, fmt.Errorf("an entry needs a comment, a file, a line to replace, and a directory and a name for its test")
		}
		return true, nil
	default:
		return false, fmt.Errorf("neither #, file, -, + nor test: %q", text)
	}
	return false, nil
}

// apply makes the mutation in the tree at root, and returns how to undo it.
// The text must occur exactly once: otherwise the entry is out of date.
func (m mutation) apply(root string) (undo func() error, err error) {
	path := filepath.Join(root, m.file)
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	after, n := replaceLines(string(text), m.from, m.to)
	if n != 1 {
		return nil, fmt.Errorf("%s has the lines to replace %d times, want once", m.file, n)
	}
	if err := os.WriteFile(path, []byte(after), 0o644); err != nil {
		return nil, err
	}
	return func() error { return os.WriteFile(path, text, 0o644) }, nil
}

// replaceLines replaces whole lines, and returns how often they occur.
func replaceLines(text, from, to string) (replaced string, n int) {
	for text != "" {
		if rest, ok := strings.CutPrefix(text, from); ok {
			replaced, text = replaced+to, rest
			n++
			continue
		}
		end := strings.IndexByte(text, '\n') + 1
		if end == 0 {
			end = len(text)
		}
		replaced, text = replaced+text[:end], text[end:]
	}
	return replaced, n
}
