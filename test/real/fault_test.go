// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package real

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// calls is where the plugins of these tests note that they were called.
var calls = filepath.Join(testDir, "calls")

// record puts scripts in front of plugins that note each call, as "ADD net0",
// before the plugin does what it does.
func (n *node) record(t *testing.T, plugins ...string) {
	t.Helper()
	for _, plugin := range plugins {
		n.script(t, plugin, `
			echo "$CNI_COMMAND $CNI_IFNAME" >>`+calls+`
			exec "$PLUGINS/`+plugin+`"`)
	}
}

// recorded returns the calls since it was called last.
func recorded(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(calls)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	if err := os.RemoveAll(calls); err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
}

// TestFault has one delegate fail, at each position, in each way. It is a ptp
// that has done all of its work before it fails, so that there is something to
// undo at that position too.
func TestFault(t *testing.T) {
	t.Parallel()
	faults := map[string]struct {
		script    string
		code      uint
		harmless  bool // for a secondary
		neverRuns bool
		mode      os.FileMode
	}{
		"CNI error":      {script: `echo '{"cniVersion": "1.0.0", "code": 11, "msg": "try again later"}'; exit 1`, code: 11},
		"silent":         {script: `exit 1`, code: 999},
		"garbage":        {script: `echo 'not { JSON'`, code: 6},
		"empty":          {script: `exit 0`, code: 999, harmless: true},
		"killed":         {script: `kill -KILL $$`, code: 999},
		"missing":        {code: 7, neverRuns: true},
		"not executable": {script: `exit 0`, code: 7, neverRuns: true, mode: 0o644},
	}
	for name, fault := range faults {
		for position := range 3 {
			t.Run(fmt.Sprintf("%s at %d", name, position), func(t *testing.T) {
				inNode(t, func(t *testing.T, n *node) {
					n.record(t, "bridge", "ptp")
					if fault.script != "" {
						n.script(t, "faulty", `
							echo "$CNI_COMMAND $CNI_IFNAME" >>`+calls+`
							[ "$CNI_COMMAND" = ADD ] || exec "$PLUGINS/ptp"
							"$PLUGINS/ptp" >`+testDir+`/result || exit 2
							`+fault.script)
					}
					if fault.mode != 0 {
						if err := os.Chmod(filepath.Join(testDir, "faulty"), fault.mode); err != nil {
							t.Fatal(err)
						}
					}
					delegates := faultDelegates(position)
					if fault.harmless && position < 2 {
						n.survives(t, conf("1.0.0", delegates...))
						return
					}
					n.undoes(t, conf("1.0.0", delegates...), position, fault.code, !fault.neverRuns)
				})
			})
		}
	}
}

// faultDelegates lists three delegates, the primary last, the one at a
// position of the type "faulty".
func faultDelegates(position int) []string {
	var delegates []string
	for i, plugin := range []string{`"type": "bridge", "bridge": "br1"`, `"type": "ptp", "ipMasq": true`, `"type": "ptp", "masterplugin": true`} {
		if i == position {
			plugin = `"type": "faulty", "ipMasq": true`
			if i == 2 {
				plugin += `, "masterplugin": true`
			}
		}
		delegates = append(delegates, fmt.Sprintf(`{%s, "ipam": {"type": "host-local",
			"subnet": "10.%d.0.0/24", "routes": [{"dst": "0.0.0.0/0"}]}}`, plugin, i+1))
	}
	return delegates
}

// undoes expects an ADD to fail at a position and to leave nothing.
func (n *node) undoes(t *testing.T, conf string, position int, code uint, runs bool) {
	t.Helper()
	before := n.snapshot(t)
	p := n.pod(t, "pod1")
	err := n.mustFail(t, "ADD", p, conf, code)
	names := []string{"net0", "net1", "eth0"}
	if want := fmt.Sprintf("delegate %d \"faulty\" (%s): ", position, names[position]); !strings.HasPrefix(err.Msg, want) {
		t.Errorf("the error is %q, want it to begin with %q", err.Msg, want)
	}
	want := []string{""}
	if runs {
		want = nil
		for i := range position + 1 {
			want = append(want, "ADD "+names[i])
		}
		for i := position; i >= 0; i-- {
			want = append(want, "DEL "+names[i])
		}
	}
	if got := recorded(t); !slices.Equal(got, want) {
		t.Errorf("calls %q, want %q", got, want)
	}
	n.nothingLeft(t, before, p)
	if records := n.records(t); len(records) > 0 {
		t.Errorf("left of the record: %q", records)
	}
	if runs { // what a runtime sends after an ADD that failed
		n.must(t, "DEL", p, conf)
		n.nothingLeft(t, before, p)
	}
}

// survives expects an ADD to succeed, although a secondary does not say what
// it has done.
func (n *node) survives(t *testing.T, conf string) {
	t.Helper()
	before := n.snapshot(t)
	p := n.pod(t, "pod1")
	equal(t, "result", n.mustAdd(t, p, conf), `
		veth on the node
		eth0
		10.3.0.2/24 via 10.3.0.1
		route 0.0.0.0/0`)
	equal(t, "pod", p.text(t), `
		eth0 veth 10.3.0.2/24
		net0 veth 10.1.0.2/24
		net1 veth 10.2.0.2/24
		default via 10.3.0.1 dev eth0`)
	n.must(t, "DEL", p, conf)
	want := []string{"ADD net0", "ADD net1", "ADD eth0", "DEL eth0", "DEL net1", "DEL net0"}
	if got := recorded(t); !slices.Equal(got, want) {
		t.Errorf("calls %q, want %q", got, want)
	}
	n.nothingLeft(t, before, p)
}

// TestRealFailure has reference plugins fail of themselves, in the last place.
func TestRealFailure(t *testing.T) {
	t.Parallel()
	for name, delegate := range map[string]string{
		"no such device":    `{"type": "host-device", "device": "nothing", ` + hostLocal4 + `}`,
		"no such master":    `{"type": "macvlan", "master": "nothing", ` + hostLocal4 + `}`,
		"no address left":   `{"type": "ptp", "ipMasq": true, "ipam": {"type": "host-local", "subnet": "10.1.0.0/24", "rangeStart": "10.1.0.1", "rangeEnd": "10.1.0.1"}}`,
		"list, second of 3": `{"plugins": [{"type": "bridge", "bridge": "br1", "ipMasq": true, ` + hostLocal4 + `}, {"type": "tuning", "sysctl": {"net.nothing": "1"}}, {"type": "portmap"}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			inNode(t, func(t *testing.T, n *node) {
				before := n.snapshot(t)
				p := n.pod(t, "pod1")
				c := conf("1.0.0", `{"type": "ptp", "ipMasq": true, "ipam": {"type": "host-local", "subnet": "10.2.0.0/24"}}`, primary(delegate))
				stdout, err := n.call(t, "ADD", p, c)
				if err == nil {
					t.Fatalf("ADD succeeded: %s", stdout)
				}
				if !strings.HasPrefix(err.Msg, "delegate 1 ") || !strings.Contains(err.Msg, "(eth0") {
					t.Errorf("the error is %q, want it to name delegate 1 and eth0", err.Msg)
				}
				t.Logf("ADD: %s", stdout)
				n.nothingLeft(t, before, p, regexp.MustCompile(`^file /var/lib/cni/multus/net:pod1:eth0.json$`)) // if a DEL failed
				n.must(t, "DEL", p, c)
				n.nothingLeft(t, before, p)
			})
		})
	}
}
