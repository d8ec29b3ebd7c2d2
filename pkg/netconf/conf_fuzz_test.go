// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package netconf

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/utils"

	"multus-cni/pkg/cnierror"
	"multus-cni/pkg/rawjson"
)

// tooLong is when an input counts as one that multus hangs on.
const tooLong = time.Minute

// Whatever the runtime sends is either a conf that can be planned, or has
// problems that say where they stand.
func FuzzParse(f *testing.F) {
	for _, text := range []string{
		`{"name":"multus-demo","type":"multus","delegates":[{"type":"sriov","if0":"enp12s0f0"},{"type":"ptp","ipam":{"type":"host-local","subnet":"10.0.0.0/24"}},{"type":"flannel","masterplugin":true,"delegate":{"isDefaultGateway":true}}]}`,
		`{"cniVersion":"1.1.0","name":"n","cniDir":"/run//multus/../x","logFile":"/var/log/m","logLevel":"debug","runtimeConfig":{"mac":"02:00:00:00:00:01"},"prevResult":{"ips":[]},"cni.dev/valid-attachments":[{"containerID":"c1","ifname":"eth0"}],"delegates":[{"name":"l","cniVersion":"0.4.0","disableCheck":true,"disableGC":false,"masterplugin":true,"plugins":[{"type":"bridge"},{"type":"tuning","capabilities":{"mac":true}}]}]}`,
		`{"name":"n","delegates":null}`, `{"name":"n","delegates":[null,[],7,"x",{"plugins":[null]}]}`,
		`null`, `[`, ``, `{"name":"n"} {}`, `{"name":"n","name":"m"}`, "\xef\xbb\xbf{}", `{"name":"n\n","delegates":[{"type":"a\u0000/"}]}`,
	} {
		f.Add([]byte(text), "eth0")
	}
	f.Add([]byte(delegatesConf(`[{"type":"a"},{"type":"b","masterplugin":true}]`)), "net0")
	f.Fuzz(func(t *testing.T, text []byte, ifname string) {
		defer time.AfterFunc(tooLong, func() { panic("it hangs") }).Stop()
		conf, err := Parse(text)
		if err != nil {
			checkProblems(t, text, err)
			return
		}
		if !json.Valid(text) {
			t.Fatal("accepted what is no JSON")
		}
		if !filepath.IsAbs(conf.CNIDir) || utils.ValidateNetworkName(conf.Name) != nil || len(conf.Delegates) == 0 {
			t.Errorf("accepted %+v", conf)
		}
		delegates, err := conf.Plan(ifname)
		if err != nil {
			own := slices.ContainsFunc(conf.Delegates, func(d Delegate) bool { return d.IfName == ifname })
			if code := cnierror.Code(err); code != types.ErrInvalidNetworkConfig && code != types.ErrInvalidEnvironmentVariables ||
				own != (code == types.ErrInvalidNetworkConfig) || !own && !strings.HasPrefix(ifname, "net") {
				t.Errorf("CNI_IFNAME=%q: got error %v", ifname, err)
			}
			return
		}
		checkPlan(t, conf, delegates, ifname)
	})
}

func checkProblems(t *testing.T, text []byte, err error) {
	t.Helper()
	var problems Problems
	if !errors.As(err, &problems) || len(problems) == 0 {
		t.Fatalf("got error %v, want Problems", err)
	}
	if code := problems[0].Code; !json.Valid(text) && code != types.ErrDecodingFailure {
		t.Errorf("got code %d for what is no JSON: %v", code, err)
	}
	for _, p := range problems {
		if p.Code != types.ErrDecodingFailure && p.Code != types.ErrInvalidNetworkConfig ||
			p.Pos < 0 || p.Pos > len(text) || p.Msg == "" || strings.Contains(p.Error(), "not reachable") {
			t.Errorf("got %+v", p)
		}
	}
}

// checkPlan checks that each delegate can be run, under names of its own.
func checkPlan(t *testing.T, conf *Conf, delegates []Delegate, ifname string) {
	t.Helper()
	var names []string
	for _, d := range delegates {
		if d.Primary != (d.IfName == ifname) || slices.Contains(names, d.IfName) {
			t.Errorf("delegate %d: interface %q beside %q", d.Index, d.IfName, names)
		}
		names = append(names, d.IfName)
		if utils.ValidateNetworkName(d.Name) != nil {
			t.Errorf("delegate %d: network name %q", d.Index, d.Name)
		}
		if len(d.Plugins) == 0 || !d.List && len(d.Plugins) > 1 {
			t.Errorf("delegate %d has %d plugins", d.Index, len(d.Plugins))
		}
		for i, p := range d.Plugins {
			if p.Type == "" || p.Type != filepath.Base(p.Type) || strings.Contains(p.Type, "\x00") {
				t.Errorf("delegate %d, plugin %d: type %q", d.Index, i, p.Type)
			}
			if request := d.Request(i, Inputs{RuntimeConfig: conf.RuntimeConfig, PrevResult: conf.PrevResult}); !json.Valid(request) {
				t.Errorf("delegate %d, plugin %d: the request is no JSON: %s", d.Index, i, request)
			}
		}
	}
	if !slices.Contains(names, ifname) {
		t.Errorf("nobody makes %q: %q", ifname, names)
	}
}

// What a delegate reads is its own object, literal by literal, with no more
// than the derived keys changed.
func FuzzRequest(f *testing.F) {
	for _, delegate := range []string{
		`{ "type":"x", "big": 9223372036854775807, "f":1.10,"e":1e400, "s":"\u00e9<>&", "\u0061b" : [ 1, {"z":0,"a":-0} ] }`,
		`{"name":"own","masterplugin":false,"cniVersion":"0.3.1","capabilities":{"mac":true,"ips":false},"type":"x","runtimeConfig":{"kept":1}}`,
		`{"\u006eame":"","type":"x","prevResult":{"old":1},"capabilities":{"m\u0061c":true}}`,
		`{"name":"l","cniVersion":"0.4.0","plugins":[{"type":"x","name":"other","cniVersion":"0.1.0"},{"type":"y","capabilities":{"mac":true}}]}`,
		"{\"type\":\"x\",\"\xff\":\"\xfe\u2028\",\"ipam\":{\"type\":\"host-local\",\"subnet\":\"10.0.0.0/24\"}}",
	} {
		f.Add(delegate, `{"mac":"02:00:00:00:00:01","ips" : [ "10.0.0.2/24" ],"big":9007199254740993}`)
	}
	f.Fuzz(func(t *testing.T, delegate, runtimeConfig string) {
		defer time.AfterFunc(tooLong, func() { panic("it hangs") }).Stop()
		if !json.Valid([]byte(delegate)) || !json.Valid([]byte(runtimeConfig)) {
			return // FuzzParse has these
		}
		conf, err := Parse([]byte(`{"cniVersion":"1.0.0","name":"n","runtimeConfig":` + runtimeConfig +
			`,"delegates":[` + delegate + `,{"type":"p","masterplugin":true}]}`))
		if err != nil {
			return
		}
		delegates, err := conf.Plan("eth0")
		if err != nil {
			return // the delegate asks for that name
		}
		d := delegates[0]
		own := split(delegate)
		plugins, version := []splitObject{own}, own.get("cniVersion")
		if list := own.get("plugins"); list != "" {
			plugins = plugins[:0]
			for _, text := range elements(list) {
				plugins = append(plugins, split(text))
			}
		}
		if version == "" || version == `""` || version == "null" {
			version = `"1.0.0"`
		}
		for i, plugin := range plugins {
			const prev = `{"ips":[],"n":1.0}`
			got := split(string(d.Request(i, Inputs{RuntimeConfig: conf.RuntimeConfig, PrevResult: []byte(prev)})))
			checkRequest(t, plugin, got, split(runtimeConfig), map[string]string{
				"name": string(rawjson.Quote(d.Name)), "cniVersion": version, "prevResult": prev,
			})
		}
	})
}

// checkRequest compares what the plugin gets with its configuration.
func checkRequest(t *testing.T, conf, got, runtimeConfig splitObject, derived map[string]string) {
	t.Helper()
	capabilities := split(conf.get("capabilities"))
	var share []string
	for _, m := range runtimeConfig {
		if capabilities.get(m.name) == "true" {
			share = append(share, m.key+":"+m.value)
		}
	}
	if derived["runtimeConfig"] = conf.get("runtimeConfig"); len(share) > 0 {
		derived["runtimeConfig"] = "{" + strings.Join(share, ",") + "}"
	}
	for name, want := range derived {
		if got := got.get(name); !sameJSONString(got, want) {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
	rest := func(o splitObject) string {
		var text []string
		for _, m := range o {
			if _, ok := derived[m.name]; !ok {
				text = append(text, m.key+":"+m.value)
			}
		}
		return strings.Join(text, ",")
	}
	want := slices.DeleteFunc(slices.Clone(conf), func(m member) bool {
		return slices.Contains([]string{"masterplugin", "ifname", "capabilities"}, m.name)
	})
	if rest(got) != rest(want) {
		t.Errorf("got  %s\nwant %s", rest(got), rest(want))
	}
}

// sameJSONString lets a name that was given be written in another way: for a
// list it is written anew.
func sameJSONString(a, b string) bool {
	var x, y string
	return a == b || json.Unmarshal([]byte(a), &x) == nil && json.Unmarshal([]byte(b), &y) == nil && x == y
}

// splitObject is a JSON object, split here in another way than the code under test
// does: by its tokens, white space left out.
type splitObject []member

type member struct{ key, name, value string }

var token = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+`)

// elements splits what stands between the outermost brackets.
func elements(text string) []string {
	var list []string
	var element strings.Builder
	depth := 0
	for _, tok := range token.FindAllString(text, -1) {
		if tok == "}" || tok == "]" {
			depth--
		}
		switch {
		case depth == 0:
		case depth == 1 && tok == ",":
			list = append(list, element.String())
			element.Reset()
		default:
			element.WriteString(tok)
		}
		if tok == "{" || tok == "[" {
			depth++
		}
	}
	if element.Len() > 0 {
		list = append(list, element.String())
	}
	return list
}

func split(text string) (o splitObject) {
	for _, e := range elements(text) {
		m := member{key: token.FindString(e)}
		m.value = e[len(m.key)+1:]
		if json.Unmarshal([]byte(m.key), &m.name) != nil {
			return nil // a list
		}
		o = append(o, m)
	}
	return o
}

func (o splitObject) get(name string) string {
	for _, m := range o {
		if m.name == name {
			return m.value
		}
	}
	return ""
}
