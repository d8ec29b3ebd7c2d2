// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package real

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// TestMigrationPage takes a node from one network, and from Kubernetes Multus,
// to multus as doc/migration.md says. What is printed must be as it shows it.
func TestMigrationPage(t *testing.T) {
	inNode(t, func(t *testing.T, n *node) {
		readme, err := os.ReadFile("../../README.md")
		if err != nil {
			t.Fatal(err)
		}
		_, section, _ := strings.Cut(string(readme), "\n## Install on a node\n")
		n.prepareInstall(t, fences(section)[0])
		n.shell(t, "cp bin/multus multus")
		n.follow(t, "migration.md", map[string][]step{
			"From one network":       {otherName},
			"From Kubernetes Multus": {kubernetesMultus, composed, nil, attachedBefore},
		})
	})
}

// otherName installs a conf whose primary has not kept its name.
func otherName(t *testing.T, n *node, _ string) string {
	n.shell(t, `./multus compose --name demo `+confDir+`/10-flannel.conflist storage.conf |
		sed 's/"cbr0"/"demo"/' >00-multus.conf`)
	_, text, _ := strings.Cut(n.session(t, "$ ./multus install 00-multus.conf"), "multus: ")
	return "multus: " + text
}

// kubernetesMultus is a node where its DaemonSet has been.
func kubernetesMultus(t *testing.T, _ *node, _ string) string {
	putFile(t, binDir+"/multus", "#!/bin/sh\n", 0o755)
	putFile(t, confDir+"/00-multus.conf", `{
    "cniVersion": "0.3.1",
    "name": "multus-cni-network",
    "type": "multus",
    "kubeconfig": "/etc/cni/net.d/multus.d/multus.kubeconfig",
    "clusterNetwork": "/etc/cni/net.d/10-flannel.conflist",
    "readinessindicatorfile": "/run/flannel/subnet.env"
}
`, 0o644)
	return ""
}

func composed(t *testing.T, n *node, block string) string {
	n.shell(t, block)
	return block
}

func attachedBefore(t *testing.T, _ *node, _ string) string {
	var record []map[string]any
	for _, conf := range []string{
		`{"cniVersion": "0.3.1", "name": "cbr0", "plugins": [{"type": "flannel"}, {"type": "portmap"}]}`,
		`{"cniVersion": "0.3.1", "name": "storage", "type": "macvlan", "master": "eth0"}`,
	} {
		record = append(record, map[string]any{"Conf": map[string]any{}, "ConfList": map[string]any{}, "Bytes": []byte(conf)})
	}
	text, err := json.Marshal(record)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll("/var/lib/cni/multus", 0o700); err != nil {
		t.Fatal(err)
	}
	putFile(t, "/var/lib/cni/multus/4f0c3f1d9a5b", string(text), 0o600)
	return ""
}
