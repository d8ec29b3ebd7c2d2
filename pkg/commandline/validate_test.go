// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package commandline

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write what the commands print into testdata")

// call runs one command and returns what it printed, stderr behind stdout.
func call(t *testing.T, env map[string]string, stdin string, args ...string) (output string, code int) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	p := &program{
		release: "v1.2.3", defaultCNIDir: "/nonexistent/records", env: func(key string) string { return env[key] },
		stdin: strings.NewReader(stdin), stdout: &stdout, stderr: &stderr,
	}
	code = p.main(args)
	return stdout.String() + stderr.String(), code
}

// fakePlugins makes a directory of plugins that only say their VERSION.
func fakePlugins(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	all := `"0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"`
	supporting := map[string]string{
		"old": `"0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0"`,
		"new": `"1.0.0", "1.1.0"`,
	}
	for _, name := range strings.Fields("multus ptp bridge macvlan sriov flannel portmap tuning host-local static strange old new") {
		versions := supporting[name]
		if versions == "" {
			versions = all
		}
		script(t, filepath.Join(dir, name), fmt.Sprintf(`echo '{"cniVersion": "1.0.0", "supportedVersions": [%s]}'`, versions))
	}
	if err := os.Symlink("multus", filepath.Join(dir, "multus-cni")); err != nil {
		t.Fatal(err)
	}
	script(t, filepath.Join(dir, "silent"), "echo 'no such thing' >&2; exit 3")
	script(t, filepath.Join(dir, "not-executable"), "")
	if err := os.Chmod(filepath.Join(dir, "not-executable"), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func script(t *testing.T, path, body string) {
	t.Helper()
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+body+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
}

// unloadable writes an ELF program whose loader does not exist.
func unloadable(t *testing.T, path string) {
	t.Helper()
	self, err := elf.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = self.Close() }()
	if self.Class != elf.ELFCLASS64 {
		t.Skip("makes 64-bit programs only")
	}
	const loader = "/nonexistent/ld.so\x00"
	header := elf.Header64{
		Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(self.Class), byte(self.Data), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_EXEC), Machine: uint16(self.Machine), Version: uint32(elf.EV_CURRENT),
		Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 1,
	}
	interp := elf.Prog64{Type: uint32(elf.PT_INTERP), Flags: uint32(elf.PF_R), Off: 64 + 56, Filesz: uint64(len(loader)), Memsz: uint64(len(loader))}
	var text bytes.Buffer
	for _, part := range []any{header, interp, []byte(loader)} {
		if err := binary.Write(&text, self.ByteOrder, part); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(path, text.Bytes(), 0o755); err != nil {
		t.Fatal(err)
	}
}

// golden compares with a file of testdata, or writes it.
func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", file, got, want)
	}
}

// Each conf of testdata has its report beside it. Each is alone in its directory,
// so that none hides another.
func TestValidateReportsEveryMistake(t *testing.T) {
	plugins := fakePlugins(t)
	confs, err := filepath.Glob("testdata/validate/*.[ct]*")
	if err != nil || len(confs) < 40 {
		t.Fatalf("got %d confs, %v, want 40 or more", len(confs), err)
	}
	unloadable(t, filepath.Join(plugins, "needs-loader"))
	for name, text := range map[string]string{"needs-shell": "#!/nonexistent/sh -e\n", "needs-machine": "\x7fELF"} {
		if err := os.WriteFile(filepath.Join(plugins, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, conf := range confs {
		t.Run(filepath.Base(conf), func(t *testing.T) {
			text, err := os.ReadFile(conf)
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(t.TempDir(), filepath.Base(conf))
			if err := os.WriteFile(file, text, 0o600); err != nil {
				t.Fatal(err)
			}
			output, code := call(t, nil, "", "validate", "--cni-path", plugins, file)
			output = strings.NewReplacer(plugins, "CNI_PATH", filepath.Dir(file)+"/", "").Replace(output)
			golden(t, strings.TrimSuffix(conf, filepath.Ext(conf))+".report", output)
			if want := strings.Contains(output, ": error: "); (code == exitError) != want {
				t.Errorf("exit code %d, with errors reported: %t", code, want)
			}
			if strings.HasPrefix(filepath.Base(conf), "warn-") != (code == exitOK) {
				t.Errorf("exit code %d", code)
			}
		})
	}
}

const goodConf = `{"cniVersion": "1.0.0", "name": "demo", "type": "multus", "delegates": [
  {"type": "macvlan"}, {"masterplugin": true, "plugins": [{"type": "bridge", "ipam": {"type": "static"}}, {"type": "tuning"}]}]}`

func TestValidateGoodConf(t *testing.T) {
	plugins := fakePlugins(t)
	for _, test := range []struct {
		name string
		env  map[string]string
		args []string
	}{
		{"option", nil, []string{"--cni-path", "/nonexistent:" + plugins}},
		{"joined option", nil, []string{"--cni-path=" + plugins}},
		{"environment", map[string]string{"CNI_PATH": plugins}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, code := call(t, test.env, goodConf, append([]string{"validate", "-"}, test.args...)...)
			want := "-: ok, 0 warnings: network \"demo\" gives a pod net0 (macvlan) and eth0 (bridge+tuning)\n"
			if got != want || code != exitOK {
				t.Errorf("got %q, %d, want %q", got, code, want)
			}
		})
	}
}

func TestValidateGoodList(t *testing.T) {
	list := `{"cniVersions": ["0.4.0", "1.0.0"], "name": "demo", "plugins": [
	  {"type": "multus", "delegates": [{"type": "old", "masterplugin": true}]}, {"type": "tuning"}]}`
	got, code := call(t, nil, list, "validate", "--cni-path", fakePlugins(t), "-")
	want := "-: ok, 0 warnings: network \"demo\" gives a pod eth0 (old)\n"
	if got != want || code != exitOK {
		t.Errorf("got %q, %d, want %q", got, code, want)
	}
}

func TestValidateOfflineAsksNothingOfThisMachine(t *testing.T) {
	conf := strings.Replace(goodConf, `{"type": "macvlan"}`, `{"type": "nowhere", "master": "no-such-link0"}`, 1)
	conf = strings.Replace(conf, `"name"`, `"cniDir": "/proc/self/exe", "name"`, 1)
	dir := confDir(t, map[string]string{"00-first.conf": "{}", "10-multus.conf": conf})
	got, code := call(t, nil, "", "validate", "--offline", filepath.Join(dir, "10-multus.conf"))
	want := "ok, 0 warnings: network \"demo\" gives a pod net0 (nowhere) and eth0 (bridge+tuning)\n"
	if !strings.HasSuffix(got, want) || code != exitOK {
		t.Errorf("got %q, %d, want %q", got, code, want)
	}
}

func TestValidateStrictTakesWarningsForErrors(t *testing.T) {
	conf := strings.Replace(goodConf, `"name"`, `"comment": 1, "name"`, 1)
	got, code := call(t, nil, conf, "validate", "--offline", "-")
	if !strings.Contains(got, "-: ok, 1 warning") || code != exitOK {
		t.Errorf("got %q, %d, want a warning", got, code)
	}
	got, code = call(t, nil, conf, "validate", "--offline", "--strict", "-")
	if !strings.Contains(got, `-:1:36: error: "comment" is an unknown key`) || !strings.HasSuffix(got, "-: 1 error, 0 warnings\n") || code != exitError {
		t.Errorf("got %q, %d, want an error", got, code)
	}
}

func TestValidateDirectory(t *testing.T) {
	dir := confDir(t, map[string]string{
		"20-multus.conf": goodConf, "10-flannel.conflist": flannelList, "30-broken.conf": "{", "40.conf": `{}`, "notes.txt": "",
		"50-link.conf": strings.Replace(goodConf, `"type": "multus"`, `"type": "multus-cni"`, 1),
	})
	got, code := call(t, nil, "", "validate", "--cni-path", fakePlugins(t), dir)
	golden(t, "testdata/directory.txt", strings.ReplaceAll(got, dir, "DIR"))
	if code != exitError {
		t.Errorf("got exit code %d", code)
	}
	got, code = call(t, nil, "", "validate", "--offline", "--json", dir)
	var reports []struct{ File string }
	if err := json.Unmarshal([]byte(got), &reports); err != nil || len(reports) != 3 || code != exitError {
		t.Errorf("got %s, %d, %v, want three reports", got, code, err)
	}
}

func TestValidateDirectoryWithoutMultus(t *testing.T) {
	for _, confs := range []map[string]string{nil, {"10-flannel.conflist": flannelList}} {
		dir := confDir(t, confs)
		got, code := call(t, nil, "", "validate", "--offline", dir)
		if !strings.Contains(got, dir+": error: there is no conf of multus in this directory\n") || code != exitError {
			t.Errorf("%d confs: got %q, %d", len(confs), got, code)
		}
	}
}

func TestValidateAsksForDirectories(t *testing.T) {
	got, code := call(t, nil, goodConf, "validate", "--cni-path", "/nonexistent/bin", "-")
	want := "-:1:1: error: plugins are looked for in /nonexistent/bin, and there is no such directory: say with --cni-path where they are\n" +
		"-: 1 error, 0 warnings\n"
	if got != want || code != exitError {
		t.Errorf("got %q, %d, want %q", got, code, want)
	}
}

func TestValidateRefusesUnsafeDirectoryOfRecords(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: whose directory it must be depends on who runs multus on the node")
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	conf := strings.Replace(goodConf, `"name"`, `"cniDir": "`+dir+`", "name"`, 1)
	got, code := call(t, nil, conf, "validate", "--cni-path", fakePlugins(t), "-")
	want := `-:1:35: error: "cniDir" cannot be used: unsafe directory for the records: ` + dir + " is owned by uid 0 with mode 0777"
	if !strings.HasPrefix(got, want) || code != exitError {
		t.Errorf("got %q, %d, want %q", got, code, want)
	}
}

func TestValidatePutsEachFindingOnOneLine(t *testing.T) {
	conf := strings.Replace(goodConf, `{"type": "macvlan"}`, `{"type": "macvlan", "capabilities": {"a\n\u001b[31m": true}}`, 1)
	got, _ := call(t, nil, conf, "validate", "--cni-path", fakePlugins(t), "-")
	if lines := strings.Split(got, "\n"); len(lines) != 3 || strings.ContainsRune(got, '\x1b') {
		t.Errorf("got %q, want a line of the warning and one that sums up", got)
	}
}

func TestValidateWarnsOfMissingMultus(t *testing.T) {
	plugins := fakePlugins(t)
	if err := os.Remove(filepath.Join(plugins, "multus")); err != nil {
		t.Fatal(err)
	}
	got, code := call(t, nil, goodConf, "validate", "--cni-path", plugins, "-")
	if !strings.HasPrefix(got, "-: ok, 1 warning: ") || !strings.Contains(got, "-: warning: multus itself is not in "+plugins) || code != exitOK {
		t.Errorf("got %q, %d", got, code)
	}
}

func TestValidateWarnsOfFileThatSortsFirst(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"00-notes.txt", "05-bridge.conflist", "10-multus.conf", "99-last.conf"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(goodConf), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "01-directory.conf"), 0o700); err != nil {
		t.Fatal(err)
	}
	plugins := fakePlugins(t)
	got, code := call(t, nil, "", "validate", "--cni-path", plugins, filepath.Join(dir, "10-multus.conf"))
	want := "10-multus.conf: warning: 05-bridge.conflist sorts before 10-multus.conf, and runtimes read only the first: "
	if !strings.Contains(got, want) || code != exitOK {
		t.Errorf("got %q, %d, want %q", got, code, want)
	}
	if err := os.Remove(filepath.Join(dir, "05-bridge.conflist")); err != nil {
		t.Fatal(err)
	}
	got, _ = call(t, nil, "", "validate", "--cni-path", plugins, filepath.Join(dir, "10-multus.conf"))
	if strings.Contains(got, "warning:") {
		t.Errorf("got %q, want no warning", got)
	}
}

func TestValidateSeveralFiles(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.conf")
	if err := os.WriteFile(bad, []byte(`{"type": "multus"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	got, code := call(t, nil, goodConf, "validate", "--cni-path", fakePlugins(t), "-", bad, filepath.Join(dir, "none.conf"))
	for _, want := range []string{"-: ok", bad + ": 2 errors", "none.conf: error: open ", "no such file or directory"} {
		if !strings.Contains(got, want) {
			t.Errorf("got %q, want %q in it", got, want)
		}
	}
	if code != exitError {
		t.Errorf("got exit code %d, want %d", code, exitError)
	}
}

func TestValidateForPrograms(t *testing.T) {
	plugins := fakePlugins(t)
	conf, err := os.ReadFile("testdata/validate/readme-2017.conf")
	if err != nil {
		t.Fatal(err)
	}
	got, code := call(t, nil, string(conf), "validate", "--json", "-", "--cni-path", plugins)
	if code != exitError {
		t.Errorf("got exit code %d, want %d", code, exitError)
	}
	if !json.Valid([]byte(got)) {
		t.Errorf("got what is no JSON")
	}
	golden(t, "testdata/readme-2017.json", strings.ReplaceAll(got, plugins, "CNI_PATH"))
}
