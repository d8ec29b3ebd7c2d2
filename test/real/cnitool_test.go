// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package real

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestCnitool drives multus with cnitool, that is with libcni, in each CNI
// version that a runtime may use today.
func TestCnitool(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"0.3.1", "0.4.0", "1.0.0", "1.1.0"} {
		t.Run(version, func(t *testing.T) {
			inNode(t, func(t *testing.T, n *node) { n.cnitoolRuns(t, version) })
		})
	}
}

func (n *node) cnitoolRuns(t *testing.T, version string) {
	const list = `{"name": "net", "cniVersion": "%s", "plugins": [%s]}`
	c := threeNetworks(version)
	if err := os.MkdirAll(testDir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(testDir, "10-net.conflist"), fmt.Appendf(nil, list, version, c), 0o644); err != nil {
		t.Fatal(err)
	}
	before := n.snapshot(t)
	p := n.pod(t, "pod1")
	cnitool := func(verb string) (string, error) {
		cmd := exec.Command(filepath.Join(n.plugins, "cnitool"), verb, "net", p.netns)
		cmd.Env = append(os.Environ(), "NETCONFPATH="+testDir, "CNI_PATH="+filepath.Dir(n.multus)+":"+n.plugins)
		var stderr strings.Builder
		cmd.Stderr = &stderr
		stdout, err := cmd.Output()
		if err != nil {
			err = fmt.Errorf("cnitool %s: %w: %s", verb, err, stderr.String())
		}
		return string(stdout), err
	}
	must := func(verb string) string {
		t.Helper()
		stdout, err := cnitool(verb)
		if err != nil {
			t.Fatal(err)
		}
		return stdout
	}
	if version == "1.1.0" {
		must("status")
	}
	equal(t, "result", resultText(t, []byte(must("add")), c), `
		veth on the node
		eth0
		10.3.0.2/24 via 10.3.0.1
		fd00:3::2/64 via fd00:3::1
		route 0.0.0.0/0
		route ::/0`)
	equal(t, "pod", p.text(t), `
		eth0 veth 10.3.0.2/24 fd00:3::2/64
		net0 veth 10.1.0.2/24 fd00:1::2/64
		net1 veth 10.2.0.2/24 fd00:2::2/64
		via 10.3.0.1 dev eth0
		via fd00:3::1 dev eth0`)
	if _, err := cnitool("check"); version == "0.3.1" {
		if err == nil || !strings.Contains(err.Error(), `"0.3.1" does not support the CHECK command`) {
			t.Errorf("check: %v, want libcni's word that 0.3.1 has none", err)
		}
	} else if err != nil {
		t.Error(err)
	}
	for range 2 {
		must("del")
		n.nothingLeft(t, before, p)
	}
	if version == "1.1.0" { // cnitool knows of no attachment that is valid
		must("add")
		must("gc")
		n.nothingLeft(t, before, p)
	}
}
