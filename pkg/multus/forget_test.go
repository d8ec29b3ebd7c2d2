// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package multus

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"github.com/containernetworking/cni/pkg/invoke"

	"multus-cni/pkg/delegate"
	"multus-cni/pkg/netconf"
	"multus-cni/pkg/pluginexec"
	"multus-cni/pkg/record"
)

func (n *node) forget(conf *netconf.Conf) Forgotten {
	n.t.Helper()
	entries, err := n.store().Entries()
	n.must(err)
	var stderr bytes.Buffer
	m := &Multus{
		Env: delegate.Env{"CNI_PATH=/bin"}, Stderr: &stderr,
		Exec: func(pluginexec.Guard, bool) invoke.Exec { return n },
	}
	return m.Forget(context.Background(), n.dir, entries[0], conf)
}

// A record is forgotten whatever its plugins say, and their addresses are
// released where an IPAM plugin can do it.
func TestForget(t *testing.T) {
	n := newNode(t)
	n.add(n.conf(`{"type":"a","ipam":{"type":"ipam"}},{"type":"b"},`+primary), "CNI_ARGS=K8S_POD_NAME=a")
	n.does["DEL a"], n.does["DEL b"] = fails(110, "never"), fails(111, "never")
	f := n.forget(nil)
	calls := n.calls
	n.wantCalls("forget", "DEL p eth0", "DEL b net1", "DEL a net0", "DEL ipam net0")
	if f.Err != nil || len(f.Delegates) != 3 {
		t.Fatalf("got %+v", f)
	}
	for i, want := range []string{"2 [p] eth0 failed: false, released: false", "1 [b] net1 failed: true, released: false", "0 [a] net0 failed: true, released: true"} {
		d := f.Delegates[i]
		if got := fmt.Sprintf("%d %v %s failed: %t, released: %t", d.Index, d.Types, d.IfName, d.Err != nil, d.AddressesReleased); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if r := calls[3]; r.args != "K8S_POD_NAME=a" || r.container != "c1" || r.netns != n.netns {
		t.Errorf("the IPAM plugin got %+v", r)
	}
	n.wantFiles("")
}

// What is no readable record is forgotten as well, but for one of a newer
// format.
func TestForgetUnreadable(t *testing.T) {
	for _, test := range []struct {
		file, text string
		calls      []string
		failed     bool
		left       string
	}{
		{"net:c1:eth0.json", `{"format":`, []string{"DEL p eth0 -", "DEL a net0 -"}, false, ""},
		{"net:c1:eth0.json", `{"format":99}`, nil, true, "net:c1:eth0.json"},
		{"net:c1:eth0.json.damaged", `{`, nil, false, ""},
	} {
		n := newNode(t)
		n.write(test.file, test.text)
		conf, err := netconf.Parse([]byte(n.conf(both)))
		n.must(err)
		if f := n.forget(conf); (f.Err != nil) != test.failed {
			t.Errorf("%s: got error %v", test.file, f.Err)
		}
		n.wantCalls("forget", test.calls...)
		n.wantFiles(test.left)
	}
}

// A stale record of another boot is deleted without a network namespace.
func TestForgetStale(t *testing.T) {
	n := newNode(t)
	n.add(n.conf(both))
	n.edit(func(r *record.Record) { r.BootID = "of another boot" })
	if f := n.forget(nil); f.Err != nil {
		t.Errorf("got %+v", f)
	}
	n.wantCalls("forget", "DEL p eth0 -", "DEL a net0 -")
}
