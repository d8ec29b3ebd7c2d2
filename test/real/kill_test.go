// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package real

import (
	"strconv"
	"testing"
	"time"
)

// How many kills there are, on all nodes together, and the seed of what is
// random in them. Each kill takes half a second.
const (
	killsOfAddEnv = "MULTUS_KILLS"
	killsOfDelEnv = "MULTUS_KILLS_DEL"
	killsOfGCEnv  = "MULTUS_KILLS_GC"
	racesEnv      = "MULTUS_KILLS_RACE"
	killSeedEnv   = "MULTUS_KILL_SEED"
)

// TestKillAdd kills an ADD, or what it runs, and sends DEL at once, as a
// runtime does that has run out of patience. What multus had started may go on
// meanwhile: DEL must wait for it. Every second time the conf has changed by
// then: the record must be there.
func TestKillAdd(t *testing.T) {
	t.Parallel()
	campaign(t, "ADD", killsOfAddEnv, 40, func(t *testing.T, k *killing) {
		changed := conf("1.0.0", primary(`{"type": "ptp", "name": "changed", `+pool(4)+`}`))
		p := k.node.pod(t, "pod1")
		k.rounds(t, p, func(i int, c string, s strike) {
			p.id = "kill" + strconv.Itoa(i)
			end := k.strike(t, k.node.command("ADD", p, c), s)
			k.interfaces[len(p.links(t))]++
			k.node.must(t, "DEL", p, []string{c, changed}[i%2])
			end()
		})
	})
}

// TestKillDel kills a DEL, or what it runs, and sends DEL once more.
func TestKillDel(t *testing.T) {
	t.Parallel()
	campaign(t, "DEL", killsOfDelEnv, 16, func(t *testing.T, k *killing) {
		p := k.node.pod(t, "pod1")
		k.rounds(t, p, func(i int, c string, s strike) {
			p.id = "kill" + strconv.Itoa(i)
			k.node.must(t, "ADD", p, c)
			end := k.strike(t, k.node.command("DEL", p, c), s)
			k.interfaces[len(p.links(t))]++
			k.node.must(t, "DEL", p, c)
			end()
		})
	})
}

// TestKillGC kills a GC that has a pod to collect and one to keep, or what it
// runs, and calls GC once more.
func TestKillGC(t *testing.T) {
	t.Parallel()
	campaign(t, "GC", killsOfGCEnv, 8, func(t *testing.T, k *killing) {
		valid, gone := k.node.pod(t, "valid"), k.node.pod(t, "gone")
		kept := conf("1.1.0", primary(`{"type": "ptp", `+pool(3)+`}`))
		k.node.must(t, "ADD", valid, kept)
		k.before = k.node.snapshot(t)
		k.rounds(t, gone, func(i int, c string, s strike) {
			gone.id = "kill" + strconv.Itoa(i)
			k.node.must(t, "ADD", gone, c)
			c = with(c, `"cni.dev/valid-attachments": [{"containerID": "valid", "ifname": "eth0"}]`)
			end := k.strike(t, k.node.command("GC", &pod{}, c), s)
			k.interfaces[len(gone.links(t))]++
			k.node.must(t, "GC", &pod{}, c)
			end()
		})
		k.node.must(t, "CHECK", valid, kept)
	})
}

// TestKillRace sends DEL while an ADD runs, which is killed a little later in
// half of the cases. What is there then is the whole attachment, if DEL came
// before the ADD, or nothing.
func TestKillRace(t *testing.T) {
	t.Parallel()
	campaign(t, "ADD (races)", racesEnv, 8, func(t *testing.T, k *killing) {
		p := k.node.pod(t, "pod1")
		k.rounds(t, p, func(i int, c string, s strike) {
			p.id = "kill" + strconv.Itoa(i)
			start := time.Now()
			at := func(share float64) { time.Sleep(time.Until(start.Add(time.Duration(share * float64(k.took))))) }
			add := k.node.start(t, k.node.command("ADD", p, c))
			early := s.share * 0.8
			at(early)
			del := k.node.start(t, k.node.command("DEL", p, c))
			if i%2 == 0 {
				at(early + k.random.Float64()*(1-early))
				_ = add.cmd.Process.Kill()
			}
			if err := add.wait(t, "ADD"); err != nil && !add.killed {
				t.Errorf("the ADD that was raced: %v", err)
			}
			if err := del.wait(t, "DEL"); err != nil {
				t.Errorf("the DEL that raced: %v", err)
			}
			links := len(p.links(t))
			k.interfaces[links]++
			if add.killed {
				k.landed++
			} else if links > 0 {
				k.node.must(t, "CHECK", p, c)
			}
			if links > 0 || add.killed {
				k.node.must(t, "DEL", p, c)
			}
		})
	})
}
