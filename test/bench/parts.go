// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

const cniDir = "/run/multus"

// conf is a conf whose delegates do nothing, the last one being the primary.
func conf(delegates ...string) []byte {
	return fmt.Appendf(nil, `{"cniVersion":"1.1.0","name":"bench","type":"multus","cniDir":%q,"delegates":[%s]}`,
		cniDir, strings.Join(delegates, ","))
}

func noops(n int) []byte {
	delegates := make([]string, n)
	for i := range delegates {
		delegates[i] = `{"type":"noop"}`
	}
	delegates[n-1] = `{"type":"noop","masterplugin":true}`
	return conf(delegates...)
}

func (b *bench) call(verb string, conf []byte) program {
	return call(b.multus, verb, b.bin, "c1", conf)
}

func (b *bench) spawn(n int) program {
	return program{path: filepath.Join(b.bin, "spawn"), args: []string{strconv.Itoa(n), filepath.Join(b.bin, "noop")}}
}

// verbs compares each verb with the floor: a plugin that does nothing, and the
// delegates on their own.
func (b *bench) verbs() error {
	three := noops(3)
	floorCall := call(filepath.Join(b.bin, "floor"), "ADD", b.bin, "c1", three)
	costs := map[string][]cost{}
	var rss []float64
	for range b.rounds {
		floor, err := floorCall.run()
		if err != nil {
			return err
		}
		delegates, err := b.spawn(3).run()
		if err != nil {
			return err
		}
		costs["floor"] = append(costs["floor"], floor.plus(delegates))
		costs["floor twice"] = append(costs["floor twice"], floor.plus(delegates).plus(floor).plus(delegates))
		costs["empty floor"] = append(costs["empty floor"], floor)
		var addDel cost
		for _, verb := range []string{"ADD", "CHECK", "STATUS", "DEL", "VERSION"} {
			c, err := b.call(verb, three).run()
			if err != nil {
				return err
			}
			costs[verb] = append(costs[verb], c)
			switch verb {
			case "ADD":
				rss = append(rss, float64(c.rss)/1000)
				addDel = c
			case "DEL":
				costs["ADD and DEL"] = append(costs["ADD and DEL"], addDel.plus(c))
			}
		}
	}
	b.ratio("ADD and DEL, 3 no-ops, CPU over the floor", "<= 1.25", costs["ADD and DEL"], costs["floor twice"], cpu)
	for _, verb := range []string{"ADD", "DEL", "CHECK", "STATUS"} {
		b.ratio(verb+", CPU over the floor", "", costs[verb], costs["floor"], cpu)
		b.ratio(verb+", time over the floor", "", costs[verb], costs["floor"], wall)
	}
	b.ratio("VERSION, CPU over an empty plugin", "", costs["VERSION"], costs["empty floor"], cpu)
	low, median, high := quartiles(rss)
	b.rows = append(b.rows, row{"peak memory of an ADD (RSS)", median, low, high, "MB", "<= 6"})
	info, err := os.Stat(b.multus)
	if err != nil {
		return err
	}
	b.rows = append(b.rows, row{Name: "binary, stripped", Value: float64(info.Size()) / 1e6, Unit: "MB", Figure: "<= 4"})
	return nil
}

// growth fits lines through the cost of 1 to 64 delegates.
func (b *bench) growth() error {
	var slopes, straight []float64
	for range max(b.rounds/20, 3) {
		var x, y, bare []float64
		for n := 1; n <= 64; n *= 2 {
			c, err := sum(b.call("ADD", noops(n)), b.call("DEL", noops(n)))
			if err != nil {
				return err
			}
			s, err := sum(b.spawn(n), b.spawn(n))
			if err != nil {
				return err
			}
			x, y, bare = append(x, float64(n)), append(y, float64(c.cpu)), append(bare, float64(s.cpu))
		}
		intercept, slope := line(x, y)
		_, bareSlope := line(x, bare)
		slopes = append(slopes, slope/bareSlope)
		straight = append(straight, y[len(y)-1]/(intercept+64*slope))
	}
	low, median, high := quartiles(slopes)
	b.rows = append(b.rows, row{"one more delegate, CPU over a bare spawn", median, low, high, "x", "<= 1.25"})
	low, median, high = quartiles(straight)
	b.rows = append(b.rows, row{"64 delegates, CPU over the fitted line", median, low, high, "x", "1: straight"})
	return nil
}

// variants compares confs with the plain one of three delegates.
func (b *bench) variants() error {
	long := conf(`{"type":"noop"}`, `{"type":"noop","filler":"`+strings.Repeat("x", 100_000)+`"}`, `{"type":"noop","masterplugin":true}`)
	for _, v := range []struct {
		name string
		conf []byte
	}{
		{"a list of 3 plugins, CPU over 3 delegates", conf(`{"masterplugin":true,"plugins":[{"type":"noop"},{"type":"noop"},{"type":"noop"}]}`)},
		{"a conf of 100 kB, CPU over a short one", long},
	} {
		var above, below []cost
		for range b.rounds / 2 {
			c, err := sum(b.call("ADD", v.conf), b.call("DEL", v.conf))
			if err != nil {
				return err
			}
			plain, err := sum(b.call("ADD", noops(3)), b.call("DEL", noops(3)))
			if err != nil {
				return err
			}
			above, below = append(above, c), append(below, plain)
		}
		b.ratio(v.name, "", above, below, cpu)
	}
	return nil
}

// records looks at what 10,000 records of other pods cost: nothing, but GC.
func (b *bench) records() error {
	const many = 10_000
	if _, err := b.call("ADD", noops(3)).run(); err != nil {
		return err
	}
	template, err := os.ReadFile(filepath.Join(cniDir, "bench:c1:eth0.json"))
	if err != nil {
		return err
	}
	if _, err := b.call("DEL", noops(3)).run(); err != nil {
		return err
	}
	full := bytes.Replace(noops(3), []byte(cniDir), []byte(cniDir+"-full"), 1)
	if err := os.MkdirAll(cniDir+"-full", 0o700); err != nil {
		return err
	}
	valid := make([]string, many)
	for i := range many {
		id := fmt.Sprintf("other%d", i)
		text := bytes.Replace(template, []byte(`"c1"`), []byte(strconv.Quote(id)), 1)
		if err := os.WriteFile(filepath.Join(cniDir+"-full", "bench:"+id+":eth0.json"), text, 0o600); err != nil {
			return err
		}
		valid[i] = fmt.Sprintf(`{"containerID":%q,"ifname":"eth0"}`, id)
	}
	var above, below []cost
	for range b.rounds {
		c, err := sum(b.call("ADD", full), b.call("DEL", full))
		if err != nil {
			return err
		}
		empty, err := sum(b.call("ADD", noops(3)), b.call("DEL", noops(3)))
		if err != nil {
			return err
		}
		above, below = append(above, c), append(below, empty)
	}
	b.ratio("ADD and DEL beside 10,000 records, CPU over none", "<= 1.02", above, below, cpu)
	gc := append(full[:len(full)-1:len(full)-1], `,"cni.dev/valid-attachments":[`+strings.Join(valid, ",")+`]}`...)
	c, err := b.call("GC", gc).run()
	if err != nil {
		return err
	}
	b.rows = append(b.rows, row{Name: "GC over 10,000 records, each, in no-op processes", Value: float64(c.cpu) / many / float64(b.oneSpawn()), Unit: "x"})
	return nil
}

// oneSpawn is the processor time of one no-op, the median of some.
func (b *bench) oneSpawn() time.Duration {
	var each []float64
	for range 20 {
		if c, err := b.spawn(10).run(); err == nil {
			each = append(each, float64(c.cpu)/10)
		}
	}
	_, median, _ := quartiles(each)
	return time.Duration(median)
}

// concurrency compares the throughput of 50 attachments at once with that of
// their delegates alone at the same concurrency.
func (b *bench) concurrency() error {
	const attachments, perAttachment = 50, 4
	together := func(work func(i int) error) (time.Duration, error) {
		var group sync.WaitGroup
		errs := make(chan error, attachments)
		start := time.Now()
		for i := range attachments {
			group.Add(1)
			go func() {
				defer group.Done()
				for range perAttachment {
					if err := work(i); err != nil {
						errs <- err
						return
					}
				}
			}()
		}
		group.Wait()
		close(errs)
		return time.Since(start), <-errs
	}
	var above, below []cost
	for range max(b.rounds/40, 2) {
		pods, err := together(func(i int) error {
			id := fmt.Sprintf("c%d", i)
			_, err := sum(call(b.multus, "ADD", b.bin, id, noops(3)), call(b.multus, "DEL", b.bin, id, noops(3)))
			return err
		})
		if err != nil {
			return err
		}
		floor := call(filepath.Join(b.bin, "floor"), "ADD", b.bin, "c", noops(3))
		alone, err := together(func(int) error {
			_, err := sum(floor, b.spawn(3), floor, b.spawn(3))
			return err
		})
		if err != nil {
			return err
		}
		above, below = append(above, cost{wall: pods}), append(below, cost{wall: alone})
	}
	b.ratio("50 attachments at once, time over the floor", "", above, below, wall)
	return nil
}

// realPod measures multus's own share of attaching and detaching a pod with
// the README's topology: what is left of it without the delegates.
func (b *bench) realPod() error {
	delegates := []string{
		`"type":"macvlan","master":"up0","ipam":{"type":"host-local","subnet":"10.56.217.0/24","routes":[{"dst":"0.0.0.0/0"}]}`,
		`"type":"ptp","ipam":{"type":"host-local","subnet":"10.168.1.0/24","routes":[{"dst":"0.0.0.0/0"}]}`,
		`"type":"bridge","bridge":"mbr0","isDefaultGateway":true,"ipam":{"type":"host-local","subnet":"10.1.0.0/24"}`,
	}
	whole := conf("{"+delegates[0]+"}", "{"+delegates[1]+"}", "{"+delegates[2]+`,"masterplugin":true}`)
	names := []string{"bench-net0", "bench-net1", "bench"}
	ifnames := []string{"net0", "net1", "eth0"}
	shares := map[string][]float64{}
	for range max(b.rounds/5, 5) {
		for _, verb := range []string{"ADD", "DEL"} {
			c, err := call(b.multus, verb, b.plugins, "whole", whole).run()
			if err != nil {
				return err
			}
			shares[verb+" whole"] = append(shares[verb+" whole"], float64(c.cpu))
		}
		for _, verb := range []string{"ADD", "DEL"} {
			var alone cost
			for i := range delegates {
				kind := strings.Split(delegates[i], `"`)[3]
				request := []byte(`{"cniVersion":"1.1.0","name":"` + names[i] + `",` + delegates[i] + `}`)
				p := call(filepath.Join(b.plugins, kind), verb, b.plugins, "alone", request)
				for j := range p.env {
					if strings.HasPrefix(p.env[j], "CNI_IFNAME=") {
						p.env[j] = "CNI_IFNAME=" + ifnames[i]
					}
				}
				c, err := p.run()
				if err != nil {
					return err
				}
				alone = alone.plus(c)
			}
			shares[verb+" alone"] = append(shares[verb+" alone"], float64(alone.cpu))
		}
	}
	for _, verb := range []string{"ADD", "DEL"} {
		_, whole, _ := quartiles(shares[verb+" whole"])
		_, alone, _ := quartiles(shares[verb+" alone"])
		b.rows = append(b.rows, row{Name: "own share of a real pod's " + verb + ", CPU", Value: 100 * (whole - alone) / whole, Unit: "%", Figure: "<= 5"})
	}
	return nil
}
