// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package real

import (
	"strings"
	"testing"
)

func threeNetworks(cniVersion string) string {
	return conf(cniVersion,
		`{"type": "bridge", "bridge": "br1", "isGateway": true, `+hostLocal(1)+`}`,
		`{"type": "ptp", `+hostLocal(2)+`}`,
		primary(`{"type": "ptp", `+hostLocal(3)+`}`))
}

// TestRefuse has ADDs that must be refused without a trace: nothing changes on
// the node, nor in the pod.
func TestRefuse(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		running bool   // the pod has been attached
		prepare string // a command in the pod
		id      string
		says    string
	}{
		"second ADD":               {running: true, id: "pod1", says: "eth0"},
		"second container":         {running: true, id: "pod2", says: "eth0"},
		"foreign net0":             {prepare: "ip link add net0 type bridge", id: "pod1", says: "net0"},
		"foreign eth0":             {prepare: "ip link add eth0 type bridge", id: "pod1", says: "eth0"},
		"foreign alternative name": {prepare: "ip link property add dev lo altname net1", id: "pod1", says: "net1"},
	} {
		t.Run(name, func(t *testing.T) {
			inNode(t, func(t *testing.T, n *node) {
				c := threeNetworks("1.0.0")
				empty := n.snapshot(t)
				p := n.pod(t, "pod1")
				if test.running {
					n.mustAdd(t, p, c)
					settle(t)
				} else {
					p.command(t, test.prepare)
					p.command(t, "ip addr add 192.0.2.1/24 dev lo")
				}
				p.settle(t)
				before, ip := n.snapshot(t), p.ip(t)

				_, err := n.call(t, "ADD", &pod{id: test.id, netns: p.netns}, c)
				if err == nil {
					t.Fatal("ADD succeeded, want it to be refused")
				}
				if !strings.Contains(err.Msg, test.says) {
					t.Errorf("the error is %q, want one that says %q", err.Msg, test.says)
				}
				equal(t, "ip in the pod", unindent(p.ip(t)), ip)
				if diff := before.diff(n.snapshot(t)); len(diff) > 0 { // without the exceptions: no plugin ran
					t.Errorf("changed on the node:\n\t%s", strings.Join(diff, "\n\t"))
				}
				if test.running {
					mustPing(t, "10.1.0.2", "fd00:1::2", "10.2.0.2", "fd00:2::2", "10.3.0.2", "fd00:3::2")
					p.mustPing(t, "10.3.0.1", "fd00:3::1")
					n.must(t, "CHECK", p, c)
					n.must(t, "DEL", p, c)
					n.nothingLeft(t, empty, p)
				}
			})
		})
	}
}

// TestForeignRoute: default routes that the pod has already are not multus's
// to change, and not taken for a delegate's.
func TestForeignRoute(t *testing.T) {
	inNode(t, func(t *testing.T, n *node) {
		p := n.pod(t, "pod1")
		p.command(t, "ip link add other type bridge")
		p.command(t, "ip addr add 192.0.2.1/24 dev other")
		p.command(t, "ip link set other up")
		p.command(t, "ip route add default via 192.0.2.2 dev other metric 500")
		c := conf("1.0.0", `{"type": "ptp", `+hostLocal(2)+`}`, primary(`{"type": "ptp", `+hostLocal(1)+`}`))
		n.mustAdd(t, p, c)
		equal(t, "pod", p.text(t), `
			eth0 veth 10.1.0.2/24 fd00:1::2/64
			net0 veth 10.2.0.2/24 fd00:2::2/64
			other bridge 192.0.2.1/24
			default via 10.1.0.1 dev eth0
			default via 192.0.2.2 dev other
			default via fd00:1::1 dev eth0`)
		n.must(t, "CHECK", p, c)
		n.must(t, "DEL", p, c)
		equal(t, "pod", p.text(t), `
			other bridge 192.0.2.1/24
			default via 192.0.2.2 dev other`)
	})
}
