// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"multus-cni/test/pod"
	"multus-cni/test/sandbox"
)

const (
	foreignNetns = "/run/netns/other"
	ourRecord    = "demo:c1:eth0.json"
	foreign      = "other0" // an interface of somebody else
)

// world is where cells run, one after the other: a node with the pod c1 that
// they are about, and with things that are none of their business.
type world struct {
	*sandbox.Sandbox
	// What an environment changes.
	path    string
	padding int
	unread  string

	before      string            // the node, and what is foreign
	foreignPod  string            // snapshot of the pod before a cell
	cellRecords map[string]string // what is not ours in cniDir
}

func newWorld(t *testing.T) *world {
	t.Helper()
	s, err := sandbox.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	w := &world{Sandbox: s}
	t.Cleanup(w.ReleaseAll)
	err = errors.Join(
		pod.Make("pod"), pod.Make("other"), furnish(pod.Path, foreign), furnish(pod.Own, "host0"),
		w.attachForeign("demo", "eth0", 3), w.attachForeign("other", "eth1", 1))
	if err == nil {
		w.before, err = w.foreigners()
	}
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// furnish makes an interface, an address and default routes that are
// somebody else's: of another table, and by router advertisement.
func furnish(netns, ifname string) error {
	// The one before it may still be on its way out, with its netns.
	err := sandbox.WaitFor("the name of an interface", func() bool {
		taken, err := pod.HasLink(pod.Own, pod.PeerName(ifname))
		return err != nil || !taken
	})
	for _, words := range []string{
		"link", "addr 172.16.0.2/24", "addr fd16::2/64",
		"default 172.16.0.1 table 100", "default fd16::1 metric 77 proto ra",
	} {
		err = errors.Join(err, pod.Change(netns, ifname, strings.Fields(words)))
	}
	return err
}

// attachForeign attaches another pod, c2, which stays.
func (w *world) attachForeign(network, ifname string, delegates int) error {
	c := cell{primary: 0, fault: &fault{ops: just()}}
	conf := c.conf(network, "", 0, delegates)
	r, err := w.call("ADD", conf, "CNI_CONTAINERID=c2", "CNI_NETNS="+foreignNetns, "CNI_IFNAME="+ifname)
	if err == nil && r.failure != nil {
		err = errors.New(r.failure.Msg)
	}
	return err
}

// startOver clears up after a cell that failed.
func (w *world) startOver(t *testing.T) {
	t.Helper()
	w.ReleaseAll()
	w.calm()
	_ = pod.Delete("pod")
	_ = os.Remove(pod.Path)
	_ = os.Remove(filepath.Join(sandbox.RecordDir, ourRecord))
	_ = os.Remove(filepath.Join(sandbox.RecordDir, ourRecord+".lock"))
	w.removeCellDir()
	if err := errors.Join(pod.Make("pod"), furnish(pod.Path, foreign)); err != nil {
		t.Fatal(err)
	}
}

// calm ends what an environment has changed in the world itself.
func (w *world) calm() {
	w.path, w.padding, w.unread = "", 0, ""
	_ = os.Remove(w.broken())
}

func (w *world) removeCellDir() {
	_ = unix.Unmount(cellDir, unix.MNT_DETACH)
	_ = os.RemoveAll(cellDir)
}

// broken is the file that switches the faults on.
func (w *world) broken() string { return filepath.Join(w.Work, "broken") }

// conf makes a conf of the first delegates.
func (c cell) conf(network, cniDir string, padding, delegates int) map[string]any {
	conf := map[string]any{"cniVersion": "1.1.0", "name": network, "type": "multus"}
	if cniDir != "" {
		conf["cniDir"] = cniDir
	}
	if padding > 0 {
		conf["padding"] = strings.Repeat("x", padding)
	}
	var list []any
	for i, kind := range kinds[:delegates] {
		n := i + 1
		ops := map[string][]string{"ADD": {
			"link", fmt.Sprintf("addr 10.%d.0.2/24", n), fmt.Sprintf("addr fd0%d::2/64", n),
			fmt.Sprintf("default 10.%d.0.1", n), fmt.Sprintf("default fd0%d::1", n),
		}}
		delegate := map[string]any{"type": kind, "fake": ops}
		if i == c.primary {
			delegate["masterplugin"] = true
		}
		if c.verb == "ROLLBACK" && i == last {
			ops["ADD"] = append(ops["ADD"], "while broken error 11 no room")
		}
		if c.fault != nil && i == c.faulty {
			verb := c.delegateVerb()
			if c.fault.ends && verb == "DEL" {
				ops[verb] = append(ops[verb], "while broken unlink "+c.ifname(i))
			}
			for _, op := range c.fault.ops(c) {
				ops[verb] = append(ops[verb], "while broken "+op)
			}
			if c.fault.unread {
				delegate["padding"] = strings.Repeat("x", 200_000) // more than a pipe holds
			}
		}
		list = append(list, delegate)
	}
	conf["delegates"] = list
	return conf
}
