// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package delegate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/version"

	"multus-cni/pkg/cnierror"
	"multus-cni/pkg/netconf"
	"multus-cni/pkg/rawjson"
)

// plugins are the plugins of a test, by their types: what each supports, and
// with what error it answers a request of a version that it supports. They
// refuse other versions, their own as well as their IPAM plugin's.
type plugins struct {
	version.PluginDecoder
	supports map[string]string // CNI versions, by type; "" where VERSION is not answered
	fails    map[string]error  // by "VERB type" or "VERB type VERSION"
	calls    []string          // "ADD a 1.0.0", VERSION left out
	stdin    []string
}

func (p *plugins) FindInPath(plugin string, _ []string) (string, error) {
	if _, ok := p.supports[plugin]; !ok {
		return "", fmt.Errorf("no plugin %q", plugin)
	}
	return "/bin/" + plugin, nil
}

func (p *plugins) ExecPlugin(_ context.Context, path string, stdin []byte, environ []string) ([]byte, error) {
	plugin, verb := filepath.Base(path), Env(environ).get("CNI_COMMAND")
	supported := strings.Fields(p.supports[plugin])
	if verb == "VERSION" {
		if len(supported) == 0 {
			return nil, errors.New("no answer")
		}
		return json.Marshal(map[string]any{"cniVersion": "1.0.0", "supportedVersions": supported})
	}
	var conf struct {
		CNIVersion string
		IPAM       struct{ Type string }
	}
	if err := json.Unmarshal(stdin, &conf); err != nil {
		return nil, err
	}
	call := verb + " " + plugin
	p.calls, p.stdin = append(p.calls, call+" "+conf.CNIVersion), append(p.stdin, string(stdin))
	for _, key := range []string{call, call + " " + conf.CNIVersion} {
		if err := p.fails[key]; err != nil {
			return nil, err
		}
	}
	for _, needed := range []string{plugin, conf.IPAM.Type} {
		if s := strings.Fields(p.supports[needed]); len(s) > 0 && !slices.Contains(s, conf.CNIVersion) {
			return nil, types.NewError(types.ErrIncompatibleCNIVersion, "incompatible CNI versions", needed)
		}
	}
	return fmt.Appendf(nil, `{"cniVersion":%q,"dns":{"domain":%q}}`, conf.CNIVersion, plugin), nil
}

var _ invoke.Exec = (*plugins)(nil)

func parse(t *testing.T, text string) rawjson.Object {
	t.Helper()
	object, err := rawjson.ParseObject([]byte(text), 0)
	if err != nil {
		t.Fatal(err)
	}
	return object
}

// list makes a delegate of several plugins, of CNI version 1.0.0.
func list(t *testing.T, types ...string) netconf.Delegate {
	d := netconf.Delegate{Name: "net", IfName: "net0", List: true}
	for _, plugin := range types {
		d.Plugins = append(d.Plugins, netconf.Plugin{Type: plugin, CNIVersion: "1.0.0", Config: parse(t, `{"type":"`+plugin+`"}`)})
	}
	return d
}

func nothing(netconf.Delegate, *Result) error { return nil }

// CONTRACT 1.6: what code 1 makes of an ADD.
func TestRefusedVersion(t *testing.T) {
	code1 := func(msg, details string) error { return types.NewError(1, msg, details) }
	for _, test := range []struct {
		name    string
		plugin  string // versions that it supports
		ipam    string // of its IPAM plugin, "" for none
		fails   map[string]error
		spelled bool // the delegate has a version of its own
		calls   string
		ran     string // the version that it was run at, "" for an error
		want    string // in the error
	}{
		{name: "as asked", plugin: "0.4.0 1.0.0", calls: "ADD a 1.0.0", ran: "1.0.0"},
		{name: "down", plugin: "0.2.0 0.3.1 0.4.0", calls: "ADD a 1.0.0,DEL a 0.4.0,ADD a 0.4.0", ran: "0.4.0"},
		{name: "spelled out", plugin: "0.4.0", spelled: true, calls: "ADD a 1.0.0", want: "incompatible CNI versions"},
		{name: "IPAM is older", plugin: "0.3.1 0.4.0 1.0.0 1.1.0", ipam: "0.3.1 0.4.0", calls: "ADD a 1.0.0,DEL a 0.4.0,ADD a 0.4.0", ran: "0.4.0"},
		{name: "IPAM is newer: never up", plugin: "1.0.0 1.1.0", ipam: "1.1.0", calls: "ADD a 1.0.0", want: "incompatible CNI versions"},
		{name: "IPAM does not answer", plugin: "0.4.0", ipam: " ", calls: "ADD a 1.0.0,DEL a 0.4.0,ADD a 0.4.0", ran: "0.4.0"},
		{name: "nothing in common", plugin: "0.3.9", calls: "ADD a 1.0.0", want: "incompatible CNI versions"},
		{name: "no VERSION", fails: map[string]error{"ADD a": code1("incompatible CNI version", "")}, calls: "ADD a 1.0.0", want: "incompatible"},
		{
			name: "a script that fails with 1", plugin: "0.4.0 1.0.0", fails: map[string]error{"ADD a": code1("", "")},
			calls: "ADD a 1.0.0", want: `delegate 0 "a" (net0): ADD: `,
		},
		{
			name: "a message of its own", plugin: "0.4.0", fails: map[string]error{"ADD a": code1("file exists", "")},
			calls: "ADD a 1.0.0", want: "file exists",
		},
		{
			name: "both fail", plugin: "0.4.0", fails: map[string]error{"ADD a 0.4.0": code1("file exists", ""), "DEL a": code1("no", "")},
			calls: "ADD a 1.0.0,DEL a 0.4.0,ADD a 0.4.0", want: "at CNI version 0.4.0: file exists",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := &plugins{supports: map[string]string{"a": test.plugin, "i": test.ipam}, fails: test.fails}
			d := list(t, "a")
			d.List, d.Plugins[0].Inherited = false, !test.spelled
			if test.ipam != "" {
				d.Plugins[0].Config = parse(t, `{"type":"a","ipam":{"type":"i"}}`)
			}
			ran, _, err := NewRunner(p, Env{"CNI_PATH=/bin"}).Add(context.Background(), d, netconf.Inputs{}, nothing)
			if got := strings.Join(p.calls, ","); got != test.calls {
				t.Errorf("got calls %s, want %s", got, test.calls)
			}
			if test.ran != "" {
				if err != nil || ran.Plugins[0].CNIVersion != test.ran || d.Plugins[0].CNIVersion != "1.0.0" {
					t.Errorf("got %v, error %v, want version %s", ran.Plugins, err, test.ran)
				}
				return
			}
			if err == nil {
				t.Fatalf("got no error, want %q", test.want)
			}
			e := cnierror.From(err)
			if e.Code != 1 || !strings.Contains(e.Msg+"\n"+e.Details, test.want) || !errors.As(err, new(*Failure)) {
				t.Errorf("got %+v, want %q", e, test.want)
			}
		})
	}
}

// CONTRACT 6.2, 6.3: a plugin that is older than STATUS and GC refuses them
// with another code than 1.
func TestUnknownVerb(t *testing.T) {
	for _, test := range []struct {
		name     string
		supports string
		code     uint
		spelled  bool
		ok       bool
	}{
		{name: "too old", supports: "0.4.0 1.0.0", code: 4, ok: true},
		{name: "a script that is too old", supports: "0.3.1", code: 999, ok: true},
		{name: "it knows them", supports: "1.0.0 1.1.0", code: 4},
		{name: "an answer", supports: "1.0.0", code: 50},
		{name: "spelled out", supports: "1.0.0", code: 4, spelled: true},
		{name: "no VERSION", code: 4},
	} {
		for _, verb := range []string{"STATUS", "GC"} {
			p := &plugins{supports: map[string]string{"a": test.supports}, fails: map[string]error{verb + " a": types.NewError(test.code, "no", "")}}
			d := list(t, "a")
			d.Plugins[0].CNIVersion, d.Plugins[0].Inherited = "1.1.0", !test.spelled
			err := NewRunner(p, Env{"CNI_PATH=/bin"}).Run(context.Background(), verb, d, netconf.Inputs{})
			if (err == nil) != test.ok || err != nil && cnierror.Code(err) != test.code {
				t.Errorf("%s: %s: got %v, want it to succeed: %v", test.name, verb, err, test.ok)
			}
			if len(p.calls) != 1 {
				t.Errorf("%s: %s: got calls %q, want one", test.name, verb, p.calls)
			}
		}
	}
}

// What a list's verbs do when its plugins fail.
func TestListFails(t *testing.T) {
	failing := func(code uint, what string) error { return types.NewError(code, what, "details of "+what) }
	for _, test := range []struct {
		verb  string
		calls string
		code  uint
		want  []string
	}{
		{"DEL", "DEL c 1.1.0,DEL b 1.1.0,DEL a 1.1.0", 103, []string{"c fails", "a fails", "details of c fails", "details of a fails", "(net0, plugins[2])"}},
		{"GC", "GC a 1.1.0,GC b 1.1.0,GC c 1.1.0", 101, []string{"a fails", "c fails", "details of a fails", "details of c fails"}},
		{"CHECK", "CHECK a 1.1.0", 101, []string{`delegate 0 "a" (net0, plugins[0]): CHECK: a fails`}},
		{"STATUS", "STATUS a 1.1.0", 101, []string{"a fails"}},
	} {
		p := &plugins{supports: map[string]string{"a": "1.1.0", "b": "1.1.0", "c": "1.1.0"}, fails: map[string]error{}}
		p.fails[test.verb+" a"], p.fails[test.verb+" c"] = failing(101, "a fails"), failing(103, "c fails")
		d := list(t, "a", "b", "c")
		for i := range d.Plugins {
			d.Plugins[i].CNIVersion = "1.1.0"
		}
		r := NewRunner(p, Env{"CNI_PATH=/bin"})
		e := cnierror.From(r.Run(context.Background(), test.verb, d, netconf.Inputs{}))
		if got := strings.Join(p.calls, ","); got != test.calls || e.Code != test.code {
			t.Errorf("%s: got calls %s and code %d, want %s and %d", test.verb, got, e.Code, test.calls, test.code)
		}
		for _, want := range test.want {
			if !strings.Contains(e.Msg+"\n"+e.Details, want) {
				t.Errorf("%s: got %q, details %q, want %q in them", test.verb, e.Msg, e.Details, want)
			}
		}
		p.calls = nil
		d.DisableCheck, d.DisableGC = true, true
		_ = r.Run(context.Background(), test.verb, d, netconf.Inputs{})
		if disabled := test.verb == "CHECK" || test.verb == "GC"; disabled != (p.calls == nil) {
			t.Errorf("%s, disabled: got calls %q", test.verb, p.calls)
		}
	}
}

// An ADD of a list hands on results, says after each plugin how far it has
// come, and ends when that cannot be kept.
func TestListAdd(t *testing.T) {
	p := &plugins{supports: map[string]string{"a": "1.0.0", "b": "1.0.0", "c": "1.0.0"}}
	full := errors.New("the disk is full")
	var steps []string
	_, _, err := NewRunner(p, Env{"CNI_PATH=/bin"}).Add(context.Background(), list(t, "a", "b", "c"), netconf.Inputs{},
		func(_ netconf.Delegate, result *Result) error {
			if steps = append(steps, string(result.Text)); len(steps) == 2 {
				return full
			}
			return nil
		})
	if !errors.Is(err, full) || len(p.calls) != 2 || !strings.Contains(steps[1], `"b"`) {
		t.Errorf("got error %v, calls %q, steps %q", err, p.calls, steps)
	}
	if strings.Contains(p.stdin[0], "prevResult") || !strings.Contains(p.stdin[1], `"prevResult":`+steps[0]) {
		t.Errorf("got stdin %q", p.stdin)
	}
}

// A prevResult that cannot be converted keeps no DEL from running.
func TestPrevResultThatCannotBeConverted(t *testing.T) {
	for _, prev := range []string{`{"cniVersion":"9.9.9"}`, `{"cniVersion":"0.4.0","ips":[null]}`, `{"cniVersion":"0.4.0","ips":7}`} {
		p := &plugins{supports: map[string]string{"a": "1.0.0", "i": "1.0.0"}}
		r, d, in := NewRunner(p, Env{"CNI_PATH=/bin"}), list(t, "a"), netconf.Inputs{PrevResult: json.RawMessage(prev)}
		d.Plugins[0].Config = parse(t, `{"type":"a","ipam":{"type":"i"}}`)
		if err := r.Run(context.Background(), "CHECK", d, in); err == nil || p.calls != nil {
			t.Errorf("CHECK with %s: got error %v, calls %q", prev, err, p.calls)
		}
		if err := errors.Join(r.Run(context.Background(), "DEL", d, in), r.ReleaseAddresses(context.Background(), d, in)); err != nil {
			t.Errorf("DEL with %s: %v", prev, err)
		}
		if strings.Join(p.calls, ",") != "DEL a 1.0.0,DEL i 1.0.0" || strings.Contains(strings.Join(p.stdin, ""), "prevResult") {
			t.Errorf("DEL with %s: got calls %q, stdin %q", prev, p.calls, p.stdin)
		}
	}
}

func TestReleaseAddresses(t *testing.T) {
	p := &plugins{supports: map[string]string{"i": "1.0.0"}, fails: map[string]error{"DEL i": types.NewError(120, "no lease", "")}}
	r, d := NewRunner(p, Env{"CNI_PATH=/bin"}), list(t, "a", "b")
	if err := r.ReleaseAddresses(context.Background(), d, netconf.Inputs{}); !errors.Is(err, ErrNoIPAM) {
		t.Errorf("without IPAM: got %v", err)
	}
	d.Plugins[0].Config, d.Plugins[1].Config = parse(t, `{"ipam":{"type":"missing"}}`), parse(t, `{"ipam":{"type":"i"}}`)
	err := r.ReleaseAddresses(context.Background(), d, netconf.Inputs{})
	for _, want := range []string{`IPAM plugin "missing": DEL: no plugin`, `IPAM plugin "i": DEL: no lease`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
}

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
		if err := refuseNulls(parse(t, text)); (err == nil) != ok {
			t.Errorf("%s: got error %v, want one: %v", text, err, !ok)
		}
		if _, err := DecodeResult([]byte(text), "1.0.0"); !ok && cnierror.Code(err) != types.ErrDecodingFailure {
			t.Errorf("%s: got %v, want code 6", text, err)
		}
	}
}

// CONTRACT 3.3: which version a result is of that does not say.
func TestVersionOfResult(t *testing.T) {
	for text, want := range map[string]string{
		`{"dns":{"domain":"x"}}`: "1.0.0", `{"cniVersion":"","dns":{}}`: "1.0.0", `{"cniVersion":null}`: "1.0.0", `{"cniVersion":"0.4.0"}`: "0.4.0",
		`{"ip4":{"ip":"10.0.0.2/24"}}`: "0.2.0", `{"cniVersion":"","ip6":{"ip":"fd00::2/64"}}`: "0.2.0", `{"ip4":{"ip":"10.0.0.2/24"},"cniVersion":"0.1.0"}`: "0.1.0",
		``: "", " null\n": "", `{}`: "",
	} {
		got := ""
		result, err := DecodeResult([]byte(text), "1.0.0")
		if err == nil && result != nil {
			got = result.Version()
		}
		if err != nil || got != want {
			t.Errorf("%s: got version %q, error %v, want %q", text, got, err, want)
		}
	}
}

func TestConvertResult(t *testing.T) {
	const result = `{"cniVersion":"1.0.0","interfaces":[{"name":"eth0"}],"big":9007199254740993}`
	if got, err := convertResult([]byte(result), "1.0.0"); err != nil || string(got) != result {
		t.Errorf("same version: got %s, %v, want it as it is written", got, err)
	}
	if got, err := convertResult([]byte(result), "0.4.0"); err != nil || !slices.Contains([]string{
		`{"cniVersion":"0.4.0","interfaces":[{"name":"eth0"}]}`, `{"cniVersion":"0.4.0","interfaces":[{"name":"eth0"}],"dns":{}}`,
	}, string(got)) {
		t.Errorf("converted: got %s, %v", got, err)
	}
}

func TestEnv(t *testing.T) {
	env := Env{"CNI_COMMAND=ADD", "CNI_COMMANDER=x", "PATH=/bin", "CNI_NETNS=/run/a=b", "CNI_ARGS=IP=10.0.0.9;K8S_POD_NAME=a;MAC=x;GATEWAY=y;IPX=z;IP"}
	if got, want := env.With("CNI_COMMAND=DEL", "CNI_NETNS="), (Env{"CNI_COMMANDER=x", "PATH=/bin", env[4], "CNI_COMMAND=DEL", "CNI_NETNS="}); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if env.get("CNI_NETNS") != "/run/a=b" || env[0] != "CNI_COMMAND=ADD" {
		t.Errorf("the environment itself has changed: %q", env)
	}
	primary, other := netconf.Delegate{Primary: true, IfName: "eth0"}, netconf.Delegate{IfName: "net0"}
	if got := env.forDelegate("ADD", primary); got.get("CNI_ARGS") != env.get("CNI_ARGS") || got.get("CNI_IFNAME") != "eth0" {
		t.Errorf("the primary gets %q", got)
	}
	if got := env.forDelegate("ADD", other); got.get("CNI_ARGS") != "K8S_POD_NAME=a;IPX=z" || got.get("CNI_IFNAME") != "net0" {
		t.Errorf("a secondary gets %q", got)
	}
	if got := env.forDelegate("GC", other).get("CNI_IFNAME"); got != "" {
		t.Errorf("GC gets CNI_IFNAME %q", got)
	}
}
