// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package commandline

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"multus-cni/pkg/cnierror"
	"multus-cni/pkg/safefile"
)

// replace replaces a file, so that whoever reads or executes it meanwhile gets
// either the old one or the new one whole. It returns the file's stamp, a text
// that differs after each change to the file, or the constant replaced if
// somebody else has written the file right after that.
func replace(path string, text []byte, mode os.FileMode) (stamp string, err error) {
	sweep(path)
	// Runtimes do not read this name, whatever path ends in. The process id would
	// not do: two containers that install in one directory can have the same.
	temp := newPrefix(path) + strconv.FormatUint(rand.Uint64(), 36)
	if err := safefile.Write(path, temp, text, mode); err != nil {
		return "", fmt.Errorf("install %s: %w", path, err)
	}
	return stampOf(path, text, mode), nil
}

// replaced is the stamp of a file that somebody else has written.
const replaced = "replaced"

// stampOf returns the stamp of a file if it is a regular one with this content
// and mode, and otherwise the constant replaced. The stamp is taken before the
// content is read: a change in between shows in the next stamp.
func stampOf(path string, text []byte, mode os.FileMode) string {
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != mode {
		return replaced
	}
	if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, text) {
		return replaced
	}
	return stamp(info)
}

// stampAt returns the stamp of what a path leads to, "" when that is nothing.
func stampAt(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return ""
	}
	return stamp(info)
}

func stamp(info os.FileInfo) string {
	st, _ := info.Sys().(*syscall.Stat_t)
	return fmt.Sprint(st.Dev, st.Ino, info.Size(), info.ModTime().UnixNano(), info.Mode())
}

// newPrefix is what the temporary files for path begin with.
func newPrefix(path string) string {
	return filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".new-")
}

// sweep removes what killed installs have left. It leaves files of the last
// minute in place: another install may be at work, and needs seconds.
func sweep(path string) {
	dir := filepath.Dir(path)
	entries, _ := os.ReadDir(dir) // the install itself reports what is wrong with it
	for _, entry := range entries {
		file := filepath.Join(dir, entry.Name())
		info, err := entry.Info()
		if err == nil && strings.HasPrefix(file, newPrefix(path)) && time.Since(info.ModTime()) > time.Minute {
			_ = os.Remove(file)
		}
	}
}

// versionOf asks a binary of multus for its version. Other programs of that
// name, the multus of 2017 among them, do not know the command.
func versionOf(binary string) string {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, "version")
	cmd.WaitDelay = time.Second
	cmd.Env = slices.DeleteFunc(os.Environ(), func(entry string) bool { return strings.HasPrefix(entry, "CNI_") })
	output, err := cmd.Output()
	line, _, _ := strings.Cut(string(output), "\n")
	release, ok := strings.CutPrefix(line, "multus ")
	if err != nil || !ok {
		return "another program or an older release"
	}
	return cnierror.OneLine(release)
}
