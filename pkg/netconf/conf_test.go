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

	"multus-cni/pkg/cnierror"
	"multus-cni/pkg/rawjson"
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
		{``, decoding, `not JSON: the document is empty`},
		{`{"name":"n",#`, decoding, `not JSON: a comment that begins with #: JSON has none, remove it`},
		{`{"name":"n"} {}`, decoding, `not JSON: the document has ended before this: there is a '{' too many, or a second document`},
		{`{}`, invalid, `"name" is missing`},
		{`{"name":""}`, invalid, `"name" is missing`},
		{`{"name":"","Name":"n"}`, invalid, `"name" is missing`}, // skel takes the second one for the first
		{`{"name":7}`, decoding, `"name" must be a string, not 7`},
		{`{"name":null}`, decoding, `"name" must be a string, not null`},
		{`{"name":"../x"}`, invalid, `"name" must be letters, digits, '_', '.' and '-', the first a letter or a digit, not "../x"`},
		{`{"name":"n"}`, invalid, `"delegates" is missing: list the networks of a pod there`},
		{`{"name":"n","name":"m","delegates":[{"type":"x","masterplugin":true}]}`, invalid, `"name" is a duplicate key`},
		{`{"name":"n","cniDir":"records"}`, invalid, `"cniDir" must be an absolute path, not "records"`},
		{`{"name":"n","cniDir":1}`, decoding, `"cniDir" must be a string, not 1`},
		{`{"name":"n","logFile":"log"}`, invalid, `"logFile" must be an absolute path, not "log"`},
		{`{"name":"n","logLevel":"loud"}`, invalid, `"logLevel" must be one of error, info, debug, not "loud"`},
		{`{"name":"n","cniVersion":"9.9.9"}`, invalid, `"cniVersion" must be one of 0.1.0, 0.2.0, 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0, not "9.9.9"`},
		{`{"name":"n","runtimeConfig":[]}`, decoding, `"runtimeConfig" must be an object, not a list`},
		{`{"name":"n","prevResult":true}`, decoding, `"prevResult" must be an object, not true`},
		{`{"name":"n","cni.dev/valid-attachments":{}}`, decoding, `"cni.dev/valid-attachments" must be a list, not an object`},
		{`{"name":"n","cni.dev/valid-attachments":[null]}`, decoding, `"cni.dev/valid-attachments" must be a list of {containerID, ifname}: entry 0 is null`},
		{`{"name":"n","cni.dev/valid-attachments":null}`, decoding, `"cni.dev/valid-attachments" must be a list, not null`},
		{`{"name":"n","cni.dev/attachments":[{"containerID":"c1","ifname":7}]}`, decoding, `"ifname" must be a string, not 7`},
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
		{delegatesConf(`[{"type":"x","masterplugin":null}]`), invalid, `"delegates" has no delegate with "masterplugin": true: say which one is the pod's primary network`},
		{delegatesConf(`[{"type":null,"masterplugin":true}]`), decoding, `delegate 0: "type" must be a string, not null`},
		{delegatesConf(`[{"plugins":null,"masterplugin":true}]`), decoding, `delegate 0: "plugins" must be a list, not null`},
		{delegatesConf(`[{"plugins":[{"type":"x"}],"masterplugin":true,"disableGC":"yes"}]`), decoding, `delegate 0: "disableGC" must be true or false, not "yes"`},
		{delegatesConf(`[{"plugins":[{"type":"x"}],"masterplugin":true,"cniVersions":"1.0.0"}]`), decoding, `delegate 0: "cniVersions" must be a list, not "1.0.0"`},
		{delegatesConf(`[{"plugins":[{"type":"x"}],"masterplugin":true,"cniVersions":["1.0.0",1.1]}]`), decoding, `delegate 0: "cniVersions" must hold strings only, not 1.1`},
		{delegatesConf(`[{"plugins":[{"type":"x"}],"masterplugin":true,"cniVersions":["9.0.0"]}]`), invalid, `delegate 0: "cniVersions" must hold one of 0.1.0, 0.2.0, 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0`},
		{delegatesConf(`[{"type":"x","masterplugin":true,"ifname":"data0"}]`), invalid, `delegate 0 "x": "ifname" is for secondaries: the runtime names the interface of the primary`},
		{delegatesConf(`[{"type":"x","ifname":7}]`), decoding, `delegate 0 "x": "ifname" must be a string, not 7`},
		{delegatesConf(`[{"type":"x","ifname":"a@b"}]`), invalid, `delegate 0 "x": "name" is missing: the interface name "a@b" cannot be part of a network name, so that none can be derived`},
		{delegatesConf(`[{"plugins":[{"type":"x","ifname":"data0"}]}]`), invalid, `delegate 0: "ifname" belongs beside "plugins", not inside it`},
		{delegatesConf(`[{"type":"x","ifname":"a"},{"type":"y","ifname":"a"},{"type":"z","masterplugin":true}]`), invalid, `delegate 1 "y": "ifname" "a" is the interface of delegate 0 too: give each its own`},
		{delegatesConf(`[{"plugins":[{"type":"x"}],"ifname":"net1"},{"type":"y"},{"type":"z","masterplugin":true}]`), invalid, `delegate 0: "ifname" "net1" is the interface of delegate 1 too: give each its own`},
		{delegatesConf(`[{"masterplugin":true}]`), invalid, `delegate 0: "type" is missing: name the plugin's binary`},
		{delegatesConf(`[{"type":"","masterplugin":true}]`), invalid, `delegate 0: "type" must name the plugin's binary, not ""`},
		{delegatesConf(`[{"type":"..","masterplugin":true}]`), invalid, `delegate 0 "..": "type" must name the plugin's binary, not ".."`},
		{delegatesConf(`[{"type":"a/b","masterplugin":true}]`), invalid, `delegate 0 "a/b": "type" must be the name of a binary on CNI_PATH, not a path: "a/b"`},
		{delegatesConf(`[{"type":[],"masterplugin":true}]`), decoding, `delegate 0: "type" must be a string, not a list`},
		{delegatesConf(`[{"type":"x","masterplugin":true,"capabilities":{"mac":"yes"}}]`), decoding, `delegate 0 "x": "capabilities" must hold true or false for "mac", not "yes"`},
		{delegatesConf(`[{"type":"x","masterplugin":true,"capabilities":[]}]`), decoding, `delegate 0 "x": "capabilities" must be an object, not a list`},
		{delegatesConf(`[{"type":"x","type":"y","masterplugin":true}]`), invalid, `delegate 0 "x": "type" is a duplicate key`},
		{delegatesConf(`[{"type":"x","plugins":[],"masterplugin":true}]`), invalid, `delegate 0 "x": "plugins" cannot be combined with "type": a delegate is either one plugin or a list of plugins`},
		{delegatesConf(`[{"plugins":[],"masterplugin":true}]`), invalid, `delegate 0: "plugins" is empty: a list delegate needs at least one plugin`},
		{delegatesConf(`[{"plugins":{},"masterplugin":true}]`), decoding, `delegate 0: "plugins" must be a list, not an object`},
		{delegatesConf(`[{"plugins":[7],"masterplugin":true}]`), decoding, `delegate 0: "plugins" must hold objects only, not 7`},
		{delegatesConf(`[{"plugins":[{"type":"x","masterplugin":true}]}]`), invalid, `delegate 0: "masterplugin" belongs beside "plugins", not inside it`},
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
		{`{"name": "a"`, `{"name": "a"`},
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

// A key that is null is left out, for multus and for a delegate.
func TestParseTakesNullForLeftOut(t *testing.T) {
	conf, err := Parse([]byte(`{"name":"n","cniVersion":null,"cniDir":null,"logFile":null,"logLevel":null,"runtimeConfig":null,"prevResult":null,
		"delegates":[{"type":"x","plugins":null,"masterplugin":null,"name":null,"cniVersion":null,"ifname":null,"capabilities":null},
		{"type":null,"masterplugin":true,"cniVersions":null,"disableCheck":null,"disableGC":null,
		 "plugins":[{"type":"y","masterplugin":null,"ifname":null,"capabilities":{"mac":null}}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if conf.CNIVersion != "0.1.0" || conf.CNIDir != DefaultCNIDir || conf.LogFile != "" || conf.RuntimeConfig != nil || conf.PrevResult != nil {
		t.Errorf("got %+v", conf)
	}
	delegates := plan(t, conf, "eth0")
	if got, want := string(delegates[0].Request(0, Inputs{})), `{"type":"x","plugins":null,"name":"n-net0","cniVersion":"0.1.0"}`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got, want := string(delegates[1].Request(0, Inputs{RuntimeConfig: object(t, `{"mac":1}`)})), `{"type":"y","name":"n","cniVersion":"0.1.0"}`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestParseReadsListsAsLibcniDoes(t *testing.T) {
	conf, err := Parse([]byte(delegatesConf(`[{"plugins":[{"type":"x"}],"masterplugin":true,
		"disableCheck":"True","disableGC":"false","cniVersion":"0.3.1","cniVersions":["0.4.0","9.0.0","0.2.0"]}]`)))
	if err != nil {
		t.Fatal(err)
	}
	if d := conf.Delegates[0]; !d.DisableCheck || d.DisableGC || d.Plugins[0].CNIVersion != "0.4.0" || d.Plugins[0].Inherited {
		t.Errorf("got %+v", d)
	}
}

func TestParseReadsTheAttachmentsOf2024(t *testing.T) {
	for _, test := range []struct{ keys, want string }{
		{`"cni.dev/attachments":[{"containerID":"a","ifname":"eth0"}]`, "a"},
		{`"cni.dev/attachments":[{"containerID":"a","ifname":"eth0"}],"cni.dev/valid-attachments":[{"containerID":"b","ifname":"eth0"}]`, "b"},
	} {
		conf, err := Parse([]byte(`{"name":"n",` + test.keys + `,"delegates":[{"type":"x","masterplugin":true}]}`))
		if err != nil {
			t.Fatal(err)
		}
		if got := conf.ValidAttachments; len(got) != 1 || got[0].ContainerID != test.want {
			t.Errorf("%s: got %v, want %q", test.keys, got, test.want)
		}
	}
}

// A DEL needs name and cniDir of a conf, whatever else is wrong with it.
func TestParseReturnsWhatADelNeeds(t *testing.T) {
	for _, test := range []struct {
		text string
		want bool
	}{
		{`{"name":"n","cniDir":"/d","cniVersion":"1.2.0","delegates":[{"type":"x","masterplugin":true}]}`, true},
		{`{"name":"n","cniDir":"/d","cniVersion":1.0,"delegates":[{"type":"x","masterplugin":true}]}`, true},
		{`{"cniDir":"/d","name":"n","delegates":7}`, true},
		{`{"name":"n","cniDir":"d","delegates":[{"type":"x","masterplugin":true}]}`, false},
		{`{"name":"-","cniDir":"/d","delegates":[{"type":"x","masterplugin":true}]}`, false},
		{`{"name":"n","cniDir":"/d"`, false},
	} {
		conf, err := Parse([]byte(test.text))
		if err == nil || (conf != nil) != test.want || conf != nil && (conf.Name != "n" || conf.CNIDir != "/d") {
			t.Errorf("%s: got %+v and error %v", test.text, conf, err)
		}
		if conf != nil && len(conf.Delegates) > 0 && conf.Delegates[0].Plugins[0].CNIVersion != "1.1.0" {
			t.Errorf("%s: got version %q, want the latest", test.text, conf.Delegates[0].Plugins[0].CNIVersion)
		}
	}
}

func TestIsIfName(t *testing.T) {
	for _, name := range []string{"a", "data0", "bond0.100", "exactly-15-byte", "é", "a@b"} {
		if !isIfName(name) {
			t.Errorf("%q is refused", name)
		}
	}
	for _, name := range []string{
		"", ".", "..", "sixteen-bytes-xx", "a/b", "a:b", "a b", "a\tb", "a\nb", "net%d", "à", "a\u0085", "\xff", "\x00", "a\x1b", "lo", "all", "default",
	} {
		if isIfName(name) {
			t.Errorf("%q is accepted", name)
		}
	}
}

func TestOwn(t *testing.T) {
	for _, test := range []struct {
		text string
		dirs []string
		err  string
	}{
		{`{"type":"multus","name":"n"}`, []string{DefaultCNIDir}, ""},
		{`{"Type":"multus","cniDir":"/d//"}`, []string{"/d"}, ""},
		{`{"name":"n","plugins":[7,{"type":"bridge"},{"type":"multus","cniDir":"/d"},{"type":"multus","cniDir":""}]}`, []string{"/d", DefaultCNIDir}, ""},
		{`{"type":"multus","cniDir":"/a","delegates":[{"type":"multus","cniDir":"/b"},{"plugins":[{"type":"multus","cniDir":"/a"}]}]}`, []string{"/a", "/b"}, ""},
		{`{"type":"flannel","delegate":{"type":"multus","cniDir":null}}`, []string{DefaultCNIDir}, ""},
		{`{"type":"bridge","cniDir":7,"args":{"type":"multus"}}`, nil, ""},
		{`{}`, nil, ""},
		{`{"type":"multus","cniDir":7}`, nil, `"cniDir" must be an absolute path, not 7`},
		{`{"delegates":[{"type":"multus","cniDir":"d"}]}`, nil, `"cniDir" must be an absolute path, not "d"`},
		{`{"type":"bridge"} # why`, nil, `not JSON: a comment that begins with #: JSON has none, remove it`},
		{`[]`, nil, `the configuration must be an object, not a list`},
	} {
		dirs, ours, err := Own([]byte(test.text))
		message := ""
		if err != nil {
			message = err.Error()
		}
		if !slices.Equal(dirs, test.dirs) || ours != (len(test.dirs) > 0) || message != test.err {
			t.Errorf("%s: got %q, %t, error %q\nwant %q, error %q", test.text, dirs, ours, message, test.dirs, test.err)
		}
	}
}

func TestMaxNameLength(t *testing.T) {
	name := strings.Repeat("n", MaxNameLength) + ":" + strings.Repeat("c", 64) + ":" + strings.Repeat("i", 15) + ".json.damaged"
	if len(name) != 255 {
		t.Errorf("the longest file name has %d bytes, want 255", len(name))
	}
}

func TestPlan(t *testing.T) {
	conf, err := Parse([]byte(delegatesConf(`[{"type":"a"},{"type":"b","masterplugin":true},{"type":"c","name":"own","ifname":"lan"},{"type":"d"},{"type":"e","ifname":"data0"}]`)))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // a plan leaves no trace in the conf
		var got []string
		for _, d := range plan(t, conf, "eth0") {
			got = append(got, d.IfName+" "+d.Name)
		}
		if want := []string{"net0 n-net0", "eth0 n", "lan own", "net2 n-net2", "data0 n-data0"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	for _, test := range []struct {
		ifname, want string
		code         uint
	}{
		{"net2", "CNI_IFNAME=net2 is the name that delegate 3 gets: choose another one for the primary", types.ErrInvalidEnvironmentVariables},
		{"lan", `delegate 2: "ifname" "lan" is the interface of the primary, CNI_IFNAME: choose another one`, types.ErrInvalidNetworkConfig},
	} {
		_, err := conf.Plan(test.ifname)
		if err == nil || err.Error() != test.want || cnierror.Code(err) != test.code {
			t.Errorf("CNI_IFNAME=%s: got error %v, want %d %s", test.ifname, err, test.code, test.want)
		}
	}
	plan(t, conf, "net1") // the number of one that has a name of its own
}

func plan(t *testing.T, conf *Conf, ifname string) []Delegate {
	t.Helper()
	delegates, err := conf.Plan(ifname)
	if err != nil {
		t.Fatal(err)
	}
	return delegates
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
			`{"name":"own","masterplugin":false,"ifname":"data0","cniVersion":"0.3.1","capabilities":{"mac":true},"type":"x"}`,
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
			[]string{`{"type":"x","prevResult":{},"name":"n-net0","runtimeConfig":{"kept":1},"cniVersion":"1.0.0","cni.dev/valid-attachments":[],"cni.dev/attachments":[]}`},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			conf, err := Parse([]byte(delegatesConf(`[` + tt.delegate + `,{"type":"p","masterplugin":true}]`)))
			if err != nil {
				t.Fatal(err)
			}
			d := plan(t, conf, "eth0")[0]
			for i, want := range tt.want {
				if got := string(d.Request(i, tt.in)); got != want {
					t.Errorf("plugin %d:\ngot  %s\nwant %s", i, got, want)
				}
			}
		})
	}
}

func object(t *testing.T, text string) rawjson.Object {
	t.Helper()
	var o rawjson.Object
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		t.Fatal(err)
	}
	return o
}
