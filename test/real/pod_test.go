// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package real

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/containernetworking/plugins/pkg/ns"
	"golang.org/x/sys/unix"

	testpod "multus-cni/test/pod"
)

// pod is a network namespace on the node, and the container id that a runtime
// would give it. Its lo is up, as a runtime leaves it.
type pod struct {
	id    string
	netns string // path
}

func (n *node) pod(t *testing.T, id string) *pod {
	t.Helper()
	p := &pod{id: id, netns: "/run/netns/" + id}
	if err := os.WriteFile(p.netns, nil, 0o444); err != nil {
		t.Fatal(err)
	}
	output(t, "unshare", "--net="+p.netns, "ip", "link", "set", "lo", "up")
	// Plugins wait for duplicate address detection, and give up after five
	// seconds: on a busy machine too few.
	p.inside(t, func() error { return os.WriteFile("/proc/sys/net/ipv6/conf/default/dad_transmits", []byte("0"), 0) })
	return p
}

// vanish takes the pod's network namespace away, as a node does when a pod's
// last process ends.
func (p *pod) vanish(t *testing.T) {
	t.Helper()
	if err := errors.Join(unix.Unmount(p.netns, unix.MNT_DETACH), os.Remove(p.netns)); err != nil {
		t.Fatal(err)
	}
}

// inside runs f in the pod's network namespace.
func (p *pod) inside(t *testing.T, f func() error) {
	t.Helper()
	if err := ns.WithNetNSPath(p.netns, func(ns.NetNS) error { return f() }); err != nil {
		t.Fatalf("in the network namespace of %s: %v", p.id, err)
	}
}

// text describes the pod, a line each: its interfaces with kind and addresses;
// then its default routes, one line for each next hop.
func (p *pod) text(t *testing.T) string {
	t.Helper()
	links, err := testpod.ListLinks(p.netns)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, l := range links {
		lines = append(lines, strings.Join(append([]string{l.Name, l.Type}, l.Addrs...), " "))
	}
	return strings.Join(append(lines, p.defaults(t)...), "\n")
}

// defaults describes the pod's default routes.
func (p *pod) defaults(t *testing.T) []string {
	t.Helper()
	lines, err := testpod.Defaults(p.netns)
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

// links returns the names of the pod's interfaces, without lo.
func (p *pod) links(t *testing.T) []string {
	t.Helper()
	names, err := testpod.Names(p.netns)
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// settle: see the function.
func (p *pod) settle(t *testing.T) {
	t.Helper()
	p.inside(t, func() error { settle(t); return nil })
}

// ping sends ICMP echoes from where it is called until one is answered.
func ping(address string) error {
	var err error
	for range 120 { // a minute: a busy machine may take its time
		if err = echo(net.ParseIP(address), 500*time.Millisecond); err == nil {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return fmt.Errorf("ping %s: %w", address, err)
}

// echo sends an ICMP echo and waits for the answer. The kernel chooses the
// source's address when the socket is connected, and an address that is
// tentative at that moment is none: so each echo has a socket of its own.
func echo(target net.IP, patience time.Duration) error {
	network, request, answer := "ip4:icmp", byte(8), byte(0)
	if target.To4() == nil {
		network, request, answer = "ip6:ipv6-icmp", 128, 129
	}
	conn, err := net.DialIP(network, nil, &net.IPAddr{IP: target})
	if err != nil {
		return err
	}
	defer conn.Close()
	message := append([]byte{request, 0, 0, 0, 'm', 'u', 0, 1}, "multus"...)
	if request == 8 { // for ICMPv6 the kernel does it
		binary.BigEndian.PutUint16(message[2:], checksum(message))
	}
	if _, err := conn.Write(message); err != nil {
		return err
	}
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	received := make([]byte, 1500)
	for {
		size, _, err := conn.ReadFrom(received) // not Read: that leaves IPv4's header
		if err != nil {
			return fmt.Errorf("no answer: %w", err)
		}
		if size >= 8 && received[0] == answer && string(received[4:8]) == string(message[4:8]) {
			return nil
		}
	}
}

func checksum(message []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(message); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(message[i:]))
	}
	sum = sum>>16 + sum&0xffff
	return ^uint16(sum + sum>>16)
}

// mustPing pings from the node.
func mustPing(t *testing.T, addresses ...string) {
	t.Helper()
	for _, address := range addresses {
		if err := ping(address); err != nil {
			t.Error(err)
		}
	}
}

// mustPing pings from the pod.
func (p *pod) mustPing(t *testing.T, addresses ...string) {
	t.Helper()
	for _, address := range addresses {
		p.inside(t, func() error { return ping(address) })
	}
}
