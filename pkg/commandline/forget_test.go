// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package commandline

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"multus-cni/pkg/record"
)

// forgetter is a node with plugins that fail when the test wants it.
type forgetter struct {
	*node
	plugins string // a directory, which also holds the log of the calls
}

func newForgetter(t *testing.T) *forgetter {
	f := &forgetter{newNode(t), t.TempDir()}
	for _, name := range []string{"good", "bad", "pool"} {
		failure := ""
		if name == "bad" {
			failure = `; grep -q '"mended"' && exit; echo '{"cniVersion": "1.0.0", "code": 100, "msg": "no such bridge"}'; exit 1`
		}
		script(t, filepath.Join(f.plugins, name), fmt.Sprintf(`echo "$CNI_COMMAND %s $CNI_IFNAME" >>%s/log%s`, name, f.plugins, failure))
	}
	return f
}

// broken makes the record of a pod whose net0 cannot be deleted.
func (f *forgetter) broken(id string, change func(*record.Record)) {
	f.Helper()
	f.record("demo", id, "", time.Hour, func(r *record.Record) {
		r.Delegates = []record.Delegate{
			aDelegate("net0", "demo-net0", `{"cniVersion":"1.0.0","ips":[{"address":"10.1.0.2/24"}]}`, "bad"),
			aDelegate("eth0", "demo", `{"cniVersion":"1.0.0","ips":[{"address":"10.2.0.2/24"}]}`, "good"),
		}
		r.Delegates[1].Primary, r.Delegates[1].Index = true, 1
		if change != nil {
			change(r)
		}
	})
}

func rebooted(r *record.Record) { r.BootID = "the boot before" }

// withIPAM gives the delegate that fails an IPAM plugin.
func withIPAM(r *record.Record) {
	rebooted(r)
	r.Delegates[0].Plugins[0].Config = json.RawMessage(`{"ipam":{"type":"pool"}}`)
}

func (f *forgetter) want(output string, code int, calls string, args ...string) {
	f.Helper()
	var out bytes.Buffer
	p := &program{defaultCNIDir: f.dir, env: func(string) string { return f.plugins }, stdout: &out, stderr: &out}
	gotCode := p.main(append([]string{"forget"}, args...))
	if got := strings.ReplaceAll(out.String(), f.dir, "DIR"); got != output || gotCode != code {
		f.Errorf("forget %q: got\n%s(%d), want\n%s(%d)", args, got, gotCode, output, code)
	}
	log := filepath.Join(f.plugins, "log")
	text, err := os.ReadFile(log)
	if err == nil {
		err = os.Remove(log)
	}
	if err != nil && !os.IsNotExist(err) {
		f.Fatal(err)
	}
	if got := strings.Join(strings.Fields(strings.ReplaceAll(string(text), "DEL ", "")), " "); got != calls {
		f.Errorf("forget %q: called %q, want %q", args, got, calls)
	}
}

// wantLeft compares which files there are.
func (f *forgetter) wantLeft(want string) {
	f.Helper()
	files, err := os.ReadDir(f.dir)
	if err != nil {
		f.Fatal(err)
	}
	var names []string
	for _, file := range files {
		names = append(names, file.Name())
	}
	if got := strings.Join(names, " "); got != want {
		f.Errorf("files %q, want %q", got, want)
	}
}

func TestForgetReleasesWhatItCan(t *testing.T) {
	f := newForgetter(t)
	f.broken("c1", rebooted)
	f.broken("c2", withIPAM)
	const head = "container %[1]s, network demo, eth0 (stale): DIR/demo:%[1]s:eth0.json\n"
	f.want(fmt.Sprintf(head, "c1")+"  would delete delegate 0 bad (net0)\n  would delete delegate 1 good (eth0)\n  would remove the record\n",
		exitOK, "", "c1", "--dry-run")
	f.want(fmt.Sprintf(head, "c1")+`  deleted delegate 1 good (eth0)
  delegate 0 bad (net0) may have left behind: interface net0, addresses 10.1.0.2/24
    delegate 0 "bad" (net0): DEL: no such bridge
  removed
`, exitError, "good eth0 bad net0", "c1")
	f.want(fmt.Sprintf(head, "c2")+`  deleted delegate 1 good (eth0)
  released the addresses of delegate 0 bad (net0) through its IPAM plugin: 10.1.0.2/24
  delegate 0 bad (net0) may have left behind: interface net0
    delegate 0 "bad" (net0): DEL: no such bridge
  removed
`, exitError, "good eth0 bad net0 pool net0", "c2")
	f.broken("c3", func(r *record.Record) {
		withIPAM(r)
		r.Delegates[0].Result = nil
	})
	f.want(fmt.Sprintf(head, "c3")+`  deleted delegate 1 good (eth0)
  released the addresses of delegate 0 bad (net0) through its IPAM plugin: unknown which
  delegate 0 bad (net0) may have left behind: interface net0
    delegate 0 "bad" (net0): DEL: no such bridge
  removed
`, exitError, "good eth0 bad net0 pool net0", "c3")
	f.wantLeft("")
}

func TestForgetTriesTheConfOfToday(t *testing.T) {
	for _, conf := range []string{
		`{"name": "demo", "type": "multus", "delegates": [{"type": "bad", "mended": 1}, {"type": "good", "masterplugin": true}]}`,
		`{"name": "demo", "plugins": [{"type": "multus", "delegates": [{"type": "bad", "mended": 1}, {"type": "good", "masterplugin": true}]}, {"type": "x"}]}`,
	} {
		f := newForgetter(t)
		f.broken("c1", rebooted)
		f.file("c2", `[{"type": "bad"}, {"type": "good", "masterplugin": true}]`, time.Hour)
		file := filepath.Join(t.TempDir(), "multus.conf")
		if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
			t.Fatal(err)
		}
		f.want(`container c1, network demo, eth0 (stale): DIR/demo:c1:eth0.json
  deleted delegate 1 good (eth0)
  deleted delegate 0 bad (net0)
  removed
`, exitOK, "good eth0 bad net0 bad net0", "c1", "--conf", file)
		f.want("container c2 (2017): DIR/c2\n  not removed: the record does not name its network: name the conf of multus with --conf\n", exitError, "", "c2")
		f.want(`container c2, network demo, eth1 (2017): DIR/c2
  deleted delegate 1 good (eth1)
  deleted delegate 0 bad (net0)
  removed
`, exitOK, "good eth1 bad net0 bad net0", "c2", "--conf", file, "--ifname", "eth1")
		f.wantLeft("")
	}
}

func TestForgetTakesNoLivePodUnlessItIsNamed(t *testing.T) {
	f := newForgetter(t)
	good := func(r *record.Record) { r.Delegates = r.Delegates[1:] }
	f.broken("alive", good)
	f.broken("gone", func(r *record.Record) { good(r); rebooted(r) })
	f.want("container gone, network demo, eth0 (stale): DIR/demo:gone:eth0.json\n  deleted delegate 1 good (eth0)\n  removed\n",
		exitOK, "good eth0", "--stale")
	f.want("no record in DIR is stale\n", exitOK, "", "--stale")
	f.wantLeft("demo:alive:eth0.json")
	f.want("container alive, network demo, eth0 (attached): DIR/demo:alive:eth0.json\n"+
		"multus: warning: the pod's network namespace, /proc/self/ns/net, is still there: a pod that is running loses these networks\n"+
		"  deleted delegate 1 good (eth0)\n  removed\n", exitOK, "good eth0", "ali")
	f.wantLeft("")
}

func TestForgetNeedsThePlugins(t *testing.T) {
	f := newForgetter(t)
	f.broken("c1", rebooted)
	f.want("multus: plugins are looked for in /nonexistent, and there is no such directory: say with --cni-path where they are\n",
		exitError, "", "c1", "--cni-path", "/nonexistent")
	f.wantLeft("demo:c1:eth0.json")
}

// The directory of the records is that of a conf in --conf-dir, as for list.
func TestForgetFindsTheRecordsOfAConf(t *testing.T) {
	f := newForgetter(t)
	f.broken("c1", rebooted)
	dir := confDir(t, map[string]string{"10-multus.conf": strings.Replace(goodConf, `"name"`, `"cniDir": "`+f.dir+`", "name"`, 1)})
	var out bytes.Buffer
	p := &program{defaultCNIDir: "/nonexistent", env: func(string) string { return f.plugins }, stdout: &out, stderr: &out}
	code := p.main([]string{"forget", "c1", "--dry-run", "--conf-dir", dir})
	if !strings.Contains(out.String(), "would remove the record") || code != exitOK {
		t.Errorf("got\n%s(%d)", &out, code)
	}
}

func TestForgetReportsALockThatStays(t *testing.T) {
	f := newForgetter(t)
	lock := filepath.Join(f.dir, "demo:c1:eth0.json.lock")
	if err := unix.Mkfifo(lock, 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	p := &program{defaultCNIDir: f.dir, env: func(string) string { return f.plugins }, stdout: &out, stderr: &out}
	code := p.main([]string{"forget", "c1"})
	if want := "  not removed: " + lock + " cannot be used as a lock: remove it\n"; !strings.HasSuffix(out.String(), want) || code != exitError {
		t.Errorf("got\n%s(%d), want %q at its end", &out, code, want)
	}
}

func TestForgetWhatIsNoRecord(t *testing.T) {
	f := newForgetter(t)
	f.file("demo:a1:eth0.json", "{", 0)
	f.file("demo:a2:eth0.json.damaged", "{", 0)
	f.file("demo:a3:eth0.json.lock", "", 0)
	f.file("demo:a4:eth0.json", `{"format": 99}`, 0)
	f.want("multus: there is no record of a container \"b\" in DIR\n", exitError, "", "b")
	f.want("multus: 4 containers begin with \"a\" in DIR\n", exitError, "", "a")
	f.want("container a1, network demo, eth0 (damaged): DIR/demo:a1:eth0.json\n"+
		"  everything may have been left behind: the record does not say what to delete: nothing was deleted, since no --conf of its network was given\n"+
		"  removed\n", exitError, "", "a1")
	f.want("container a2, network demo, eth0 (quarantined): DIR/demo:a2:eth0.json.damaged\n  removed\n", exitOK, "", "a2")
	f.want("container a3, network demo, eth0 (locked): DIR/demo:a3:eth0.json.lock\n  removed\n", exitOK, "", "a3")
	f.want("container a4, network demo, eth0 (newer): DIR/demo:a4:eth0.json\n  not removed: record DIR/demo:a4:eth0.json: "+
		"format 99 is newer than 1, the newest that this multus reads: use the newer multus for this attachment\n", exitError, "", "a4")
	f.wantLeft("demo:a4:eth0.json")
}

func TestForgetADamagedLegacyRecord(t *testing.T) {
	f := newForgetter(t)
	f.file("c1", "[7]", 0)
	f.want("container c1 (damaged): DIR/c1\n  not removed: the record does not name its network: name the conf of multus with --conf\n", exitError, "", "c1")
	conf := filepath.Join(t.TempDir(), "multus.conf")
	if err := os.WriteFile(conf, []byte(`{"name": "demo", "type": "multus", "delegates": [{"type": "good", "masterplugin": true}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	f.want("container c1, network demo, eth0 (damaged): DIR/c1\n  removed\n", exitOK, "good eth0", "c1", "--conf", conf)
	f.wantLeft("")
}
