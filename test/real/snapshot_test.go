// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package real

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	testpod "multus-cni/test/pod"
)

// byDesign is what the reference plugins, and only they, leave behind after
// DEL or change on the node for good. Nothing else may be left.
var byDesign = []struct {
	line *regexp.Regexp
	why  string
}{
	{
		regexp.MustCompile(`^(link (br\d|cni0) bridge|addr (br\d|cni0) |route .* dev (br\d|cni0)$)`),
		"bridge: no DEL deletes the bridge, nor its address, since other pods may be on it",
	},
	{
		regexp.MustCompile(`^file /var/lib/cni/networks/[^/]+/(lock|last_reserved_ip(\.\d+)?)$`),
		"host-local: its own lock, and where its round robin goes on (in one file until v0.6.0)",
	},
	{
		regexp.MustCompile(`^nft ip6? (nat|filter)( \w+)?(: type \w+ hook .*)?$`),
		"iptables: an iptables that works through nftables makes its tables and base chains, and keeps them when they are empty",
	},
	{
		regexp.MustCompile(`^(ip6?tables nat|nft ip6? nat) ?:?CNI-HOSTPORT-(DNAT|SETMARK|MASQ)$`),
		"portmap (iptables): its top chains are there once for all pods",
	},
	{
		regexp.MustCompile(`^(ip6?tables nat -A|nft ip6? nat) (CNI-HOSTPORT-(SETMARK|MASQ):? .*mark .*|(PREROUTING|OUTPUT|POSTROUTING):? .*CNI-HOSTPORT-(DNAT|MASQ))$`),
		"portmap (iptables): the rules that lead there, and that mark packets; a pod's own rules are in CNI-HOSTPORT-DNAT and CNI-DN-*",
	},
	{
		regexp.MustCompile(`^(ip6?tables filter|nft ip6? filter) ?(-A |:)?(CNI-(FORWARD|ADMIN)$|(FORWARD|CNI-FORWARD):? .*(jump|-j) CNI-(FORWARD|ADMIN)$)`),
		"firewall: its two chains and the rules that lead there, once for all pods",
	},
	{
		regexp.MustCompile(`^nft ip6? cni_hostport(: comment .*| \w+(: (type \w+ hook|jump \w+$|fib daddr type local jump) ?.*)?)?$`),
		"portmap (nftables): its table with empty chains, there once for all pods",
	},
	{
		regexp.MustCompile(`^nft inet cni_plugins_masquerade(: comment .*| masq_checks(: comment .*)?| postrouting(: (type|goto|ip6? daddr (224|ff00)).*)?)?$`),
		"ipMasq (nftables): one table with two chains for all pods; a pod's own rules are in masq_checks",
	},
}

// snapshot is what multus and the plugins could leave behind on a node, a line
// each, in order.
type snapshot []string

// snapshot looks at the node.
func (n *node) snapshot(t *testing.T) snapshot {
	t.Helper()
	var s snapshot
	s.links(t)
	s.routes(t)
	if !n.noRules {
		s.iptables(t, "iptables")
		s.iptables(t, "ip6tables")
		s.nftables(t)
	}
	s.files(t, "/var/lib", "/run")
	s.processes(t)
	slices.Sort(s)
	return slices.Compact(s)
}

func (s *snapshot) add(format string, args ...any) {
	*s = append(*s, fmt.Sprintf(format, args...))
}

func (s *snapshot) links(t *testing.T) {
	links, err := testpod.ListLinks(testpod.Own)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		line := fmt.Sprintf("link %s %s", l.Name, l.Type)
		if l.Type != "bridge" { // its own follows its ports'
			line += " " + l.MAC
		}
		if l.Alias != "" {
			line += " alias " + l.Alias
		}
		s.add("%s", line)
		for _, addr := range l.Addrs {
			s.add("addr %s %s", l.Name, addr)
		}
	}
}

func (s *snapshot) routes(t *testing.T) {
	routes, err := testpod.Routes(testpod.Own)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range routes {
		s.add("route %s", line)
	}
}

// iptables notes the rules and the chains that are not built in.
func (s *snapshot) iptables(t *testing.T, command string) {
	table := ""
	for line := range strings.Lines(output(t, command+"-save")) {
		line = strings.TrimSpace(line)
		switch name, rest, _ := strings.Cut(line, " "); {
		case strings.HasPrefix(line, "*"):
			table = line[1:]
		case strings.HasPrefix(line, ":") && strings.HasPrefix(rest, "-"):
			s.add("%s %s %s", command, table, name)
		case strings.HasPrefix(line, "-A"):
			s.add("%s %s %s", command, table, line)
		}
	}
}

// nftables notes the tables, the chains and what is in them.
func (s *snapshot) nftables(t *testing.T) {
	var blocks []string // that a line is in
	for line := range strings.Lines(output(t, "nft", "--stateless", "list", "ruleset")) {
		line = strings.TrimSpace(line)
		block, opens := strings.CutSuffix(line, " {")
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case opens:
			block = strings.TrimPrefix(strings.TrimPrefix(block, "table "), "chain ")
			blocks = append(blocks, block)
			s.add("nft %s", strings.Join(blocks, " "))
		case line == "}":
			blocks = blocks[:len(blocks)-1]
		default:
			s.add("nft %s: %s", strings.Join(blocks, " "), line)
		}
	}
}

func (s *snapshot) files(t *testing.T, roots ...string) {
	for _, root := range roots {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() && filepath.Dir(path) != "/run/netns" && filepath.Dir(path) != testDir {
				s.add("file %s", path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// processes notes what still runs on the node beside this test.
func (s *snapshot) processes(t *testing.T) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err != nil || pid == os.Getpid() {
			continue
		}
		// A kernel's command line of a process that has ended, or waits for
		// its parent to take note, is empty.
		line, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ESRCH) {
			t.Fatal(err)
		}
		if len(line) > 0 {
			s.add("process %s: %s", e.Name(), bytes.ReplaceAll(line, []byte{0}, []byte(" ")))
		}
	}
}

// diff returns the lines that have come and that have gone, as "+ ..." and
// "- ...".
func (s snapshot) diff(later snapshot) []string {
	var lines []string
	for _, line := range s {
		if _, ok := slices.BinarySearch(later, line); !ok {
			lines = append(lines, "- "+line)
		}
	}
	for _, line := range later {
		if _, ok := slices.BinarySearch(s, line); !ok {
			lines = append(lines, "+ "+line)
		}
	}
	return lines
}

// leftovers returns what differs from before and is not by design. None of
// exceptions, which a test gives with its reason, counts either.
func (n *node) leftovers(t *testing.T, before snapshot, exceptions ...*regexp.Regexp) []string {
	t.Helper()
	for _, known := range byDesign {
		exceptions = append(exceptions, known.line)
	}
	return slices.DeleteFunc(before.diff(n.snapshot(t)), func(line string) bool {
		return slices.ContainsFunc(exceptions, func(e *regexp.Regexp) bool {
			return strings.HasPrefix(line, "+ ") && e.MatchString(line[2:])
		})
	})
}

// nothingLeft fails the test if anything of a pod is left, on the node or in
// the pod.
func (n *node) nothingLeft(t *testing.T, before snapshot, p *pod, exceptions ...*regexp.Regexp) {
	t.Helper()
	if left := n.leftovers(t, before, exceptions...); len(left) > 0 {
		t.Errorf("left on the node:\n\t%s", strings.Join(left, "\n\t"))
	}
	if _, err := os.Stat(p.netns); err != nil {
		return // it has vanished
	}
	if links := p.links(t); len(links) > 0 {
		t.Errorf("left in the pod: %v", links)
	}
}

// records lists the record directory.
func (n *node) records(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir("/var/lib/cni/multus")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	names := []string{}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
