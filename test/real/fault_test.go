// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package real

import (
	"regexp"
	"strings"
	"testing"
)

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
