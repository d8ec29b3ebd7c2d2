// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package commandline

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

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

// watcher is an install --wait that runs until the test ends.
type watcher struct {
	*host
	printed output
	binary  string
	placed  string // the conf in place
	stop    func()
}

func newWatcher(h *host) *watcher {
	h.Helper()
	w := &watcher{host: h, binary: filepath.Join(h.bin, "multus"), placed: filepath.Join(h.conf, filepath.Base(h.source))}
	i := &installation{
		program: h.program(&w.printed), source: h.source, selfText: []byte(h.read(h.multus)), binary: w.binary, conf: w.placed,
		wait: true, interval: 10 * time.Millisecond,
	}
	if err := i.run(); err != nil {
		h.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- i.watch(ctx) }()
	w.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil || !strings.HasSuffix(w.printed.String(), "stopped: the files are left in place\n") {
			h.Errorf("got error %v, and printed\n%s", err, w.printed.String())
		}
	})
	h.Cleanup(w.stop)
	w.says("watching " + w.binary + " and " + w.placed)
	return w
}

func (w *watcher) says(text string) {
	w.Helper()
	waitFor(w.T, text+" in\n"+w.printed.String(), func() bool { return strings.Contains(w.printed.String(), text) })
}

func (w *watcher) remove(path string) {
	w.Helper()
	if err := os.Remove(path); err != nil {
		w.Fatal(err)
	}
}

// seen waits until the watcher has looked at everything again: it puts back a
// binary that is removed.
func (w *watcher) seen() {
	w.Helper()
	w.remove(w.binary)
	waitFor(w.T, "the binary is back", func() bool { return exists(w.binary) })
}

func TestInstallWaitPutsBackWhatIsGone(t *testing.T) {
	w := newWatcher(newHost(t))
	w.remove(w.binary)
	w.says(w.binary + " is gone")
	waitFor(t, "the binary is back", func() bool { return exists(w.binary) })
	w.write(w.binary, "another program")
	w.says(w.binary + " has changed")
	waitFor(t, "the binary is back", func() bool { return w.read(w.binary) == w.read(w.multus) })
	w.remove(w.placed)
	w.says(w.placed + " is gone")
	waitFor(t, "the conf is back", func() bool { return exists(w.placed) })
}

func TestInstallWaitFollowsItsSource(t *testing.T) {
	w := newWatcher(newHost(t))
	newConf := strings.Replace(goodConf, `"name"`, `"logLevel": "info", "name"`, 1)
	w.write(w.source, newConf)
	waitFor(t, "the new conf is installed", func() bool { return w.read(w.placed) == newConf })
	w.write(w.source, "{}")
	w.says("nothing was installed: the conf has errors; trying again in 30s")
	if w.read(w.placed) != newConf {
		t.Error("a broken conf was installed")
	}
	w.write(w.source, goodConf)
	waitFor(t, "the corrected conf is installed", func() bool { return w.read(w.placed) == goodConf })
	w.write(filepath.Join(w.conf, "00-first.conf"), "{}")
	w.says("00-first.conf sorts before 10-multus.conf")
}

// istio-cni inserts itself into the conf that is read first, and again whenever
// it is not there.
func TestInstallWaitLeavesWhatSomebodyElseChanged(t *testing.T) {
	w := newWatcher(newHost(t))
	const first, second = `{"changed": 1}`, `{"changed": 2}`
	w.write(w.placed, first)
	w.says(w.placed + " was changed by somebody else, and is left as it is until " + w.source + " changes")
	w.write(w.placed, second)
	w.seen()
	if got := w.read(w.placed); got != second {
		t.Errorf("got conf %s, want the one of somebody else", got)
	}
	if n := strings.Count(w.printed.String(), "by somebody else"); n != 1 {
		t.Errorf("reported %d times, want once:\n%s", n, w.printed.String())
	}
	newConf := strings.Replace(goodConf, `"name"`, `"logLevel": "info", "name"`, 1)
	w.write(w.source, newConf)
	waitFor(t, "a new source is installed", func() bool { return w.read(w.placed) == newConf })
}

// After an error, nothing counts as changed until something is: the next try is
// half a minute away, and nobody else is blamed.
func TestInstallWaitReportsAnErrorOnce(t *testing.T) {
	h := newHost(t)
	var printed output
	i := &installation{
		program: h.program(&printed), source: h.source, selfText: []byte(h.read(h.multus)), binary: filepath.Join(h.bin, "multus"),
		conf: filepath.Join(h.conf, filepath.Base(h.source)), wait: true,
	}
	if err := i.run(); err != nil {
		t.Fatal(err)
	}
	h.write(h.source, strings.Replace(goodConf, `"name"`, `"logLevel": "info", "name"`, 1))
	for _, path := range []string{i.binary, i.conf} { // no file can replace a directory
		if err := errors.Join(os.Remove(path), os.Mkdir(path, 0o700)); err != nil {
			t.Fatal(err)
		}
	}
	if todo := i.react(i.look()); todo != (due{binary: true, all: true}) {
		t.Fatalf("got %+v to do, want all", todo)
	}
	for _, todo := range []due{{binary: true}, {all: true}} {
		if err := i.do(todo); err == nil {
			t.Errorf("%+v: no error", todo)
		}
		if now := i.look(); now != i.known {
			t.Errorf("after %+v: found %+v, want %+v", todo, now, i.known)
		}
	}
	if text := []byte(h.read(h.source)); i.putConf(text) == nil || i.look() != i.known || i.yielded {
		t.Errorf("after putConf: found %+v, want %+v", i.look(), i.known)
	}
}

// linkerd turns the .conf that is read first into a .conflist.
func TestInstallWaitDoesNotResurrectAMovedConf(t *testing.T) {
	h := newHost(t)
	w := newWatcher(h)
	list := filepath.Join(w.conf, "10-multus.conflist")
	w.write(list, `{"cniVersion": "1.0.0", "name": "demo", "plugins": [`+goodConf+`, {"type": "linkerd-cni"}]}`)
	w.remove(w.placed)
	w.says("was moved to 10-multus.conflist by somebody else")
	w.seen()
	w.wantFiles("BIN/multus CONF/10-multus.conflist")

	w.stop()
	again := newWatcher(h) // its container was restarted
	again.says(list + " is left in place and 10-multus.conf is not installed")
	again.seen()
	w.wantFiles("BIN/multus CONF/10-multus.conflist")
	output, code := h.run("install", h.source)
	if want := "nothing was installed: 10-multus.conflist is a conf of multus too"; !strings.Contains(output, want) || code != exitError {
		t.Errorf("got %q, %d, want %q", output, code, want)
	}
}

// SIGTERM is how Kubernetes ends a container.
func TestInstallWaitEndsOnSIGTERM(t *testing.T) {
	h := newHost(t)
	cmd := exec.Command("/proc/self/exe", "install", "--wait", "--bin-dir", h.bin, "--conf-dir", h.conf, h.source)
	cmd.Env = append(os.Environ(), asMultus)
	printed := &output{}
	cmd.Stdout, cmd.Stderr = printed, printed
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	waitFor(t, "it watches", func() bool { return strings.Contains(printed.String(), "watching ") })
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err != nil || !strings.HasSuffix(printed.String(), "stopped: the files are left in place\n") {
			t.Errorf("after SIGTERM: %v\n%s", err, printed.String())
		}
	case <-time.After(30 * time.Second):
		t.Fatal("still running after SIGTERM")
	}
}
