// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package commandline

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"multus-cni/pkg/netconf"
	"multus-cni/pkg/rawjson"
	"multus-cni/pkg/route"
	"multus-cni/pkg/state"
)

const ownNetns = "/proc/self/ns/net"

// node is a directory of records of a node that has been booted once.
type node struct {
	*testing.T
	dir   string
	boot  string
	netns string
}

func newNode(t *testing.T) *node {
	t.Helper()
	boot, err := state.BootID()
	if err != nil {
		t.Fatal(err)
	}
	netns, err := route.ID(ownNetns)
	if err != nil {
		t.Fatal(err)
	}
	return &node{T: t, dir: t.TempDir(), boot: boot, netns: netns}
}

// record makes a record of three delegates, changed by change, that is so old.
func (n *node) record(network, id, pod string, old time.Duration, change func(*state.Record)) {
	n.Helper()
	r := &state.Record{
		Network: network, ContainerID: id, IfName: "eth0",
		Netns: ownNetns, NetnsID: n.netns, BootID: n.boot, CNIVersion: "1.0.0", Complete: true,
		Delegates: []state.Delegate{
			aDelegate("net0", network+"-net0", `{"cniVersion":"0.2.0","ip4":{"ip":"10.56.217.131/24"}}`, "sriov"),
			aDelegate("net1", network+"-net1", `{"cniVersion":"1.0.0","ips":[{"address":"10.168.1.11/24"},{"address":"fd00:10:168::11/64"}]}`,
				"bridge", "tuning", "portmap"),
			aDelegate("eth0", network, `{"cniVersion":"0.4.0","ips":[{"version":"4","address":"10.244.1.7/24"}]}`, "flannel"),
		},
	}
	r.Delegates[2].Primary = true
	if pod != "" {
		namespace, name, _ := strings.Cut(pod, "/")
		r.CNIArgs = "IgnoreUnknown=1;K8S_POD_NAME=" + name + ";K8S_POD_NAMESPACE=" + namespace + ";K8S_POD_INFRA_CONTAINER_ID=" + id
	}
	if change != nil {
		change(r)
	}
	if err := (state.Store{Dir: n.dir}).Save(r); err != nil {
		n.Fatal(err)
	}
	n.age(network+":"+id+":eth0.json", old)
}

func aDelegate(ifname, network, result string, types ...string) state.Delegate {
	d := state.Delegate{Delegate: netconf.Delegate{IfName: ifname, Name: network}, Result: json.RawMessage(result)}
	for _, kind := range types {
		d.Plugins = append(d.Plugins, netconf.Plugin{Type: kind, Config: rawjson.Object{}})
	}
	return d
}

func (n *node) file(name, text string, old time.Duration) {
	n.Helper()
	if err := os.WriteFile(filepath.Join(n.dir, name), []byte(text), 0o600); err != nil {
		n.Fatal(err)
	}
	n.age(name, old)
}

func (n *node) age(name string, old time.Duration) {
	n.Helper()
	then := time.Now().Add(-old)
	if err := os.Chtimes(filepath.Join(n.dir, name), then, then); err != nil {
		n.Fatal(err)
	}
}

const (
	idA = "4f0c3f1d9a5be1c64d5b7f3f4f0c3f1d9a5be1c64d5b7f3f4f0c3f1d9a5be1c6"
	idB = "b22a77e0d0c14a3e9f2d6c55b22a77e0d0c14a3e9f2d6c55b22a77e0d0c14a3e"
)

func TestListOfPods(t *testing.T) {
	n := newNode(t)
	n.record("multus-demo-network", idB, "kube-system/metrics-6d94bc8694-x2x9p", 5*24*time.Hour, nil)
	n.record("multus-demo-network", idA, "default/multus-test", 3*time.Hour, nil)
	n.record("storage", "cnitool-77383ca0a0715733ca6f", "", 10*time.Minute, nil)
	got, code := call(t, nil, "", "list", "--cni-dir", n.dir)
	if code != exitOK {
		t.Errorf("got exit code %d", code)
	}
	golden(t, "testdata/list.txt", got)
	for _, line := range strings.Split(got, "\n") {
		if len(line) > screen {
			t.Errorf("line of %d columns: %s", len(line), line)
		}
	}
	got, _ = call(t, nil, "", "list", "--wide", "--cni-dir="+n.dir)
	golden(t, "testdata/list-wide.txt", got)
}

func TestListMarksWhatIsNotAttached(t *testing.T) {
	n := newNode(t)
	n.record("demo", "a-good", "default/web", time.Minute*5, nil)
	n.record("demo", "b-before-boot", "default/db", time.Hour*3, func(r *state.Record) { r.BootID = "another" })
	n.record("demo", "c-gone", "default/gone", time.Minute*90, func(r *state.Record) { r.Netns = "/run/netns/nonexistent" })
	n.record("demo", "d-other", "default/other", time.Minute*90, func(r *state.Record) { r.NetnsID = "4:1" })
	n.record("demo", "e-partial", "default/new", time.Minute*30, func(r *state.Record) {
		r.Complete, r.Delegates[0].Result = false, nil // and the primary has its result
	})
	n.record("demo", "f-evil", "default/\x1b[31mred", time.Minute*20, nil)
	n.file("demo:g-torn:eth0.json", `{"format": 1, "network": "de`, time.Hour)
	n.file("demo:h-renamed:eth0.json.damaged", `{}`, time.Hour*2)
	n.file("0123456789abcdef", `[{"type": "sriov"}, {"type": "ptp"}, {}]`, time.Hour*24*900)
	got, code := call(t, nil, "", "list", "--cni-dir", n.dir)
	if code != exitOK {
		t.Errorf("got exit code %d", code)
	}
	golden(t, "testdata/list-states.txt", strings.ReplaceAll(got, n.dir, "CNI_DIR"))

	got, _ = call(t, nil, "", "list", "--json", "--cni-dir", n.dir)
	got = regexp.MustCompile(`"written": "[^"]*"`).ReplaceAllString(strings.ReplaceAll(got, n.dir, "CNI_DIR"), `"written": "TIME"`)
	golden(t, "testdata/list-states.json", got)
}

func TestListOfNothing(t *testing.T) {
	for _, dir := range []string{t.TempDir(), "/nonexistent"} {
		got, code := call(t, nil, "", "list", "--cni-dir", dir)
		if want := "nothing is attached: there is no record in " + dir + "\n"; got != want || code != exitOK {
			t.Errorf("got %q, %d, want %q", got, code, want)
		}
		got, code = call(t, nil, "", "list", "--json", "--cni-dir", dir)
		if got != "[]\n" || code != exitOK {
			t.Errorf("got %q, %d", got, code)
		}
	}
}

func TestListOfNoFolder(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	got, code := call(t, nil, "", "list", "--cni-dir", file)
	if want := "multus: list the records: open " + file + ": not a directory\n"; got != want || code != exitError {
		t.Errorf("got %q, %d, want %q", got, code, want)
	}
}

func TestAge(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Hour:        "0s",
		119 * time.Second: "119s",
		2 * time.Minute:   "2m",
		119 * time.Minute: "119m",
		2 * time.Hour:     "2h",
		47 * time.Hour:    "47h",
		49 * time.Hour:    "2d",
	} {
		if got := age(d); got != want {
			t.Errorf("age(%v) = %q, want %q", d, got, want)
		}
	}
}
