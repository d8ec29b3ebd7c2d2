// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package real

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	confDir = "/etc/cni/net.d"
	binDir  = "/opt/cni/bin"
)

// pageConf is the conf of doc/debugging.md. The positions that the page shows
// are those in this text.
const pageConf = `{
    "cniVersion": "1.0.0",
    "name": "multus-demo-network",
    "type": "multus",
    "delegates": [
        {
            "type": "macvlan",
            "master": "eth0",
            "ipam": { "type": "host-local", "subnet": "10.56.217.0/24" }
        },
        {
            "type": "ptp",
            "ipam": { "type": "host-local", "subnet": "10.168.1.0/24" }
        },
        {
            "type": "bridge",
            "masterplugin": true,
            "isDefaultGateway": true,
            "ipam": { "type": "host-local", "subnet": "10.244.1.0/24" }
        }
    ]
}
`

// step makes the state of the node in which a block of a page was printed, and
// returns the block unless it holds commands, which are run.
type step func(t *testing.T, n *node, block string) string

// TestDebuggingPage makes each failure that doc/debugging.md describes. Errors,
// the commands that the page gives and the log must be as it shows them.
func TestDebuggingPage(t *testing.T) {
	inNode(t, func(t *testing.T, n *node) {
		n.prepareInstall(t, "{}")
		n.multus, n.path = binDir+"/multus", binDir
		n.shell(t, "cp bin/multus "+binDir+" && rm -r "+confDir+"/*")
		n.follow(t, "debugging.md", map[string][]step{
			"A plugin is missing":                       {adds("web-9", `"type": "ptp"`, `"type": "ptpp"`), nil},
			"The conf is not valid":                     {adds("web-9", `"eth0",`, `"eth0", # the NIC`), nil, mistakes},
			"Pods start without the secondary networks": {anotherConf},
			"A delegate fails and the ADD is rolled back": {
				adds("web-9", `"eth0"`, `"eth7"`), nil, flannelFirst,
			},
			"The address range is exhausted":              {exhausted, healthy},
			"A plugin is older than the conf":             {older, nil},
			"hostPort does nothing":                       {hostPort},
			"A pod cannot be deleted":                     {undeletable, nil},
			"A pod is gone but its record is still there": {gone, nil, asItIs},
			"A second ADD is refused":                     {adds("web-0")},
			"An interface name is taken":                  {taken, takenByMultus},
			"An ADD or DEL hangs":                         {hangs},
			"A plugin crashes":                            {crashes},
			"A plugin creates no interface":               {noInterface},
			"CHECK fails on the default route":            {rerouted},
			"A record is damaged":                         {damaged, quarantined},
			"The record directory is unsafe":              {unsafeDirectory},
			"Multus cannot be uninstalled":                {threeRecords},
			"Multus cannot be installed":                  {renamed},
			"The record":                                  {byHand},
			"The log":                                     {logged},
		})
	})
}

// follow goes through the sections of a page that have blocks of text or shell.
func (n *node) follow(t *testing.T, page string, steps map[string][]step) {
	t.Helper()
	text, err := os.ReadFile("../../doc/" + page)
	if err != nil {
		t.Fatal(err)
	}
	left := maps.Clone(steps)
	for _, section := range regexp.MustCompile(`(?m)^##+ `).Split(string(text), -1) {
		title, body, _ := strings.Cut(section, "\n")
		blocks := fences(body)
		if len(blocks) != len(steps[title]) {
			t.Errorf("%s: %d blocks in %q, and %d steps that make them", page, len(blocks), title, len(steps[title]))
			continue
		}
		delete(left, title)
		for i, block := range blocks {
			block = strings.TrimLeft(block, " ")
			var got string
			if prepare := steps[title][i]; prepare != nil {
				got = prepare(t, n, block)
			}
			switch {
			case got == "" && strings.HasPrefix(block, "$ "):
				got = n.session(t, block)
			case strings.HasPrefix(block, `"`):
				got = failure(t, got, block)
			}
			if !printedAs(got, block) {
				t.Errorf("%s: %q shows\n%s\nand there was\n%s", page, title, indent(block), indent(got))
			}
		}
	}
	for title := range left {
		t.Errorf("%s has no section %q", page, title)
	}
}

// session runs the commands of a block, and returns them with what they print.
func (n *node) session(t *testing.T, block string) string {
	t.Helper()
	var got strings.Builder
	for _, m := range regexp.MustCompile(`(?m)^\$ (.*)$`).FindAllStringSubmatch(block, -1) {
		cmd := exec.Command("sh", "-c", m[1])
		cmd.Dir = testDir
		cmd.Env = append(os.Environ(), "PATH="+binDir+":"+os.Getenv("PATH"))
		out, err := cmd.CombinedOutput()
		if err != nil && cmd.ProcessState.ExitCode() != 1 {
			t.Errorf("%s: %v", m[1], err)
		}
		fmt.Fprintf(&got, "$ %s\n%s", m[1], out)
	}
	return got.String()
}

// printedAs compares without regard to white space, since pages wrap lines, and
// to what differs each time. "..." stands for any text.
func printedAs(got, block string) bool {
	same := func(text string) string {
		for _, r := range [][2]string{
			{`\b10\.\d+\.\d+\.\d+`, "IP"},
			{`\b\d+(s|m\d+s)\b`, "AGE"},
			{`"time":"[^"]*"`, "TIME"},
			{`"ms":[\d.]+`, "MS"},
			{`(?m)^( +root +)\d+`, "${1}PID"},
			{`(multus: )\S+( in place of)`, "${1}VERSION$2"},
			{`\s+`, ""},
		} {
			text = regexp.MustCompile(r[0]).ReplaceAllString(text, r[1])
		}
		return text
	}
	parts := strings.Split(same(block), "...")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	return regexp.MustCompile("^(?s:" + strings.Join(parts, ".*") + ")$").MatchString(same(got))
}

// edited returns pageConf with replacements, which must apply, and makes it the
// conf of the node.
func edited(t *testing.T, replacements ...string) string {
	t.Helper()
	conf := pageConf
	for pair := range slices.Chunk(replacements, 2) {
		if !strings.Contains(conf, pair[0]) {
			t.Fatalf("no %q in the conf of the page", pair[0])
		}
		conf = strings.ReplaceAll(conf, pair[0], pair[1])
	}
	putFile(t, confDir+"/10-multus.conf", conf, 0o644)
	putFile(t, testDir+"/10-multus.conf", conf, 0o644)
	return conf
}

func putFile(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// plugin installs a shell script as a plugin until the test ends.
func plugin(t *testing.T, name, script string) {
	t.Helper()
	putFile(t, filepath.Join(binDir, name), "#!/bin/sh\n"+script+"\n", 0o755)
}

// printed is what multus prints.
type printed struct{ stdout, stderr string }

// request runs multus as a runtime does, and returns what it printed.
func (n *node) request(t *testing.T, verb string, p *pod, conf string, env ...string) printed {
	t.Helper()
	cmd := n.command(verb, p, conf)
	cmd.Env = append(cmd.Env, env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	_ = cmd.Run() // the page says how it ends
	return printed{stdout.String(), stderr.String()}
}

// failure returns those members of an error that a block shows, as it shows
// them.
func failure(t *testing.T, stdout, block string) string {
	t.Helper()
	var members map[string]json.RawMessage
	if err := json.Unmarshal([]byte(stdout), &members); err != nil {
		t.Fatalf("%v: %q", err, stdout)
	}
	var lines []string
	for _, m := range regexp.MustCompile(`(?m)^("(\w+)": )`).FindAllStringSubmatch(block, -1) {
		lines = append(lines, m[1]+string(members[m[2]]))
	}
	return strings.Join(lines, ",\n")
}

// knownPod returns the pod of that name, a new one if there is none.
func knownPod(t *testing.T, n *node, id string) *pod {
	t.Helper()
	if _, err := os.Stat("/run/netns/" + id); err == nil {
		return &pod{id: id, netns: "/run/netns/" + id}
	}
	return n.pod(t, id)
}

// adds sends an ADD that fails.
func adds(id string, replacements ...string) step {
	return func(t *testing.T, n *node, _ string) string {
		return n.request(t, "ADD", knownPod(t, n, id), edited(t, replacements...)).stdout
	}
}

// flannelFirst has flannel where flanneld has not run.
func flannelFirst(t *testing.T, n *node, _ string) string {
	n.shell(t, "rm /run/flannel/subnet.env")
	return adds("web-9", `"type": "bridge"`, `"type": "flannel"`, `"isDefaultGateway": true,
            "ipam": { "type": "host-local", "subnet": "10.244.1.0/24" }`, `"delegate": { "isDefaultGateway": true }`)(t, n, "")
}

func mistakes(t *testing.T, _ *node, _ string) string {
	edited(t, `    "delegates": [`, `    "cnidir": "/x", "delegates": [`, `"masterplugin"`, `"masterPlugin"`)
	return ""
}

func anotherConf(t *testing.T, _ *node, _ string) string {
	edited(t)
	putFile(t, confDir+"/05-flannel.conflist", `{"name": "cbr0", "cniVersion": "1.0.0", "plugins": [{"type": "flannel"}]}`, 0o644)
	return ""
}

func exhausted(t *testing.T, n *node, _ string) string {
	if err := os.Remove(confDir + "/05-flannel.conflist"); err != nil {
		t.Fatal(err)
	}
	one := []string{`"subnet": "10.168.1.0/24"`, `"subnet": "10.168.1.0/24", "rangeStart": "10.168.1.2", "rangeEnd": "10.168.1.2"`}
	n.must(t, "ADD", n.pod(t, "web-0"), edited(t, one...))
	return adds("web-1", one...)(t, n, "")
}

func healthy(t *testing.T, _ *node, _ string) string {
	edited(t)
	return ""
}

func older(t *testing.T, n *node, _ string) string {
	plugin(t, "old", `if [ "$CNI_COMMAND" = VERSION ]; then
    echo '{"cniVersion": "0.4.0", "supportedVersions": ["0.3.1", "0.4.0"]}'
    exit
fi
echo '{"code": 1, "msg": "incompatible CNI versions", "details": "config is \"1.0.0\", plugin supports [\"0.3.1\" \"0.4.0\"]"}'
exit 1`)
	return adds("web-1", `"type": "ptp"`, `"type": "old", "cniVersion": "1.0.0"`)(t, n, "")
}

func hostPort(t *testing.T, n *node, _ string) string {
	n.must(t, "DEL", knownPod(t, n, "web-1"), edited(t)) // the rollback met the old plugin too
	edited(t, `            "type": "bridge",
            "masterplugin": true,
            "isDefaultGateway": true,
            "ipam": { "type": "host-local", "subnet": "10.244.1.0/24" }`, `            "masterplugin": true,
            "plugins": [
                {
                    "type": "bridge",
                    "isDefaultGateway": true,
                    "ipam": { "type": "host-local", "subnet": "10.244.1.0/24" }
                },
                { "type": "portmap", "capabilities": { "portMappings": true } }
            ]`)
	return ""
}

func undeletable(t *testing.T, n *node, _ string) string {
	p, c := n.pod(t, "web-2"), edited(t)
	n.must(t, "ADD", p, c)
	n.shell(t, "mv "+binDir+"/ptp "+binDir+"/ptp.real")
	plugin(t, "ptp", `if [ "$CNI_COMMAND" = DEL ]; then
    echo '{"code": 999, "msg": "the switch does not answer"}'
    exit 1
fi
exec `+binDir+`/ptp.real`)
	return n.request(t, "DEL", p, c).stdout
}

func gone(t *testing.T, n *node, _ string) string {
	n.shell(t, "mv "+binDir+"/ptp.real "+binDir+"/ptp")
	p := n.pod(t, "web-3")
	n.must(t, "ADD", p, edited(t))
	p.vanish(t)
	return ""
}

func asItIs(_ *testing.T, _ *node, block string) string { return block }

func taken(t *testing.T, n *node, _ string) string {
	n.ip(t, "-n web-1 link add net0 type veth peer name other")
	text := n.request(t, "ADD", knownPod(t, n, "web-1"), edited(t)).stdout
	n.ip(t, "-n web-1 link del net0")
	return text
}

func takenByMultus(t *testing.T, n *node, _ string) string {
	c := strings.Replace(edited(t), "multus-demo-network", "another", 1)
	return n.request(t, "ADD", knownPod(t, n, "web-0"), c, "CNI_IFNAME=eth1").stdout
}

// hangs leaves an ADD running until the page has looked at it.
func hangs(t *testing.T, n *node, block string) string {
	if _, err := exec.LookPath("fuser"); err != nil {
		t.Fatal("fuser is missing: install it (Debian's package psmisc)")
	}
	plugin(t, "slow", `[ "$CNI_COMMAND" = ADD ] || exit 0
sleep 1000 &
echo $$ >/run/slow
wait`)
	add := n.start(t, n.command("ADD", n.pod(t, "web-5"), edited(t, `"type": "ptp"`, `"type": "slow"`)))
	waitFor(t, "the delegate to wait", func() bool {
		info, err := os.Stat("/run/slow")
		return err == nil && info.Size() > 0
	})
	got := n.session(t, block)
	n.shell(t, "kill $(cat /run/slow)")
	if err := add.wait(t, "ADD"); err == nil {
		t.Error("the ADD went on after its delegate was killed")
	}
	if list := n.session(t, "$ multus list"); strings.Contains(list, "web-5") {
		t.Errorf("not rolled back: %s", list)
	}
	return got
}

func crashes(t *testing.T, n *node, _ string) string {
	plugin(t, "crash", `[ "$CNI_COMMAND" = ADD ] || exit 0
echo 'panic: runtime error: invalid memory address or nil pointer dereference' >&2
exit 2`)
	return n.request(t, "ADD", n.pod(t, "web-6"), edited(t, `"type": "ptp"`, `"type": "crash"`)).stdout
}

func noInterface(t *testing.T, n *node, _ string) string {
	plugin(t, "egress-router", `[ "$CNI_COMMAND" = ADD ] || exit 0
echo '{"cniVersion": "1.0.0"}'`)
	p, c := knownPod(t, n, "web-6"), edited(t, `"type": "macvlan"`, `"type": "egress-router"`)
	text := n.request(t, "ADD", p, c).stderr
	n.must(t, "DEL", p, c)
	return text
}

func rerouted(t *testing.T, n *node, _ string) string {
	p := knownPod(t, n, "web-0")
	n.ip(t, "-n web-0 route replace default dev net0")
	text := n.request(t, "CHECK", p, edited(t)).stdout
	n.ip(t, "-n web-0 route replace default via 10.244.1.1")
	n.must(t, "CHECK", p, edited(t)) // put back as the page says
	return text
}

const damagedRecord = "/var/lib/cni/multus/multus-demo-network:4f1c2d:eth0.json"

func damaged(t *testing.T, n *node, _ string) string {
	n.must(t, "DEL", knownPod(t, n, "web-0"), edited(t))
	putFile(t, damagedRecord, "bad", 0o600)
	return ""
}

func quarantined(t *testing.T, n *node, _ string) string {
	text := n.request(t, "DEL", n.pod(t, "4f1c2d"), edited(t)).stderr
	if list := n.session(t, "$ multus list"); !strings.Contains(list, "quarantined") {
		t.Errorf("not quarantined: %s", list)
	}
	n.shell(t, binDir+"/multus forget 4f1c2d")
	return text
}

func unsafeDirectory(t *testing.T, n *node, _ string) string {
	n.shell(t, "chmod 777 /var/lib/cni/multus")
	text := adds("web-0")(t, n, "")
	n.shell(t, "chown root /var/lib/cni/multus; chmod 700 /var/lib/cni/multus")
	return text
}

func threeRecords(t *testing.T, n *node, _ string) string {
	for _, id := range []string{"web-0", "web-1", "web-4"} {
		n.must(t, "ADD", knownPod(t, n, id), edited(t))
	}
	return ""
}

func renamed(t *testing.T, _ *node, _ string) string {
	putFile(t, testDir+"/00-multus.conf", strings.Replace(edited(t), "multus-demo-network", "other", 1), 0o644)
	return ""
}

func byHand(t *testing.T, n *node, block string) string {
	p, c := n.pod(t, "web-8"), edited(t)
	n.must(t, "ADD", p, c)
	n.shell(t, strings.Replace(block, "=ID ", "="+p.id+" ", 1))
	if list := n.session(t, "$ multus list"); strings.Contains(list, p.id) {
		t.Errorf("not deleted: %s", list)
	}
	return block
}

func logged(t *testing.T, n *node, _ string) string {
	c := edited(t, `"type": "multus",`, `"type": "multus", "logFile": "/run/multus.log",`)
	n.must(t, "ADD", n.pod(t, "web-7"), c)
	text, err := os.ReadFile("/run/multus.log")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
