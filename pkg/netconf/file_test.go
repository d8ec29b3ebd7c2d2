// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package netconf

import (
	"strings"
	"testing"
)

func TestReadFile(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{
			`{"name": "n", "cniVersion": "1.0.0", "type": "multus", "capabilities": {"ips": true}, "delegates": []}`,
			`{"name": "n", "cniVersion": "1.0.0", "type": "multus", "delegates": []}`,
		},
		{`{"name": "n", "type": "x"}`, `{"name": "n", "type": "x","cniVersion":"0.1.0"}`},
		{
			`{"name": "n", "cniVersion": "1.0.0", "plugins": [{"type": "multus"}, {"type": "y", "name": "other", "n": 1.10}]}`,
			`{"type": "multus","name":"n","cniVersion":"1.0.0"}` + "\n" + `{"type": "y", "name":"n", "n": 1.10,"cniVersion":"1.0.0"}`,
		},
	} {
		list, err := ReadFile([]byte(test.text), "eth0")
		var requests []string
		for i := range list.Plugins {
			requests = append(requests, string(list.Request(i, Inputs{})))
		}
		compact := strings.NewReplacer(" ", "").Replace
		if got := strings.Join(requests, "\n"); compact(got) != compact(test.want) || err != nil || list.IfName != "eth0" || list.Name != "n" {
			t.Errorf("%s: got %s of %q for %q, %v, want %s", test.text, got, list.Name, list.IfName, err, test.want)
		}
	}
}

func TestReadFileRefuses(t *testing.T) {
	for text, want := range map[string]string{
		`{`:                           "not JSON",
		`[]`:                          "must be an object",
		`{"type": "multus"}`:          `"name" is missing`,
		`{"name": "n"}`:               "type",
		`{"name": "n", "plugins": 1}`: "plugins",
	} {
		if _, err := ReadFile([]byte(text), "eth0"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
}
