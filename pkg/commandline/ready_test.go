// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package commandline

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// touch makes a file so many hours older or newer than it would be if it were
// written now.
func touch(t *testing.T, path string, hours int) {
	t.Helper()
	then := time.Now().Add(time.Duration(hours) * time.Hour)
	if err := os.Chtimes(path, then, then); err != nil {
		t.Fatal(err)
	}
}

func TestReady(t *testing.T) {
	h := newHost(t)
	binary, placed := filepath.Join(h.bin, "multus"), filepath.Join(h.conf, "10-multus.conf")
	notReady := func(why string, args ...string) {
		t.Helper()
		h.want("multus: not ready: "+why+"\n", exitError, append([]string{"ready"}, args...)...)
	}
	const ready = "ready: BIN/multus and CONF/10-multus.conf\n"
	notReady("stat BIN/multus: no such file or directory")
	h.write(binary, "another")
	notReady("BIN/multus cannot be executed")
	if err := os.Remove(binary); err != nil {
		t.Fatal(err)
	}
	script(t, binary, "")
	notReady("BIN/multus is not the binary of this release, v1.2.3")
	script(t, binary, "echo multus v1.2.3")
	notReady("there is no conf in CONF")
	h.want(strings.Replace(installed, "installed BIN/multus: v1.2.3", "unchanged BIN/multus", 1), exitOK, "install", h.source)
	h.want(ready, exitOK, "ready")
	h.want(ready, exitOK, "ready", h.source)
	notReady("runtimes read CONF/10-multus.conf, not 20-other.conf", "20-other.conf")

	h.write(h.source, goodConf+" ")
	touch(t, placed, -1)
	notReady("SOURCE has changed and is not installed as CONF/10-multus.conf", h.source)
	touch(t, placed, +1) // somebody else has changed it since
	h.want(ready, exitOK, "ready", h.source)
	h.write(filepath.Join(h.conf, "05-first.conf"), "{}")
	notReady("runtimes read CONF/05-first.conf, which is not a conf of multus")
}

// A named pipe in the directory of the confs keeps no command waiting.
func TestCommandsDoNotWaitForPipes(t *testing.T) {
	h := newHost(t)
	h.want("SOURCE: ok, 0 warnings: network \"demo\" gives a pod net0 (macvlan) and eth0 (bridge+tuning)\ninstalled BIN/multus: v1.2.3\ninstalled CONF/10-multus.conf\n",
		exitOK, "install", h.source)
	if err := unix.Mkfifo(filepath.Join(h.conf, "05-pipe.conf"), 0o600); err != nil {
		t.Fatal(err)
	}
	const pipe = "CONF/05-pipe.conf is not a regular file"
	h.want("multus: not ready: runtimes read CONF/05-pipe.conf: "+pipe+"\n", exitError, "ready")
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"list", "--conf-dir", h.conf}, pipe},
		{[]string{"validate", "--offline", h.conf}, "05-pipe.conf: error: " + pipe},
		{[]string{"uninstall", "--bin-dir", h.bin, "--conf-dir", h.conf}, pipe},
		{[]string{"install", "--bin-dir", h.bin, "--conf-dir", h.conf, h.source}, "05-pipe.conf sorts before 10-multus.conf"},
		{[]string{"install", "--bin-dir", h.bin, "--conf-dir", t.TempDir(), filepath.Join(h.conf, "05-pipe.conf")}, pipe},
	} {
		var text bytes.Buffer
		h.program(&text).main(test.args)
		if got := h.short(text.String()); !strings.Contains(got, test.want) {
			t.Errorf("%s: got %q, want %q in it", test.args[0], got, test.want)
		}
	}
}
