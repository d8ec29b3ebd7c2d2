// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package real

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/containernetworking/plugins/pkg/netlinksafe"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"multus-cni/test/sandbox"
)

const (
	// insideEnv says to the process that is a node which test to run there.
	insideEnv = "MULTUS_TEST_NODE"
	// nodeTimeout bounds one test. Most take a few seconds, and all of them many
	// times that when the machine is busy.
	nodeTimeout = 8 * time.Minute
)

// node is where one test runs: a machine's root network namespace, as far as
// plugins can tell.
type node struct {
	multus  string // the binary under test
	plugins string // directory of the reference plugins
	path    string // CNI_PATH
	noRules bool   // snapshot need not look at the packet filters
}

// inNode runs the test on a node of its own. It is the one thing that a test
// function, or a subtest, does.
func inNode(t *testing.T, test func(*testing.T, *node)) {
	t.Helper()
	inNodeFor(t, nodeTimeout, test)
}

// inNodeFor is inNode with another bound.
func inNodeFor(t *testing.T, timeout time.Duration, test func(*testing.T, *node)) {
	t.Helper()
	if os.Getenv(insideEnv) == t.Name() {
		test(t, newNode(t))
		return
	}
	t.Parallel()
	p := findPrograms(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, self, "-test.v", "-test.timeout="+timeout.String(), "-test.run="+pattern(t.Name()))
	cmd.Env = append(os.Environ(), insideEnv+"="+t.Name(), multusEnv+"="+p.multus, pluginsEnv+"="+p.plugins)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID,
		Pdeathsig:  unix.SIGKILL, // of the node's first process, and so of all
	}
	runtime.LockOSThread() // Pdeathsig means the parent thread
	out, err := cmd.CombinedOutput()
	runtime.UnlockOSThread()
	t.Logf("on its node:\n%s", out)
	switch {
	case err != nil:
		t.Fatalf("on its node: %v", err)
	case !bytes.Contains(out, []byte("--- PASS: "+t.Name()+" ")):
		t.Fatal("on its node: the test did not run")
	}
}

// pattern matches one test, or subtest, and no other.
func pattern(name string) string {
	parts := strings.Split(name, "/")
	for i := range parts {
		parts[i] = "^" + regexp.QuoteMeta(parts[i]) + "$"
	}
	return strings.Join(parts, "/")
}

// newNode makes a node of the namespaces that this process was started in.
func newNode(t *testing.T) *node {
	t.Helper()
	mount := func(what, where, kind string, flags uintptr) {
		if err := unix.Mount(what, where, kind, flags, ""); err != nil {
			t.Fatalf("mount %s on %s: %v", kind, where, err)
		}
	}
	mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE)
	mount("proc", "/proc", "proc", 0)
	mount("sysfs", "/sys", "sysfs", 0)
	mount("tmpfs", "/run", "tmpfs", 0)
	mount("tmpfs", "/var/lib", "tmpfs", 0) // not on /var/lib/cni: the machine need not have one
	if err := os.Mkdir("/run/netns", 0o755); err != nil {
		t.Fatal(err)
	}
	n := &node{multus: os.Getenv(multusEnv), plugins: os.Getenv(pluginsEnv)}
	n.path = n.plugins
	n.ip(t, "link set lo up")
	return n
}

// ip runs ip(8) on the node. (What a test prepares reads best as an operator
// would type it.)
func (n *node) ip(t *testing.T, args string) string {
	t.Helper()
	return output(t, "ip", strings.Fields(args)...)
}

// veth makes a pair of interfaces on the node and sets both up.
func (n *node) veth(t *testing.T, name, peer string) {
	t.Helper()
	n.ip(t, "link add "+name+" type veth peer name "+peer)
	n.ip(t, "link set "+name+" up")
	n.ip(t, "link set "+peer+" up")
}

// testDir is for what belongs to the test and not to the node.
const testDir = "/run/test"

// script puts a plugin that is a shell script in front of the others. It finds
// these in $PLUGINS.
func (n *node) script(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(testDir, 0o755); err != nil {
		t.Fatal(err)
	}
	n.path = testDir + ":" + n.plugins
	text = "#!/bin/sh\nPLUGINS='" + n.plugins + "'\n" + unindent(text) + "\n"
	if err := os.WriteFile(filepath.Join(testDir, name), []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}

// output runs a command that must succeed.
func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, stderr.Bytes())
	}
	return string(out)
}

const (
	multusEnv  = "MULTUS"      // the binary under test; without it, it is built
	pluginsEnv = "CNI_PLUGINS" // the directory of the reference plugins; without it, bin/plugins
)

// programs are what the tests run, made once for all of them.
type programs struct {
	once            sync.Once
	err             error
	multus, plugins string
	temp            string // directory for what is built
}

var built programs

func TestMain(m *testing.M) {
	// Most of the time the plugins wait for the kernel to see that nobody has
	// their IPv6 addresses. That goes side by side on any number of cores.
	if err := flag.Set("test.parallel", "6"); err != nil {
		panic(err)
	}
	if os.Getenv(insideEnv) != "" {
		os.Exit(m.Run())
	}
	if os.Getenv(killSeedEnv) == "" { // one for all nodes, which inherit it
		if err := os.Setenv(killSeedEnv, strconv.FormatInt(time.Now().Unix(), 10)); err != nil {
			panic(err)
		}
	}
	var err error
	if built.temp, err = os.MkdirTemp("", "multus-real-"); err != nil {
		panic(err)
	}
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, unix.SIGHUP, unix.SIGINT, unix.SIGTERM)
	go func() {
		fmt.Fprintf(os.Stderr, "stopped: %v\n", <-interrupted)
		_ = os.RemoveAll(built.temp)
		os.Exit(1) // and with this process, its nodes: see inNode
	}()
	code := m.Run()
	_ = os.RemoveAll(built.temp)
	os.Exit(code)
}

func findPrograms(t *testing.T) *programs {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("these tests make network namespaces: run them as root")
	}
	for command, debian := range map[string]string{"ip": "iproute2", "nft": "nftables", "iptables-save": "iptables", "ip6tables-save": "iptables", "strace": "strace"} {
		if _, err := exec.LookPath(command); err != nil {
			t.Fatalf("%s is missing: install it (Debian's package %s)", command, debian)
		}
	}
	built.once.Do(func() { built.err = built.find(t) })
	if built.err != nil {
		t.Fatal(built.err)
	}
	return &built
}

func (p *programs) find(t *testing.T) error {
	root, err := filepath.Abs("../..")
	if err != nil {
		return err
	}
	p.multus, p.plugins = os.Getenv(multusEnv), os.Getenv(pluginsEnv)
	if p.multus == "" {
		p.multus = filepath.Join(p.temp, "multus")
		build := exec.CommandContext(t.Context(), "go", "build", "-o", p.multus, "./cmd/multus")
		build.Dir, build.Env = root, append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=-mod=vendor")
		if out, err := build.CombinedOutput(); err != nil {
			t.Logf("%s", out)
			return err
		}
	}
	if p.plugins == "" {
		p.plugins = filepath.Join(root, "bin", "plugins")
		if _, err := os.Stat(filepath.Join(p.plugins, "ptp")); err == nil {
			return nil
		}
		build := exec.CommandContext(t.Context(), filepath.Join(root, "build"), "plugins")
		if out, err := build.CombinedOutput(); err != nil {
			t.Logf("%s", out)
			return err
		}
	}
	return nil
}

// waitFor waits until a condition holds.
func waitFor(t *testing.T, what string, holds func() bool) {
	t.Helper()
	if err := sandbox.WaitFor(what, holds); err != nil {
		t.Fatal(err)
	}
}

// settle waits until no address is being probed for duplicates, in the network
// namespace where it is called.
func settle(t *testing.T) {
	t.Helper()
	waitFor(t, "IPv6 addresses that are no longer tentative", func() bool {
		addrs, err := netlinksafe.AddrList(nil, netlink.FAMILY_V6)
		if err != nil {
			t.Fatal(err)
		}
		return !slices.ContainsFunc(addrs, func(a netlink.Addr) bool { return a.Flags&unix.IFA_F_TENTATIVE != 0 })
	})
}
