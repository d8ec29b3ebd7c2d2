// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

var load = flag.Duration("load", 5*time.Second, "how long to upgrade under load")

// A runtime that attaches and detaches 20 pods a second does not notice that
// multus is replaced under it, again and again.
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
	if output, code := h.run("install", h.source); code != exitOK {
		t.Fatal(output)
	}
	other := *h
	other.multus = filepath.Join(t.TempDir(), "multus")
	h.write(other.multus, h.read(h.multus)+"\n") // another release, which differs by a byte that nobody reads
	if err := os.Chmod(other.multus, 0o755); err != nil {
		t.Fatal(err)
	}

	stop := make(chan struct{})
	upgraded := make(chan int)
	go func() {
		n := 0
		defer func() { upgraded <- n }()
		for ; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			which := []*host{h, &other}[(n+1)%2]
			if output, code := which.run("install", h.source); code != exitOK || !strings.Contains(output, "installed BIN/multus") {
				t.Errorf("upgrade %d: %s", n, output)
				return
			}
		}
	}()
	calls := attachAndDetach(h, holdNetns(t), *load)
	close(stop)
	n := <-upgraded
	t.Logf("%d calls and %d upgrades in %v", calls, n, *load)
	if n < 2 {
		t.Errorf("got %d upgrades: that proves nothing", n)
	}
	if left, _ := filepath.Glob(filepath.Join(h.bin, ".*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// attachAndDetach sends 20 ADDs a second, each followed by its DEL, and returns
// how many calls it made.
func attachAndDetach(h *host, netns string, duration time.Duration) (calls int) {
	conf := h.read(filepath.Join(h.conf, "10-multus.conf"))
	var wg sync.WaitGroup
	tick := time.NewTicker(time.Second / 20)
	defer tick.Stop()
	end := time.After(duration)
	for n := 0; ; n++ {
		select {
		case <-end:
			wg.Wait()
			return calls
		case <-tick.C:
		}
		calls += 2
		wg.Add(1)
		go func() {
			defer wg.Done()
			for _, verb := range []string{"ADD", "DEL"} {
				cmd := exec.Command(filepath.Join(h.bin, "multus"))
				cmd.Env = append(os.Environ(), "CNI_COMMAND="+verb, fmt.Sprintf("CNI_CONTAINERID=c%d", n), "CNI_NETNS="+netns,
					"CNI_IFNAME=eth0", "CNI_PATH="+h.bin)
				cmd.Stdin = strings.NewReader(conf)
				if output, err := cmd.CombinedOutput(); err != nil {
					h.Errorf("%s %d: %v: %s", verb, n, err, output)
				}
			}
		}()
	}
}

// holdNetns makes a network namespace that lives as long as the test (cat ends
// with the process that holds its stdin), and
// returns its path.
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
