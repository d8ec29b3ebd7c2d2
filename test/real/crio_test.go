// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package real

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// behind are plugins that CRI-O's list has after multus. They change what
// multus has made of eth0: its MAC and MTU.
const behind = `{"type": "tuning", "mac": "02:00:00:00:00:99", "mtu": 1400}`

// TestCRIO calls multus as CRI-O's ocicni does: STATUS and GC at its start, and
// right after ADD a CHECK that gets the final result of the list as prevResult.
// The GC has both keys, as libcni's.
func TestCRIO(t *testing.T) {
	inNode(t, func(t *testing.T, n *node) {
		before := n.snapshot(t)
		c := threeNetworks("1.1.0")
		collect := func(valid string) {
			n.must(t, "GC", &pod{}, with(c, `"cni.dev/valid-attachments": `+valid+`, "cni.dev/attachments": `+valid))
		}
		n.must(t, "STATUS", &pod{}, c)
		collect("[]")

		p, other := n.pod(t, "pod1"), n.pod(t, "pod2")
		result := n.must(t, "ADD", p, c)
		final := n.tuning(t, "ADD", p, result)
		c1 := with(c, `"prevResult": `+final)
		n.must(t, "CHECK", p, c1)
		n.tuning(t, "CHECK", p, []byte(final))
		if _, err := n.call(t, "CHECK", p, with(c, `"prevResult": `+string(result))); err == nil {
			t.Error("CHECK passed with the MAC that eth0 had before tuning, so that it proves nothing")
		}
		n.must(t, "ADD", other, c)

		n.must(t, "STATUS", &pod{}, c) // it is started again
		collect(`[{"containerID": "pod1", "ifname": "eth0"}]`)
		n.must(t, "CHECK", p, c1)
		if links := other.links(t); len(links) > 0 {
			t.Errorf("not collected: %v", links)
		}
		for range 2 {
			n.tuning(t, "DEL", p, []byte(final))
			n.must(t, "DEL", p, c1)
		}
		n.nothingLeft(t, before, p)
	})
}

// tuning runs the plugin behind multus, as libcni does after multus's ADD and
// CHECK and before its DEL, and returns its result.
func (n *node) tuning(t *testing.T, verb string, p *pod, prevResult []byte) string {
	t.Helper()
	conf := with(behind, `"name": "net", "cniVersion": "1.1.0", "prevResult": `+string(prevResult))
	cmd := n.command(verb, p, conf)
	cmd = &exec.Cmd{Path: filepath.Join(n.plugins, "tuning"), Env: cmd.Env, Stdin: strings.NewReader(conf)}
	out, err := cmd.Output()
	if err != nil || verb == "ADD" && !json.Valid(out) {
		t.Fatalf("%s of tuning: %v: %s", verb, err, out)
	}
	return string(out)
}
