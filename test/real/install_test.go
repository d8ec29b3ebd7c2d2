// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package real

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestReadmeInstall runs the five commands of the README on a node like the one
// that it describes: they must print what it shows, and a pod must get what
// "multus try" has promised.
func TestReadmeInstall(t *testing.T) {
	inNode(t, func(t *testing.T, n *node) {
		section := installSection(t)
		blocks := fences(section)
		if len(blocks) != 3 {
			t.Fatalf("%d fenced blocks in the section, want storage.conf, and what try and list print", len(blocks))
		}
		n.prepareInstall(t, blocks[0])
		commands := regexp.MustCompile(`(?m)^    (\S*multus .*)$`).FindAllStringSubmatch(section, -1)
		if len(commands) != 5 {
			t.Fatalf("%d commands in the section, want 5", len(commands))
		}
		var printed string
		for _, c := range commands[:4] {
			printed += n.shell(t, c[1])
		}
		wantLines(t, printed, blocks[1])

		p := n.pod(t, "web-0")
		n.multus, n.path = "/opt/cni/bin/multus", "/opt/cni/bin"
		n.must(t, "ADD", p, output(t, "cat", "/etc/cni/net.d/00-multus.conf"))
		wantLines(t, n.shell(t, commands[4][1]), blocks[2])
	})
}

// installSection returns the section of the README about one node.
func installSection(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## Install on a node\n")
	section, _, _ = strings.Cut(section, "\n## ")
	return section
}

// fences returns the texts of the fenced blocks of a page, less their indent.
func fences(page string) (texts []string) {
	for i, part := range strings.Split(page, "```") {
		if i%2 == 1 {
			_, text, _ := strings.Cut(part, "\n")
			texts = append(texts, strings.ReplaceAll(text, "\n   ", "\n"))
		}
	}
	return texts
}

// prepareInstall makes the node one that runs flannel and has a NIC eth0 in
// the storage network.
func (n *node) prepareInstall(t *testing.T, storage string) {
	t.Helper()
	for _, dir := range []string{"/etc", "/opt"} {
		over := "/run/over" + dir
		if err := os.MkdirAll(over+"/upper", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(over+"/work", 0o755); err != nil {
			t.Fatal(err)
		}
		options := "lowerdir=" + dir + ",upperdir=" + over + "/upper,workdir=" + over + "/work"
		if err := unix.Mount("overlay", dir, "overlay", 0, options); err != nil {
			t.Skipf("mount an overlay on %s: %v", dir, err)
		}
		if err := os.RemoveAll(dir + "/cni"); err != nil {
			t.Fatal(err)
		}
	}
	n.veth(t, "eth0", "wire")
	n.ip(t, "addr add 192.168.1.1/24 dev wire")
	for path, text := range map[string]string{
		"/run/flannel/subnet.env":            "FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.1.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n",
		"/etc/cni/net.d/10-flannel.conflist": `{"name": "cbr0", "cniVersion": "0.3.1", "plugins": [{"type": "flannel", "delegate": {"isDefaultGateway": true}}, {"type": "portmap", "capabilities": {"portMappings": true}}]}`,
		testDir + "/storage.conf":            storage,
	} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	n.shell(t, "mkdir -p /opt/cni bin && cp -r "+n.plugins+"/. /opt/cni/bin && cp "+n.multus+" bin/multus")
}

// shell runs a command as an operator does, and returns what it prints.
func (n *node) shell(t *testing.T, command string) string {
	t.Helper()
	cmd := exec.Command("sh", "-c", command)
	cmd.Dir = testDir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
	return string(out)
}

// wantLines checks that each line of a page's block is in the output, in that
// order, but for what differs from run to run. "..." stands for any lines.
func wantLines(t *testing.T, output, block string) {
	t.Helper()
	rest := sameEachTime(output)
	for line := range strings.Lines(sameEachTime(block)) {
		line = strings.TrimSpace(line)
		if line == "" || line == "..." {
			continue
		}
		_, after, found := strings.Cut(rest, line)
		if !found {
			t.Fatalf("no %q in the rest of\n%s", line, sameEachTime(output))
		}
		rest = after
	}
}

// sameEachTime replaces addresses of links, ids, times and ages, and what
// aligns columns.
func sameEachTime(text string) string {
	for _, r := range [][2]string{
		{`([0-9a-f]{2}:){5}[0-9a-f]{2}`, "MAC"},
		{`multus-try-[0-9a-f]+`, "multus-try-ID"},
		{`(?m)^(4f0c3f1d9a5be|web-0) `, "ID "},
		{`\d+ ms\b`, "N ms"},
		{`(?m) +\d+s$`, " Ns"},
		{` +`, " "},
	} {
		text = regexp.MustCompile(r[0]).ReplaceAllString(text, r[1])
	}
	return text
}

// TestManPageExamples runs the examples of multus(8) in their order: on a node
// with flannel, and then for a pod.
func TestManPageExamples(t *testing.T) {
	inNode(t, func(t *testing.T, n *node) {
		page, err := os.ReadFile("../../doc/multus.8")
		if err != nil {
			t.Fatal(err)
		}
		n.prepareInstall(t, fences(installSection(t))[0])
		t.Setenv("PATH", filepath.Join(testDir, "bin")+":"+os.Getenv("PATH"))

		_, examples, _ := strings.Cut(manText(string(page)), "\n.Sh EXAMPLES\n")
		blocks := regexp.MustCompile(`(?ms)^\.Bd .*?\n(.*?)\n\.Ed$|^\.Dl (.*?)$`).FindAllStringSubmatch(examples, -1)
		if len(blocks) != 4 {
			t.Fatalf("%d examples, want 4: %q", len(blocks), blocks)
		}
		command := func(i int) string { return blocks[i][1] + blocks[i][2] }
		if got := n.shell(t, command(0)); !strings.Contains(got, "installed /etc/cni/net.d/00-multus.conf") {
			t.Errorf("got %q", got)
		}
		p := n.pod(t, "web-0")
		n.multus, n.path = "/opt/cni/bin/multus", "/opt/cni/bin"
		n.must(t, "ADD", p, output(t, "cat", "/etc/cni/net.d/00-multus.conf"))
		if got := n.shell(t, command(1)); !strings.Contains(got, "192.168.1.201/24") {
			t.Errorf("%s: got %q", command(1), got)
		}
		_, metrics, _ := strings.Cut(manText(string(page)), "\nmultus list --metrics")
		metrics, _, _ = strings.Cut(metrics, "\n.Ed")
		n.shell(t, "multus list --metrics"+metrics)
		if got := output(t, "cat", filepath.Join(testDir, "multus.prom")); !strings.Contains(got, `state="attached"} 1`) {
			t.Errorf("metrics: got %q", got)
		}
		if got := n.shell(t, command(2)); !strings.Contains(got, "no record in /var/lib/cni/multus is stale") {
			t.Errorf("%s: got %q", command(2), got)
		}
		n.shell(t, strings.Replace(command(3), "CNI_CONTAINERID=ID", "CNI_CONTAINERID="+p.id, 1))
		if got := n.shell(t, command(1)); !strings.Contains(got, "nothing is attached") {
			t.Errorf("after the DEL: got %q", got)
		}
	})
}

// manText replaces the escapes of mdoc(7) in a text.
func manText(page string) string {
	return strings.NewReplacer(`\-`, "-", `\e`, `\`).Replace(page)
}
