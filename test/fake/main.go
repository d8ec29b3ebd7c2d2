// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Fake is a CNI plugin that misbehaves as its configuration tells it to. It does
// nothing of what a plugin is for beyond a veth and its addresses and routes.
//
// It looks for its verb in the object "fake" of its configuration and does what
// it finds there, one string or a list of them:
//
//	link                  adds the interface, a veth
//	unlink IFNAME         removes any interface
//	addr ADDRESS/BITS     gives the interface an address
//	default GATEWAY [excl|replace|append] [onlink] [metric N] [table N] [proto ra|static]
//	                      adds a default route, as the reference plugins do:
//	                      without NLM_F_EXCL, or with the flag named
//	route DST GATEWAY, dns SERVER
//	                      only says so in its result, as addr and default do
//	                      where there is no link
//	print TEXT            prints that and no result
//	pieces                prints its result in two pieces, and opens /dev/stdout
//	                      for each
//	spew BYTES            prints that much, of ADD as a result, and nothing else
//	stderr TEXT           writes that on stderr, which it opens again
//	flood BYTES           writes that much on stderr
//	error CODE TEXT       prints that CNI error, with "says TYPE" as its details,
//	                      and exits with 1
//	exit CODE             exits without a word
//	kill                  dies of SIGKILL
//	while FILE OP...      does something while that file is in $WORK
//	obey FILE             does what that file in $WORK says, one a line, if it
//	                      exists
//	insist                fails where the interface is not in the netns, as
//	                      host-device does on DEL
//	below                 fails with code 1 where the type "ipam" names does not
//	                      support the configuration's version
//	deaf                  ignores SIGTERM and SIGINT from here on
//	hold NAME             waits to be released
//	ipam NAME [deaf]      runs a child to its end that waits to be released,
//	                      and that outlives its parent, and signals if deaf
//	leave NAME            starts such a child and does not wait for it; the
//	                      child keeps every file open that it inherited
//	orphan NAME           starts such a child, and dies as soon as multus has
//	forget NETNS          deletes the name of that network namespace
//	another NETNS         puts another network namespace in its place
//	steal IFNAME GATEWAY  puts its default route through that interface in the
//	                      place of the existing one
//	fill FILE             makes that file as large as the disk allows
//
// ADD then prints a result made of this and of the prevResult; DEL removes the
// interface. A type that ends in @VERSION supports no newer version than that;
// one that ends in @V,V,... claims to support these.
//
// With FAKE_UNREAD="VERB TYPE" in its environment it closes stdin unread, and
// adds or removes its interface; with FAKE_POLL="VERB TYPE" it waits for stdin
// with epoll(7) first. FAKE is the directory of its log, WORK that of the test.
package main

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
	"golang.org/x/sys/unix"

	"multus-cni/test/pod"
)

const (
	// heldAtMost ends a process that a test forgot to release.
	heldAtMost = 5 * time.Minute
	poll       = 2 * time.Millisecond
)

// call is one call of a fake.
type call struct {
	verb, container, ifname, netns string
	kind                           string // the type it was called by
	stdin                          []byte
	conf                           struct {
		CNIVersion string
		Name       string
		IPAM       struct{ Type string }
		PrevResult json.RawMessage
		Fake       map[string]json.RawMessage
	}
	result *types100.Result
}

func main() {
	if name := os.Getenv("FAKE_HOLD"); name != "" {
		if os.Getenv("FAKE_DEAF") != "" {
			signal.Ignore(unix.SIGTERM, unix.SIGINT)
		}
		hold(name)
		return
	}
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
	switch c.verb + " " + c.kind {
	case os.Getenv("FAKE_UNREAD"):
		return c.unread()
	case os.Getenv("FAKE_POLL"):
		if err := pollStdin(); err != nil {
			return err
		}
	}
	if c.stdin, err = io.ReadAll(os.Stdin); err != nil {
		return err
	}
	confErr := json.Unmarshal(c.stdin, &c.conf)
	if err := c.record(confErr); err != nil || confErr != nil {
		return errors.Join(err, confErr)
	}
	if c.verb == "VERSION" {
		return version.PluginSupports(supported(c.kind)...).Encode(os.Stdout)
	}
	if !slices.Contains(supported(c.kind), c.conf.CNIVersion) {
		if c.verb == "STATUS" || c.verb == "GC" { // as skel before v1.2 does, which looks at the version last
			c.fail(4, "unknown CNI_COMMAND: "+c.verb)
		}
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
		return pod.DeleteLink(c.netns, c.ifname)
	}
	return nil
}

// pollStdin waits for stdin as an event loop does.
func pollStdin() error {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return err
	}
	defer unix.Close(epoll)
	if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, 0, &unix.EpollEvent{Events: unix.EPOLLIN}); err != nil {
		return fmt.Errorf("add stdin to an epoll: %w", err)
	}
	events := make([]unix.EpollEvent, 1)
	for {
		n, err := unix.EpollWait(epoll, events, -1)
		if n > 0 || err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// unread closes stdin before anything of it has been read, as a plugin can that
// needs no configuration.
func (c *call) unread() error {
	err := errors.Join(os.Stdin.Close(), log(line(c.verb, c.container, c.ifname, c.kind, "-", "-", "unread")))
	switch {
	case err != nil:
		return err
	case c.verb == "ADD":
		if err := pod.Change(c.netns, c.ifname, []string{"link"}); err != nil {
			return err
		}
		_, err := fmt.Printf(`{"interfaces": [{"name": %q, "sandbox": %q}]}`, c.ifname, c.netns)
		return err
	case c.verb == "DEL":
		return pod.DeleteLink(c.netns, c.ifname)
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
	var given, own unix.Stat_t
	if unix.Stat(c.netns, &given) != nil || unix.Stat(pod.Own, &own) != nil {
		return []string{"netns-gone"}
	}
	if given.Ino == own.Ino {
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

// supported returns the versions that a type supports: see the package comment.
func supported(kind string) []string {
	all := version.All.SupportedVersions()
	_, newest, limited := strings.Cut(kind, "@")
	if !limited {
		return all
	}
	if i := slices.Index(all, newest); i >= 0 {
		return all[:i+1]
	}
	return strings.Split(newest, ",")
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

// do does one operation.
func (c *call) do(op string) error {
	words := strings.Fields(op)
	if len(words) == 0 {
		return nil
	}
	for _, some := range []map[string]operation{c.changes(), c.outputs(), c.endings(), c.processes()} {
		if operate, ok := some[words[0]]; ok {
			return operate(words, op)
		}
	}
	return errors.New("the fake knows no such operation")
}

// operation is told the words of an operation, and all of it.
type operation func(words []string, op string) error

// after returns what follows the first n words.
func after(op string, n int) string { return strings.Join(strings.SplitN(op, " ", n+1)[n:], "") }

// changes are what changes the pod or the disk.
func (c *call) changes() map[string]operation {
	change := func(words []string, _ string) error {
		if err := pod.Change(c.netns, c.ifname, words); err != nil && !errors.Is(err, pod.ErrNoLink) {
			return err
		}
		return c.state(words)
	}
	return map[string]operation{
		"link": change, "addr": change, "mac": change, "default": change,
		"route":  func(words []string, _ string) error { return c.state(words) },
		"dns":    func(words []string, _ string) error { return c.state(words) },
		"unlink": func(words []string, _ string) error { return pod.DeleteLink(c.pod(), words[1]) },
		"steal": func(words []string, _ string) error {
			return pod.Change(c.pod(), words[1], []string{"default", words[2], "replace"})
		},
		"forget": func(words []string, _ string) error { return pod.Delete(words[1]) },
		"another": func(words []string, _ string) error {
			return errors.Join(pod.Delete(words[1]), pod.Make(words[1]))
		},
		"fill": func(words []string, _ string) error { return fill(words[1]) },
	}
}

// outputs are what writes somewhere.
func (c *call) outputs() map[string]operation {
	return map[string]operation{
		"stderr": func(_ []string, op string) error { return reopen("/dev/stderr", after(op, 1)+"\n") },
		"flood": func(words []string, _ string) error {
			size, err := strconv.Atoi(words[1])
			_, writeErr := os.Stderr.WriteString(strings.Repeat("x", size))
			return errors.Join(err, writeErr)
		},
		"spew":   func(words []string, _ string) error { return c.spew(words[1]) },
		"pieces": func([]string, string) error { return c.pieces() },
	}
}

// endings are what ends the fake, at least in some cases.
func (c *call) endings() map[string]operation {
	return map[string]operation{
		"print": func(_ []string, op string) error {
			fmt.Print(after(op, 1))
			os.Exit(0)
			return nil
		},
		"error": func(words []string, op string) error {
			code, err := strconv.Atoi(words[1])
			if err == nil {
				c.fail(uint(code), after(op, 2))
			}
			return err
		},
		"exit": func(words []string, _ string) error {
			code, err := strconv.Atoi(words[1])
			if err == nil {
				os.Exit(code)
			}
			return err
		},
		"kill": func([]string, string) error { return die() },
		"insist": func([]string, string) error {
			if exists, err := pod.HasLink(c.netns, c.ifname); err != nil || !exists && c.netns != "" {
				c.fail(999, "no interface "+c.ifname)
			}
			return nil
		},
		"below": func([]string, string) error {
			if !slices.Contains(supported(c.conf.IPAM.Type), c.conf.CNIVersion) {
				c.fail(1, "incompatible CNI versions of "+c.conf.IPAM.Type)
			}
			return nil
		},
	}
}

// processes are what takes its time, and what depends on files of the test.
func (c *call) processes() map[string]operation {
	return map[string]operation{
		"while": func(words []string, op string) error {
			if _, err := os.Stat(filepath.Join(os.Getenv("WORK"), words[1])); err != nil {
				return nil
			}
			return c.do(after(op, 2))
		},
		"obey": func(words []string, _ string) error { return c.obey(words[1]) },
		"deaf": func([]string, string) error {
			signal.Ignore(unix.SIGTERM, unix.SIGINT)
			return nil
		},
		"hold": func(words []string, _ string) error {
			hold(words[1])
			return nil
		},
		"ipam": func(words []string, _ string) error {
			return start(words[1], "FAKE_DEAF="+strings.Join(words[2:], "")).Wait()
		},
		"leave": func(words []string, _ string) error {
			start(words[1])
			return nil
		},
		"orphan": func(words []string, _ string) error {
			multus := os.Getppid()
			start(words[1])
			for os.Getppid() == multus {
				time.Sleep(poll)
			}
			return die()
		},
	}
}

// die ends the fake as the kernel's out-of-memory killer would.
func die() error {
	if err := unix.Kill(os.Getpid(), unix.SIGKILL); err != nil {
		return err
	}
	select {}
}

// pod is the pod's network namespace, also for a verb that is told none.
func (c *call) pod() string {
	if c.verb == "STATUS" || c.verb == "GC" {
		return pod.Path
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
			c.result.Routes = append(c.result.Routes, &types.Route{Dst: pod.Anywhere(gateway), GW: gateway})
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

// pieces ends the fake with its result, as a shell script prints one that
// redirects each command.
func (c *call) pieces() error {
	result, err := c.result.GetAsVersion(c.conf.CNIVersion)
	if err != nil {
		return err
	}
	text, err := json.Marshal(result)
	half := len(text) / 2
	err = errors.Join(err, reopen("/dev/stdout", string(text[:half])), reopen("/dev/stdout", string(text[half:])))
	if err == nil {
		os.Exit(0)
	}
	return err
}

// reopen writes to a file as the redirection > of a shell does.
func reopen(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o666)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
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
func start(name string, env ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(append(os.Environ(), "FAKE_HOLD="+name), env...)
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
