// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package real

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// trial is what multus try --json prints, as far as these tests look at it.
type trial struct {
	ContainerID string
	Interfaces  []struct {
		Name      string
		Addresses []string
		Gateways  []struct{ Address, State string }
	}
	DefaultRoutes           []string
	Problems, Left, Removed []string
}

// try returns the command.
func (n *node) try(t *testing.T, conf string, args ...string) *exec.Cmd {
	t.Helper()
	if err := os.MkdirAll(testDir, 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(testDir, "10-try.conf")
	if err := os.WriteFile(file, []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	return exec.Command(n.multus, append([]string{"try", "--cni-path", n.path, "--json", file}, args...)...)
}

// mustTry runs it. It must succeed if code is 0, and exit with that otherwise.
func (n *node) mustTry(t *testing.T, cmd *exec.Cmd, code int) trial {
	t.Helper()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.Output()
	if got := cmd.ProcessState.ExitCode(); got != code {
		t.Fatalf("%v, exit code %d, want %d\n%s%s", err, got, code, stdout, stderr.Bytes())
	}
	return decodeTrial(t, stdout)
}

func decodeTrial(t *testing.T, stdout []byte) (found trial) {
	t.Helper()
	if err := json.Unmarshal(stdout, &found); err != nil {
		t.Fatalf("%v: %s", err, stdout)
	}
	return found
}

// nothingTried fails the test if anything of a try is left.
func (n *node) nothingTried(t *testing.T, before snapshot) {
	t.Helper()
	waitFor(t, "the links of the namespace to go", func() bool {
		return !slices.ContainsFunc(before.diff(n.snapshot(t)), func(line string) bool { return strings.HasPrefix(line, "+ link veth") })
	})
	if left := n.leftovers(t, before); len(left) > 0 {
		t.Errorf("left on the node:\n\t%s", strings.Join(left, "\n\t"))
	}
	if left, err := filepath.Glob("/run/netns/*"); err != nil || len(left) > 0 {
		t.Errorf("left in /run/netns: %v, %v", left, err)
	}
}

func TestTry(t *testing.T) {
	inNode(t, func(t *testing.T, n *node) {
		before := n.snapshot(t)
		found := n.mustTry(t, n.try(t, threeNetworks("1.0.0")), 0)
		var got []string
		for _, i := range found.Interfaces {
			got = append(got, i.Name, strings.Join(i.Addresses, " "))
			for _, g := range i.Gateways {
				got = append(got, g.Address+" "+g.State)
			}
		}
		got = append(got, found.DefaultRoutes...)
		want := []string{
			"eth0", "10.3.0.2/24 fd00:3::2/64", "10.3.0.1 answers", "fd00:3::1 answers",
			"net0", "10.1.0.2/24 fd00:1::2/64", "10.1.0.1 answers", "fd00:1::1 answers",
			"net1", "10.2.0.2/24 fd00:2::2/64", "10.2.0.1 answers", "fd00:2::1 answers",
			"default via 10.3.0.1 dev eth0", "default via fd00:3::1 dev eth0",
		}
		if !slices.Equal(got, want) {
			t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
		}
		n.nothingTried(t, before)
	})
}

// TestTryKeeps also has the plugins behind multus in a list.
func TestTryKeeps(t *testing.T) {
	inNode(t, func(t *testing.T, n *node) {
		before := n.snapshot(t)
		list := `{"cniVersion": "1.0.0", "name": "net", "plugins": [
			{"type": "multus", "delegates": [{"type": "ptp", "ipMasq": true, "masterplugin": true, ` + hostLocal(3) + `}]},
			{"type": "tuning", "mtu": 1400}]}`
		kept := n.mustTry(t, n.try(t, list, "--keep"), 0)
		if mtu := n.ip(t, "-n "+kept.ContainerID+" link show eth0"); !strings.Contains(mtu, "mtu 1400") {
			t.Errorf("got %q, want the MTU of the plugin behind multus", mtu)
		}
		another := n.mustTry(t, n.try(t, threeNetworks("1.0.0"), "--no-gateway"), 0)
		if len(another.Removed) > 0 {
			t.Errorf("removed %q, which were to be kept", another.Removed)
		}
		output(t, n.multus, "try", "--remove", kept.ContainerID)
		n.nothingTried(t, before)
	})
}

func TestTryReportsWhatIsWrong(t *testing.T) {
	inNode(t, func(t *testing.T, n *node) {
		before := n.snapshot(t)
		n.script(t, "leaky", `[ "$CNI_COMMAND" = DEL ] || exec "$PLUGINS/ptp"`)
		found := n.mustTry(t, n.try(t, conf("1.0.0", primary(`{"type": "leaky", `+hostLocal(1)+`}`))), 1)
		want := []string{
			"link eth0 in the pod",
			"file /var/lib/cni/networks/net/10.1.0.2", "file /var/lib/cni/networks/net/fd00:1::2",
		}
		if !slices.Equal(found.Left, want) || len(found.Problems) > 0 {
			t.Errorf("left %q, problems %q, want %q and none", found.Left, found.Problems, want)
		}
		for _, lease := range want[1:] {
			if err := os.Remove(strings.TrimPrefix(lease, "file ")); err != nil {
				t.Fatal(err)
			}
		}
		n.nothingTried(t, before)

		silent := `"ipam": {"type": "static", "addresses": [{"address": "10.1.0.9/24", "gateway": "10.1.0.99"}]}`
		found = n.mustTry(t, n.try(t, conf("1.0.0", primary(`{"type": "bridge", "bridge": "br1", `+silent+`}`))), 1)
		if got := found.Interfaces[0].Gateways[0].State; got != "silent" || len(found.Problems)+len(found.Left) > 0 {
			t.Errorf("the gateway is %q, problems %q, left %q, want silent and none", got, found.Problems, found.Left)
		}
		n.nothingTried(t, before)

		// The DEL fails too. It leaves the record for the next one, which never comes.
		found = n.mustTry(t, n.try(t, conf("1.0.0", primary(`{"type": "vlan", "master": "lo", "vlanId": "100", `+hostLocal(1)+`}`))), 1)
		if len(found.Problems) != 3 || !strings.Contains(found.Problems[2], "this try has removed it") || len(found.Left) > 0 {
			t.Errorf("problems %q, left %q, want those of ADD and DEL, that the record is removed, and none", found.Problems, found.Left)
		}
		n.nothingTried(t, before)
	})
}

// another is a conf to try after one that was stopped. It has no IPv6: plugins give
// up where an address is tentative for five seconds, as on a busy machine.
var another = conf("1.0.0", primary(`{"type": "ptp", `+hostLocal4+`}`))

// TestTryStopped sends a signal while a delegate is half-way through its ADD.
func TestTryStopped(t *testing.T) {
	t.Parallel()
	for name, signal := range map[string]os.Signal{"interrupted": unix.SIGINT, "terminated": unix.SIGTERM, "killed": unix.SIGKILL} {
		t.Run(name, func(t *testing.T) {
			inNode(t, func(t *testing.T, n *node) {
				before := n.snapshot(t)
				half, rest := filepath.Join(testDir, "half"), filepath.Join(testDir, "rest")
				n.script(t, "slow", `
					"$PLUGINS/ptp" || exit
					[ "$CNI_COMMAND" = ADD ] || exit 0
					touch `+half+`
					until [ -e `+rest+` ]; do sleep 0.05; done`)
				r := n.start(t, n.try(t, conf("1.0.0", primary(`{"type": "slow", "ipMasq": true, `+hostLocal4+`}`))))
				waitFor(t, "the delegate to be half-way", func() bool { _, err := os.Stat(half); return err == nil })
				if err := r.cmd.Process.Signal(signal); err != nil {
					t.Fatal(err)
				}
				err := r.cmd.Wait()
				if signal != unix.SIGKILL {
					found := decodeTrial(t, r.stdout.Bytes())
					if err == nil || len(found.Problems) != 1 || len(found.Left) > 0 {
						t.Errorf("%v, problems %q, left %q, want that of the ADD and none", err, found.Problems, found.Left)
					}
					n.nothingTried(t, before)
					return
				}
				if err := os.WriteFile(rest, nil, 0o644); err != nil { // what goes on after a kill has an end
					t.Fatal(err)
				}
				if found := n.mustTry(t, n.try(t, another, "--no-gateway"), 0); len(found.Removed) != 1 {
					t.Errorf("removed %q, want the one that was killed", found.Removed)
				}
				n.nothingTried(t, before)
			})
		})
	}
}

// TestTryThatHangs interrupts a try whose DEL does not end, twice, and the one
// that is to remove what it left.
func TestTryThatHangs(t *testing.T) {
	inNode(t, func(t *testing.T, n *node) {
		before := n.snapshot(t)
		rest := filepath.Join(testDir, "rest")
		n.script(t, "hanging", `
			[ "$CNI_COMMAND" != DEL ] || echo hanging >&2
			[ "$CNI_COMMAND" != DEL ] || until [ -e `+rest+` ]; do sleep 0.05; done
			exec "$PLUGINS/ptp"`)
		interrupt := func(p *printing, after string) {
			t.Helper()
			p.waitFor(t, after)
			if err := p.cmd.Process.Signal(unix.SIGINT); err != nil {
				t.Fatal(err)
			}
		}
		first := startPrinting(t, n.try(t, conf("1.0.0", primary(`{"type": "hanging", `+hostLocal4+`}`)), "--no-gateway"))
		interrupt(first, "hanging\n")
		interrupt(first, "interrupted: detaching")
		if err := first.cmd.Wait(); err == nil || err.Error() != "signal: interrupt" {
			t.Errorf("%v after the second signal, want its end", err)
		}
		second := startPrinting(t, n.try(t, another))
		interrupt(second, "a try that was killed")
		err := second.cmd.Wait()
		if second.waitFor(t, "nothing was tried: interrupted"); err == nil {
			t.Error("the second one succeeded")
		}
		if err := os.WriteFile(rest, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if found := n.mustTry(t, n.try(t, another, "--no-gateway"), 0); len(found.Removed) != 1 {
			t.Errorf("removed %q, want the first", found.Removed)
		}
		n.nothingTried(t, before)
	})
}

// printing is a command whose stderr can be read while it runs.
type printing struct {
	cmd  *exec.Cmd
	path string // of a file with its stderr
}

func startPrinting(t *testing.T, cmd *exec.Cmd) *printing {
	t.Helper()
	stderr, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = stderr
	if err := errors.Join(cmd.Start(), stderr.Close()); err != nil {
		t.Fatal(err)
	}
	return &printing{cmd, stderr.Name()}
}

func (p *printing) waitFor(t *testing.T, text string) {
	t.Helper()
	waitFor(t, text, func() bool {
		printed, err := os.ReadFile(p.path)
		return err == nil && strings.Contains(string(printed), text)
	})
}
