// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package commandline

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"multus-cni/pkg/record"
)

// uninstaller is a node that multus is removed from.
type uninstaller struct {
	*testing.T
	bin, conf, records, other string // directories; other is one of records too
	stdout                    capture
}

// capture keeps what is written to it.
type capture interface {
	io.Writer
	fmt.Stringer
}

func newUninstaller(t *testing.T) *uninstaller {
	t.Helper()
	u := &uninstaller{T: t, bin: t.TempDir(), conf: t.TempDir(), records: t.TempDir(), other: t.TempDir(), stdout: &bytes.Buffer{}}
	u.write(filepath.Join(u.bin, "multus"), "binary")
	u.write(filepath.Join(u.bin, "ptp"), "binary")
	return u
}

func (u *uninstaller) write(path, text string) {
	u.Helper()
	if err := os.WriteFile(path, []byte(u.replacer(true).Replace(text)), 0o600); err != nil {
		u.Fatal(err)
	}
}

// addConf writes a conf in which OTHER is a directory of records.
func (u *uninstaller) addConf(name, text string) {
	u.Helper()
	u.write(filepath.Join(u.conf, name), text)
}

func (u *uninstaller) replacer(back bool) *strings.Replacer {
	pairs := []string{u.bin, "BIN", u.conf, "CONF", u.records, "RECORDS", u.other, "OTHER"}
	for i := 0; back && i < len(pairs); i += 2 {
		pairs[i], pairs[i+1] = pairs[i+1], pairs[i]
	}
	return strings.NewReplacer(pairs...)
}

// want runs the command, and compares what it prints, its exit code, and which
// files are left.
func (u *uninstaller) want(output string, code int, left string, args ...string) {
	u.Helper()
	var stderr bytes.Buffer
	p := &program{defaultCNIDir: u.records, stdout: u.stdout, stderr: &stderr}
	for i := range args {
		args[i] = u.replacer(true).Replace(args[i])
	}
	gotCode := p.main(append([]string{"uninstall", "--bin-dir", u.bin, "--conf-dir", u.conf}, args...))
	got := u.replacer(false).Replace(u.stdout.String() + stderr.String())
	if got != output || gotCode != code {
		u.Errorf("got\n%s(%d), want\n%s(%d)", got, gotCode, output, code)
	}
	if got := u.files(); got != left {
		u.Errorf("got files %q, want %q", got, left)
	}
}

// files lists what is left of binaries and confs.
func (u *uninstaller) files() string {
	u.Helper()
	var files []string
	for _, dir := range []string{u.bin, u.conf} {
		found, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil {
			u.Fatal(err)
		}
		files = append(files, found...)
	}
	return u.replacer(false).Replace(strings.Join(files, " "))
}

// attach makes the record of one attachment.
func (u *uninstaller) attach(dir, id string) {
	u.Helper()
	r := &record.Record{
		Network: "demo", ContainerID: id, IfName: "eth0", NetnsID: "4:1",
		Delegates: []record.Delegate{aDelegate("eth0", "demo", `{}`, "ptp")},
	}
	if err := (record.Store{Dir: dir}).Save(r); err != nil {
		u.Fatal(err)
	}
}

const (
	multusConf = `{"name": "demo", "type": "multus", "cniDir": "OTHER", "delegates": [{"type": "ptp", "masterplugin": true}]}`
	stillThere = "BIN/multus BIN/ptp CONF/10-multus.conf"
)

func TestUninstallRemovesConfsAndBinary(t *testing.T) {
	u := newUninstaller(t)
	u.addConf("10-multus.conf", multusConf)
	u.addConf("20-bridge.conf", `{"type": "bridge", "cniDir": 1}`)
	u.addConf("30-list.conflist", `{"plugins": [{"type": "tuning"}, {"type": "multus"}]}`)
	u.addConf("notes", `{"type": "multus"`)
	u.write(filepath.Join(u.records, "demo:c0:eth0.json.damaged"), "{")
	u.want("removed CONF/10-multus.conf\nremoved CONF/30-list.conflist\nremoved BIN/multus\n", exitOK, "BIN/ptp CONF/20-bridge.conf CONF/notes")
	u.stdout = &bytes.Buffer{}
	u.want("not there: BIN/multus\n", exitOK, "BIN/ptp CONF/20-bridge.conf CONF/notes")
}

// A directory called multus was not made by install.
func TestUninstallRemovesNoDirectory(t *testing.T) {
	u := newUninstaller(t)
	binary := filepath.Join(u.bin, "multus")
	if err := errors.Join(os.Remove(binary), os.Mkdir(binary, 0o755)); err != nil {
		t.Fatal(err)
	}
	u.want("multus: remove BIN/multus: is a directory\n", exitError, "BIN/multus BIN/ptp", "--cni-dir", "RECORDS")
}

func TestUninstallRemovesNothingWhilePodsAreAttached(t *testing.T) {
	refusal := func(count, dirs string) string {
		return "multus: nothing was removed: " + count + " of pods in " + dirs + ": to delete the pods, the runtime needs multus and its conf. " +
			"Drain the node, then try again. To show the records, and to remove those whose pods are gone:\n  multus list --cni-dir " + dirs +
			"\n  multus forget --stale --cni-dir " + dirs + "\n"
	}
	for _, test := range []struct {
		name, conf string
		attach     func(u *uninstaller)
		args       string
		want       string
	}{
		{"in the conf's directory", multusConf, func(u *uninstaller) { u.attach(u.other, "c1") }, "", refusal("1 record", "OTHER")},
		{"in the default directory", multusConf, func(u *uninstaller) { u.attach(u.records, "c1") }, "", refusal("1 record", "RECORDS")},
		{"in both", multusConf, func(u *uninstaller) { u.attach(u.other, "c1"); u.attach(u.records, "c2") }, "", refusal("2 records", "RECORDS:OTHER")},
		{
			"in a directory that is named", `{"type": "multus"}`, func(u *uninstaller) { u.attach(u.other, "c1") },
			"--cni-dir=/nonexistent:OTHER", refusal("1 record", "OTHER"),
		},
		{
			"of a nested multus", `{"type": "multus", "delegates": [{"plugins": [{"type": "multus", "cniDir": "OTHER"}]}]}`,
			func(u *uninstaller) { u.attach(u.other, "c1") }, "", refusal("1 record", "OTHER"),
		},
		{
			"a lock alone", multusConf, func(u *uninstaller) { u.write(filepath.Join(u.other, "demo:c1:eth0.json.lock"), "") }, "",
			refusal("1 record", "OTHER"),
		},
		{
			"a damaged record", multusConf, func(u *uninstaller) { u.write(filepath.Join(u.other, "demo:c1:eth0.json"), "{") }, "",
			refusal("1 record", "OTHER"),
		},
		{
			"a record of 2017", multusConf, func(u *uninstaller) { u.write(filepath.Join(u.other, "c1"), `[{"type": "ptp"}]`) }, "",
			refusal("1 record", "OTHER"),
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			u := newUninstaller(t)
			u.addConf("10-multus.conf", test.conf)
			test.attach(u)
			u.want(test.want, exitError, stillThere, strings.Fields(test.args)...)
		})
	}
}

// What cannot be read may be a conf of multus, with records anywhere.
func TestUninstallRemovesNothingWhenItCannotTell(t *testing.T) {
	const unknown = "multus: nothing was removed: cannot tell whether CONF/10-multus.conf is a conf of multus, and where its records are: "
	for _, test := range []struct{ name, conf, want string }{
		{"a comment", "// " + multusConf, unknown},
		{"a byte order mark", "\ufeff" + multusConf, unknown},
		{"half of it", multusConf[:40], unknown},
		{"a cniDir that is no string", `{"type": "multus", "cniDir": ["OTHER"]}`, unknown},
		{"such a cniDir in a list", `{"plugins": [{"type": "multus", "cniDir": 1}]}`, unknown},
		{"such a cniDir of a nested multus", `{"type": "multus", "delegates": [{"type": "multus", "cniDir": {}}]}`, unknown},
		{"a file for a directory", `{"type": "multus", "cniDir": "BIN/ptp"}`, "multus: nothing was removed: list the records: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			u := newUninstaller(t)
			u.addConf("10-multus.conf", test.conf)
			u.wantPrefix(test.want, stillThere)
		})
	}
	t.Run("no conf", func(t *testing.T) {
		u := newUninstaller(t)
		u.addConf("10-multus.conf.moved", multusConf)
		u.wantPrefix("multus: nothing was removed: CONF has no conf of multus, ", "BIN/multus BIN/ptp CONF/10-multus.conf.moved")
		u.want("removed BIN/multus\n", exitOK, "BIN/ptp CONF/10-multus.conf.moved", "--cni-dir", "OTHER")
	})
	t.Run("a link to nowhere", func(t *testing.T) {
		u := newUninstaller(t)
		if err := os.Symlink("nowhere", filepath.Join(u.conf, "10-multus.conf")); err != nil {
			t.Fatal(err)
		}
		u.wantPrefix(unknown, stillThere)
	})
}

// wantPrefix is want for an error of which only the beginning is known.
func (u *uninstaller) wantPrefix(prefix, left string) {
	u.Helper()
	var stderr bytes.Buffer
	p := &program{defaultCNIDir: u.records, stdout: u.stdout, stderr: &stderr}
	code := p.main([]string{"uninstall", "--bin-dir", u.bin, "--conf-dir", u.conf})
	if got := u.replacer(false).Replace(stderr.String()); !strings.HasPrefix(got, prefix) || code != exitError {
		u.Errorf("got %q, %d, want %q", got, code, prefix)
	}
	if got := u.files(); got != left {
		u.Errorf("got files %q, want %q", got, left)
	}
}

// addWhenConfGoes is a standard output that makes a record as soon as the conf
// is reported to be removed, as an ADD does that had read it before.
type addWhenConfGoes struct {
	bytes.Buffer
	*uninstaller
}

func (a *addWhenConfGoes) Write(p []byte) (int, error) {
	if bytes.HasPrefix(p, []byte("removed")) {
		a.attach(a.other, "late")
	}
	return a.Buffer.Write(p)
}

func TestUninstallLooksAtTheRecordsAgainBeforeTheBinary(t *testing.T) {
	u := newUninstaller(t)
	u.addConf("10-multus.conf", multusConf)
	u.stdout = &addWhenConfGoes{uninstaller: u}
	u.want("removed CONF/10-multus.conf\nmultus: BIN/multus is left in place, put the conf back: 1 record of pods in OTHER: "+
		"to delete the pods, the runtime needs multus and its conf. Drain the node, then try again. To show the records, and to remove those whose pods are gone:\n"+
		"  multus list --cni-dir OTHER\n  multus forget --stale --cni-dir OTHER\n", exitError, "BIN/multus BIN/ptp")
}
