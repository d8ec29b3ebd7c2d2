// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package delegate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/types/create"
	"github.com/containernetworking/cni/pkg/version"

	"multus-cni/pkg/netconf"
)

// tooLong is when an input counts as one that multus hangs on.
const tooLong = time.Minute

var results = []string{
	`{"cniVersion":"1.1.0","interfaces":[{"name":"eth0","mac":"02:00:00:00:00:01","mtu":1500,"sandbox":"/run/netns/a"}],"ips":[{"interface":0,"address":"10.0.0.2/24","gateway":"10.0.0.1"}],"routes":[{"dst":"0.0.0.0/0","gw":"10.0.0.1","mtu":1400,"table":7},{"dst":"::/0"}],"dns":{"nameservers":["10.0.0.1"],"search":["a.b"]}}`,
	`{"cniVersion":"0.3.1","interfaces":[{"name":"a"}],"ips":[{"version":"4","interface":7,"address":"10.0.0.2/24"},{"version":"6","address":"fd00::2/64"}],"routes":[{"dst":"0.0.0.0/0"}],"dns":{}}`,
	`{"cniVersion":"0.2.0","ip4":{"ip":"10.0.0.2/24","gateway":"10.0.0.1","routes":[{"dst":"0.0.0.0/0","gw":"10.0.0.1"}]},"ip6":{"ip":"fd00::2/64","routes":[{"dst":"::/0"}]}}`,
	`{"ip4":{"ip":"10.0.0.2/24"}}`, `{"cniVersion":null,"IP6":{"ip":"fd00::2/64"}}`,
	`{"interfaces":[null],"ips":[null],"routes":[null],"ip4":{"routes":[null]}}`,
	`{"cniVersion":"9.9.9","ips":[]}`, `{"cniVersion":1}`, `{}`, ` `, `null`, `[]`, `"x"`, `{"cniVersion":"1.0.0"} {}`, `not JSON`,
	`{"cniVersion":"1.0.0","IPs":[null],"ips":[],"interfaces":null}`,
}

// prints is a plugin that prints one thing, whatever it is asked.
type prints struct {
	version.PluginDecoder
	stdout []byte
}

func (p *prints) FindInPath(string, []string) (string, error) { return "/x", nil }

func (p *prints) ExecPlugin(context.Context, string, []byte, []string) ([]byte, error) {
	return p.stdout, nil
}

var _ invoke.Exec = (*prints)(nil)

// Whatever a plugin prints after an ADD is an empty result, one that can be
// kept and handed on in every version that it has a form in, or an error.
func FuzzResult(f *testing.F) {
	for _, result := range results {
		for i := range version.All.SupportedVersions() {
			f.Add([]byte(result), uint8(i))
		}
	}
	f.Fuzz(func(t *testing.T, stdout []byte, at uint8) {
		defer time.AfterFunc(tooLong, func() { panic("it hangs") }).Stop()
		versions := version.All.SupportedVersions()
		wanted := versions[int(at)%len(versions)]
		d := netconf.Delegate{IfName: "eth0", Plugins: []netconf.Plugin{{Type: "x", CNIVersion: wanted}}}
		_, result, err := NewRunner(&prints{stdout: stdout}, nil).Add(context.Background(), d, netconf.Inputs{}, nothing)
		if err != nil {
			checkCNIError(t, err, `delegate 0 "x" (eth0): ADD: `)
			return
		}
		if result == nil {
			if text := bytes.TrimSpace(stdout); len(text) > 0 && compacted(text) != "{}" && string(text) != "null" {
				t.Errorf("taken for an empty result: %s", stdout)
			}
			return
		}
		if back, err := convertResult(result.Text, result.Version()); err != nil || !bytes.Equal(back, result.Text) {
			t.Errorf("as prevResult of the same version: %s, %v, want %s", back, err, result.Text)
		}
		for _, v := range versions {
			checkVersion(t, result, v)
		}
	})
}

func checkVersion(t *testing.T, result *Result, v string) {
	t.Helper()
	direct, directErr := result.GetAsVersion(v)
	later, laterErr := convertResult(result.Text, v)
	if (directErr == nil) != (laterErr == nil) {
		t.Fatalf("%s from %s: %v when it comes, %v when it has been kept", v, result.Text, directErr, laterErr)
	}
	if directErr != nil {
		return
	}
	if got := direct.Version(); got != v {
		t.Errorf("got version %q, want %q", got, v)
	}
	if _, err := create.Create(v, later); err != nil {
		t.Errorf("%s from %s cannot be read back: %v", later, result.Text, err)
	}
}

func checkCNIError(t *testing.T, err error, prefix string) {
	t.Helper()
	var e *types.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %T %v, want a CNI error", err, err)
	}
	if e.Code == 0 || !strings.HasPrefix(e.Msg, prefix) || len(e.Msg) == len(prefix) {
		t.Errorf("got code %d, message %q", e.Code, e.Msg)
	}
}

// compacted returns "" for what is no JSON.
func compacted(text []byte) string {
	var out bytes.Buffer
	_ = json.Compact(&out, text)
	return out.String()
}

// Whatever a record holds as a result, or a runtime sends as prevResult, a
// plugin gets it in its own version, or there is an error.
func FuzzPrevResult(f *testing.F) {
	for _, result := range results {
		for _, v := range []string{"0.2.0", "0.4.0", "1.1.0"} {
			f.Add([]byte(result), v)
		}
	}
	f.Fuzz(func(t *testing.T, prev []byte, v string) {
		defer time.AfterFunc(tooLong, func() { panic("it hangs") }).Stop()
		got, err := convertResult(prev, v)
		if err != nil {
			return
		}
		if !json.Valid(got) {
			t.Fatalf("got %q, which is no JSON", got)
		}
		if bytes.Equal(got, prev) {
			return
		}
		if v == "" { // which is what no version means, to cni's library too
			v = "0.1.0"
		}
		if has, err := create.DecodeVersion(got); err != nil || has != v || !slices.Contains(version.All.SupportedVersions(), v) {
			t.Errorf("%s of version %q, want %q: %v", got, has, v, err)
		}
	})
}
