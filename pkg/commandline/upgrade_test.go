// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package commandline

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

var load = flag.Duration("load", time.Second, "how long to upgrade under load")

const (
	podsPerSecond     = 10 // that is 20 ADDs and DELs
	upgradesPerSecond = 5
	// inFlight bounds what a machine that is too slow gets to do at once.
	inFlight = 2
)

// A runtime that sends 20 ADDs and DELs a second does not notice that multus is
// replaced under it, again and again.
func TestUpgradeUnderLoadLosesNoCall(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to make a network namespace")
	}
	h := newHost(t)
	script(t, filepath.Join(h.bin, "noop"), `
case $CNI_COMMAND in
ADD) echo '{"cniVersion": "1.0.0", "ips": [{"address": "10.1.2.3/24"}]}' ;;
VERSION) echo '{"cniVersion": "1.0.0", "supportedVersions": ["1.0.0"]}' ;;
esac`)
	h.write(h.source, fmt.Sprintf(`{"cniVersion": "1.0.0", "name": "demo", "type": "multus", "cniDir": %q,
		"delegates": [{"type": "noop"}, {"type": "noop", "masterplugin": true}]}`, t.TempDir()))
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	other := *h
	h.multus, other.multus = self, filepath.Join(t.TempDir(), "multus")
	h.write(other.multus, h.read(h.multus)+"\n") // another release, which differs by a byte that nobody reads
	if err := os.Chmod(other.multus, 0o755); err != nil {
		t.Fatal(err)
	}
	if output, code := h.run("install", h.source); code != exitOK {
		t.Fatal(output)
	}

	var upgrades atomic.Int64
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() { upgrade(h, &other, &upgrades, stop); close(stopped) }()
	begin := time.Now()
	pods := attachAndDetach(h, holdNetns(t), func() bool { return time.Since(begin) < *load || upgrades.Load() == 0 })
	took := time.Since(begin)
	close(stop)
	<-stopped
	rate := float64(pods) / took.Seconds()
	t.Logf("%d ADDs, as many DELs and %d upgrades in %v: %.1f calls a second", pods, upgrades.Load(), took.Round(time.Millisecond), 2*rate)
	if *load >= time.Minute && rate < 0.9*podsPerSecond { // a short run may share the machine with others
		t.Errorf("got %.1f calls a second, want %d: run it when the machine has nothing else to do", 2*rate, 2*podsPerSecond)
	}
	if left, _ := filepath.Glob(filepath.Join(h.bin, ".*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// upgrade installs one release after the other until stop is closed, and counts
// how many times it did. After an error it counts on, so that nobody waits.
func upgrade(h, other *host, done *atomic.Int64, stop <-chan struct{}) {
	tick := time.NewTicker(time.Second / upgradesPerSecond)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		which := []*host{h, other}[n%2]
		// Not in this process: its forks for the pods would keep the new file open
		// for writing for a moment.
		cmd := exec.Command(which.multus, "install", "--bin-dir", h.bin, "--conf-dir", h.conf, h.source)
		cmd.Env = append(os.Environ(), asMultus)
		output, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(h.short(string(output)), "installed BIN/multus") {
			h.Errorf("upgrade %d: %v: %s", n, err, output)
		}
		done.Add(1)
	}
}

// attachAndDetach sends an ADD followed by its DEL for each pod while more are
// wanted, and returns how many these are. Each begins when it is due, or as soon
// as may be after that.
func attachAndDetach(h *host, netns string, more func() bool) (pods int) {
	conf := h.read(filepath.Join(h.conf, "10-multus.conf"))
	var wg sync.WaitGroup
	defer wg.Wait()
	slots := make(chan struct{}, inFlight)
	begin := time.Now()
	for ; more(); pods++ {
		n := pods
		time.Sleep(time.Until(begin.Add(time.Duration(n) * time.Second / podsPerSecond)))
		slots <- struct{}{}
		wg.Add(1)
		go func() {
			defer func() { <-slots; wg.Done() }()
			for _, verb := range []string{"ADD", "DEL"} {
				cmd := exec.Command(filepath.Join(h.bin, "multus"))
				cmd.Env = append(os.Environ(), asMultus, "CNI_COMMAND="+verb, fmt.Sprintf("CNI_CONTAINERID=c%d", n), "CNI_NETNS="+netns,
					"CNI_IFNAME=eth0", "CNI_PATH="+h.bin)
				cmd.Stdin = strings.NewReader(conf)
				if output, err := cmd.CombinedOutput(); err != nil {
					h.Errorf("%s %d: %v: %s", verb, n, err, output)
				}
			}
		}()
	}
	return pods
}

// holdNetns makes a network namespace that lives as long as the test, and returns
// its path. (cat ends with the process that holds its stdin.)
func holdNetns(t *testing.T) string {
	t.Helper()
	holder := exec.Command("cat")
	holder.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	stdin, err := holder.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(stdin.Close(), holder.Wait()); err != nil {
			t.Errorf("end the network namespace: %v", err)
		}
	})
	return fmt.Sprintf("/proc/%d/ns/net", holder.Process.Pid)
}
