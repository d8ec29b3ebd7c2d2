// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package commandline

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// host is what install works on: the directories of a runtime, and a conf that is
// not there yet.
type host struct {
	*testing.T
	multus, bin, conf, source string
}

func newHost(t *testing.T) *host {
	t.Helper()
	h := &host{T: t, multus: multusBinary(t), bin: fakePlugins(t), conf: t.TempDir(), source: filepath.Join(t.TempDir(), "10-multus.conf")}
	if err := os.Remove(filepath.Join(h.bin, "multus")); err != nil {
		t.Fatal(err)
	}
	h.write(h.source, goodConf)
	return h
}

// multusBinary returns the real one: the one that MULTUS names, or one built now.
func multusBinary(t *testing.T) string {
	t.Helper()
	if path := os.Getenv("MULTUS"); path != "" {
		return path
	}
	buildOnce.Do(func() {
		build := exec.Command("go", "build", "-o", built, "multus-cni/cmd/multus")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if output, err := build.CombinedOutput(); err != nil {
			t.Fatalf("build multus: %v\n%s", err, output)
		}
	})
	return built
}

var (
	buildOnce sync.Once
	built     string // where multus is built, for all tests
)

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "commandline")
	if err != nil {
		panic(err)
	}
	built = filepath.Join(dir, "multus")
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
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

// command is the real binary with the directories of the host.
func (h *host) command(args ...string) *exec.Cmd {
	args = append(args, "--bin-dir", h.bin, "--conf-dir", h.conf)
	return exec.Command(h.multus, args...)
}

func (h *host) run(args ...string) (output string, code int) {
	h.Helper()
	cmd := h.command(args...)
	text, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		h.Fatal(err)
	}
	return strings.NewReplacer(h.bin, "BIN", h.conf, "CONF", h.source, "SOURCE").Replace(string(text)), cmd.ProcessState.ExitCode()
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
	accepted  = "SOURCE: ok, 0 warnings: network \"demo\" gives a pod net0 (macvlan) and eth0 (bridge+portmap)\n"
	installed = accepted + "installed BIN/multus\ninstalled CONF/10-multus.conf\n"
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
	h.want(strings.Replace(unchanged, "unchanged", "installed", 1), exitOK, "install", h.source)
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
	h.want(installed, exitOK, "install", h.source)
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
		{"a conf with errors", func(h *host) { h.write(h.source, `{"name": "demo", "type": "multus"}`) },
			"SOURCE:1:1: error: \"delegates\" is missing: list the networks of a pod there\nSOURCE: 1 error, 0 warnings\n" +
				"multus: nothing was installed: the conf has errors\n"},
		{"a plugin that is missing", func(h *host) { _ = os.Remove(filepath.Join(h.bin, "portmap")) },
			"SOURCE:2:88: error: delegate 1 \"portmap\": \"plugins[1].type\" names \"portmap\", which is not in BIN: install it there, or correct the name\n" +
				"SOURCE: 1 error, 0 warnings\nmultus: nothing was installed: the conf has errors\n"},
		{"a conf that is not there", func(h *host) { _ = os.Remove(h.source) },
			"multus: open SOURCE: no such file or directory\n"},
		{"a file that sorts first", func(h *host) { h.write(filepath.Join(h.conf, "05-bridge.conf"), "{}") },
			accepted + "multus: nothing was installed: in CONF, 05-bridge.conf sorts before 10-multus.conf, and runtimes read only the first: " +
				"move it away, or give this conf a name that sorts first\n"},
		{"a name that no runtime reads", func(h *host) { h.source += ".new"; h.write(h.source, goodConf) },
			accepted + "multus: nothing was installed: in CONF, runtimes read only names that end in .conf, .conflist or .json: rename 10-multus.conf.new\n"},
		{"a directory that is missing", func(h *host) { h.conf += "/none" },
			"multus: there is no directory CONF: name the one that the runtime uses, or create it (mkdir -p)\n"},
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

// output collects what a process prints, to wait for it.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// start runs the real binary until the test ends. ended gets what it ended with.
func (h *host) start(args ...string) (cmd *exec.Cmd, printed *output, ended chan error) {
	h.Helper()
	printed, ended = &output{}, make(chan error, 1)
	cmd = h.command(args...)
	cmd.Stdout, cmd.Stderr = printed, printed
	if err := cmd.Start(); err != nil {
		h.Fatal(err)
	}
	go func() { ended <- cmd.Wait() }()
	h.Cleanup(func() { _ = cmd.Process.Kill() })
	return cmd, printed, ended
}

func TestInstallWaitKeepsFilesInPlace(t *testing.T) {
	h := newHost(t)
	binary, conf := filepath.Join(h.bin, "multus"), filepath.Join(h.conf, "10-multus.conf")
	cmd, printed, ended := h.start("install", "--wait", h.source)
	says := func(text string) {
		t.Helper()
		waitFor(t, text+" in\n"+printed.String(), func() bool { return strings.Contains(printed.String(), text) })
	}
	says("watching " + binary + " and " + conf)

	if err := os.Remove(binary); err != nil {
		t.Fatal(err)
	}
	says(binary + " is gone")
	waitFor(t, "the binary is back", func() bool { _, err := os.Stat(binary); return err == nil })
	says("unchanged " + conf) // it looks at this last: a change before is fixed without a word

	h.write(conf, "{}")
	says(conf + " has changed")
	waitFor(t, "the conf is back", func() bool { return h.read(conf) == goodConf })

	newConf := strings.Replace(goodConf, "demo", "other", 1)
	h.write(h.source, newConf)
	waitFor(t, "the new conf is installed", func() bool { return h.read(conf) == newConf })

	h.write(h.source, "{}")
	says("nothing was installed: the conf has errors; trying again in 30s")
	if h.read(conf) != newConf {
		t.Error("a broken conf was installed")
	}

	first := filepath.Join(h.conf, "00-first.conf")
	h.write(h.source, newConf)
	h.write(first, "{}")
	says("00-first.conf sorts before 10-multus.conf")

	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("after SIGTERM: %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("still running after SIGTERM")
	}
	if !strings.HasSuffix(printed.String(), "stopped: the files are left in place\n") {
		t.Errorf("got\n%s", printed.String())
	}
	h.wantFiles("BIN/multus CONF/00-first.conf CONF/10-multus.conf")
}
