// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package commandline

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	flannelList = `{
  "name": "cbr0", "cniVersion": "0.3.1",
  "plugins": [
    {"type": "flannel", "delegate": {"hairpinMode": true, "isDefaultGateway": true}},
    {"type": "portmap", "capabilities": {"portMappings": true, "other": false}}
  ]
}
`
	storageConf = `{"type": "macvlan", "name": "storage", "big": 9007199254740993, "float": 1.10, "capabilities": {"mac": true},
	"ipam": {"type": "host-local", "subnet": "10.1.0.0/16"}, "text": "a\u0062 <b>"}`
)

// confDir writes confs, and returns their directory.
func confDir(t *testing.T, confs map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range confs {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestCompose(t *testing.T) {
	plugins := fakePlugins(t)
	dir := confDir(t, map[string]string{"flannel.conflist": flannelList, "storage.conf": storageConf, "old.conf": `{"type": "old"}`})
	got, code := call(t, nil, "", "compose", "--cni-path", plugins, "--ifname=", dir+"/flannel.conflist", dir+"/storage.conf",
		"--ifname", "data0", dir+"/old.conf")
	if code != exitOK {
		t.Errorf("got exit code %d", code)
	}
	golden(t, "testdata/compose.json", got)
	for _, literal := range []string{"9007199254740993", "1.10", `"a\u0062 <b>"`} {
		if !strings.Contains(got, literal) {
			t.Errorf("got\n%s\nwant %s in it as it was written", got, literal)
		}
	}
	report, code := call(t, nil, got, "validate", "--cni-path", plugins, "-")
	if code != exitOK {
		t.Errorf("what was composed does not validate: %s", report)
	}
}

func TestComposeChoosesNameAndVersion(t *testing.T) {
	plugins := fakePlugins(t)
	dir := confDir(t, map[string]string{
		"flannel.conflist": flannelList,
		"ptp.conf":         `{"type": "ptp", "name": "p"}`,
		"old.conf":         `{"type": "old"}`,
		"new.conf":         `{"type": "new"}`,
		"ipam.conf":        `{"type": "ptp", "ipam": {"type": "old"}}`,
		"unknown.conf":     `{"type": "nonexistent", "name": "u", "cniVersion": "0.4.0"}`,
	})
	for _, test := range []struct{ args, name, version, warning string }{
		{"ptp.conf", "multus-p", "1.1.0", ""},
		{"--name demo ptp.conf", "demo", "1.1.0", ""},
		{"ptp.conf old.conf", "multus-p", "0.4.0", ""},
		{"ptp.conf ipam.conf", "multus-p", "0.4.0", ""},
		{"flannel.conflist new.conf old.conf", "multus-cbr0", "0.3.1", "there is no CNI version that all plugins support: using 0.3.1"},
		{"unknown.conf", "multus-u", "0.4.0", "cannot tell which CNI versions nonexistent supports: "},
		{"unknown.conf ptp.conf", "multus-u", "1.1.0", "cannot tell which CNI versions nonexistent supports: "},
	} {
		args := []string{"compose", "--cni-path", plugins}
		for _, arg := range strings.Fields(test.args) {
			if strings.Contains(arg, ".conf") {
				arg = filepath.Join(dir, arg)
			}
			args = append(args, arg)
		}
		got, code := call(t, nil, "", args...)
		var conf struct{ Name, CNIVersion string }
		if err := json.NewDecoder(strings.NewReader(got)).Decode(&conf); err != nil || code != exitOK {
			t.Fatalf("compose %s: got %q, %d, %v", test.args, got, code, err)
		}
		if conf.Name != test.name || conf.CNIVersion != test.version {
			t.Errorf("compose %s: got name %q, version %q, want %q, %q", test.args, conf.Name, conf.CNIVersion, test.name, test.version)
		}
		if !strings.Contains(got, test.warning) || strings.Contains(got, "multus: warning: ") != (test.warning != "") {
			t.Errorf("compose %s: got %q, want the warning %q", test.args, got, test.warning)
		}
	}
}

func TestComposeRefuses(t *testing.T) {
	dir := confDir(t, map[string]string{
		"ptp.conf":     `{"type": "ptp", "name": "p"}`,
		"multus.conf":  goodConf,
		"list.conf":    `["ptp"]`,
		"null.conf":    `null`,
		"number.conf":  `{"name":"n","type":5}`,
		"typed.conf":   `{"name":"n","plugins":[{"type":true}]}`,
		"bom.conf":     "\ufeff{}",
		"comment.conf": "// of mine\n" + `{"type": "ptp", "name": "p"}`,
		"empty.conf":   `{"name": "p"}`,
		"unnamed.conf": `{"type": "ptp"}`,
		"master.conf":  `{"type": "ptp", "name": "p", "masterplugin": false}`,
		"ifname.conf":  `{"type": "ptp", "name": "p", "ifname": "a"}`,
		"path.conf":    `{"type": "/bin/ptp", "name": "p"}`,
		"shim.conf":    `{"type": "multus-shim", "name": "p"}`,
	})
	for _, test := range []struct{ confs, want string }{
		{"multus.conf", "DIR/multus.conf is a conf of multus: "},
		{"ptp.conf multus.conf", "DIR/multus.conf is a conf of multus: "},
		{"ptp.conf list.conf", "read DIR/list.conf: "},
		{"ptp.conf null.conf", "read DIR/null.conf: not a JSON object"},
		{"ptp.conf number.conf", `read DIR/number.conf: "type" has the wrong type: number`},
		{"ptp.conf typed.conf", `read DIR/typed.conf: "type" has the wrong type: bool`},
		{"ptp.conf bom.conf", "read DIR/bom.conf: a byte order mark"},
		{"ptp.conf comment.conf", "read DIR/comment.conf: "},
		{"ptp.conf empty.conf", "DIR/empty.conf is not a conf: "},
		{"unnamed.conf", "DIR/unnamed.conf has no name, "},
		{"master.conf", `DIR/master.conf has the key "masterplugin", `},
		{"ptp.conf ifname.conf", `DIR/ifname.conf has the key "ifname", `},
		{"shim.conf", "DIR/shim.conf is a conf of Kubernetes Multus: "},
		{"ptp.conf path.conf", "multus would refuse the conf: "},
		{"ptp.conf nonexistent.conf", "open DIR/nonexistent.conf: "},
	} {
		args := []string{"compose", "--cni-path", "/nonexistent"}
		for _, name := range strings.Fields(test.confs) {
			args = append(args, filepath.Join(dir, name))
		}
		got, code := call(t, nil, "", args...)
		got = strings.ReplaceAll(got, dir, "DIR")
		if !strings.Contains("\n"+got, "\nmultus: "+test.want) || strings.Contains(got, "delegates\": [") || code != exitError {
			t.Errorf("compose %s: got %q, %d, want %q", test.confs, got, code, test.want)
		}
	}
}
