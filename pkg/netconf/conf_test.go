// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package netconf

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
)

func TestParse(t *testing.T) {
	conf, err := Parse([]byte(`{
		"cniVersion": "1.0.0", "name": "net", "type": "multus", "cniDir": "/run/multus/",
		"runtimeConfig": {"mac": "02:00:00:00:00:01"},
		"cni.dev/valid-attachments": [{"containerID": "c1", "ifname": "eth0"}],
		"delegates": [
			{"type": "ptp"},
			{"name": "lan", "cniVersion": "0.4.0", "disableCheck": true, "disableGC": true, "masterplugin": true,
			 "plugins": [{"type": "bridge"}, {"type": "tuning", "capabilities": {"mac": true}}]}
		]}`))
	if err != nil {
		t.Fatal(err)
	}
	if conf.Name != "net" || conf.CNIVersion != "1.0.0" || conf.CNIDir != "/run/multus" {
		t.Errorf("got name %q, version %q, cniDir %q", conf.Name, conf.CNIVersion, conf.CNIDir)
	}
	if want := []types.GCAttachment{{ContainerID: "c1", IfName: "eth0"}}; !slices.Equal(conf.ValidAttachments, want) {
		t.Errorf("got valid attachments %v, want %v", conf.ValidAttachments, want)
	}
	first, second := conf.Delegates[0], conf.Delegates[1]
	if first.Primary || first.List || len(first.Plugins) != 1 || first.Plugins[0].CNIVersion != "1.0.0" || !first.Plugins[0].Inherited {
		t.Errorf("got first delegate %+v", first)
	}
	if !second.Primary || !second.List || !second.DisableCheck || !second.DisableGC || second.Name != "lan" || second.Index != 1 {
		t.Errorf("got second delegate %+v", second)
	}
	for _, p := range second.Plugins {
		if p.CNIVersion != "0.4.0" || p.Inherited {
			t.Errorf("plugin %s: got version %s, inherited %v", p.Type, p.CNIVersion, p.Inherited)
		}
	}
}

func TestParseDefaults(t *testing.T) {
	conf, err := Parse([]byte(`{"name":"n","delegates":[{"type":"x","masterplugin":true}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if conf.CNIVersion != "0.1.0" || conf.CNIDir != DefaultCNIDir || conf.Delegates[0].Plugins[0].CNIVersion != "0.1.0" {
		t.Errorf("got %+v", conf)
	}
}

// delegatesConf makes a conf of these delegates.
func delegatesConf(delegates string) string {
	return `{"cniVersion":"1.0.0","name":"n","delegates":` + delegates + `}`
}

func TestParseRefuses(t *testing.T) {
	const decoding, invalid = types.ErrDecodingFailure, types.ErrInvalidNetworkConfig
	tests := []struct {
		conf string
		code uint
		want string // the first problem
	}{
		{`null`, decoding, `the configuration must be an object, not null`},
		{`[]`, decoding, `the configuration must be an object, not a list`},
		{`17`, decoding, `the configuration must be an object, not 17`},
		{`"x"`, decoding, `the configuration must be an object, not "x"`},
		{``, decoding, `EOF`},
		{`{"name":"n",#`, decoding, `invalid character '#' looking for beginning of object key string`},
		{`{"name":"n"} {}`, decoding, `more than one JSON value, the second at byte 14`},
		{`{}`, invalid, `"name" is missing`},
		{`{"name":""}`, invalid, `"name" is missing`},
		{`{"name":"","Name":"n"}`, invalid, `"name" is missing`}, // skel takes the second one for the first
		{`{"name":7}`, decoding, `"name" must be a string, not 7`},
		{`{"name":null}`, decoding, `"name" must be a string, not null`},
		{`{"name":"../x"}`, invalid, `"name" must be letters, digits, '_', '.' and '-', the first a letter or a digit, not "../x"`},
		{`{"name":"n"}`, invalid, `"delegates" is missing: list the networks of a pod there`},
		{`{"name":"n","name":"m","delegates":[{"type":"x","masterplugin":true}]}`, invalid, `"name" stands there twice`},
		{`{"name":"n","cniDir":"records"}`, invalid, `"cniDir" must be an absolute path, not "records"`},
		{`{"name":"n","cniDir":1}`, decoding, `"cniDir" must be a string, not 1`},
		{`{"name":"n","logFile":"log"}`, invalid, `"logFile" must be an absolute path, not "log"`},
		{`{"name":"n","logLevel":"loud"}`, invalid, `"logLevel" must be one of error, info, debug, not "loud"`},
		{`{"name":"n","cniVersion":"9.9.9"}`, invalid, `"cniVersion" must be one of 0.1.0, 0.2.0, 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0, not "9.9.9"`},
		{`{"name":"n","runtimeConfig":[]}`, decoding, `"runtimeConfig" must be an object, not a list`},
		{`{"name":"n","prevResult":true}`, decoding, `"prevResult" must be an object, not true`},
		{`{"name":"n","cni.dev/valid-attachments":{}}`, decoding, `"cni.dev/valid-attachments" must be a list of {containerID, ifname}: json: cannot unmarshal object into Go value of type []*types.GCAttachment`},
		{`{"name":"n","cni.dev/valid-attachments":[null]}`, decoding, `"cni.dev/valid-attachments" must be a list of {containerID, ifname}: entry 0 is null`},
		{`{"name":"n","cni.dev/valid-attachments":[{"containerID":"c1"}]}`, invalid, `"cni.dev/valid-attachments" must name a containerID and an ifname in each entry: entry 0 lacks one`},
		{delegatesConf(`null`), decoding, `"delegates" must be a list, not null`},
		{delegatesConf(`{}`), decoding, `"delegates" must be a list, not an object`},
		{delegatesConf(`[]`), invalid, `"delegates" is empty: list the networks of a pod there`},
		{delegatesConf(`[null]`), decoding, `delegate 0: must be an object, not null`},
		{delegatesConf(`[{"type":"x","masterplugin":true},[]]`), decoding, `delegate 1: must be an object, not a list`},
		{delegatesConf(`["ptp"]`), decoding, `delegate 0: must be an object, not "ptp"`},
		{delegatesConf(`[{"type":"x"}]`), invalid, `"delegates" has no delegate with "masterplugin": true: say which one is the pod's primary network`},
		{delegatesConf(`[{"type":"x","masterplugin":true},{"type":"y","masterplugin":true}]`), invalid, `delegate 1 "y": "masterplugin" is true for a second delegate: only one can be the pod's primary network`},
		{delegatesConf(`[{"type":"x","masterplugin":"true"}]`), decoding, `delegate 0 "x": "masterplugin" must be true or false, not "true"`},
		{delegatesConf(`[{"type":"x","masterplugin":null}]`), decoding, `delegate 0 "x": "masterplugin" must be true or false, not null`},
		{delegatesConf(`[{"masterplugin":true}]`), invalid, `delegate 0: "type" is missing: name the plugin's binary`},
		{delegatesConf(`[{"type":"","masterplugin":true}]`), invalid, `delegate 0: "type" must name the plugin's binary, not ""`},
		{delegatesConf(`[{"type":"..","masterplugin":true}]`), invalid, `delegate 0 "..": "type" must name the plugin's binary, not ".."`},
		{delegatesConf(`[{"type":"a/b","masterplugin":true}]`), invalid, `delegate 0 "a/b": "type" must be the name of a binary on CNI_PATH, not a path: "a/b"`},
		{delegatesConf(`[{"type":[],"masterplugin":true}]`), decoding, `delegate 0: "type" must be a string, not a list`},
		{delegatesConf(`[{"type":"x","masterplugin":true,"capabilities":{"mac":"yes"}}]`), decoding, `delegate 0 "x": "capabilities" must hold true or false for "mac", not "yes"`},
		{delegatesConf(`[{"type":"x","masterplugin":true,"capabilities":[]}]`), decoding, `delegate 0 "x": "capabilities" must be an object, not a list`},
		{delegatesConf(`[{"type":"x","type":"y","masterplugin":true}]`), invalid, `delegate 0 "x": "type" stands there twice`},
		{delegatesConf(`[{"type":"x","plugins":[],"masterplugin":true}]`), invalid, `delegate 0 "x": "plugins" stands beside "type": a delegate is either one plugin or a list of plugins`},
		{delegatesConf(`[{"plugins":[],"masterplugin":true}]`), invalid, `delegate 0: "plugins" is empty: a list delegate needs at least one plugin`},
		{delegatesConf(`[{"plugins":{},"masterplugin":true}]`), decoding, `delegate 0: "plugins" must be a list, not an object`},
		{delegatesConf(`[{"plugins":[7],"masterplugin":true}]`), decoding, `delegate 0: "plugins" must hold objects only, not 7`},
		{delegatesConf(`[{"plugins":[{"type":"x","masterplugin":true}]}]`), invalid, `delegate 0: "masterplugin" belongs beside "plugins", not inside of it`},
	}
	for _, tt := range tests {
		t.Run(tt.want, func(t *testing.T) {
			_, err := Parse([]byte(tt.conf))
			var problems Problems
			if !errors.As(err, &problems) {
				t.Fatalf("got error %v, want Problems", err)
			}
			if got := problems[0]; got.Code != tt.code || got.Error() != tt.want {
				t.Errorf("got  %d %s\nwant %d %s", got.Code, got, tt.code, tt.want)
			}
		})
	}
}

// A conf is read to its end, and each problem says where it stands.
func TestParseReportsAll(t *testing.T) {
	text := delegatesConf(`[{"type":"a/b","masterplugin":1},{"name":"-","plugins":[{}]}]`)
	_, err := Parse([]byte(text))
	var problems Problems
	if !errors.As(err, &problems) {
		t.Fatalf("got error %v, want Problems", err)
	}
	var got []string
	for _, p := range problems {
		rest := text[p.Pos:]
		got = append(got, p.Field+" at "+rest[:strings.IndexAny(rest, ",}")])
	}
	want := []string{`masterplugin at 1`, `type at "a/b"`, `name at "-"`, `type at {`}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// So does what is no JSON.
func TestParseTellsWhereJSONEnds(t *testing.T) {
	for _, test := range []struct{ text, rest string }{
		{"{\"name\": \"a\",\n  # a comment\n}", "# a comment\n}"},
		{`{"name": "a", "delegates": [{"type": #}]}`, "#}]}"},
		{`{"name": "a" "type": "multus"}`, `"type": "multus"}`},
		{`{"name": "a"`, ""},
		{`{"name": "a`, ""},
		{`{"name": "a"} {}`, "{}"},
		{"", ""},
		{"[1]", "[1]"},
	} {
		_, err := Parse([]byte(test.text))
		var problems Problems
		if !errors.As(err, &problems) {
			t.Fatalf("%s: got error %v, want Problems", test.text, err)
		}
		if got := test.text[problems[0].Pos:]; got != test.rest {
			t.Errorf("%s: got a problem at %q, want at %q", test.text, got, test.rest)
		}
	}
}

func TestPlan(t *testing.T) {
	conf, err := Parse([]byte(delegatesConf(`[{"type":"a"},{"type":"b","masterplugin":true},{"type":"c","name":"own"},{"type":"d"}]`)))
	if err != nil {
		t.Fatal(err)
	}
	if err := conf.Plan("eth0"); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range conf.Delegates {
		got = append(got, d.IfName+" "+d.Name)
	}
	if want := []string{"net0 n-net0", "eth0 n", "net1 own", "net2 n-net2"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	err = conf.Plan("net1")
	var e *types.Error
	if !errors.As(err, &e) || e.Code != types.ErrInvalidEnvironmentVariables {
		t.Errorf("CNI_IFNAME=net1: got error %v, want one of code 4", err)
	}
}

func TestRequest(t *testing.T) {
	tests := []struct {
		name     string
		delegate string // beside a primary
		in       Inputs
		want     []string // one for each plugin
	}{
		{
			"every literal as it is written",
			`{ "type":"x", "big": 9223372036854775807, "f":1.10,"e":1e400, "s":"\u00e9<>&", "\u0061b" : [ 1, {"z":0,"a":-0} ] }`,
			Inputs{},
			[]string{`{"type":"x","big":9223372036854775807,"f":1.10,"e":1e400,"s":"\u00e9<>&","\u0061b":[ 1, {"z":0,"a":-0} ],"name":"n-net0","cniVersion":"1.0.0"}`},
		},
		{
			"own name and version stay, ours go",
			`{"name":"own","masterplugin":false,"cniVersion":"0.3.1","capabilities":{"mac":true},"type":"x"}`,
			Inputs{},
			[]string{`{"name":"own","cniVersion":"0.3.1","type":"x"}`},
		},
		{
			"runtimeConfig by capability, whatever its name",
			`{"type":"x","capabilities":{"a":true,"b":false,"c":true,"none":true}}`,
			Inputs{RuntimeConfig: object(t, `{"c": 9007199254740993 ,"b":1,"a":[],"d":2}`)},
			[]string{`{"type":"x","name":"n-net0","cniVersion":"1.0.0","runtimeConfig":{"c":9007199254740993,"a":[]}}`},
		},
		{
			"a list shares name and version",
			`{"name":"l","cniVersion":"0.4.0","plugins":[{"type":"x","name":"other","cniVersion":"0.1.0"},{"type":"y","capabilities":{"a":true}}]}`,
			Inputs{RuntimeConfig: object(t, `{"a":1}`), PrevResult: json.RawMessage(`{"ips":[]}`)},
			[]string{
				`{"type":"x","name":"l","cniVersion":"0.4.0","prevResult":{"ips":[]}}`,
				`{"type":"y","name":"l","cniVersion":"0.4.0","runtimeConfig":{"a":1},"prevResult":{"ips":[]}}`,
			},
		},
		{
			"derived keys take the place of written ones",
			`{"type":"x","prevResult":{"old":1},"name":"","runtimeConfig":{"kept":1}}`,
			Inputs{PrevResult: json.RawMessage(`{}`), ValidAttachments: json.RawMessage(`[]`)},
			[]string{`{"type":"x","prevResult":{},"name":"n-net0","runtimeConfig":{"kept":1},"cniVersion":"1.0.0","cni.dev/valid-attachments":[]}`},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			conf, err := Parse([]byte(delegatesConf(`[` + tt.delegate + `,{"type":"p","masterplugin":true}]`)))
			if err != nil {
				t.Fatal(err)
			}
			if err := conf.Plan("eth0"); err != nil {
				t.Fatal(err)
			}
			d := conf.Delegates[0]
			for i, want := range tt.want {
				if got := string(d.Request(i, tt.in)); got != want {
					t.Errorf("plugin %d:\ngot  %s\nwant %s", i, got, want)
				}
			}
		})
	}
}

func object(t *testing.T, text string) Object {
	t.Helper()
	var o Object
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		t.Fatal(err)
	}
	return o
}
