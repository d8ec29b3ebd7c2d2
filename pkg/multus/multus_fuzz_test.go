// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package multus

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/version"

	"multus-cni/pkg/cniargs"
	"multus-cni/pkg/delegate"
	"multus-cni/pkg/netconf"
	"multus-cni/pkg/record"
)

// tooLong is when an input counts as one that multus hangs on.
const tooLong = time.Minute

const fuzzConf = `{"cniVersion":"1.1.0","name":"net","type":"multus","delegates":[{"type":"no-such-plugin"},{"type":"no-such-plugin","masterplugin":true}]}`

// Whatever another Multus, or somebody else, left under the container's id is
// either a list of delegates that a DEL can work from, or damaged.
func FuzzLegacy(f *testing.F) {
	for _, text := range []string{
		`[{"type":"sriov","if0":"enp12s0f0","n":1.10},{"type":"flannel","masterplugin":true}]`,
		`[{"Bytes":"eyJ0eXBlIjoieCJ9"},{"Bytes":"eyJwbHVnaW5zIjpbeyJ0eXBlIjoieSJ9XX0=","ifnameRequest":"data0"}]`,
		` [ {"type":"x","masterplugin":true} ] `, `[{"type":"x","masterplugin":true}],"cniDir":"/"`, `[]`, `null`, `[null]`, `{}`, ``, `[`,
	} {
		f.Add([]byte(text))
	}
	store := record.Store{Dir: f.TempDir()}
	f.Fuzz(func(t *testing.T, array []byte) {
		defer time.AfterFunc(tooLong, func() { panic("it hangs") }).Stop()
		if err := os.WriteFile(filepath.Join(store.Dir, "c1"), array, 0o600); err != nil {
			t.Fatal(err)
		}
		c := &call{conf: &netconf.Conf{Name: "net", CNIVersion: "0.2.0", CNIDir: store.Dir}}
		a := &attachment{call: c, store: store, key: record.Key{Network: "net", ContainerID: "c1", IfName: "eth0"}}
		r, err := a.load()
		if err != nil {
			return
		}
		var want []json.RawMessage
		if err := json.Unmarshal(array, &want); err != nil || len(r.Delegates) != len(want) {
			t.Fatalf("got %d delegates of what is a list of %d: %v", len(r.Delegates), len(want), err)
		}
		targets, err := targetsOf(r)
		if err != nil {
			t.Fatal(err)
		}
		primaries := 0
		for i, target := range targets {
			d := target.delegate
			if d.Primary {
				primaries++
			}
			if d.IfName == "" || d.Name == "" || len(d.Plugins) == 0 || !json.Valid(d.Request(0, netconf.Inputs{})) {
				t.Errorf("delegate %d cannot be DELed: %+v", i, d)
			}
		}
		if primaries != 1 {
			t.Errorf("got %d primaries", primaries)
		}
	})
}

// Whatever the runtime calls valid, either it is refused, or each attachment of
// it is told to each delegate under its interface there, and none besides.
func FuzzValidAttachments(f *testing.F) {
	for _, list := range []string{
		`[{"containerID":"c1","ifname":"eth0"},{"ifname":"eth1","containerID":"c2","more":[]}]`, `[]`, `null`, `{}`, `7`, `"x"`,
		`[null]`, `[{}]`, `[{"containerID":"c1"}]`, `[{"containerID":"","ifname":""}]`, `[{"containerID":7,"ifname":"eth0"}]`, `[[]]`,
	} {
		f.Add([]byte(list))
	}
	f.Fuzz(func(t *testing.T, list []byte) {
		defer time.AfterFunc(tooLong, func() { panic("it hangs") }).Stop()
		if !json.Valid(list) {
			return
		}
		parsed, err := netconf.Parse(slices.Concat([]byte(`{"cni.dev/valid-attachments":`), list, []byte(`,`), []byte(fuzzConf[1:])))
		if err != nil {
			return
		}
		delegates, err := parsed.Plan("")
		if err != nil {
			t.Fatal(err)
		}
		var want []map[string]any // not the type that the code under test decodes into
		if err := json.Unmarshal(list, &want); err != nil || len(want) != len(parsed.ValidAttachments) {
			t.Fatalf("got %v of %s", parsed.ValidAttachments, list)
		}
		valid := map[types.GCAttachment]bool{}
		for i, v := range parsed.ValidAttachments {
			if v.ContainerID == "" || v.IfName == "" {
				t.Errorf("attachment %d, %v, is accepted as valid, and is none", i, want[i])
			}
			valid[v] = true
		}
		use := interfaces{}
		use.plan(delegates, valid)
		for name, ifname := range map[string]string{"net": "", "net-net0": "net0"} {
			checkTold(t, use.of(name), ifname, valid)
		}
	})
}

// checkTold checks that a delegate is told of these attachments and no others,
// under the name of its interface: "" for the attachment's own.
func checkTold(t *testing.T, text json.RawMessage, ifname string, valid map[types.GCAttachment]bool) {
	t.Helper()
	var told []types.GCAttachment
	if err := json.Unmarshal(text, &told); err != nil || told == nil || len(told) != len(valid) {
		t.Fatalf("got %s of %v: %v", text, valid, err)
	}
	for v := range valid {
		if ifname != "" {
			v.IfName = ifname
		}
		if !slices.Contains(told, v) {
			t.Errorf("got %v, want %v among them", told, v)
		}
	}
}

// Whatever the environment says, the answer is nothing or one CNI error with a
// code of the spec, nothing is left in the directory of the records, and
// nothing is made outside of it. (There is no such plugin, so that nothing can
// ever run.)
func FuzzEnvironment(f *testing.F) {
	verbs := []string{"ADD", "DEL", "CHECK", "STATUS", "GC", "VERSION", "add"}
	for verb := range verbs {
		f.Add(uint8(verb), "c1", "eth0", "K8S_POD_NAME=a;IgnoreUnknown=1", "/opt/cni/bin", "", uint8(0))
	}
	for netns := range 5 {
		f.Add(uint8(netns%3), "0a-B_.c", "net0", ";=;", "::.", "1", uint8(netns))
	}
	f.Add(uint8(0), "../c1", "eth0", "", "/x", "", uint8(0))
	f.Add(uint8(1), "c1", "\xff", "", "/x", "", uint8(1))
	f.Add(uint8(1), "c1", "a/b", "", "", "TRUE", uint8(1))
	dir := f.TempDir()
	stdin := strings.Replace(fuzzConf, `{`, `{"cniDir":"`+dir+`/records",`, 1)
	netns := []string{"", "/proc/thread-self/ns/net", "/nonexistent", "/dev/null", dir}
	f.Fuzz(func(t *testing.T, verb uint8, container, ifname, args, path, override string, at uint8) {
		defer time.AfterFunc(tooLong, func() { panic("it hangs") }).Stop()
		env := delegate.Env{
			"CNI_COMMAND=" + verbs[int(verb)%len(verbs)], "CNI_CONTAINERID=" + container, "CNI_IFNAME=" + ifname, "CNI_ARGS=" + args,
			"CNI_PATH=" + path, "CNI_NETNS=" + netns[int(at)%len(netns)], "CNI_NETNS_OVERRIDE=" + override,
		}
		for _, pair := range env {
			if strings.Contains(pair, "\x00") {
				return // no environment can hold it
			}
		}
		stdout := stdoutOfProcess(t)
		exit := serveWith(t.Context(), t, &Multus{Env: env, Stdout: stdout, Stderr: io.Discard}, stdin)
		text, err := io.ReadAll(io.NewSectionReader(stdout, 0, 1<<20))
		if err != nil {
			t.Fatal(err)
		}
		checkAnswer(t, string(text), exit != 0, verbs[int(verb)%len(verbs)] == "VERSION")
		cniargs.PodOf(args)
		if left, _ := filepath.Glob(filepath.Join(dir, "*", "*")); len(left) > 0 {
			t.Errorf("left %q", left)
		}
		if made, _ := filepath.Glob(filepath.Join(dir, "*")); len(made) > 1 {
			t.Errorf("made %q", made)
		}
	})
}

// stdoutOfProcess makes a file the stdout of the process: skel writes the
// answer to VERSION there.
func stdoutOfProcess(t *testing.T) *os.File {
	t.Helper()
	file, err := os.CreateTemp(t.TempDir(), "stdout")
	if err != nil {
		t.Fatal(err)
	}
	old := os.Stdout
	t.Cleanup(func() { os.Stdout = old; _ = file.Close() })
	os.Stdout = file
	return file
}

func checkAnswer(t *testing.T, stdout string, failed, isVersion bool) {
	t.Helper()
	if !failed {
		if (stdout == "") == isVersion {
			t.Errorf("succeeds with stdout %q", stdout)
		}
		return
	}
	var e struct {
		CNIVersion string
		Code       uint
		Msg        string
		Details    string
	}
	decoder := json.NewDecoder(strings.NewReader(stdout))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&e); err != nil || decoder.More() {
		t.Fatalf("not one CNI error on stdout: %q, %v", stdout, err)
	}
	known := []uint{1, 2, 3, 4, 5, 6, 7, 8, 11, 50, 51, 999}
	if !slices.Contains(known, e.Code) || e.Msg == "" || e.CNIVersion == "" || strings.Contains(e.Msg, "internal error") {
		t.Errorf("got %+v", e)
	}
}

// Whatever result a plugin gets accepted, multus can do with it what an ADD
// does: keep it, take default routes out of it, log and print it.
func FuzzOutcome(f *testing.F) {
	for _, text := range []string{
		`{"cniVersion":"1.1.0","interfaces":[{"name":"eth0"}],"ips":[{"interface":0,"address":"10.0.0.2/24","gateway":"10.0.0.1"}],"routes":[{"dst":"0.0.0.0/0","gw":"10.0.0.1","table":254},{"dst":"::/0"},{"dst":"0.0.0.0/0","table":7},{"dst":"10.0.0.0/8"}]}`,
		`{"cniVersion":"0.2.0","ip4":{"ip":"10.0.0.2/24","routes":[{"dst":"0.0.0.0/0","gw":"10.0.0.1"}]},"ip6":{"ip":"fd00::2/64","routes":[{"dst":"::/0"}]}}`,
		`{"cniVersion":"0.4.0","ips":[{"version":"6","address":"fd00::2/64"}],"routes":[{"dst":"::/0"}]}`, `{"routes":[{}]}`,
	} {
		for _, v := range []uint8{1, 4, 6} {
			f.Add([]byte(text), v, true, v == 6)
		}
	}
	f.Fuzz(func(t *testing.T, stdout []byte, at uint8, ipv4, ipv6 bool) {
		defer time.AfterFunc(tooLong, func() { panic("it hangs") }).Stop()
		versions := version.All.SupportedVersions()
		wanted := versions[int(at)%len(versions)]
		result, err := delegate.DecodeResult(stdout, wanted)
		if err != nil || result == nil {
			return
		}
		if delegate.Addresses(result.Text) == nil {
			t.Error("got no list of addresses")
		}
		interfacesOf(netconf.Delegate{IfName: "eth0"}, result)
		checkStripped(t, result, ipv4, ipv6)
		var out bytes.Buffer
		a := &attachment{call: &call{Multus: &Multus{Stdout: &out}, conf: &netconf.Conf{CNIVersion: wanted}}}
		err = a.print(result)
		if has := new(struct{ CNIVersion string }); err == nil && (json.Unmarshal(out.Bytes(), has) != nil || has.CNIVersion != wanted) {
			t.Errorf("printed %s, want version %s", out.Bytes(), wanted)
		}
		if err != nil && out.Len() > 0 {
			t.Errorf("printed %s and failed: %v", out.Bytes(), err)
		}
	})
}

func checkStripped(t *testing.T, result *delegate.Result, ipv4, ipv6 bool) {
	t.Helper()
	stripped, err := withoutDefaults(result, ipv4, ipv6)
	if err != nil {
		t.Fatalf("take default routes out of %s: %v", result.Text, err)
	}
	var want []string
	for _, r := range routesOf(t, result) {
		ones, _ := r.Dst.Mask.Size()
		asked := map[int]bool{4: ipv4, 16: ipv6}[len(r.Dst.Mask)]
		if !asked || ones > 0 || r.Table != nil && *r.Table != 254 {
			want = append(want, r.Dst.String())
		}
	}
	var got []string
	for _, r := range routesOf(t, stripped) {
		got = append(got, r.Dst.String())
	}
	if !slices.Equal(got, want) {
		t.Errorf("without the default routes (%t, %t): got %q, want %q", ipv4, ipv6, got, want)
	}
}

func routesOf(t *testing.T, result *delegate.Result) []*types.Route {
	t.Helper()
	current, err := types100.NewResultFromResult(result.Result)
	if err != nil {
		t.Fatal(err)
	}
	return current.Routes
}
