// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package real

import (
	"cmp"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containernetworking/plugins/pkg/ns"
)

// hostLocal and static are IPAM plugins, dual stack, that bring default
// routes. The network number tells addresses apart: 10.N.0.0/24, fd00:N::/64.
func hostLocal(network int) string {
	return fmt.Sprintf(`"ipam": {"type": "host-local",
		"ranges": [[{"subnet": "10.%[1]d.0.0/24"}], [{"subnet": "fd00:%[1]d::/64"}]],
		"routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]}`, network)
}

// static gives out addresses of network 2; those of network 1 are hostLocal's.
func static() string {
	return `"ipam": {"type": "static",
		"addresses": [{"address": "10.2.0.9/24", "gateway": "10.2.0.1"}, {"address": "fd00:2::9/64", "gateway": "fd00:2::1"}],
		"routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]}`
}

// threeNetworks is a conf of a bridge and a ptp, and another ptp, the primary.
func threeNetworks(cniVersion string) string {
	return conf(cniVersion,
		`{"type": "bridge", "bridge": "br1", "isGateway": true, `+hostLocal(1)+`}`,
		`{"type": "ptp", `+hostLocal(2)+`}`,
		primary(`{"type": "ptp", `+hostLocal(3)+`}`))
}

// withoutRoutes is for a plugin that brings the default routes itself.
func withoutRoutes(ipam string) string {
	before, _, _ := strings.Cut(ipam, `"routes"`)
	return strings.TrimRight(before, ", \n\t") + "}"
}

// lifecycle is what every pod goes through in these tests.
type lifecycle struct {
	conf     string
	prepare  func(*testing.T, *node)
	result   string                        // see resultText
	pod      string                        // see pod.text
	attached []string                      // regular expressions of what is on the node while the pod is attached
	running  func(*testing.T, *node, *pod) // while the pod is attached
	record   string                        // name of its file, unless it is of the network "net"
	noCheck  bool                          // the conf's version knows no CHECK
}

func (l *lifecycle) test(t *testing.T) {
	inNode(t, func(t *testing.T, n *node) {
		if l.prepare != nil {
			l.prepare(t, n)
		}
		before := n.snapshot(t)
		p := n.pod(t, "pod1")
		equal(t, "result", n.mustAdd(t, p, l.conf), l.result)
		equal(t, "pod", p.text(t), l.pod)
		if got, want := n.records(t), []string{cmp.Or(l.record, "net:pod1:eth0.json")}; !slices.Equal(got, want) {
			t.Errorf("records %q, want %q", got, want)
		}
		now := strings.Join(before.diff(n.snapshot(t)), "\n")
		for _, pattern := range l.attached {
			if !regexp.MustCompile(`(?m)^[+-] ` + pattern).MatchString(now) {
				t.Errorf("while attached, nothing on the node like %q:\n%s", pattern, indent(now))
			}
		}
		if l.noCheck {
			_ = n.mustFail(t, "CHECK", p, l.conf, 1) // the code is all that is asked
		} else {
			n.must(t, "CHECK", p, l.conf)
		}
		if l.running != nil {
			l.running(t, n, p)
		}
		n.must(t, "DEL", p, l.conf)
		n.nothingLeft(t, before, p)
		n.must(t, "DEL", &pod{id: p.id}, l.conf) // containerd's second one, without CNI_NETNS
		n.nothingLeft(t, before, p)
	})
}

// TestPlugins attaches a pod to two networks of one kind: net0, listed first,
// has its addresses from host-local, and the primary, listed last, from
// static. Both want to be the default route.
func TestPlugins(t *testing.T) {
	t.Parallel()
	const (
		leases     = `file /var/lib/cni/networks/net-net0/10\.1\.0\.2$`
		leases6    = `file /var/lib/cni/networks/net-net0/fd00:1::2$`
		masquerade = `iptables nat -A CNI-\w+ .*MASQUERADE`
	)
	// dual is the lifecycle of two delegates of both families.
	dual := func(kind, net0, last, host string, attached ...string) *lifecycle {
		return &lifecycle{
			conf: conf("1.0.0", net0, primary(last)),
			result: host + `
				eth0
				10.2.0.9/24 via 10.2.0.1
				fd00:2::9/64 via fd00:2::1
				route 0.0.0.0/0
				route ::/0`,
			pod: strings.ReplaceAll(`
				eth0 KIND 10.2.0.9/24 fd00:2::9/64
				net0 KIND 10.1.0.2/24 fd00:1::2/64
				via 10.2.0.1 dev eth0
				via fd00:2::1 dev eth0`, "KIND", kind),
			attached: append(attached, leases, leases6),
		}
	}
	ptp := dual("veth", `{"type": "ptp", "ipMasq": true, `+hostLocal(1)+`}`, `{"type": "ptp", "ipMasq": true, `+static()+`}`,
		"veth on the node", `link veth\w+ veth`, `route 10\.1\.0\.2/32 `, `route fd00:2::9/128 `, masquerade, "ip6tables"+masquerade[8:])
	ptp.running = func(t *testing.T, _ *node, p *pod) {
		mustPing(t, "10.1.0.2", "fd00:1::2", "10.2.0.9", "fd00:2::9")
		p.mustPing(t, "10.1.0.1", "fd00:1::1", "10.2.0.1", "fd00:2::1")
	}
	nftables := dual("veth", `{"type": "ptp", "ipMasq": true, "ipMasqBackend": "nftables", `+hostLocal(1)+`}`,
		`{"type": "ptp", "ipMasq": true, "ipMasqBackend": "nftables", `+static()+`}`,
		"veth on the node", `nft inet cni_plugins_masquerade .*masquerade`)

	bridge := dual("veth", `{"type": "bridge", "bridge": "br1", "isGateway": true, "ipMasq": true, `+hostLocal(1)+`}`,
		`{"type": "bridge", "bridge": "br2", "isDefaultGateway": true, "ipMasq": true, `+withoutRoutes(static())+`}`,
		"br2 on the node\nveth on the node", `link br1 bridge`, masquerade)
	bridge.running = func(t *testing.T, _ *node, _ *pod) {
		settle(t)
		mustPing(t, "10.1.0.2", "fd00:1::2", "10.2.0.9", "fd00:2::9")
	}

	macvlan := dual("macvlan", `{"type": "macvlan", "master": "up1", `+hostLocal(1)+`}`, `{"type": "macvlan", "master": "up1", `+static()+`}`, "")
	macvlan.prepare = func(t *testing.T, n *node) { n.wire(t, "up1") }
	macvlan.running = func(t *testing.T, _ *node, p *pod) { p.mustPing(t, "10.2.0.1", "fd00:2::1") }

	device := dual("veth", `{"type": "host-device", "device": "vf1", `+hostLocal(1)+`}`, `{"type": "host-device", "device": "vf2", `+static()+`}`, "",
		`link vf1 veth`, `link vf2 veth`) // "- link": they are in the pod
	device.prepare = func(t *testing.T, n *node) {
		n.veth(t, "vf1", "wire1")
		n.wire(t, "vf2")
	}
	device.running = func(t *testing.T, _ *node, _ *pod) { mustPing(t, "10.2.0.9", "fd00:2::9") }

	tap := &lifecycle{ // IPv4 only: nobody is at the other end, and the plugin waits ten seconds for IPv6 addresses
		conf: conf("1.0.0",
			`{"type": "tap", "multiQueue": true, `+pool(1)+`}`,
			primary(`{"type": "tap", "multiQueue": true, `+pool(2)+`}`)),
		result: `
			eth0
			10.2.0.2/16 via 10.2.0.1
			route 0.0.0.0/0`,
		pod: `
			eth0 tuntap 10.2.0.2/16
			net0 tuntap 10.1.0.2/16
			via 10.2.0.1 dev eth0`,
		attached: []string{leases},
	}
	for name, l := range map[string]*lifecycle{
		"ptp": ptp, "ptp with nftables": nftables, "bridge": bridge, "macvlan": macvlan, "host-device": device, "tap": tap,
	} {
		t.Run(name, l.test)
	}
}

// wire makes an interface at whose other end is the gateway of static().
func (n *node) wire(t *testing.T, name string) {
	t.Helper()
	n.veth(t, name, "wire2")
	n.ip(t, "addr add 10.2.0.1/24 dev wire2")
	n.ip(t, "addr add fd00:2::1/64 dev wire2 nodad")
}

// TestList runs a list delegate, bridge, tuning and portmap, with the host
// port that the runtime asks for, as the primary after a ptp secondary.
func TestList(t *testing.T) {
	t.Parallel()
	for name, backend := range map[string]struct{ portmap, rule, chains string }{
		"iptables": {`"backend": "iptables"`, `iptables nat -A CNI-DN-\w+ .*--dport 18080 .*10\.2\.0\.2:80`, ""},
		"nftables": {`"backend": "nftables"`, `nft ip cni_hostport .*18080.*10\.2\.0\.2`, ""},
	} {
		list := `{"plugins": [
			{"type": "bridge", "bridge": "br2", "isGateway": true, "ipMasq": true, ` + hostLocal(2) + `},
			{"type": "tuning", "mtu": 1400, "sysctl": {"net.ipv4.conf.IFNAME.accept_local": "1"}},
			{"type": "portmap", ` + backend.portmap + `, "capabilities": {"portMappings": true}}]}`
		l := &lifecycle{
			conf: with(conf("1.0.0", `{"type": "ptp", `+hostLocal(1)+`}`, primary(list)),
				`"runtimeConfig": {"portMappings": [{"hostPort": 18080, "containerPort": 80, "protocol": "tcp"}]}`),
			result: `
				br2 on the node
				veth on the node
				eth0
				10.2.0.2/24 via 10.2.0.1
				fd00:2::2/64 via fd00:2::1
				route 0.0.0.0/0
				route ::/0`,
			pod: `
				eth0 veth 10.2.0.2/24 fd00:2::2/64
				net0 veth 10.1.0.2/24 fd00:1::2/64
				via 10.2.0.1 dev eth0
				via fd00:2::1 dev eth0`,
			attached: []string{backend.rule, `iptables nat -A CNI-\w+ .*MASQUERADE`, `file /var/lib/cni/networks/net/10\.2\.0\.2$`},
			running:  listRuns,
		}
		t.Run(name, l.test)
	}
}

func listRuns(t *testing.T, _ *node, p *pod) {
	p.inside(t, func() error {
		link, err := net.InterfaceByName("eth0")
		if err == nil && link.MTU != 1400 {
			t.Errorf("eth0 has an MTU of %d, want the 1400 of tuning", link.MTU)
		}
		if err != nil {
			return err
		}
		value, err := os.ReadFile("/proc/sys/net/ipv4/conf/eth0/accept_local")
		if err == nil && string(value) != "1\n" {
			t.Errorf("accept_local is %q, want the 1 of tuning", value)
		}
		return err
	})
	settle(t) // the bridge's own address
	p.settle(t)
	for _, address := range []string{"10.2.0.1:18080", "[fd00:2::1]:18080"} {
		if got, err := p.serve(80, address); err != nil || got != p.id {
			t.Errorf("connected to %s, got %q, %v, want the pod's answer %q", address, got, err, p.id)
		}
	}
}

// serve answers one connection to a TCP port of the pod with the pod's id. It
// returns what came back to a client on the node that connected to an address.
func (p *pod) serve(port int, address string) (string, error) {
	var listener net.Listener
	err := ns.WithNetNSPath(p.netns, func(ns.NetNS) (err error) {
		listener, err = net.Listen("tcp", fmt.Sprintf(":%d", port))
		return err
	})
	if err != nil {
		return "", err
	}
	defer listener.Close()
	go func() {
		if conn, err := listener.Accept(); err == nil {
			_, _ = io.WriteString(conn, p.id)
			_ = conn.Close()
		}
	}()
	conn, err := net.DialTimeout("tcp", address, time.Minute)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	answer, err := io.ReadAll(conn)
	return string(answer), err
}
