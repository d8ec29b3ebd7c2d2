// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/types/create"
	"github.com/containernetworking/cni/pkg/version"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// heldAtMost ends a process that a scenario forgot to release.
const heldAtMost = time.Minute

// call is one call of a fake.
type call struct {
	verb, container, ifname, netns string
	kind                           string // the type it was called by
	stdin                          []byte
	conf                           struct {
		CNIVersion string
		Name       string
		PrevResult json.RawMessage
		Fake       map[string]json.RawMessage
	}
	result *types100.Result
}

// fake is the main function of a fake delegate.
func fake() {
	runtime.LockOSThread()
	c := &call{
		verb: os.Getenv("CNI_COMMAND"), container: os.Getenv("CNI_CONTAINERID"),
		ifname: os.Getenv("CNI_IFNAME"), netns: os.Getenv("CNI_NETNS"),
		kind: filepath.Base(os.Args[0]),
	}
	if err := c.run(); err != nil {
		c.fail(999, "the fake itself: "+err.Error())
	}
}

func (c *call) run() (err error) {
	if os.Getenv("FAKE_UNREAD") == c.verb+" "+c.kind {
		return c.unread()
	}
	if c.stdin, err = io.ReadAll(os.Stdin); err != nil {
		return err
	}
	confErr := json.Unmarshal(c.stdin, &c.conf)
	if err := c.record(confErr); err != nil || confErr != nil {
		return errors.Join(err, confErr)
	}
	if c.verb == "VERSION" {
		return version.PluginSupports(c.speaks()...).Encode(os.Stdout)
	}
	if !slices.Contains(c.speaks(), c.conf.CNIVersion) {
		c.fail(1, "incompatible CNI versions")
	}
	if err := c.begin(); err != nil {
		return err
	}
	ops, err := c.ops()
	if err != nil {
		return err
	}
	for _, op := range ops {
		if err := c.do(op); err != nil {
			return fmt.Errorf("%s: %w", op, err)
		}
	}
	switch c.verb {
	case "ADD":
		return c.print()
	case "DEL":
		return deleteLink(c.netns, c.ifname)
	}
	return nil
}

// unread closes stdin before anything of it has been read, as a plugin can that
// needs no configuration.
func (c *call) unread() error {
	err := errors.Join(os.Stdin.Close(), log(line(c.verb, c.container, c.ifname, c.kind, "-", "-", "unread")))
	switch {
	case err != nil:
		return err
	case c.verb == "ADD":
		if err := change(c.netns, c.ifname, []string{"link"}); err != nil {
			return err
		}
		_, err := fmt.Printf(`{"interfaces": [{"name": %q, "sandbox": %q}]}`, c.ifname, c.netns)
		return err
	case c.verb == "DEL":
		return deleteLink(c.netns, c.ifname)
	}
	return nil
}

// record writes the call down.
func (c *call) record(confErr error) error {
	fields := []string{c.verb, c.container, c.ifname, c.kind, c.conf.Name, c.conf.CNIVersion}
	if c.verb == "VERSION" { // libcni fills in dummies
		fields = []string{c.verb, "-", "-", c.kind, "-", "-"}
	} else {
		fields = append(fields, c.netnsFlags()...)
		if c.conf.PrevResult != nil {
			fields = append(fields, "prev")
		}
	}
	if confErr != nil {
		fields = append(fields, "bad-stdin")
	}
	name := strings.TrimSuffix(c.verb+"-"+c.kind+"-"+c.ifname, "-")
	got := filepath.Join(os.Getenv("WORK"), "got", name)
	return errors.Join(
		os.WriteFile(got, c.stdin, 0o600),
		os.WriteFile(got+".env", environment(os.Environ()), 0o600),
		log(line(fields...)),
	)
}

// line makes a line of the log.
func line(fields ...string) string {
	for i := range fields {
		if fields[i] == "" {
			fields[i] = "-"
		}
	}
	return strings.Join(fields, " ")
}

func (c *call) netnsFlags() []string {
	if c.netns == "" {
		return nil
	}
	var pod, own unix.Stat_t
	if unix.Stat(c.netns, &pod) != nil || unix.Stat("/proc/thread-self/ns/net", &own) != nil {
		return []string{"netns-gone"}
	}
	if pod.Ino == own.Ino {
		return []string{"netns", "in-pod"}
	}
	return []string{"netns"}
}

// environment makes one text of an environment.
func environment(env []string) []byte {
	slices.Sort(env)
	return []byte(strings.Join(env, "\n") + "\n")
}

// log adds a line to the log of the calls, whole even when several fakes do.
func log(line string) error {
	f, err := os.OpenFile(filepath.Join(os.Getenv("FAKE"), "calls"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(line + "\n")
	return errors.Join(err, f.Close())
}

// speaks returns the versions that the fake knows: see the package comment.
func (c *call) speaks() []string {
	all := version.All.SupportedVersions()
	_, max, limited := strings.Cut(c.kind, "@")
	if !limited {
		return all
	}
	if i := slices.Index(all, max); i >= 0 {
		return all[:i+1]
	}
	return strings.Split(max, ",")
}

// begin starts the result of ADD.
func (c *call) begin() error {
	c.result = &types100.Result{CNIVersion: types100.ImplementedSpecVersion}
	if c.verb != "ADD" {
		return nil
	}
	if c.conf.PrevResult == nil {
		c.result.Interfaces = []*types100.Interface{{Name: c.ifname, Sandbox: c.netns}}
		return nil
	}
	prev, err := create.Create(c.conf.CNIVersion, c.conf.PrevResult)
	if err != nil {
		return err
	}
	c.result, err = types100.NewResultFromResult(prev)
	return err
}

func (c *call) ops() (ops []string, err error) {
	raw := c.conf.Fake[c.verb]
	if raw == nil {
		return nil, nil
	}
	if raw[0] == '"' {
		ops = make([]string, 1)
		return ops, json.Unmarshal(raw, &ops[0])
	}
	return ops, json.Unmarshal(raw, &ops)
}

func (c *call) do(op string) error {
	words := strings.Fields(op)
	rest := func(n int) string { return strings.Join(strings.SplitN(op, " ", n+1)[n:], "") }
	if op == "" {
		return nil
	}
	switch words[0] {
	case "while":
		if _, err := os.Stat(filepath.Join(os.Getenv("WORK"), words[1])); err != nil {
			return nil
		}
		return c.do(rest(2))
	case "obey":
		return c.obey(words[1])
	case "unlink":
		return deleteLink(c.pod(), words[1])
	case "steal":
		return change(c.pod(), words[1], []string{"default", words[2], "replace"})
	case "link", "addr", "default":
		err := change(c.netns, c.ifname, words)
		if err != nil && !errors.As(err, &netlink.LinkNotFoundError{}) {
			return err
		}
		return c.state(words)
	case "route", "dns":
		return c.state(words)
	case "print":
		fmt.Print(rest(1))
		os.Exit(0)
	case "spew":
		return c.spew(words[1])
	case "flood":
		size, err := strconv.Atoi(words[1])
		_, writeErr := os.Stderr.WriteString(strings.Repeat("x", size))
		return errors.Join(err, writeErr)
	case "fill":
		return fill(words[1])
	case "stderr":
		fmt.Fprintln(os.Stderr, rest(1))
		return nil
	case "error":
		code, err := strconv.Atoi(words[1])
		if err != nil {
			return err
		}
		c.fail(uint(code), rest(2))
	case "exit":
		code, err := strconv.Atoi(words[1])
		if err != nil {
			return err
		}
		os.Exit(code)
	case "kill":
		if err := unix.Kill(os.Getpid(), unix.SIGKILL); err != nil {
			return err
		}
		select {}
	case "insist":
		if there, err := hasLink(c.netns, c.ifname); err != nil || !there && c.netns != "" {
			c.fail(999, "no interface "+c.ifname)
		}
		return nil
	case "deaf":
		signal.Ignore(unix.SIGTERM, unix.SIGINT)
		return nil
	case "hold":
		hold(words[1])
		return nil
	case "ipam":
		return start(words[1]).Wait()
	case "leave":
		start(words[1])
		return nil
	case "orphan":
		multus := os.Getppid()
		start(words[1])
		for os.Getppid() == multus {
			time.Sleep(poll)
		}
		return unix.Kill(os.Getpid(), unix.SIGKILL)
	case "forget":
		return deleteNetns(words[1])
	}
	return errors.New("the fake knows no such thing")
}

// pod is the pod's network namespace, also for a verb that is told none.
func (c *call) pod() string {
	if c.verb == "STATUS" || c.verb == "GC" {
		return "/run/netns/pod"
	}
	return c.netns
}

// spew ends the fake with that many bytes on stdout: of ADD a result, of the
// other verbs just bytes.
func (c *call) spew(size string) error {
	n, err := strconv.Atoi(size)
	if err != nil {
		return err
	}
	text := strings.Repeat("x", n)
	if c.verb == "ADD" {
		result, err := c.result.GetAsVersion(c.conf.CNIVersion)
		if err != nil {
			return err
		}
		object, err := json.Marshal(result)
		if err != nil {
			return err
		}
		text = `{"much": "` + text + `", ` + string(object[1:])
	}
	_, err = os.Stdout.WriteString(text)
	if err != nil {
		return err
	}
	os.Exit(0)
	return nil
}

// fill makes a file as large as the disk allows.
func fill(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	for page := make([]byte, 4096); err == nil; {
		_, err = f.Write(page)
	}
	if errors.Is(err, unix.ENOSPC) {
		return nil
	}
	return err
}

// obey does what a file says, an operation a line.
func (c *call) obey(name string) error {
	text, err := os.ReadFile(filepath.Join(os.Getenv("WORK"), name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, op := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		if err := c.do(op); err != nil {
			return err
		}
	}
	return nil
}

// state puts into the result what the fake has done.
func (c *call) state(words []string) error {
	switch words[0] {
	case "addr":
		ip, network, err := net.ParseCIDR(words[1])
		if err != nil {
			return err
		}
		of := slices.IndexFunc(c.result.Interfaces, func(i *types100.Interface) bool { return i.Name == c.ifname })
		c.result.IPs = append(c.result.IPs, &types100.IPConfig{
			Interface: types100.Int(of), Address: net.IPNet{IP: ip, Mask: network.Mask},
		})
	case "default":
		if !slices.Contains(words, "table") {
			gateway := net.ParseIP(words[1])
			c.result.Routes = append(c.result.Routes, &types.Route{Dst: anywhere(gateway), GW: gateway})
		}
	case "route":
		_, dst, err := net.ParseCIDR(words[1])
		if err != nil {
			return err
		}
		c.result.Routes = append(c.result.Routes, &types.Route{Dst: *dst, GW: net.ParseIP(words[2])})
	case "dns":
		c.result.DNS.Nameservers = append(c.result.DNS.Nameservers, words[1])
	}
	return nil
}

func (c *call) print() error {
	result, err := c.result.GetAsVersion(c.conf.CNIVersion)
	if err != nil {
		return err
	}
	return result.PrintTo(os.Stdout)
}

// fail ends the fake with a CNI error.
func (c *call) fail(code uint, msg string) {
	_ = json.NewEncoder(os.Stdout).Encode(map[string]any{
		"cniVersion": c.conf.CNIVersion, "code": code, "msg": msg, "details": "says " + c.kind,
	})
	os.Exit(1)
}

// start runs a child that waits to be released and has open whatever the fake
// itself has.
func start(name string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), "FAKE_HOLD="+name)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return cmd
}

// hold blocks until somebody opens the fifo of that name, and of this process,
// for writing.
func hold(name string) {
	time.AfterFunc(heldAtMost, func() {
		_ = log("never released: " + name)
		os.Exit(1)
	})
	fifo := filepath.Join(os.Getenv("FAKE"), fmt.Sprintf("hold-%s-%d", name, os.Getpid()))
	err := unix.Mkfifo(fifo, 0o600)
	var f *os.File
	if err == nil {
		f, err = os.OpenFile(fifo, os.O_RDONLY, 0)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	_ = os.Remove(fifo)
	_ = log("over " + name)
	_ = f.Close()
}
