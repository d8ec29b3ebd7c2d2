// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package real

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"multus-cni/test/sandbox"
)

const (
	// killNodes is on how many nodes they happen side by side.
	killNodes = 2
	// perKill is a time in which a kill has certainly been dealt with, on a
	// machine that has much else to do.
	perKill = time.Minute
)

// killing is one campaign's share on one node.
type killing struct {
	node       *node
	verb       string
	kills      int
	seed       uint64
	number     int // of the node
	strikes    *strikes
	random     *rand.Rand
	took       time.Duration // how long an operation takes that is not killed
	before     snapshot
	landed     int         // kills that came before the operation had ended
	interfaces map[int]int // how often the pod had how many at that instant
	ownerless  int         // leases, see hostLocalKilled
	unnamed    int         // devices, see tapKilled
}

// campaign runs its part of the kills on each node, from a seed, and says how
// many there were.
func campaign(t *testing.T, verb, sizeEnv string, size int64, run func(*testing.T, *killing)) {
	kills := int(fromEnv(t, sizeEnv, size))
	seed := fromEnv(t, killSeedEnv, 0)
	for i := range killNodes {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			share := kills/killNodes + (kills%killNodes+killNodes-1-i)/killNodes
			inNodeFor(t, nodeTimeout+time.Duration(share)*perKill, func(t *testing.T, n *node) {
				k := &killing{
					node: n, verb: verb, kills: share, interfaces: map[int]int{},
					seed: uint64(seed), number: i, random: rand.New(rand.NewPCG(uint64(seed), uint64(i))),
				}
				t.Logf("%s=%d %s=%d", sizeEnv, kills, killSeedEnv, seed)
				defer k.summary(t, time.Now())
				run(t, k)
				if !k.spread(sizeEnv == racesEnv) {
					t.Errorf("the kills are not spread over the %s", verb)
				}
			})
		})
	}
}

// spread reports whether the kills came all over the operation. Of a few races
// none may have; and as DEL waits for the ADD, most leave nothing in the pod.
func (k *killing) spread(races bool) bool {
	many := k.kills > 20
	if races {
		return k.landed > 0 || !many
	}
	return k.landed > 0 && (len(k.interfaces) > 1 || !many)
}

func (k *killing) summary(t *testing.T, start time.Time) {
	if k.strikes == nil { // something failed before
		return
	}
	t.Logf("%s killed %d times, seed %d, in %v: %d kills landed, at %d of %d system calls; interfaces in the pod then, and how often: %v; ownerless leases of a killed host-local: %d; unnamed devices of a killed tap: %d; failed: %v",
		k.verb, k.strikes.given, k.seed, time.Since(start).Round(time.Second), k.landed, k.strikes.used(), len(k.strikes.calls), k.interfaces, k.ownerless, k.unnamed, t.Failed())
}

// fromEnv returns the number that a variable holds.
func fromEnv(t *testing.T, name string, otherwise int64) int64 {
	t.Helper()
	value := os.Getenv(name)
	if value == "" {
		return otherwise
	}
	number, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return number
}

// pool is host-local with a network that is large enough for its round robin
// to meet no address again soon.
func pool(network int) string {
	return fmt.Sprintf(`"ipam": {"type": "host-local", "subnet": "10.%d.0.0/16", "routes": [{"dst": "0.0.0.0/0"}]}`, network)
}

// withChains has the plugins that the other confs of a campaign have not.
//
// A signal to multus reaches its plugins, and kills host-device. That moves a
// device through a network namespace of its own, which ends with the plugin: a
// physical device returns to the node then, but one half of a veth pair is
// deleted. So signalled says that host-device must be left out.
func withChains(signalled bool) string {
	delegates := []string{
		`{"type": "tap", ` + pool(1) + `}`,
		`{"type": "host-device", "device": "vf1", ` + pool(4) + `}`,
		primary(`{"plugins": [
			{"type": "bridge", "bridge": "br2", "isGateway": true, "ipMasq": true, ` + pool(2) + `},
			{"type": "portmap", "backend": "iptables", "capabilities": {"portMappings": true}},
			{"type": "firewall", "backend": "iptables"}]}`),
	}
	if signalled {
		delegates = slices.Delete(delegates, 1, 2)
	}
	return with(conf("1.1.0", delegates...),
		`"runtimeConfig": {"portMappings": [{"hostPort": 18080, "containerPort": 80, "protocol": "tcp"}]}`)
}

// rounds does as many rounds as there are kills. A round ends with the pod
// detached, and then nothing may be left.
//
// Every fourth round has ipMasq, with one of the two delegates, for which
// multus is killed, and not a plugin: no plugin of these finds its rules again
// once it was killed between the interface, whose addresses lead to them, and
// the rules. For the same reason only multus is killed where a host port and a
// firewall have rules of the pod, in another fourth of the rounds.
func (k *killing) rounds(t *testing.T, p *pod, round func(i int, c string, s strike)) {
	masqueraded := func(first, second bool) string {
		return conf("1.1.0",
			fmt.Sprintf(`{"type": "bridge", "bridge": "br1", "isGateway": true, "ipMasq": %v, %s}`, first, pool(1)),
			fmt.Sprintf(`{"type": "ptp", "masterplugin": true, "ipMasq": %v, %s}`, second, pool(2)))
	}
	plain := masqueraded(false, false)
	k.node.veth(t, "vf1", "wire1")
	if k.before == nil || k.verb == "GC" {
		k.before = k.node.snapshot(t)
	}
	k.rehearse(t, p, plain)
	progress := fmt.Sprintf("%s.%d", k.verb, k.number)
	for i := range k.kills {
		s := k.strikes.next()
		c := plain
		if s.victim == victimMultus && i%4 < 2 {
			c = masqueraded(i%8 < 4, i%8 >= 4)
		} else if s.victim == victimMultus && i%4 == 2 {
			c = withChains(s.how == withTerm)
		}
		sandbox.Progress(progress, i, k.kills, 0)
		round(i, c, s)
		k.node.noRules = c == plain && i < k.kills-1 // to list none takes a tenth of a kill's time
		k.nothingLeft(t, p, s)
		if t.Failed() {
			t.Fatalf("kill %d of %s, which takes %v: %v; conf %s", i, k.verb, k.took, s, c)
		}
	}
	sandbox.Progress(progress, k.kills, k.kills, 0)
}

// rehearse measures the operation and lists its system calls.
func (k *killing) rehearse(t *testing.T, p *pod, c string) {
	t.Helper()
	operation := map[string]func(){
		"ADD": func() { k.node.must(t, "ADD", p, c) },
		"DEL": func() { k.node.must(t, "DEL", p, c) },
		"GC": func() {
			k.node.must(t, "GC", &pod{}, with(c, `"cni.dev/valid-attachments": [{"containerID": "valid", "ifname": "eth0"}]`))
		},
	}
	verb, _, races := strings.Cut(k.verb, " ")
	whole := func() {
		for _, step := range map[string][]string{"ADD": {"ADD", "DEL"}, "DEL": {"ADD", "DEL"}, "GC": {"ADD", "GC"}}[verb] {
			start := time.Now()
			operation[step]()
			if step == verb {
				k.took = time.Since(start)
			}
		}
	}
	whole()
	if races {
		k.strikes = newStrikes(k.seed, k.number, k.kills, nil)
		return
	}
	traced := *k.node
	traced.trace(t)
	untraced := k.node
	k.node = &traced
	whole()
	k.node = untraced
	calls := systemCalls(t, verb)
	whole() // the first one had to make the bridge
	k.strikes = newStrikes(k.seed, k.number, k.kills, calls)
}

// strike runs a command until it is struck. What it returns waits for the
// command's end.
func (k *killing) strike(t *testing.T, cmd *exec.Cmd, s strike) (end func()) {
	t.Helper()
	if s.call != "" {
		injected := k.node.start(t, s.inject(cmd))
		if err := injected.wait(t, k.verb); err != nil { // killed, or rolled back
			k.landed++
		}
		return func() {}
	}
	c := k.node.start(t, cmd)
	time.Sleep(time.Duration(s.share * float64(k.took))) // the instant, not a wait for something
	if c.strike(t, s, k.node.plugins, k.took) {
		k.landed++
	}
	return func() { _ = c.wait(t, k.verb) } // killed or finished, both are fine
}

// hostLocalKilled is a lease that host-local has made and not yet written its
// owner into, when it was killed itself. Nobody can tell whose it is.
var hostLocalKilled = regexp.MustCompile(`^\+ file (/var/lib/cni/networks/[^/]+/[0-9.]+)$`)

// tapKilled is a device that tap has made and not yet given its name, when the
// signal to multus killed it. No DEL can find it; it ends with the pod.
var tapKilled = regexp.MustCompile(`^veth[0-9a-f]{8}$`)

func (k *killing) nothingLeft(t *testing.T, p *pod, s strike) {
	t.Helper()
	if _, err := os.Stat(p.netns); err == nil && s.how == withTerm && s.victim == victimMultus {
		for _, name := range slices.DeleteFunc(p.links(t), func(name string) bool { return !tapKilled.MatchString(name) }) {
			k.unnamed++
			k.node.ip(t, "-n "+filepath.Base(p.netns)+" link del "+name)
		}
	}
	for _, line := range k.node.leftovers(t, k.before) {
		if lease := hostLocalKilled.FindStringSubmatch(line); lease != nil && s.victim == victimIPAM {
			if owner, err := os.ReadFile(lease[1]); err == nil && len(bytes.TrimSpace(owner)) == 0 {
				k.ownerless++
				if err := os.Remove(lease[1]); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	k.node.nothingLeft(t, k.before, p)
}
