// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package real

import (
	"cmp"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// agesEnv lists the plugin sets that TestAges runs: the names of directories
// in bin/ages, which test/ages/run makes, separated by spaces.
const agesEnv = "MULTUS_AGES"

// TestAges attaches a pod in the README's topology with the reference plugins
// of one age, under each version that a conf may have. A macvlan is in the
// VF's place, since the oldest sets have no host-device, and the newest have no
// flannel: there the primary is the bridge that flannel would have made.
//
// For each it logs a line "age|SET|VERSION|WHAT", of which test/ages/run makes
// a table.
func TestAges(t *testing.T) {
	t.Parallel()
	ages, err := filepath.Abs("../../bin/ages")
	if err != nil {
		t.Fatal(err)
	}
	sets := strings.Fields(cmp.Or(os.Getenv(agesEnv), "cni-v0.5.2"))
	for _, set := range sets {
		plugins := filepath.Join(ages, set)
		if _, err := os.Stat(filepath.Join(plugins, "bridge")); err != nil {
			t.Skipf("%v: \"test/ages/run build %s\" makes it", err, set)
		}
		for _, version := range []string{"", "0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"} {
			t.Run(set+" "+cmp.Or(version, "none"), func(t *testing.T) {
				inNode(t, func(t *testing.T, n *node) {
					n.plugins, n.path = plugins, plugins
					how := n.age(t, version)
					if t.Failed() {
						how = "FAILED"
					}
					t.Logf("age|%s|%s|%s", set, cmp.Or(version, "none"), how)
				})
			})
		}
	}
}

// age runs every verb that the conf's version has, and returns the CNI
// versions that the plugins were run at.
func (n *node) age(t *testing.T, version string) string {
	prepareReadme(subnetEnv)(t, n)
	n.veth(t, "up1", "up1-peer")
	c := conf(version, strings.Replace(vf, `"host-device", "device": "vf0"`, `"macvlan", "master": "up1"`, 1), ptp, n.agePrimary())
	before := n.snapshot(t)
	p := n.pod(t, "pod1")
	if version == "1.1.0" {
		n.must(t, "STATUS", &pod{}, c)
	}
	// In what order, and whether interfaces are among it, the plugins' ages decide.
	if got, want := n.mustAdd(t, p, c), "10.1.17.2/24 via 10.1.17.1"; !slices.Contains(strings.Split(got, "\n"), want) {
		t.Errorf("result:\n%s\nwant in it:\n\t%s", indent(got), want)
	}
	equal(t, "pod", p.text(t), `
		eth0 veth 10.1.17.2/24
		net0 macvlan 10.56.217.131/24
		net1 veth 10.168.1.11/24
		via 10.1.17.1 dev eth0`)
	how := recordedVersions(t)
	if version >= "0.4.0" {
		n.must(t, "CHECK", p, c)
	}
	if version == "1.1.0" {
		n.must(t, "GC", &pod{}, with(c, `"cni.dev/valid-attachments": [{"containerID": "pod1", "ifname": "eth0"}]`))
		n.must(t, "CHECK", p, c)
	}
	n.must(t, "DEL", p, c)
	n.nothingLeft(t, before, p)
	if _, err := n.call(t, "DEL", &pod{id: p.id}, c); err != nil && !strings.Contains(err.Error(), "/var/lib/cni/flannel/pod1: no such file") {
		t.Errorf("second DEL: %v", err) // the flannel of cni v0.4.0 fails without the file that its first one removed
	}
	n.nothingLeft(t, before, p)
	return how
}

// agePrimary returns a primary in the place of flannel's.
//
// It is a ptp in a set of two ages: where host-local refuses the version, the
// bridge that the first ADD made has the address 00:00:00:00:00:00 after its
// DEL, as every bridge that has lost its last port, and the bridge plugin never
// accepts such a one.
func (n *node) agePrimary() string {
	if _, err := os.Stat(filepath.Join(n.plugins, "flannel")); err == nil {
		return flannel
	}
	if strings.Contains(n.plugins, "+") {
		return primary(`{"type": "ptp", "ipMasq": true, "ipam": {"type": "host-local", "subnet": "10.1.17.0/24", "routes": [{"dst": "0.0.0.0/0"}]}}`)
	}
	return primary(`{"type": "bridge", "bridge": "cni0", "isDefaultGateway": true, "ipMasq": true, "mtu": 1450,
		"ipam": {"type": "host-local", "subnet": "10.1.17.0/24"}}`)
}

// recordedVersions returns the CNI versions in the record of pod1, each once.
func recordedVersions(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("/var/lib/cni/multus/net:pod1:eth0.json")
	if err != nil {
		t.Fatal(err)
	}
	var record struct {
		Delegates []struct{ Plugins []struct{ CNIVersion string } }
	}
	if err := json.Unmarshal(text, &record); err != nil {
		t.Fatal(err)
	}
	var versions []string
	for _, d := range record.Delegates {
		for _, p := range d.Plugins {
			versions = append(versions, p.CNIVersion)
		}
	}
	slices.Sort(versions)
	return strings.Join(slices.Compact(versions), " ")
}
