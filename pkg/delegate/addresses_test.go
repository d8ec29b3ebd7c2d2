// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package delegate

import (
	"encoding/json"
	"slices"
	"testing"
)

func TestAddresses(t *testing.T) {
	for _, test := range []struct {
		result string
		want   []string
	}{
		{``, []string{}},
		{`[]`, []string{}},
		{`{"cniVersion":"1.0.0"}`, []string{}},
		{`{"cniVersion":"1.0.0","ips":[{"address":"10.1.2.3/24"},{"address":"fd00::3/64"}]}`, []string{"10.1.2.3/24", "fd00::3/64"}},
		{`{"cniVersion":"0.4.0","ips":[{"version":"4","address":"10.1.2.3/24"}]}`, []string{"10.1.2.3/24"}},
		{`{"cniVersion":"0.2.0","ip4":{"ip":"10.1.2.3/24"},"ip6":{"ip":"fd00::3/64"}}`, []string{"10.1.2.3/24", "fd00::3/64"}},
		{`{"ip6":{"ip":"fd00::3/64"}}`, []string{"fd00::3/64"}},
	} {
		if got := Addresses(json.RawMessage(test.result)); got == nil || !slices.Equal(got, test.want) {
			t.Errorf("Addresses(%s) = %q, want %q", test.result, got, test.want)
		}
	}
}
