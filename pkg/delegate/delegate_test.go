// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package delegate

import (
	"slices"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
)

// cni's converters follow a null in a result, and crash.
func TestRefuseNulls(t *testing.T) {
	for text, ok := range map[string]bool{
		`{"cniVersion":"1.0.0","interfaces":[{"name":"a"}],"ips":null,"routes":[]}`: true,
		`{"interfaces":[null]}`:                    false,
		`{"ips":[{"address":"10.0.0.2/24"},null]}`: false,
		`{"routes":[ null ]}`:                      false,
		`{"ip4":{"routes":[null]}}`:                false,
		`{"ip6":{"routes":[null]}}`:                false,
	} {
		if err := refuseNulls([]byte(text)); (err == nil) != ok {
			t.Errorf("%s: got error %v, want one: %v", text, err, !ok)
		} else if err != nil && AsError(err).Code != types.ErrDecodingFailure {
			t.Errorf("%s: got code %d, want 6", text, AsError(err).Code)
		}
	}
}

func TestAsVersion(t *testing.T) {
	const result = `{"cniVersion":"1.0.0","interfaces":[{"name":"eth0"}],"big":9007199254740993}`
	if got, err := asVersion([]byte(result), "1.0.0"); err != nil || string(got) != result {
		t.Errorf("same version: got %s, %v, want it as it is written", got, err)
	}
	if got, err := asVersion([]byte(result), "0.4.0"); err != nil || !slices.Contains([]string{
		`{"cniVersion":"0.4.0","interfaces":[{"name":"eth0"}]}`, `{"cniVersion":"0.4.0","interfaces":[{"name":"eth0"}],"dns":{}}`,
	}, string(got)) {
		t.Errorf("converted: got %s, %v", got, err)
	}
	if _, err := asVersion([]byte(`{"cniVersion":"0.4.0","interfaces":[null]}`), "1.0.0"); err == nil {
		t.Error("a null in the list: got no error")
	}
}

func TestEnvWith(t *testing.T) {
	env := Env{"CNI_COMMAND=ADD", "CNI_COMMANDER=x", "PATH=/bin", "CNI_NETNS=/run/a=b"}
	got := env.With("CNI_COMMAND=DEL", "CNI_NETNS=")
	if want := (Env{"CNI_COMMANDER=x", "PATH=/bin", "CNI_COMMAND=DEL", "CNI_NETNS="}); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if env.get("CNI_NETNS") != "/run/a=b" || env[0] != "CNI_COMMAND=ADD" {
		t.Errorf("the environment itself has changed: %q", env)
	}
}
