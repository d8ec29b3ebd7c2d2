// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package commandline

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"multus-cni/pkg/multus"
)

// host is what install works on: the directories of a runtime, and a conf that is
// not there yet.
type host struct {
	*testing.T
	multus, bin, conf, source string
	records                   string // the default directory of the records
}

func newHost(t *testing.T) *host {
	t.Helper()
	h := &host{
		T: t, multus: filepath.Join(t.TempDir(), "multus"), bin: fakePlugins(t), conf: t.TempDir(),
		source: filepath.Join(t.TempDir(), "10-multus.conf"), records: "/nonexistent/records",
	}
	script(t, h.multus, "echo multus v1.2.3")
	for _, name := range []string{"multus", "multus-cni"} {
		if err := os.Remove(filepath.Join(h.bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	h.write(h.source, goodConf)
	return h
}

// asMultus is what makes this test binary be multus: see TestMain.
const asMultus = "TEST_AS_MULTUS=1"

func TestMain(m *testing.M) {
	name, value, _ := strings.Cut(asMultus, "=")
	switch {
	case os.Getenv(name) != value:
		os.Exit(m.Run())
	case os.Getenv("CNI_COMMAND") == "":
		os.Exit(Main("v1.2.3", os.Args[1:]))
	}
	runtime.LockOSThread() // as main does
	os.Exit((&multus.Multus{Env: os.Environ(), Stdout: os.Stdout, Stderr: os.Stderr}).Serve(context.Background(), ""))
}

func (h *host) write(path, text string) {
	h.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		h.Fatal(err)
	}
}

func (h *host) read(path string) string {
	h.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		h.Fatal(err)
	}
	return string(text)
}

// program is multus at work on the host; everything it prints goes to output.
func (h *host) program(output io.Writer) *program {
	return &program{
		release: "v1.2.3", self: h.multus, defaultCNIDir: h.records, env: func(string) string { return "" },
		stdin: strings.NewReader(""), stdout: output, stderr: output,
	}
}

func (h *host) run(args ...string) (output string, code int) {
	h.Helper()
	var text bytes.Buffer
	code = h.program(&text).main(append(args, "--bin-dir", h.bin, "--conf-dir", h.conf))
	return h.short(text.String()), code
}

// short replaces the directories in a text by short names.
func (h *host) short(text string) string {
	return strings.NewReplacer(h.bin, "BIN", h.conf, "CONF", h.source, "SOURCE").Replace(text)
}

// want runs a command and compares all that it prints and exits with.
func (h *host) want(output string, code int, args ...string) {
	h.Helper()
	got, gotCode := h.run(args...)
	if got != output || gotCode != code {
		h.Errorf("multus %s: got\n%s(%d), want\n%s(%d)", strings.Join(args, " "), got, gotCode, output, code)
	}
}

// files lists what is in the directories of the runtime, but the plugins.
func (h *host) files() string {
	h.Helper()
	var names []string
	for _, pattern := range []string{h.bin + "/multus*", h.bin + "/.*", h.conf + "/*", h.conf + "/.*"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			h.Fatal(err)
		}
		for _, name := range found {
			names = append(names, strings.NewReplacer(h.bin, "BIN", h.conf, "CONF").Replace(name))
		}
	}
	return strings.Join(names, " ")
}

func (h *host) wantFiles(want string) {
	h.Helper()
	if got := h.files(); got != want {
		h.Errorf("got files %q, want %q", got, want)
	}
}

func (h *host) inode(path string) uint64 {
	h.Helper()
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		h.Fatal(err)
	}
	return st.Ino
}

const (
	accepted  = "SOURCE: ok, 0 warnings: network \"demo\" gives a pod net0 (macvlan) and eth0 (bridge+tuning)\n"
	installed = accepted + "installed BIN/multus: v1.2.3\ninstalled CONF/10-multus.conf\n"
	unchanged = accepted + "unchanged BIN/multus\nunchanged CONF/10-multus.conf\n"
	both      = "BIN/multus CONF/10-multus.conf"
)

func TestInstallPutsBinaryAndConfInPlace(t *testing.T) {
	h := newHost(t)
	binary, conf := filepath.Join(h.bin, "multus"), filepath.Join(h.conf, "10-multus.conf")
	h.want(installed, exitOK, "install", h.source)
	h.wantFiles(both)
	if h.read(binary) != h.read(h.multus) || h.read(conf) != goodConf {
		t.Error("the files are not those that were to be installed")
	}
	for path, want := range map[string]fs.FileMode{binary: 0o755, conf: 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode() != want {
			t.Errorf("%s: got %v, %v, want mode %v", path, info.Mode(), err, want)
		}
	}
	inode := h.inode(binary)
	h.want(unchanged, exitOK, "install", h.source)
	if h.inode(binary) != inode {
		t.Error("the second install has replaced the binary")
	}
	if err := os.Chmod(binary, 0o700); err != nil {
		t.Fatal(err)
	}
	h.want(strings.Replace(unchanged, "unchanged BIN/multus", "installed BIN/multus: v1.2.3 in place of v1.2.3", 1), exitOK, "install", h.source)
}

// The file that is there is replaced, not written to: whoever executes it goes
// on, and "text file busy" cannot happen.
func TestInstallReplacesWhatIsThere(t *testing.T) {
	h := newHost(t)
	binary := filepath.Join(h.bin, "multus")
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	h.write(binary, h.read(sleep))
	if err := os.Chmod(binary, 0o755); err != nil {
		t.Fatal(err)
	}
	old := exec.Command(binary, "60")
	if err := old.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = old.Process.Kill(); _ = old.Wait() }()
	h.write(filepath.Join(h.conf, "10-multus.conf"), "{}")
	h.want(strings.Replace(installed, "v1.2.3", "v1.2.3 in place of another program or an older release", 1), exitOK, "install", h.source)
	if err := old.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("the running old binary: %v", err)
	}
}

func TestInstallSweepsWhatKilledOnesLeft(t *testing.T) {
	h := newHost(t)
	fresh, stale := filepath.Join(h.bin, ".multus.new-1"), filepath.Join(h.bin, ".multus.new-2")
	h.write(fresh, "")
	h.write(stale, "")
	then := time.Now().Add(-time.Hour)
	if err := os.Chtimes(stale, then, then); err != nil {
		t.Fatal(err)
	}
	h.want(installed, exitOK, "install", h.source)
	h.wantFiles("BIN/multus BIN/.multus.new-1 CONF/10-multus.conf")
}

func TestInstallRefuses(t *testing.T) {
	for _, test := range []struct {
		name  string
		spoil func(h *host)
		want  string
	}{
		{
			"a conf with errors", func(h *host) { h.write(h.source, `{"name": "demo", "type": "multus"}`) },
			"SOURCE:1:1: error: \"delegates\" is missing: list the networks of a pod there\nSOURCE: 1 error, 0 warnings\n" +
				"multus: nothing was installed: the conf has errors\n",
		},
		{
			"a plugin that is missing", func(h *host) { _ = os.Remove(filepath.Join(h.bin, "tuning")) },
			"SOURCE:2:116: error: delegate 1 \"tuning\": \"plugins[1].type\" names \"tuning\", which is not in BIN: install it there, correct the name, or say where the plugins are (--cni-path; install: --bin-dir)\n" +
				"SOURCE: 1 error, 0 warnings\nmultus: nothing was installed: the conf has errors\n",
		},
		{
			"a conf that is not there", func(h *host) { _ = os.Remove(h.source) },
			"multus: open SOURCE: no such file or directory\n",
		},
		{
			"a file that sorts first", func(h *host) { h.write(filepath.Join(h.conf, "05-bridge.conf"), "{}") },
			accepted + "multus: nothing was installed: in CONF, 05-bridge.conf sorts before 10-multus.conf, and runtimes read only the first: " +
				"move it away, or give this conf a name that sorts first\n",
		},
		{
			"a name that no runtime reads", func(h *host) { h.source += ".new"; h.write(h.source, goodConf) },
			accepted + "multus: nothing was installed: in CONF, runtimes read only names that end in .conf, .conflist or .json: rename 10-multus.conf.new\n",
		},
		{
			"a directory that is missing", func(h *host) { h.conf += "/none" },
			"multus: there is no directory CONF: name the one that the runtime uses, or create it (mkdir -p)\n",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newHost(t)
			test.spoil(h)
			before := h.files()
			h.want(test.want, exitError, "install", h.source)
			h.wantFiles(before)
		})
	}
}

func TestInstallDryRunChangesNothing(t *testing.T) {
	h := newHost(t)
	h.want(accepted+"would install BIN/multus: v1.2.3\nwould install CONF/10-multus.conf\n", exitOK, "install", "--dry-run", h.source)
	h.wantFiles("")
	h.want(installed, exitOK, "install", h.source)
	before := h.read(filepath.Join(h.conf, "10-multus.conf"))
	h.write(h.source, strings.Replace(goodConf, "demo", "demo2", 1))
	h.want(strings.Replace(accepted, "demo", "demo2", 1)+"unchanged BIN/multus\nwould install CONF/10-multus.conf\n", exitOK,
		"install", "--dry-run", "--drained", h.source)
	if h.read(filepath.Join(h.conf, "10-multus.conf")) != before {
		t.Error("the conf has changed")
	}
}

func TestInstallSaysWhichVersionItReplaces(t *testing.T) {
	h := newHost(t)
	script(t, filepath.Join(h.bin, "multus"), "echo multus v1.2.2; echo more")
	h.want(strings.Replace(installed, "v1.2.3", "v1.2.3 in place of v1.2.2", 1), exitOK, "install", h.source)
}

// podman and nerdctl read the conf that has a network's name, and only lists.
func TestInstallNamed(t *testing.T) {
	h := newHost(t)
	h.write(filepath.Join(h.conf, "05-other.conflist"), flannelList)
	h.want(accepted+"multus: nothing was installed: in CONF, podman and nerdctl look for networks in files that end in .conflist: write "+
		`{"cniVersion": ..., "name": ..., "plugins": [...]} around the content of 10-multus.conf, and rename the file`+"\n", exitError, "install", "--named", h.source)
	h.source = strings.TrimSuffix(h.source, ".conf") + ".conflist"
	h.write(h.source, `{"cniVersion": "1.0.0", "name": "demo", "plugins": [`+goodConf+`]}`)
	h.want(accepted+"installed BIN/multus: v1.2.3\ninstalled CONF/10-multus.conflist\n", exitOK, "install", "--named", h.source)
}
