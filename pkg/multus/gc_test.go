// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package multus

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/types"
	"golang.org/x/sys/unix"
)

// pods adds containers, each in a pod of its own, and returns to the first pod.
func (n *node) pods(conf string, containers ...string) {
	n.t.Helper()
	first := unshare(n.t)
	for i, container := range containers {
		if i > 0 {
			n.leadTo(unshare(n.t))
		}
		n.does["ADD a"], n.does["ADD p"] = nothing, nothing
		n.add(conf, "CNI_CONTAINERID="+container, "CNI_ARGS=K8S_POD_NAME="+container+";IP=10.0.0.9")
	}
	n.leadTo(first)
	n.does = map[string]func(request) (string, error){}
}

func nothing(r request) (string, error) {
	return fmt.Sprintf(`{"cniVersion":%q,"dns":{"domain":"x"}}`, r.conf.CNIVersion), nil
}

// 6.3: what GC deletes it deletes as it was added, and each delegate is told
// what is valid under its own interface names, by both keys.
func TestGC(t *testing.T) {
	capable := `{"type":"a","capabilities":{"x":true}},` + primary
	for _, key := range []string{"cni.dev/valid-attachments", "cni.dev/attachments"} {
		t.Run(key, func(t *testing.T) {
			n := newNode(t)
			n.pods(n.conf(capable, `"runtimeConfig":{"x":1}`), "c1", "c2")
			n.pods(strings.Replace(n.conf(both), `"net"`, `"other"`, 1), "c3")
			valid := `"` + key + `":[{"containerID":"c2","ifname":"eth0"},{"containerID":"c9","ifname":"eth7"}]`
			n.wantOK("GC", n.call("GC", n.conf(capable, valid), "CNI_ARGS=K8S_POD_NAME=gc"))
			calls := n.calls
			n.wantCalls("GC", "DEL p eth0 -", "DEL a net0 -", "GC a", "GC p")
			if r := calls[0]; r.container != "c1" || r.args != "K8S_POD_NAME=c1;IP=10.0.0.9" || !strings.Contains(string(r.conf.PrevResult), `"x"`) {
				t.Errorf("DEL p: %+v", r)
			}
			if r := calls[1]; r.args != "K8S_POD_NAME=c1" || string(r.conf.RuntimeConfig) != `{"x":1}` {
				t.Errorf("DEL a: %+v", r)
			}
			for i, want := range [][]types.GCAttachment{
				{{ContainerID: "c2", IfName: "net0"}, {ContainerID: "c9", IfName: "net0"}},
				{{ContainerID: "c2", IfName: "eth0"}, {ContainerID: "c9", IfName: "eth7"}},
			} {
				r := calls[2+i]
				if !slices.Equal(r.conf.Valid, want) || !slices.Equal(r.conf.ValidIn2024, want) || r.container != "" {
					t.Errorf("GC %s: got %s", r.plugin, r.stdin)
				}
			}
			n.wantFiles("net:c2:eth0.json other:c3:eth0.json")
		})
	}
}

// 6.3: GC goes on after errors, and joins them in the order of the attachments.
func TestGCJoinsErrors(t *testing.T) {
	n := newNode(t)
	n.pods(n.conf(both), "c1", "c2")
	n.does["DEL p"], n.does["GC a"] = fails(105, "busy"), fails(108, "cannot collect")
	a := n.call("GC", n.conf(both))
	n.wantError("GC", a, 105, `delegate 0 "a" (net0): GC: cannot collect`, "details of cannot collect")
	if first, second := strings.Index(a.Msg, "container c1 (eth0): "), strings.Index(a.Msg, "container c2 (eth0): "); first != 0 || second < 0 {
		t.Errorf("got %q", a.Msg)
	}
	n.wantFiles("net:c1:eth0.json net:c2:eth0.json")
}

// 6.3: what cannot be read is never taken for gone.
func TestGCUnreadable(t *testing.T) {
	for name, text := range map[string]string{
		"other:c4:eth0.json": `{"format":`, "other:c5:eth0.json": `{"format":99}`, "net:c6:eth0.json": `{"format":99}`, "c7": "[",
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t)
			n.pods(n.conf(both), "c1")
			n.write(name, text)
			n.wantError("GC", n.call("GC", n.conf(both)), 999, "no delegate was told to collect", filepath.Join(n.dir, name))
			n.wantCalls("GC", "DEL p eth0 -", "DEL a net0 -")
			n.wantFiles(name)
		})
	}
}

// 6.3: a pod that is attached to another network while attachments are
// collected is in use as well.
func TestGCSeesPodsThatCameMeanwhile(t *testing.T) {
	n := newNode(t)
	n.pods(n.conf(both), "c1")
	n.does["DEL p"] = func(request) (string, error) {
		other := *n.record()
		other.Network, other.ContainerID = "other", "c3"
		return "", n.store().Save(&other)
	}
	n.wantOK("GC", n.call("GC", n.conf(both)))
	want := []types.GCAttachment{{ContainerID: "c3", IfName: "net0"}}
	if got := n.calls[2]; got.verb != "GC" || !slices.Equal(got.conf.Valid, want) {
		t.Errorf("%s %s was told %v, want %v", got.verb, got.plugin, got.conf.Valid, want)
	}
}

// A thread that was lost in a pod's network namespace is not used for the next
// attachment.
func TestGCLeavesLostThreads(t *testing.T) {
	n := newNode(t)
	for i := range 2*runtime.NumCPU() + 1 {
		n.pods(n.conf(primary), fmt.Sprintf("c%d", i))
	}
	n.does["DEL p"] = loseThread(t)
	n.wantOK("GC", n.call("GC", n.conf(primary)))
}

// loseThread returns a plugin whose caller ends up in another network namespace.
// It fails where the caller is in another one than now.
func loseThread(t *testing.T) func(request) (string, error) {
	const own = "/proc/thread-self/ns/net"
	home, err := os.Readlink(own)
	if err != nil {
		t.Fatal(err)
	}
	return func(request) (string, error) {
		if here, err := os.Readlink(own); err != nil || here != home {
			return "", fmt.Errorf("on the lost thread of %s", here)
		}
		runtime.LockOSThread()
		return "", unix.Unshare(unix.CLONE_NEWNET)
	}
}

// 6.3: attachments are collected side by side.
func TestGCSideBySide(t *testing.T) {
	if runtime.NumCPU() < 2 {
		t.Skip("there is one processor")
	}
	n := newNode(t)
	n.pods(n.conf(both), "c1", "c2")
	meet := make(chan bool)
	n.does["DEL p"] = func(request) (string, error) {
		select { // each of the two waits for the other
		case meet <- true:
		case <-meet:
		case <-time.After(time.Minute):
			return "", errors.New("the other attachment is not collected meanwhile")
		}
		return "", nil
	}
	n.wantOK("GC", n.call("GC", n.conf(both)))
	n.wantFiles("")
}

// 6.1: CHECK goes by the record, and by the runtime's prevResult for the
// primary alone.
func TestCheck(t *testing.T) {
	n := newNode(t)
	a := `{"type":"a","capabilities":{"x":true}}`
	n.wantError("CHECK without a record", n.call("CHECK", n.conf(both)), 999, "there is no record")
	n.add(n.conf(a+","+primary+`,{"type":"old","cniVersion":"0.3.1"},{"disableCheck":true,"plugins":[{"type":"b"}]}`, `"runtimeConfig":{"x":1}`))
	conf := n.conf(a+","+primary, `"runtimeConfig":{"x":2}`, `"prevResult":{"cniVersion":"1.1.0","interfaces":[{"name":"eth0","mac":"changed"}]}`)
	n.wantOK("CHECK", n.call("CHECK", conf))
	calls := n.calls
	n.wantCalls("CHECK", "CHECK a net0", "CHECK p eth0")
	if r := calls[0]; string(r.conf.RuntimeConfig) != `{"x":1}` || strings.Contains(r.stdin, "changed") {
		t.Errorf("a got %s", r.stdin)
	}
	if !strings.Contains(calls[1].stdin, "changed") {
		t.Errorf("p got %s", calls[1].stdin)
	}
	n.does["CHECK a"] = fails(106, "wrong")
	n.wantError("CHECK", n.call("CHECK", conf), 106, `delegate 0 "a" (net0): CHECK: wrong`)
	n.wantCalls("CHECK", "CHECK a net0")
	n.wantError("CHECK without a netns", n.call("CHECK", conf, "CNI_NETNS=/nonexistent"), 4)
}

// 6.2: STATUS ends with the first failure and keeps its code.
func TestStatus(t *testing.T) {
	n := newNode(t)
	conf := n.conf(`{"type":"old","cniVersion":"1.0.0"},` + both)
	n.wantOK("STATUS", n.call("STATUS", conf))
	n.wantCalls("STATUS", "STATUS a", "STATUS p")
	n.does["STATUS a"] = fails(51, "few addresses")
	n.wantError("STATUS", n.call("STATUS", conf), 51, `delegate 1 "a" (net1): STATUS: few addresses`)
	n.wantCalls("STATUS", "STATUS a")
	n.missing = "p"
	n.wantError("STATUS", n.call("STATUS", conf), 50, `no plugin "p"`)
	n.missing, n.dir = "", "/proc/no-such-directory"
	n.wantError("STATUS", n.call("STATUS", n.conf(both)), 50, "directory of the records")
	n.wantError("STATUS", n.call("STATUS", `{"cniVersion":"1.1.0","name":"net"}`), 7, "delegates")
	n.wantCalls("STATUS")
}
