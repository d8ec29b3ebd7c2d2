// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package containerd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// The one containerd of all tests, and the CNI version that its confs are written in.
var (
	daemon     *node
	release    string // of containerd: "1.6", "2.4"
	cniVersion = os.Getenv("E2E_CNIVERSION")
)

// TestMain starts containerd. The box that this runs in ends it, whatever becomes of the tests.
func TestMain(m *testing.M) {
	if os.Getenv("E2E_CGROUP") == "" {
		fmt.Fprintln(os.Stderr, "these tests change the machine that they run on: start them with ./run")
		os.Exit(1)
	}
	daemon = &node{
		bin: os.Getenv("E2E_BIN"), config: os.Getenv("E2E_CONFIG"), cgroup: os.Getenv("E2E_CGROUP"),
		log: "/run/containerd.log",
	}
	if err := prepare(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if err := daemon.kill(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func prepare(ctx context.Context) error {
	if err := daemon.start(ctx); err != nil {
		return err
	}
	version, err := daemon.version(ctx)
	if err != nil {
		return err
	}
	fmt.Println("version: containerd", version)
	release = strings.Join(strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)[:2], ".")
	const archive = "/run/image.tar"
	if err := writeImage(archive, "/bin/busybox", "sleep", "ip", "ping", "httpd"); err != nil {
		return err
	}
	return daemon.load(ctx, archive, image)
}

// proved is what ./build e2e puts into its table.
func proved(what string) {
	fmt.Printf("proved: %s: %s\n", release, what)
}

// conf is a conf of multus with these delegates, told to pass on the ports that a pod has on its host. Without that
// capability in multus's own conf, the runtime never sends them.
func conf(network string, delegates ...string) string {
	return fmt.Sprintf(`{"cniVersion": %q, "name": %q, "type": "multus", "capabilities": {"portMappings": true},
		"delegates": [%s]}`, cniVersion, network, strings.Join(delegates, ", "))
}

const (
	primary = `{"masterplugin": true, "name": "pods", "plugins": [
		{"type": "bridge", "bridge": "demo-eth0", "isDefaultGateway": true, "ipMasq": true, "hairpinMode": true,
			"ipam": {"type": "host-local", "subnet": "10.244.1.0/24"}},
		{"type": "portmap", "capabilities": {"portMappings": true}}]}`
	ptp = `{"type": "ptp",
		"ipam": {"type": "host-local", "subnet": "10.168.1.0/24", "routes": [{"dst": "0.0.0.0/0"}]}}`
	bridge = `{"type": "bridge", "bridge": "demo-net1", "isGateway": true,
		"ipam": {"type": "host-local", "subnet": "10.56.217.0/24", "routes": [{"dst": "0.0.0.0/0"}]}}`
)

// TestPod is the life of two pods, one of them with a port on the host.
func TestPod(t *testing.T) {
	ctx := limited(t)
	before := machine(t)
	ok(t, daemon.configure(ctx, "whole", conf("whole", ptp, bridge, primary)))
	one := daemon.newPod("one", &cri.PortMapping{ContainerPort: 80, HostPort: 8080})
	two := daemon.newPod("two")
	ok(t, one.run(ctx, "httpd", "-f", "-p", "80", "-h", "/www"))
	ok(t, two.run(ctx, "sleep", "86400"))

	addresses := must(one.exec(ctx, "ip", "-o", "-4", "addr"))(t)
	for _, want := range []string{"net0    inet 10.168.1.2/24", "net1    inet 10.56.217.2/24", "eth0    inet 10.244.1.2/24"} {
		if !strings.Contains(addresses, want) {
			t.Errorf("ip addr in the pod: %s\nwant %q", addresses, want)
		}
	}
	if got := must(one.address(ctx))(t); got != "10.244.1.2" {
		t.Errorf("containerd says that the pod's address is %q, want that of eth0, 10.244.1.2", got)
	}
	var defaults []string
	for route := range strings.Lines(must(one.exec(ctx, "ip", "route"))(t)) {
		if strings.HasPrefix(route, "default") || strings.Contains(route, "nexthop") {
			defaults = append(defaults, strings.TrimSpace(route))
		}
	}
	if got := strings.Join(defaults, "; "); got != "default via 10.244.1.1 dev eth0" {
		t.Errorf("default route in the pod: %q", got)
	}
	for dev, address := range map[string]string{"eth0": "10.244.1.2", "net0": "10.168.1.2", "net1": "10.56.217.2"} {
		must(two.exec(ctx, "ping", "-c", "1", "-W", "5", "-I", dev, address))(t)
	}
	if t.Failed() {
		return
	}
	proved("a pod has eth0, net0 and net1, its address and its only default route are those of eth0")
	proved("two pods reach each other over each of the three")

	const url = "http://127.0.0.1:8080/"
	if got := must(get(ctx, url))(t); got != greeting {
		t.Fatalf("GET %s: got %q, want %q", url, got, greeting)
	}
	proved("hostPort works: portMappings reached portmap in the primary's list")

	ok(t, one.stop(ctx))
	ok(t, one.remove(ctx))
	ok(t, two.remove(ctx))
	withNetns, without := 0, 0
	for _, call := range calls(t, "DEL", one.id) {
		if strings.HasSuffix(call, " -") {
			without++
		} else {
			withNetns++
		}
	}
	if withNetns == 0 || without == 0 {
		t.Errorf("DEL of the pod: %d calls with its netns, %d without; want both", withNetns, without)
	}
	if got, err := get(ctx, url); err == nil {
		t.Errorf("GET %s after the pod is gone: %q", url, got)
	}
	same(t, before)
	if !t.Failed() {
		proved("DEL with the netns, and again without: nothing is left")
	}
}

// TestFailingSecondary is a pod whose last delegate fails after the others have worked.
func TestFailingSecondary(t *testing.T) {
	ctx := limited(t)
	before := machine(t)
	ok(t, daemon.configure(ctx, "failing", conf("failing", primary, ptp, `{"type": "broken"}`)))
	p := daemon.newPod("unlucky", &cri.PortMapping{ContainerPort: 80, HostPort: 8080})
	err := p.sandbox(ctx)
	if err == nil {
		t.Fatal("the sandbox runs though a delegate failed")
	}
	for _, want := range []string{`delegate 2 "broken" (net1)`, "no luck today"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the sandbox's error lacks %q: %v", want, err)
		}
	}
	same(t, before)
	if ids := must(daemon.pods(ctx))(t); len(ids) != 0 {
		t.Errorf("containerd still has the pods %q", ids)
	}
	if !t.Failed() {
		proved("a failing secondary is named by the sandbox's error, nothing is left")
	}
}

// TestCancelledADD is a kubelet that gives up while a delegate is at work: containerd kills multus, though not the
// delegate, and calls DEL at once.
func TestCancelledADD(t *testing.T) {
	ctx := limited(t)
	before := machine(t)
	ok(t, daemon.configure(ctx, "cancelled", conf("cancelled", ptp, primary, `{"type": "slow"}`)))
	p := daemon.newPod("late", &cri.PortMapping{ContainerPort: 80, HostPort: 8080})
	patience, giveUp := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- p.sandbox(patience) }()
	gate := openGate(ctx, t)
	giveUp()
	if err := <-ended; err == nil {
		t.Fatal("the sandbox runs, though nobody waited for it")
	}
	add := calls(t, "ADD", "")
	id := strings.Fields(add[len(add)-1])[1]
	called(ctx, t, "DEL", id)
	notOvertaken(t)
	letGo(t, gate)
	ok(t, await(ctx, "containerd to forget the pod", func() error {
		ids, err := daemon.pods(ctx)
		if err == nil && len(ids) > 0 {
			err = fmt.Errorf("it has %q", ids)
		}
		return err
	}))
	same(t, before)
	proved("ADD cancelled, multus killed, DEL at once while the delegate is still at work: nothing is left")
}

// TestKilledDuringADD kills containerd while a delegate is at work. Multus and the delegate go on, without anybody to
// read their result. Then containerd is back, knows the pod, and is told to remove it.
func TestKilledDuringADD(t *testing.T) {
	ctx := limited(t)
	before := machine(t)
	ok(t, daemon.configure(ctx, "killed", conf("killed", ptp, primary, `{"type": "slow"}`)))
	// interrupt returns the pod, and the gate of the delegate that is still at work when containerd is dead.
	interrupt := func(name string) (*pod, *os.File) {
		p := daemon.newPod(name, &cri.PortMapping{ContainerPort: 80, HostPort: 8080})
		interrupted := make(chan error, 1)
		go func() { interrupted <- p.sandbox(ctx) }()
		gate := openGate(ctx, t)
		if machine(t) == before {
			t.Fatal("the delegates before the slow one made nothing: this would prove nothing")
		}
		ok(t, daemon.kill())
		if err := <-interrupted; err == nil {
			t.Fatal("the sandbox runs, though its containerd was killed")
		}
		return p, gate
	}
	restart := func(p *pod) {
		ok(t, daemon.start(ctx))
		ids := must(daemon.pods(ctx))(t)
		if len(ids) != 1 {
			t.Fatalf("containerd, started again, has the pods %q, want 1", ids)
		}
		p.id = ids[0]
	}

	p, gate := interrupt("overtaken")
	restart(p)
	removed := make(chan error, 1)
	go func() { removed <- p.remove(ctx) }()
	called(ctx, t, "DEL", p.id)
	notOvertaken(t)
	letGo(t, gate)
	ok(t, <-removed)
	same(t, before)
	proved("containerd killed during ADD and back, its DEL comes while the ADD still runs: nothing is left")

	p, gate = interrupt("unheard")
	letGo(t, gate)
	ok(t, await(ctx, "multus to take back what nobody heard of", func() error {
		return left(before, ofMultus(machine(t)))
	}))
	restart(p)
	ok(t, p.remove(ctx))
	same(t, before)
	proved("containerd killed during ADD, the ADD ends with nobody to read its result: taken back before any DEL")
}

// TestStatus is a delegate that is not well for a while.
func TestStatus(t *testing.T) {
	if cniVersion != "1.1.0" {
		fmt.Printf("not on %s: STATUS, which came with CNI 1.1.0\n", release)
		t.SkipNow()
	}
	ctx := limited(t)
	ok(t, daemon.configure(ctx, "status", conf("status", primary, `{"type": "watched"}`)))
	network := func(want bool, says string) func() error {
		return func() error {
			ready, why, err := daemon.network(ctx)
			if err == nil && (ready != want || !strings.Contains(why, says)) {
				err = fmt.Errorf("NetworkReady is %t: %s", ready, why)
			}
			return err
		}
	}
	ok(t, await(ctx, "the network to be ready", network(true, "")))
	ok(t, os.WriteFile("/run/unwell", nil, 0o644))
	ok(t, await(ctx, "the network not to be ready", network(false, "not well today")))
	ok(t, os.Remove("/run/unwell"))
	ok(t, await(ctx, "the network to be ready again", network(true, "")))
	proved("NetworkReady is false while a delegate's STATUS fails, with its words, and true again afterwards")
}

// limited is a context that ends with the test, and after five minutes.
func limited(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// must(f())(t) is the result of f, which must not fail.
func must[T any](got T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		ok(t, err)
		return got
	}
}

func sh(t *testing.T, command string) string {
	t.Helper()
	out, err := exec.Command("sh", "-c", command).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", command, err, out)
	}
	return string(out)
}

// machine is all that an attachment could leave behind.
func machine(t *testing.T) string {
	t.Helper()
	return sh(t, "../docker/machine")
}

// ofMultus is the machine without what containerd makes and deletes itself: the netns, and the results that it keeps.
func ofMultus(machine string) string {
	var rest []string
	for line := range strings.Lines(machine) {
		if !strings.HasPrefix(line, "netns ") && !strings.HasPrefix(line, "file /var/lib/cni/results/") {
			rest = append(rest, line)
		}
	}
	return strings.Join(rest, "")
}

// left says what of now was not there before, and the other way round.
func left(before, now string) error {
	was := strings.Split(before, "\n")
	var more []string
	for line := range strings.SplitSeq(now, "\n") {
		if i := slices.Index(was, line); i >= 0 {
			was = slices.Delete(was, i, i+1)
		} else {
			more = append(more, line)
		}
	}
	if len(more)+len(was) == 0 {
		return nil
	}
	return fmt.Errorf("left behind: %q, missing: %q", more, was)
}

// same waits until the machine is as it was before: the kernel takes its time over a netns.
func same(t *testing.T, before string) {
	t.Helper()
	ok(t, await(t.Context(), "the machine to be as before", func() error { return left(before, machine(t)) }))
}

// calls are the calls of multus that containerd made with the verb, for the container or for all if that is empty, as
// "VERB CONTAINER NETNS".
func calls(t *testing.T, verb, container string) []string {
	t.Helper()
	log, err := os.ReadFile("/run/calls")
	ok(t, err)
	var found []string
	for line := range strings.Lines(string(log)) {
		if strings.HasPrefix(line, verb+" "+container) {
			found = append(found, strings.TrimSpace(line))
		}
	}
	return found
}

// called waits until containerd has called the verb for the container.
func called(ctx context.Context, t *testing.T, verb, container string) {
	t.Helper()
	ok(t, await(ctx, "containerd to call "+verb, func() error {
		if len(calls(t, verb, container)) == 0 {
			return errors.New("no call yet")
		}
		return nil
	}))
}

// openGate waits until the delegate "slow" is in its ADD, which goes on when a line is written to the file.
func openGate(ctx context.Context, t *testing.T) *os.File {
	t.Helper()
	var gate *os.File
	ok(t, await(ctx, "the slow delegate to run", func() (err error) {
		// Without a reader this fails instead of waiting.
		gate, err = os.OpenFile("/run/gate", os.O_WRONLY|syscall.O_NONBLOCK, 0)
		return err
	}))
	return gate
}

// notOvertaken gives a DEL that does not wait for the slow delegate's ADD a second to reach that delegate.
func notOvertaken(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if _, err := os.Stat("/run/overtaken"); err == nil {
			t.Fatal("DEL reached a delegate that was still in its ADD")
		}
	}
}

func letGo(t *testing.T, gate *os.File) {
	t.Helper()
	must(gate.WriteString("go\n"))(t)
	ok(t, gate.Close())
}

func get(ctx context.Context, url string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}
