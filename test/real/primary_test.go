// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package real

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// The README's networks: a VF, in whose place is one end of a veth pair; ptp;
// and flannel, whose daemon would have written its subnet.env. The first two
// are as the README has them, of IPv4, unless they are dual stack.
const (
	vf = `{"type": "host-device", "device": "vf0", "ipam": {
		"type": "host-local", "subnet": "10.56.217.0/24", "rangeStart": "10.56.217.131", "rangeEnd": "10.56.217.190",
		"routes": [{"dst": "0.0.0.0/0"}], "gateway": "10.56.217.1"}}`
	ptp = `{"type": "ptp", "ipam": {
		"type": "host-local", "subnet": "10.168.1.0/24", "rangeStart": "10.168.1.11", "rangeEnd": "10.168.1.20",
		"routes": [{"dst": "0.0.0.0/0"}], "gateway": "10.168.1.1"}}`
	flannel = `{"type": "flannel", "masterplugin": true, "delegate": {"isDefaultGateway": true}}`

	subnetEnv  = "FLANNEL_NETWORK=10.1.0.0/16\nFLANNEL_SUBNET=10.1.17.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=false\n"
	subnetEnv6 = "FLANNEL_IPV6_NETWORK=fd00:1::/48\nFLANNEL_IPV6_SUBNET=fd00:1:0:17::1/64\n"
)

func prepareReadme(subnetEnv string) func(*testing.T, *node) {
	return func(t *testing.T, n *node) {
		n.veth(t, "vf0", "wire0")
		n.ip(t, "addr add 10.56.217.1/24 dev wire0")
		if err := os.Mkdir("/run/flannel", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile("/run/flannel/subnet.env", []byte(subnetEnv), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestReadme attaches a pod with the conf of the README of 2017, made valid
// JSON: the primary is the last, and there is no cniVersion.
func TestReadme(t *testing.T) {
	t.Parallel()
	l := &lifecycle{
		prepare: prepareReadme(subnetEnv),
		conf:    strings.Replace(conf("", vf, ptp, flannel), `"net"`, `"multus-demo-network"`, 1),
		result: `
			10.1.17.2/24 via 10.1.17.1
			route 10.1.0.0/16
			route 0.0.0.0/0`,
		pod: `
			eth0 veth 10.1.17.2/24
			net0 veth 10.56.217.131/24
			net1 veth 10.168.1.11/24
			via 10.1.17.1 dev eth0`,
		record: "multus-demo-network:pod1:eth0.json",
		attached: []string{
			`file /var/lib/cni/networks/multus-demo-network/10\.1\.17\.2$`,
			`file /var/lib/cni/networks/multus-demo-network-net0/10\.56\.217\.131$`,
			`file /var/lib/cni/networks/multus-demo-network-net1/10\.168\.1\.11$`,
			`file /var/lib/cni/flannel/`,
			`iptables nat -A CNI-\w+ .*MASQUERADE`,
			`link vf0 veth`,
		},
		running: func(t *testing.T, _ *node, _ *pod) {
			mustPing(t, "10.1.17.2", "10.56.217.131", "10.168.1.11")
		},
		noCheck: true,
	}
	t.Run("multus-demo-network", l.test)
}

// TestPosition has the primary first, in the middle and last, for several kinds of
// primaries, where every network has a default route of both families. The flannel
// is of 2021 and supports no CNI version after 0.4.0: under a conf of 1.0.0 it is
// asked for what it supports. CHECK must pass although the secondaries have lost
// the default routes that they added.
func TestPosition(t *testing.T) {
	t.Parallel()
	secondaries := []string{
		`{"type": "host-device", "device": "vf0", ` + hostLocal(2) + `}`,
		`{"type": "ptp", ` + hostLocal(3) + `}`,
	}
	const pod = `
		eth0 veth 10.1.0.2/24 fd00:1::2/64
		net0 veth 10.2.0.2/24 fd00:2::2/64
		net1 veth 10.3.0.2/24 fd00:3::2/64
		via 10.1.0.1 dev eth0
		via fd00:1::1 dev eth0`
	for name, p := range map[string]struct{ delegate, result, pod string }{
		"flannel": {
			delegate: flannel,
			result: `
				cni0 on the node
				veth on the node
				eth0
				10.1.17.2/24 via 10.1.17.1
				fd00:1:0:17::2/64 via fd00:1:0:17::1
				route 10.1.0.0/16
				route fd00:1::/48
				route 0.0.0.0/0
				route ::/0`,
			pod: strings.NewReplacer("10.1.0.2", "10.1.17.2", "10.1.0.1", "10.1.17.1",
				"fd00:1::2", "fd00:1:0:17::2", "fd00:1::1", "fd00:1:0:17::1").Replace(pod),
		},
		"ptp": {
			delegate: primary(`{"type": "ptp", ` + hostLocal(1) + `}`),
			result: `
				veth on the node
				eth0
				10.1.0.2/24 via 10.1.0.1
				fd00:1::2/64 via fd00:1::1
				route 0.0.0.0/0
				route ::/0`,
			pod: pod,
		},
		"exclusive": {
			delegate: primary(`{"type": "exclusive", ` + withoutRoutes(hostLocal(1)) + `}`),
			result: `
				veth on the node
				eth0
				10.1.0.2/24 via 10.1.0.1
				fd00:1::2/64 via fd00:1::1`,
			pod: pod,
		},
	} {
		for position, place := range []string{"first", "middle", "last"} {
			l := &lifecycle{
				prepare: func(t *testing.T, n *node) {
					prepareReadme(subnetEnv+subnetEnv6)(t, n)
					n.exclusive(t)
				},
				conf:   conf("1.0.0", slices.Insert(slices.Clone(secondaries), position, p.delegate)...),
				result: p.result,
				pod:    p.pod,
			}
			t.Run(name+" "+place, l.test)
		}
	}
}

// exclusive makes a plugin as they were in 2017: ptp, which then adds its
// default routes so that the kernel refuses them if there are any, and fails.
func (n *node) exclusive(t *testing.T) {
	n.script(t, "exclusive", `
		[ "$CNI_COMMAND" = ADD ] || exec "$PLUGINS/ptp"
		result=$("$PLUGINS/ptp") || { echo "$result"; exit 1; }
		for gateway in 10.1.0.1 fd00:1::1; do
			nsenter --net="$CNI_NETNS" ip route add default via $gateway dev "$CNI_IFNAME" || {
				echo '{"code": 100, "msg": "a default route is there already"}'
				exit 1
			}
		done
		echo "$result"`)
}
