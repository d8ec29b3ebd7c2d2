// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package multus

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/version"
	"github.com/vishvananda/netlink"
	vishnetns "github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"multus-cni/pkg/delegate"
	"multus-cni/pkg/pluginexec"
	"multus-cni/pkg/record"
)

// Two delegates: a secondary and, behind it, the primary.
const (
	secondary = `{"type":"a"}`
	primary   = `{"type":"p","masterplugin":true}`
	both      = secondary + "," + primary
)

// node is where the calls of one test happen. It has one pod, and its plugins
// are functions of the test.
type node struct {
	t     *testing.T
	dir   string          // cniDir
	netns string          // CNI_NETNS, a symbolic link: a test can make it lead elsewhere
	links *netlink.Handle // of the pod
	// does says what a plugin does, by "VERB type". The others do what work does.
	does    map[string]func(request) (string, error)
	missing string    // the type of a plugin that is not installed
	stdout  io.Writer // nil for one that the answer shows

	mu    sync.Mutex
	calls []request // what plugins were asked for, VERSION left out
}

// request is one call of a plugin.
type request struct {
	verb, plugin, container, ifname, netns, args string

	stdin string
	conf  struct {
		Name, CNIVersion          string
		PrevResult, RuntimeConfig json.RawMessage
		Valid                     []types.GCAttachment `json:"cni.dev/valid-attachments"`
		ValidIn2024               []types.GCAttachment `json:"cni.dev/attachments"`
	}
}

func newNode(t *testing.T) *node {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("it makes network namespaces: run it as root")
	}
	n := &node{t: t, dir: filepath.Join(t.TempDir(), "records"), netns: filepath.Join(t.TempDir(), "netns"), does: map[string]func(request) (string, error){}}
	file := unshare(t)
	n.leadTo(file)
	links, err := netlink.NewHandleAt(vishnetns.NsHandle(file), unix.NETLINK_ROUTE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(links.Close)
	n.links = links
	return n
}

// unshare returns a descriptor of a new network namespace. It is made on a
// thread that stays in there, and therefore ends with its goroutine.
func unshare(t *testing.T) int {
	t.Helper()
	errs, file := make(chan error, 1), -1
	go func() {
		runtime.LockOSThread()
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			file, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		}
		errs <- err
	}()
	if err := <-errs; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(file) })
	return file
}

// leadTo makes CNI_NETNS lead to another network namespace.
func (n *node) leadTo(file int) {
	_ = os.Remove(n.netns)
	n.must(os.Symlink("/proc/self/fd/"+strconv.Itoa(file), n.netns))
}

func (n *node) must(err error) {
	n.t.Helper()
	if err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) FindInPath(plugin string, _ []string) (string, error) {
	if plugin == n.missing {
		return "", fmt.Errorf("no plugin %q", plugin)
	}
	return "/bin/" + plugin, nil
}

func (n *node) Decode(text []byte) (version.PluginInfo, error) {
	return new(version.PluginDecoder).Decode(text)
}

func (n *node) ExecPlugin(ctx context.Context, path string, stdin []byte, environ []string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	env := map[string]string{}
	for _, pair := range environ {
		key, value, _ := strings.Cut(pair, "=")
		env[key] = value
	}
	r := request{
		verb: env["CNI_COMMAND"], plugin: filepath.Base(path), container: env["CNI_CONTAINERID"], ifname: env["CNI_IFNAME"],
		netns: env["CNI_NETNS"], args: env["CNI_ARGS"], stdin: string(stdin),
	}
	if err := json.Unmarshal(stdin, &r.conf); err != nil {
		return nil, err
	}
	n.mu.Lock()
	if r.verb != "VERSION" {
		n.calls = append(n.calls, r)
	}
	does := n.does[r.verb+" "+r.plugin]
	n.mu.Unlock()
	if does == nil {
		does = n.work
	}
	stdout, err := does(r)
	return []byte(stdout), err
}

var _ invoke.Exec = (*node)(nil)

// work is what a plugin does that nothing else is said of: ADD makes its
// interface in the pod, DEL removes it.
func (n *node) work(r request) (string, error) {
	switch r.verb {
	case "VERSION":
		return supports(version.All.SupportedVersions()...), nil
	case "ADD":
		err := n.links.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: r.ifname}, PeerName: r.ifname + "-peer"})
		if err != nil && !errors.Is(err, unix.EEXIST) { // the second plugin of a list finds it there
			return "", err
		}
		return fmt.Sprintf(`{"cniVersion":%q,"interfaces":[{"name":%q,"sandbox":%q}]}`, r.conf.CNIVersion, r.ifname, r.netns), nil
	case "DEL":
		if link, err := n.links.LinkByName(r.ifname); err == nil && r.netns != "" {
			return "", n.links.LinkDel(link)
		}
	}
	return "", nil
}

// supports is what a plugin with these versions answers to VERSION.
func supports(versions ...string) string {
	text, _ := json.Marshal(map[string]any{"cniVersion": "1.0.0", "supportedVersions": versions})
	return string(text)
}

// fails is a plugin that fails with an error of the CNI spec.
func fails(code uint, msg string) func(request) (string, error) {
	return func(request) (string, error) { return "", types.NewError(code, msg, "details of "+msg) }
}

// addsDefault is the ADD of a plugin that installs a default route, and fails
// if there is one.
func (n *node) addsDefault(r request) (string, error) {
	if _, err := n.work(r); err != nil {
		return "", err
	}
	link, err := n.links.LinkByName(r.ifname)
	n.must(err)
	n.must(n.links.LinkSetUp(link))
	octet := byte(link.Attrs().Index)
	n.must(n.links.AddrAdd(link, &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(10, octet, 0, 2), Mask: net.CIDRMask(24, 32)}}))
	if err := n.links.RouteAdd(n.defaultThrough(r.ifname)); err != nil {
		return "", err
	}
	return fmt.Sprintf(`{"cniVersion":%q,"interfaces":[{"name":%q,"sandbox":%q}],"routes":[{"dst":"0.0.0.0/0","gw":"10.%d.0.1"}]}`,
		r.conf.CNIVersion, r.ifname, r.netns, octet), nil
}

// defaultThrough is the default route that addsDefault installs.
func (n *node) defaultThrough(ifname string) *netlink.Route {
	n.t.Helper()
	link, err := n.links.LinkByName(ifname)
	n.must(err)
	index := link.Attrs().Index
	return &netlink.Route{LinkIndex: index, Gw: net.IPv4(10, byte(index), 0, 1), Flags: int(netlink.FLAG_ONLINK)}
}

// conf writes a conf. more are further members.
func (n *node) conf(delegates string, more ...string) string {
	members := append(more, `"cniVersion":"1.1.0","name":"net","type":"multus"`, `"cniDir":`+strconv.Quote(n.dir), `"delegates":[`+delegates+`]`)
	return "{" + strings.Join(members, ",") + "}"
}

// answer is what the runtime gets.
type answer struct {
	exit           int
	stdout, stderr string
	types.Error    // zero unless the call failed
}

// call makes one call as a runtime does, for container c1 and eth0 where env,
// KEY=VALUE pairs, says nothing else.
func (n *node) call(verb, conf string, env ...string) answer {
	n.t.Helper()
	return n.callWith(context.Background(), verb, conf, env...)
}

func (n *node) callWith(ctx context.Context, verb, conf string, pairs ...string) answer {
	n.t.Helper()
	env := delegate.Env{"CNI_PATH=/bin", "CNI_CONTAINERID=c1", "CNI_IFNAME=eth0", "CNI_ARGS=", "CNI_NETNS=" + n.netns}.With(pairs...)
	if verb == "GC" || verb == "STATUS" {
		env = env.With("CNI_CONTAINERID=", "CNI_IFNAME=", "CNI_NETNS=")
	}
	env = env.With("CNI_COMMAND="+verb, "CNI_NETNS_OVERRIDE=")
	var stdout, stderr bytes.Buffer
	m := &Multus{Env: env, Stdout: &stdout, Stderr: &stderr, Exec: func(pluginexec.Guard, bool) invoke.Exec { return n }}
	if n.stdout != nil {
		m.Stdout = n.stdout
	}
	a := answer{exit: serveWith(ctx, n.t, m, conf)}
	a.stdout, a.stderr = stdout.String(), stderr.String()
	if a.exit != 0 && n.stdout == nil {
		n.must(json.Unmarshal(stdout.Bytes(), &a.Error)) // of two documents that is an error
	}
	return a
}

// serveWith gives the process the environment and the stdin that Serve reads.
func serveWith(ctx context.Context, t *testing.T, m *Multus, stdin string) int {
	t.Helper()
	for _, pair := range m.Env {
		key, value, _ := strings.Cut(pair, "=")
		t.Setenv(key, value)
	}
	file, err := os.CreateTemp(t.TempDir(), "stdin")
	if err == nil {
		_, err = file.WriteAt([]byte(stdin), 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	defer func(old *os.File) { os.Stdin = old }(os.Stdin)
	os.Stdin = file
	return m.Serve(ctx, "about")
}

// add makes an ADD that must succeed, and forgets what plugins were asked for.
func (n *node) add(conf string, env ...string) answer {
	n.t.Helper()
	a := n.call("ADD", conf, env...)
	n.wantOK("ADD", a)
	n.calls = nil
	return a
}

func (n *node) wantOK(what string, a answer) {
	n.t.Helper()
	if a.exit != 0 {
		n.t.Fatalf("%s: exit code %d, %+v", what, a.exit, a.Error)
	}
}

// wantError checks the code of an error, and that its message and details have
// all of these texts.
func (n *node) wantError(what string, a answer, code uint, texts ...string) {
	n.t.Helper()
	if a.exit != 1 || a.Code != code {
		n.t.Errorf("%s: got exit code %d and %+v, want code %d", what, a.exit, a.Error, code)
	}
	for _, text := range texts {
		if !strings.Contains(a.Msg+"\n"+a.Details, text) {
			n.t.Errorf("%s: got %q, details %q, want %q in them", what, a.Msg, a.Details, text)
		}
	}
}

// wantCalls checks what plugins were asked for since the last time: "DEL a
// net0", with " -" behind it for an empty CNI_NETNS.
func (n *node) wantCalls(what string, want ...string) {
	n.t.Helper()
	var got []string
	for _, r := range n.calls {
		text := strings.TrimSpace(r.verb + " " + r.plugin + " " + r.ifname)
		if r.ifname != "" && r.netns == "" {
			text += " -"
		}
		got = append(got, text)
	}
	if !slices.Equal(got, want) {
		n.t.Errorf("%s: plugins were asked for\n%q, want\n%q", what, got, want)
	}
	n.calls = nil
}

func (n *node) store() record.Store { return record.Store{Dir: n.dir} }

func (n *node) key(container string) record.Key {
	return record.Key{Network: "net", ContainerID: cmp.Or(container, "c1"), IfName: "eth0"}
}

// record loads c1's record, nil when there is none.
func (n *node) record() *record.Record {
	n.t.Helper()
	r, err := n.store().Load(n.key(""))
	if !errors.Is(err, record.ErrNotExist) {
		n.must(err)
	}
	return r
}

// edit changes c1's record.
func (n *node) edit(change func(*record.Record)) {
	n.t.Helper()
	r := n.record()
	change(r)
	n.must(n.store().Save(r))
}

// write writes a file into the directory of the records.
func (n *node) write(name, text string) {
	n.t.Helper()
	n.must(n.store().Prepare())
	n.must(os.WriteFile(filepath.Join(n.dir, name), []byte(text), 0o600))
}

// then does what work does, and something after it.
func (n *node) then(after func()) func(request) (string, error) {
	return func(r request) (string, error) {
		stdout, err := n.work(r)
		after()
		return stdout, err
	}
}
