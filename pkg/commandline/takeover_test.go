// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package commandline

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"multus-cni/pkg/record"
)

// flannelUnder is a conf of multus with the flannel of flannelList.
func flannelUnder(name string) string {
	return fmt.Sprintf(`{"cniVersion": "0.3.1", "name": "multus", "type": "multus", "capabilities": {"portMappings": true},
	"delegates": [{"type": "macvlan"}, {"masterplugin": true, %s "plugins": [{"type": "flannel"}, {"type": "portmap", "capabilities": {"portMappings": true}}]}]}`, name)
}

// What install says about the conf that was read first so far.
func TestInstallComparesWithTheConfSoFar(t *testing.T) {
	const noPortmap = `{"cniVersion": "0.3.1", "name": "cbr0", "type": "multus", "delegates": [{"type": "flannel", "masterplugin": true}]}`
	for _, test := range []struct {
		name, old, conf string
		args            string
		code            int
		want            string // in the output, "" for no message of install's own
	}{
		{"the same network name", flannelList, flannelUnder(`"name": "cbr0",`), "", exitOK, ""},
		{
			"another network name", flannelList, flannelUnder(""), "", exitError,
			`multus: nothing was installed: 90-old.conflist serves the pods of this node, and its "flannel" has the network name "cbr0"; ` +
				`in delegate 1 it is "multus". IPAM plugins keep addresses by that name, so a new pod could get the address of a running one. ` +
				`Write "name": "cbr0" into delegate 1; or drain the node, then use --drained`,
		},
		{"another network name on a drained node", flannelList, flannelUnder(""), "--drained", exitOK, ""},
		{
			"another plugin", strings.Replace(flannelList, `"type": "flannel"`, `"type": "calico"`, 1), flannelUnder(""), "", exitOK,
			`multus: warning: 90-old.conflist runs "calico", and no delegate of this conf does: new pods would go without it`,
		},
		{
			"a plugin and its capability less", flannelList, noPortmap, "", exitOK,
			"multus: warning: 90-old.conflist declares the capability \"portMappings\", and this conf does not: runtimes would no longer send it\n" +
				`multus: warning: 90-old.conflist runs "portmap", and no delegate of this conf does: new pods would go without it`,
		},
		{
			"the primary becomes a secondary", flannelList, strings.NewReplacer(`"masterplugin": true, `, "", `{"type": "macvlan"}`, `{"type": "macvlan", "masterplugin": true}`).
				Replace(flannelUnder(`"name": "cbr0",`)), "", exitOK,
			`multus: warning: "cbr0" is the primary network in 90-old.conflist, and in this conf it is a secondary, net0: ` +
				`if you do not mean that, move "masterplugin": true to delegate 1`,
		},
		{"a conf that no runtime can use", "{", flannelUnder(""), "", exitOK, ""},
		{"a conf without a name", `{"plugins": [{"type": "flannel"}, {"type": "portmap"}]}`, flannelUnder(""), "", exitOK, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newHost(t)
			h.write(filepath.Join(h.conf, "90-old.conflist"), test.old)
			h.write(h.source, test.conf)
			output, code := h.run(append([]string{"install", h.source}, strings.Fields(test.args)...)...)
			if code != test.code || !strings.Contains(output, test.want) || test.want == "" && strings.Contains(output, "\nmultus: ") {
				t.Errorf("got\n%s(%d), want\n%s\n(%d)", output, code, test.want, test.code)
			}
		})
	}
}

// The conf of multus that is replaced by another is compared delegate by delegate,
// unless its records say that it has no pods.
func TestInstallComparesWithTheMultusSoFar(t *testing.T) {
	records := filepath.Join(t.TempDir(), "records")
	conf := func(delegates string) string {
		return fmt.Sprintf(`{"cniVersion": "1.0.0", "name": "demo", "type": "multus", "cniDir": %q, "delegates": [
			{"type": "strange", "masterplugin": true}, %s]}`, records, delegates)
	}
	const a, b, c = `{"type": "ptp", "name": "a"}`, `{"type": "ptp", "name": "b"}`, `{"type": "ptp", "name": "c"}`
	h := newHost(t)
	install := func(delegates, want string) {
		t.Helper()
		h.write(h.source, conf(delegates))
		if output, _ := h.run("install", h.source); !strings.Contains(output, want) {
			t.Errorf("%s: got\n%s\nwant %s in it", delegates, output, want)
		}
	}
	install(a, "installed CONF/10-multus.conf")
	install(b, `its "ptp" has the network name "a"; in delegate 1 it is "b"`) // the records may be out of sight
	if err := os.Mkdir(records, 0o700); err != nil {
		t.Fatal(err)
	}
	install(b, "installed CONF/10-multus.conf")
	if err := (record.Store{Dir: records}).Save(&record.Record{
		Network: "demo", ContainerID: "c0", IfName: "eth0", NetnsID: "4:1",
		Delegates: []record.Delegate{aDelegate("eth0", "demo", `{}`, "ptp")},
	}); err != nil {
		t.Fatal(err)
	}
	install(a, `its "ptp" has the network name "b"; in delegate 1 it is "a"`)
	install(b+", "+a, "installed CONF/10-multus.conf")
	install(c+", "+a, `its "ptp" has the network name "b"; in delegate 1 it is "c"`)
	install(a, "installed CONF/10-multus.conf")
}

// A conf whose name or cniDir differs from that of the conf so far is refused
// while there are records that multus would not find with it.
func TestInstallLosesNoRecords(t *testing.T) {
	dir := t.TempDir()
	conf := func(name, cniDir string) string {
		return fmt.Sprintf(`{"cniVersion": "1.0.0", "name": %q, "type": "multus", "cniDir": %q, "delegates": [
			{"type": "ptp", "name": "a", "masterplugin": true}]}`, name, filepath.Join(dir, cniDir))
	}
	h := newHost(t)
	install := func(conf, want string, args ...string) {
		t.Helper()
		h.write(h.source, conf)
		output, _ := h.run(append([]string{"install", h.source}, args...)...)
		if output = strings.ReplaceAll(output, dir, "DIR"); !strings.Contains(output, want) || strings.HasPrefix(want, "installed") && strings.Contains(output, "\nmultus: ") {
			t.Errorf("%s: got\n%s\nwant %s in it", conf, output, want)
		}
	}
	save := func(network, cniDir string) {
		t.Helper()
		if err := (record.Store{Dir: filepath.Join(dir, cniDir)}).Save(&record.Record{
			Network: network, ContainerID: "c0", IfName: "eth0", NetnsID: "4:1",
			Delegates: []record.Delegate{aDelegate("eth0", "a", `{}`, "ptp")},
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "new"), 0o700); err != nil {
		t.Fatal(err)
	}
	install(conf("demo", "old"), "installed CONF/10-multus.conf")
	install(conf("other", "old"), `multus: warning: 10-multus.conf has "name": "demo" and this conf has "other": `+
		"multus would not find the records of pods that are attached\nunchanged BIN/multus\ninstalled CONF/10-multus.conf") // the records are out of sight
	if err := os.Mkdir(filepath.Join(dir, "old"), 0o700); err != nil {
		t.Fatal(err)
	}
	install(conf("demo", "old"), "installed CONF/10-multus.conf")
	save("stranger", "old")
	install(conf("other", "old"), "installed CONF/10-multus.conf")
	save("other", "old")
	install(conf("demo", "old"), `multus: nothing was installed: 10-multus.conf serves the pods of this node and has "name": "other", `+
		`and this conf has "demo": to delete these pods, multus would not find their records. Write "name": "other"; or drain the node, then use --drained`)
	install(conf("other", "new"), `10-multus.conf serves the pods of this node and has "cniDir": "DIR/old", and this conf has "DIR/new": `)
	install(conf("other", "new"), "installed CONF/10-multus.conf", "--drained")

	h.records = filepath.Join(dir, "new") // now the default directory, where a DEL finds them too
	save("other", "new")
	install(conf("other", "old"), "installed CONF/10-multus.conf")
}
