// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Who has called is decided by CNI_COMMAND: a person or a runtime.
func TestRun(t *testing.T) {
	conf := `{"cniVersion":"1.1.0","name":"net","type":"multus","delegates":[{"type":"no-such-plugin","masterplugin":true}]}`
	for _, test := range []struct {
		name, command  string
		args           []string
		exit           int
		stdout, stderr string
	}{
		{name: "a person", args: []string{"version"}, stdout: "unknown"},
		{name: "nobody", stderr: "multus unknown: a CNI meta-plugin that gives a pod several network interfaces"},
		{name: "VERSION", command: "VERSION", args: []string{"ignored"}, stdout: `"supportedVersions":["0.1.0",`},
		{name: "ADD", command: "ADD", exit: 1, stdout: `"CNI_NETNS: there is no network namespace`},
	} {
		t.Run(test.name, func(t *testing.T) {
			for key, value := range map[string]string{
				"CNI_COMMAND": test.command, "CNI_CONTAINERID": "c1", "CNI_IFNAME": "eth0", "CNI_NETNS": "/nonexistent", "CNI_PATH": t.TempDir(),
			} {
				t.Setenv(key, value)
			}
			replace(t, &os.Stdin, conf)
			stdout, stderr := replace(t, &os.Stdout, ""), replace(t, &os.Stderr, "")
			if exit := run(test.args); exit != test.exit {
				t.Errorf("got exit code %d, want %d", exit, test.exit)
			}
			if got := stdout(); !strings.Contains(got, test.stdout) {
				t.Errorf("got stdout %q, want %q in it", got, test.stdout)
			}
			if got := stderr(); !strings.Contains(got, test.stderr) {
				t.Errorf("got stderr %q, want %q in it", got, test.stderr)
			}
		})
	}
}

// replace puts a file in the place of a stream until the test ends. It returns
// a function that reads what the file holds.
func replace(t *testing.T, stream **os.File, text string) func() string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "stream")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	old := *stream
	t.Cleanup(func() { *stream = old; _ = file.Close() })
	*stream = file
	return func() string {
		text, err := io.ReadAll(io.NewSectionReader(file, 0, 1<<20))
		if err != nil {
			t.Error(err)
		}
		return string(text)
	}
}
