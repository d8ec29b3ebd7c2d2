// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package real

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// kinds are delegates of one interface, IPv4 only since nothing here depends
// on it, by plugin.
var kinds = map[string]string{
	"ptp":         `{"type": "ptp", "ipMasq": true, ` + hostLocal4 + `}`,
	"bridge":      `{"type": "bridge", "bridge": "br1", "isGateway": true, "ipMasq": true, ` + hostLocal4 + `}`,
	"macvlan":     `{"type": "macvlan", "master": "up1", ` + hostLocal4 + `}`,
	"host-device": `{"type": "host-device", "device": "up1", ` + hostLocal4 + `}`,
	"tap":         `{"type": "tap", ` + hostLocal4 + `}`,
}

const hostLocal4 = `"ipam": {"type": "host-local", "subnet": "10.1.0.0/24"}`

// netnsGone is what is left when CNI_NETNS is empty, or names nothing, by no
// fault of multus.
var netnsGone = []struct {
	kind string
	line *regexp.Regexp
	why  string
}{
	{
		"ptp", regexp.MustCompile(`^(iptables nat :?(CNI-[0-9a-f]{24}|-A (CNI-|POSTROUTING .*CNI-)[0-9a-f]{24})|nft ip nat (CNI-[0-9a-f]{24}|POSTROUTING: .*CNI-[0-9a-f]{24}))`),
		"ipMasq: ptp takes the addresses whose rules it removes from the interface, and returns when there is no network namespace",
	},
	{
		"bridge", regexp.MustCompile(`^(iptables nat :?(CNI-[0-9a-f]{24}|-A (CNI-|POSTROUTING .*CNI-)[0-9a-f]{24})|nft ip nat (CNI-[0-9a-f]{24}|POSTROUTING: .*CNI-[0-9a-f]{24}))`),
		"ipMasq: bridge does as ptp",
	},
	{
		"host-device", regexp.MustCompile(`^file /var/lib/cni/networks/net/10\.1\.0\.2$`),
		"host-device returns before it calls its IPAM plugin when there is no network namespace",
	},
}

// TestNetnsGone: DEL with an empty CNI_NETNS, and with the path of a network
// namespace that has vanished, releases what the pod had on the node.
func TestNetnsGone(t *testing.T) {
	t.Parallel()
	for name, delegate := range kinds {
		var exceptions []*regexp.Regexp
		for _, e := range netnsGone {
			if e.kind == name {
				exceptions = append(exceptions, e.line)
			}
		}
		for _, how := range []string{"empty", "vanished"} {
			t.Run(name+" "+how, func(t *testing.T) {
				inNode(t, func(t *testing.T, n *node) {
					n.veth(t, "up1", "wire1")
					before := n.snapshot(t)
					p := n.pod(t, "pod1")
					c := conf("1.0.0", `{"type": "ptp", "ipam": {"type": "host-local", "subnet": "10.9.0.0/24"}}`, primary(delegate))
					n.mustAdd(t, p, c)
					if how == "vanished" {
						n.vanish(t, p, before)
						if name == "host-device" { // the veth end in the VF's place went with the pod
							before = slices.DeleteFunc(before, regexp.MustCompile(`^link (up1|wire1) `).MatchString)
						}
					}
					gone := *p
					if how == "empty" {
						gone.netns = ""
					}
					for range 2 {
						n.must(t, "DEL", &gone, c)
						if records := n.records(t); len(records) > 0 {
							t.Errorf("left of the record: %q", records)
						}
					}
					if how == "empty" {
						n.vanish(t, p, before)
						if name == "host-device" {
							before = slices.DeleteFunc(before, regexp.MustCompile(`^link (up1|wire1) `).MatchString)
						}
					}
					n.nothingLeft(t, before, p, exceptions...)
				})
			})
		}
	}
}

// vanish takes the pod's network namespace away and waits until the kernel has
// taken the other ends of its interfaces.
func (n *node) vanish(t *testing.T, p *pod, before snapshot) {
	t.Helper()
	p.vanish(t)
	waitFor(t, "the pod's links on the node to go", func() bool {
		return !slices.ContainsFunc(before.diff(n.snapshot(t)), func(line string) bool {
			return strings.HasPrefix(line, "+ link veth")
		})
	})
}

// TestGC has two pods, of which the runtime knows one. (What is left of a pod
// that has no record any more is for the delegates to collect. None of the
// reference plugins does so yet.)
func TestGC(t *testing.T) {
	inNode(t, func(t *testing.T, n *node) {
		c := threeNetworks("1.1.0")
		empty := n.snapshot(t)
		valid, gone := n.pod(t, "valid"), n.pod(t, "gone")
		n.mustAdd(t, valid, c)
		before := n.snapshot(t)
		n.mustAdd(t, gone, c)
		n.vanish(t, gone, before)

		n.must(t, "GC", &pod{}, with(c, `"cni.dev/valid-attachments": [{"containerID": "valid", "ifname": "eth0"}]`))
		if left := n.leftovers(t, before); len(left) > 0 {
			t.Errorf("left on the node:\n\t%s", strings.Join(left, "\n\t"))
		}
		n.must(t, "CHECK", valid, c)
		mustPing(t, "10.1.0.2", "10.2.0.2", "10.3.0.2")

		n.must(t, "GC", &pod{}, with(c, `"cni.dev/valid-attachments": []`))
		n.nothingLeft(t, empty, valid)
	})
}
