// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package try

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"multus-cni/pkg/cnierror"
)

func TestGatewaysInResults(t *testing.T) {
	for result, want := range map[string][]string{
		``:   {},
		`{}`: {},
		`{"cniVersion": "1.0.0", "ips": [{"address": "10.0.0.2/24", "gateway": "10.0.0.1"}, {"address": "fd00::2/64"}],
		  "routes": [{"dst": "0.0.0.0/0", "gw": "10.0.0.1"}, {"dst": "10.1.0.0/16", "gw": "10.0.0.9"}, {"dst": "::/0"}]}`: {"10.0.0.1", "10.0.0.9"},
		`{"cniVersion": "0.2.0", "ip4": {"ip": "10.0.0.2/24", "gateway": "10.0.0.1"}, "ip6": {"ip": "fd00::2/64", "gateway": "fd00::1"}}`: {"10.0.0.1", "fd00::1"},
	} {
		got := []string{}
		for _, g := range gatewaysIn(json.RawMessage(result)) {
			got = append(got, g.Address)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", result, got, want)
		}
	}
}

func TestDataDirs(t *testing.T) {
	conf := `{"type": "multus", "dataDir": 7, "delegates": [
		{"ipam": {"type": "host-local", "dataDir": "/a"}}, {"plugins": [{"type": "flannel", "dataDir": "/b"}, {"dataDir": "relative"}]},
		{"ipam": {"dataDir": "/a"}}]}`
	got := dataDirs([]byte(conf))
	if want := []string{"/var/lib/cni/networks", "/var/lib/cni/flannel", "/a", "/b"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// attr is a route attribute.
func attr(kind int, value []byte) []byte { return nl.NewRtAttr(kind, value).Serialize() }

func number(n uint32) []byte { return binary.NativeEndian.AppendUint32(nil, n) }

func TestParseRoute(t *testing.T) {
	header := func(bits, table, kind byte) []byte {
		return []byte{unix.AF_INET, bits, 0, 0, table, 0, 0, kind, 0, 0, 0, 0}
	}
	nextHop := func(link uint32, gateway ...byte) []byte {
		attrs := attr(unix.RTA_GATEWAY, gateway)
		hop := binary.NativeEndian.AppendUint16(nil, uint16(unix.SizeofRtNexthop+len(attrs)))
		return append(append(append(hop, 0, 0), number(link)...), attrs...)
	}
	single := slices.Concat(attr(unix.RTA_OIF, number(3)), attr(unix.RTA_GATEWAY, []byte{10, 0, 0, 1}))
	several := attr(unix.RTA_MULTIPATH, slices.Concat(nextHop(2, 10, 0, 0, 1), nextHop(3, 10, 0, 1, 1)))
	for name, test := range map[string]struct {
		body []byte
		want string
	}{
		"a default route": {slices.Concat(header(0, unix.RT_TABLE_MAIN, unix.RTN_UNICAST), single), "3 10.0.0.1"},
		"multipath":       {slices.Concat(header(0, unix.RT_TABLE_MAIN, unix.RTN_UNICAST), several), "2 10.0.0.1, 3 10.0.1.1"},
		"a subnet":        {slices.Concat(header(24, unix.RT_TABLE_MAIN, unix.RTN_UNICAST), single), ""},
		"another table":   {slices.Concat(header(0, 100, unix.RTN_UNICAST), single), ""},
		"unreachable":     {header(0, unix.RT_TABLE_MAIN, unix.RTN_UNREACHABLE), ""},
	} {
		r, err := parseRoute(test.body)
		var hops []string
		for _, h := range r.hops {
			hops = append(hops, fmt.Sprint(h.link, " ", h.gateway))
		}
		if got := strings.Join(hops, ", "); got != test.want || err != nil {
			t.Errorf("%s: got %q, %v, want %q", name, got, err, test.want)
		}
	}
	if _, err := parseRoute([]byte{1}); err == nil {
		t.Error("a message that is too short: no error")
	}
	if hops := parseHops(append(nextHop(2, 10, 0, 0, 1), 200, 0, 0, 0, 0, 0, 0, 0)); len(hops) != 1 || hops[0].gateway != netip.MustParseAddr("10.0.0.1") {
		t.Errorf("a hop that is cut off: got %v, want the one before", hops)
	}
}

func TestMessage(t *testing.T) {
	err := cnierror.WithDetails(cnierror.New(types.ErrTryAgainLater, "busy\nvery"), "VF 3")
	if got, want := message(fmt.Errorf("ADD: %w", err)), "busy very; VF 3 (code 11)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestRemoveTakesNoOtherContainer(t *testing.T) {
	for _, id := range []string{"pod1", "../multus-try-1", "multus-try-1/x", ""} {
		if err := Remove(t.Context(), id, io.Discard); err == nil || !strings.Contains(err.Error(), "is not the id of a try") {
			t.Errorf("%q: got %v, want a refusal", id, err)
		}
	}
	if err := Remove(t.Context(), "multus-try-none", io.Discard); err == nil || !strings.Contains(err.Error(), "there is no try") {
		t.Errorf("one that does not exist: got %v", err)
	}
}

func TestOK(t *testing.T) {
	gateway := func(a Answer) []Interface { return []Interface{{Gateways: []Gateway{{"10.0.0.1", a}}}} }
	for _, test := range []struct {
		report Report
		want   bool
	}{
		{Report{}, true},
		{Report{Interfaces: gateway(Answers), New: []string{"cni0"}}, true},
		{Report{Interfaces: gateway(Unasked)}, true},
		{Report{Interfaces: gateway(Silent)}, false},
		{Report{Problems: []string{"ADD: no"}}, false},
		{Report{Left: []string{"file /x"}}, false},
	} {
		if got := test.report.OK(); got != test.want {
			t.Errorf("%+v: got %t, want %t", test.report, got, test.want)
		}
	}
}
