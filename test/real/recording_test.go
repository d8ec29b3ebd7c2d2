// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package real

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestRecording checks that the README's recording shows what the demo prints
// today. `test/demo/record` makes it again.
func TestRecording(t *testing.T) {
	t.Parallel()
	now := filepath.Join(t.TempDir(), "demo.svg")
	if out, err := exec.Command("../demo/record", now).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	got, want := recorded(t, now), recorded(t, "../../doc/images/demo.svg")
	if !slices.Equal(got, want) {
		t.Errorf("the demo prints\n%s\nand the recording shows\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// recorded returns the lines of a recording, without what differs from run to
// run: times and identifiers.
func recorded(t *testing.T, path string) []string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, m := range regexp.MustCompile(`<text [^>]*>(.*)</text>`).FindAllStringSubmatch(string(text), -1) {
		line := regexp.MustCompile(`([0-9a-f]{2}:){5}[0-9a-f]{2}|[0-9a-f]{8}\b|\b[0-9]+ ms`).ReplaceAllString(m[1], "*")
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	if len(lines) == 0 {
		t.Fatalf("%s has no lines", path)
	}
	return lines
}
