// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package commandline

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"unicode"

	"multus-cni/pkg/commandline/try"
)

func TestTryForPeople(t *testing.T) {
	report := &try.Report{
		Network: "demo", Container: "multus-try-1", Netns: "/run/netns/multus-try-1", AddMS: 12.3, CheckMS: 4.5, DelMS: 6.7,
		Interfaces: []try.Interface{
			{
				Delegate: 1, Name: "eth0", Network: "demo", Plugins: []string{"bridge", "portmap"}, Primary: true, MTU: 1450,
				MAC: "02:00:00:00:00:01", Addresses: []string{"10.1.0.2/24", "fd00::2/64"}, Milliseconds: 8.1,
				Gateways: []try.Gateway{{Address: "10.1.0.1", State: try.Answers}, {Address: "fd00::1", State: try.Silent}},
			},
			{Name: "net0", Network: "demo-net0", Plugins: []string{"sriov"}, Missing: true, Milliseconds: 3},
		},
		DefaultRoutes: []string{"default via 10.1.0.1 dev eth0"},
		Result:        json.RawMessage(`{"cniVersion":"1.0.0","dns":{"nameservers":["10.0.0.53"],"search":["a","b"]}}`),
		Problems:      []string{"CHECK: no\nroute (code 100)"},
		Left:          []string{"file /var/lib/cni/networks/demo/10.1.0.2"},
		New:           []string{"cni0"}, Gone: []string{"vf0"}, Removed: []string{"multus-try-0"},
	}
	kept := *report
	kept.Kept, kept.Removed, kept.Problems, kept.DelMS = true, nil, nil, 0
	kept.DefaultRoutes = nil
	kept.Interfaces = slices.Clone(report.Interfaces)
	kept.Interfaces[0].Gateways = []try.Gateway{{Address: "10.1.0.1", State: try.Unasked}}
	bad := &try.Report{Network: "demo", Container: "multus-try-2", AddMS: 2, DelMS: 1, Problems: []string{"ADD: no such plugin (code 7)"}}
	got := describeTrial(report) + "--\n" + describeTrial(&kept) + "--\n" + describeTrial(bad)
	const golden = "testdata/try.txt"
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", golden, got, want)
	}
}

// Whatever a plugin returns, no control character reaches the terminal.
func TestTryPrintsNoControlCharacters(t *testing.T) {
	const hostile = "a\x1b[31m\rb\u009b"
	list := []string{hostile}
	dns, err := json.Marshal(map[string]any{"dns": map[string]any{"nameservers": list, "domain": hostile, "search": list, "options": list}})
	if err != nil {
		t.Fatal(err)
	}
	got := describeTrial(&try.Report{
		Network: hostile, Container: "multus-try-1", DefaultRoutes: list, Problems: list, New: list, Gone: list, Left: list, Result: dns,
		Interfaces: []try.Interface{
			{Name: hostile, Network: hostile, Plugins: list, MAC: hostile, Addresses: list, Gateways: []try.Gateway{{Address: hostile, State: try.Silent}}},
		},
	})
	if i := strings.IndexFunc(got, func(r rune) bool { return unicode.IsControl(r) && r != '\n' }); i >= 0 {
		t.Errorf("%q in %q", got[i:i+1], got)
	}
}

func TestTryShowsAnInterfaceWithoutMAC(t *testing.T) {
	got := describeTrial(&try.Report{Interfaces: []try.Interface{{Name: "tun0", MTU: 1500}}})
	if want := "  MAC none, MTU 1500\n"; !strings.Contains(got, want) {
		t.Errorf("got %q, want %q in it", got, want)
	}
}

func TestTryBeginsNothingWithABadConf(t *testing.T) {
	file := t.TempDir() + "/10-multus.conf"
	if err := os.WriteFile(file, []byte(`{"type": "multus"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	const want = "multus: nothing was tried: read the conf: \"name\" is missing\n"
	if got, code := call(t, nil, "", "try", file); got != want || code != exitError {
		t.Errorf("got %q, %d, want %q, %d", got, code, want, exitError)
	}
}
