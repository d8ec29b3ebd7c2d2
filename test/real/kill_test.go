// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package real

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"
)

const (
	killsEnv = "MULTUS_KILLS"     // how many, all together
	seedEnv  = "MULTUS_KILL_SEED" // of the instants
	// killNodes is on how many nodes they happen side by side.
	killNodes = 2
	// killsAMeasure is after how many kills it is measured again how long an
	// ADD takes. That depends on what else the machine does.
	killsAMeasure = 10
)

// TestKill kills multus with SIGKILL at random instants of an ADD and sends
// DEL at once, as a runtime does that has run out of patience. The plugin that
// was running goes on, and so does its IPAM plugin: DEL must wait for them.
// Every second time the conf has changed by then: the record must be there.
func TestKill(t *testing.T) {
	t.Parallel()
	kills := fromEnv(t, killsEnv, 100)
	seed := fromEnv(t, seedEnv, time.Now().UnixNano()) // each node's own, unless set
	for i := range int64(killNodes) {
		t.Run(strconv.FormatInt(i, 10), func(t *testing.T) {
			inNode(t, func(t *testing.T, n *node) {
				share := (kills + killNodes - 1) / killNodes
				t.Logf("%s=%d %s=%d", killsEnv, kills, seedEnv, seed)
				n.kill(t, int(share), i%2 == 0, rand.New(rand.NewPCG(uint64(seed), uint64(i))))
			})
		})
	}
}

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

// kill has ipMasq with the first delegate or with the last, since the rules take
// most of the time of an ADD.
func (n *node) kill(t *testing.T, kills int, masqFirst bool, random *rand.Rand) {
	const ipam = `"ipam": {"type": "host-local", "routes": [{"dst": "0.0.0.0/0"}], "subnet": `
	c := conf("1.0.0",
		fmt.Sprintf(`{"type": "bridge", "bridge": "br1", "isGateway": true, "ipMasq": %v, %s "10.1.0.0/24"}}`, masqFirst, ipam),
		fmt.Sprintf(`{"type": "ptp", %s "10.2.0.0/24"}}`, ipam),
		fmt.Sprintf(`{"type": "ptp", "masterplugin": true, "ipMasq": %v, %s "10.3.0.0/24"}}`, !masqFirst, ipam))
	changed := conf("1.0.0", primary(`{"type": "ptp", "name": "changed", `+ipam+`"10.4.0.0/24"}}`))
	before := n.snapshot(t)
	p := n.pod(t, "pod1")
	late := 0                // kills that came after the ADD had ended
	links := map[int]int{}   // how often the pod had how many interfaces
	var took []time.Duration // by an ADD
	var slices []int         // of that time, in which a kill is still to come
	for i := range kills {
		if len(slices) == 0 {
			took = append(took, n.measure(t, p, c))
			slices = random.Perm(killsAMeasure)
		}
		p.id = "kill" + strconv.Itoa(i)
		share := (float64(slices[0]) + random.Float64()) / killsAMeasure * 1.05 // some after the end, too
		slices = slices[1:]
		after := time.Duration(share * float64(took[len(took)-1]))
		add := n.command("ADD", p, c)
		if err := add.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(after) // the instant, not a wait for something
		if err := add.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		links[len(p.links(t))]++
		n.must(t, "DEL", p, []string{c, changed}[i%2])
		if add.Wait() == nil {
			late++
		}
		n.nothingLeft(t, before, p)
		if records := n.records(t); len(records) > 0 {
			t.Errorf("left in the folder of the records: %q", records)
		}
		if t.Failed() {
			t.Fatalf("kill %d, %v after the start of an ADD that takes %v", i, after, took[len(took)-1])
		}
	}
	t.Logf("%d kills, %d of them too late; an ADD takes %v; interfaces in the pod at that instant, and how often: %v",
		kills, late, took, links)
	if late == kills || kills > killsAMeasure && len(links) < 2 {
		t.Errorf("the kills are not spread over an ADD")
	}
}

// measure returns how long an ADD takes.
func (n *node) measure(t *testing.T, p *pod, conf string) time.Duration {
	t.Helper()
	start := time.Now()
	n.must(t, "ADD", p, conf)
	defer n.must(t, "DEL", p, conf)
	return time.Since(start)
}
