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
	`{"ip4":{"ip":"10.0.0.2/24"}}`,
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
		d := &netconf.Delegate{IfName: "eth0", Plugins: []netconf.Plugin{{Type: "x", CNIVersion: wanted}}}
		r := &Runner{Exec: &prints{stdout: stdout}}
		result, err := r.Add(context.Background(), d, netconf.Inputs{}, func(types.Result) error { return nil })
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
		kept, err := json.Marshal(result)
		if err != nil {
			t.Fatalf("cannot be kept: %v", err)
		}
		if back, err := asVersion(kept, result.Version()); err != nil || !bytes.Equal(back, kept) {
			t.Errorf("as prevResult of the same version: %s, %v, want %s", back, err, kept)
		}
		for _, v := range versions {
			checkVersion(t, result, kept, v)
		}
	})
}

func checkVersion(t *testing.T, result types.Result, kept []byte, v string) {
	t.Helper()
	direct, directErr := result.GetAsVersion(v)
	later, laterErr := asVersion(kept, v)
	if (directErr == nil) != (laterErr == nil) {
		t.Fatalf("%s from %s: %v when it comes, %v when it has been kept", v, kept, directErr, laterErr)
	}
	if directErr != nil {
		return
	}
	if got := direct.Version(); got != v {
		t.Errorf("got version %q, want %q", got, v)
	}
	if _, err := create.Create(v, later); err != nil {
		t.Errorf("%s from %s cannot be read back: %v", later, kept, err)
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

// Whatever a plugin that fails prints makes one CNI error, with the plugin's
// own code and message where there are such.
func FuzzError(f *testing.F) {
	for _, text := range []string{
		`{"cniVersion":"1.0.0","code":11,"msg":"try again","details":"later"}`, `{"code":0}`, `{"code":-1,"msg":"x"}`,
		`{"code":99999999999999999999,"msg":"x"}`, `{"msg":"\u0000\n"}`, `null`, `[]`, `0`, ``, ` `, `panic: x`, "{\"code\":7,\"msg\":\"\xff\"}",
	} {
		f.Add([]byte(text), []byte("on stderr"))
	}
	f.Fuzz(func(t *testing.T, stdout, stderr []byte) {
		defer time.AfterFunc(tooLong, func() { panic("it hangs") }).Stop()
		e := failure(context.Background(), errors.New("exit status 1"), stdout, stderr)
		checkCNIError(t, e, "")
		var own struct {
			Code uint
			Msg  string
		}
		text := bytes.TrimSpace(stdout)
		if len(text) > 0 && text[0] == '{' && json.Unmarshal(text, &own) == nil {
			if own.Code != 0 && e.Code != own.Code || own.Msg != "" && e.Msg != own.Msg {
				t.Errorf("got %d %q, want %d %q", e.Code, e.Msg, own.Code, own.Msg)
			}
		} else if e.Code != types.ErrDecodingFailure && e.Code != types.ErrInternal {
			t.Errorf("got code %d for no CNI error at all", e.Code)
		}
		joined := AsError(Join([]error{errors.New("first"), e}))
		if joined.Code != types.ErrInternal || !strings.HasPrefix(joined.Msg, "first; ") {
			t.Errorf("joined: %+v", joined)
		}
	})
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
		got, err := asVersion(prev, v)
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
