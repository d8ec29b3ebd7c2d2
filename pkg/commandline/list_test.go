// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package commandline

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"multus-cni/pkg/netns"
	"multus-cni/pkg/record"
)

const ownNetns = "/proc/self/ns/net"

// node is a directory of records of a node that has been booted once.
type node struct {
	*testing.T
	dir   string
	confs string // a directory
	netns netns.Identity
}

func newNode(t *testing.T) *node {
	t.Helper()
	id, err := netns.Identify(ownNetns)
	if err != nil {
		t.Fatal(err)
	}
	return &node{T: t, dir: t.TempDir(), confs: t.TempDir(), netns: id}
}

// record makes a record of three delegates, changed by change, that is so old.
func (n *node) record(network, id, pod string, old time.Duration, change func(*record.Record)) {
	n.Helper()
	r := &record.Record{
		Network: network, ContainerID: id, IfName: "eth0",
		Netns: ownNetns, NetnsID: n.netns.Namespace, BootID: n.netns.Boot, CNIVersion: "1.0.0", Complete: true,
		Delegates: []record.Delegate{
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
	if err := (record.Store{Dir: n.dir}).Save(r); err != nil {
		n.Fatal(err)
	}
	n.age(network+":"+id+":eth0.json", old)
}

func aDelegate(ifname, network, result string, types ...string) record.Delegate {
	d := record.Delegate{IfName: ifname, Name: network, List: len(types) > 1, InterfaceSeen: true, Result: json.RawMessage(result)}
	for _, kind := range types {
		d.Plugins = append(d.Plugins, record.Plugin{Type: kind, Config: json.RawMessage(`{}`)})
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

func (n *node) conf(name, text string) {
	n.Helper()
	if err := os.WriteFile(filepath.Join(n.confs, name), []byte(text), 0o600); err != nil {
		n.Fatal(err)
	}
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

// list runs the command on the records of the node, with a terminal that is so
// many columns wide, or 0 for a pipe.
func (n *node) list(columns int, args ...string) (output string) {
	n.Helper()
	var stdout, stderr bytes.Buffer
	p := &program{columns: columns, defaultCNIDir: n.dir, stdout: &stdout, stderr: &stderr}
	if code := p.main(append([]string{"list", "--conf-dir", n.confs}, args...)); code != exitOK || stderr.Len() > 0 {
		n.Errorf("list %q: got %q, %d", args, stderr.String(), code)
	}
	return strings.NewReplacer(n.dir, "CNI_DIR", n.confs, "CONF_DIR").Replace(stdout.String())
}

func TestListOfPods(t *testing.T) {
	n := newNode(t)
	n.record("multus-demo-network", idB, "kube-system/metrics-6d94bc8694-x2x9p", 5*24*time.Hour, nil)
	n.record("multus-demo-network", idA, "default/multus-test", 3*time.Hour, nil)
	n.record("storage", "cnitool-77383ca0a0715733ca6f", "", 10*time.Minute, nil)
	golden(t, "testdata/list.txt", n.list(80))
	golden(t, "testdata/list-120.txt", n.list(120))
	wide := n.list(0)
	golden(t, "testdata/list-wide.txt", wide)
	for _, args := range [][]string{{"--wide"}, {"--output", "wide"}} {
		if got := n.list(80, args...); got != wide {
			t.Errorf("%q: got\n%s\nwant the same as into a pipe", args, got)
		}
	}
	if n.list(0, "--json") != n.list(80, "--output=json") {
		t.Error("--json and --output=json differ")
	}
	for _, width := range []int{80, 120} {
		for _, line := range strings.Split(n.list(width), "\n") {
			if len(line) > width {
				t.Errorf("line of %d columns for %d: %s", len(line), width, line)
			}
		}
	}
}

func TestListSelects(t *testing.T) {
	n := newNode(t)
	n.record("demo", "c1", "default/web", time.Minute*5, nil)
	n.record("demo", "c2", "other/web", time.Minute*5, nil)
	n.record("demo", "c3", "other/db", time.Minute*5, func(r *record.Record) { r.Complete = false })
	n.record("storage", "c4", "", time.Minute*5, nil)
	for _, test := range []struct {
		args string
		want []string
	}{
		{"", []string{"c1", "c2", "c3", "c4"}},
		{"--pod default/web", []string{"c1"}},
		{"--pod web", []string{"c1", "c2"}},
		{"--pod none", nil},
		{"--network storage", []string{"c4"}},
		{"--network demo-net1", []string{"c1", "c2", "c3"}},
		{"--state partial", []string{"c3"}},
		{"--state attached --pod web --network demo", []string{"c1", "c2"}},
	} {
		var found []struct{ ContainerID string }
		if err := json.Unmarshal([]byte(n.list(0, append(strings.Fields(test.args), "--json")...)), &found); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, a := range found {
			got = append(got, a.ContainerID)
		}
		slices.Sort(got)
		if !slices.Equal(got, test.want) {
			t.Errorf("list %s: got %q, want %q", test.args, got, test.want)
		}
	}
	if got, want := n.list(80, "--pod", "none"), "no match among 4 records in CNI_DIR\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Without --cni-dir all directories of the confs count, and the default one.
func TestListFindsTheDirectoriesOfTheConfs(t *testing.T) {
	n, other := newNode(t), newNode(t)
	n.record("demo", "c1", "", time.Minute*5, nil)
	other.record("other", "c2", "", time.Minute*5, nil)
	n.conf("10-multus.conf", `{"type": "multus", "cniDir": "`+other.dir+`"}`)
	n.conf("20-multus.conf", `{"type": "multus", "cniDir": "/nonexistent/yet"}`)
	if got := n.list(80); !strings.Contains(got, "\nc1 ") || !strings.Contains(got, "\nc2 ") {
		t.Errorf("got\n%s\nwant c1 and c2", got)
	}
	if got := n.list(80, "--cni-dir", other.dir); strings.Contains(got, "\nc1 ") || !strings.Contains(got, "\nc2 ") {
		t.Errorf("got\n%s\nwant c2 alone", got)
	}
	if got := n.list(80, "--cni-dir", other.dir+":"+n.dir); !strings.Contains(got, "\nc1 ") || !strings.Contains(got, "\nc2 ") {
		t.Errorf("got\n%s\nwant c1 and c2", got)
	}
	n.conf("30-broken.conf", `{"type": "multus"`)
	got, code := call(t, nil, "", "list", "--conf-dir", n.confs)
	want := "multus: warning: cannot tell whether " + n.confs + "/30-broken.conf is a conf of multus, and where its records are: "
	if !strings.Contains(got, want) || !strings.Contains(got, "\nc2 ") || code != exitOK {
		t.Errorf("got %q, %d, want %q and c2", got, code, want)
	}
}

func TestListCountsADirectoryOnce(t *testing.T) {
	n := newNode(t)
	n.record("demo", "a-good", "default/web", time.Minute*5, nil)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(n.dir, link); err != nil {
		t.Fatal(err)
	}
	records, err := recordsIn([]string{n.dir, "/nonexistent", link, n.dir})
	if err != nil || len(records) != 1 {
		t.Errorf("got %d records, %v, want 1", len(records), err)
	}
}

func TestListMarksWhatIsNotAttached(t *testing.T) {
	n := newNode(t)
	n.record("demo", "a-good", "default/web", time.Minute*5, nil)
	n.record("demo", "b-before-boot", "default/db", time.Hour*3, func(r *record.Record) { r.BootID = "another" })
	n.record("demo", "c-gone", "default/gone", time.Minute*90, func(r *record.Record) { r.Netns = "/run/netns/nonexistent" })
	n.record("demo", "d-other", "default/other", time.Minute*90, func(r *record.Record) { r.NetnsID = "4:1" })
	n.record("demo", "e-partial", "default/new", time.Minute*30, func(r *record.Record) {
		r.Complete, r.Delegates[0].Result = false, nil // and the primary has its result
	})
	n.record("demo", "e-swallowed", "default/db", time.Minute*30, func(r *record.Record) {
		r.Delegates[0].Result, r.Delegates[0].InterfaceSeen = nil, false
	})
	n.record("demo", "f-evil", "default/\x1b[31mred", time.Minute*20, nil)
	n.file("demo:g-torn:eth0.json", `{"format": 1, "network": "de`, time.Hour)
	n.file("demo:h-renamed:eth0.json.damaged", `{}`, time.Hour*2)
	n.file("demo:i-newer:eth0.json", `{"format": 2}`, time.Hour*2)
	n.file("demo:j-locked:eth0.json.lock", ``, time.Hour*2)
	n.file("0123456789abcdef", `[{"type": "sriov"}, {"type": "ptp", "masterplugin": true}, {}]`, time.Hour*24*900)
	conf := base64.StdEncoding.EncodeToString([]byte(`{"name": "cbr0", "plugins": [{"type": "flannel"}, {"type": "portmap"}]}`))
	n.file("fedcba9876543210", `[{"Conf": {}, "Bytes": "`+conf+`"}]`, time.Hour*24*90)
	golden(t, "testdata/list-states.txt", n.list(80))
	if got := n.list(0); strings.ContainsRune(got, '\x1b') {
		t.Errorf("got %q, want no control character", got)
	}
	got := regexp.MustCompile(`"written": "[^"]*"`).ReplaceAllString(n.list(0, "--json"), `"written": "TIME"`)
	golden(t, "testdata/list-states.json", got)
	golden(t, "testdata/list-metrics.txt", n.list(0, "--metrics"))
}

func TestMetricsOfNothing(t *testing.T) {
	n := newNode(t)
	want := "# HELP multus_attachments Records of attached pods on this node.\n# TYPE multus_attachments gauge\n"
	if got := n.list(0, "--metrics"); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestMetricsEscapeLabels(t *testing.T) {
	n := newNode(t)
	n.file("a\"b\\c\nd:c1:eth0.json.lock", "", time.Minute)
	if got, want := n.list(0, "--metrics"), `multus_attachments{network="a\"b\\c\nd",state="locked"} 1`+"\n"; !strings.Contains(got, want) {
		t.Errorf("got %q, want %q in it", got, want)
	}
}

func TestListOfNothing(t *testing.T) {
	n := newNode(t)
	if got, want := n.list(80), "nothing is attached: there is no record in CNI_DIR\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := n.list(80, "--json"); got != "[]\n" {
		t.Errorf("got %q", got)
	}
}

func TestListOfNoDirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ flag, dir, want string }{
		{"--cni-dir", "/nonexistent", "look for records: stat /nonexistent: no such file or directory"},
		{"--cni-dir", file, "list the records: open " + file + ": not a directory"},
		{"--conf-dir", "/nonexistent", "look for confs: open /nonexistent: no such file or directory"},
	} {
		got, code := call(t, nil, "", "list", test.flag, test.dir)
		if want := "multus: " + test.want + "\n"; got != want || code != exitError {
			t.Errorf("%s %s: got %q, %d, want %q", test.flag, test.dir, got, code, want)
		}
	}
}

func TestTerminalColumns(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if got := terminalColumns(file); got != 0 {
		t.Errorf("a file: got %d, want 0", got)
	}
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("needs a terminal: %v", err)
	}
	defer terminal.Close()
	for _, test := range []struct {
		columns uint16
		want    int
	}{{132, 132}, {0, screen}} {
		if err := unix.IoctlSetWinsize(int(terminal.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: test.columns}); err != nil {
			t.Fatal(err)
		}
		if got := terminalColumns(terminal); got != test.want {
			t.Errorf("a terminal of %d columns: got %d, want %d", test.columns, got, test.want)
		}
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
