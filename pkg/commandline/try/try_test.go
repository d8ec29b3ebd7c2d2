// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package try

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"

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
