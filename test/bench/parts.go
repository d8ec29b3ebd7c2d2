// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
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

// noops are n delegates, started bare.
func (b *bench) noops(n int) program {
	p := call(filepath.Join(b.bin, "noop"), "ADD", b.bin, "c1", []byte(`{"cniVersion":"1.1.0","name":"bench-net0","type":"noop"}`))
	p.count = n
	return p
}

// floor is the least that a verb with n delegates can cost.
func (b *bench) floor(verb string, n int) []program {
	floor := []program{call(filepath.Join(b.bin, "floor"), verb, b.bin, "c1", noops(max(n, 1)))}
	if n > 0 {
		floor = append(floor, b.noops(n))
	}
	return floor
}

// verbs compares each verb with its floor, which is measured right before it.
func (b *bench) verbs() error {
	above, below := map[string][]cost{}, map[string][]cost{}
	var rss []float64
	for range rounds("verbs", b.rounds) {
		for _, verb := range []string{"ADD", "CHECK", "STATUS", "DEL"} {
			floor, err := b.sum(b.floor(verb, 3)...)
			if err != nil {
				return err
			}
			c, err := b.run(b.call(verb, noops(3)))
			if err != nil {
				return err
			}
			above[verb], below[verb] = append(above[verb], c), append(below[verb], floor)
		}
	}
	for i, add := range above["ADD"] {
		rss = append(rss, float64(add.rss)*1024/1e6)
		above["both"] = append(above["both"], add.plus(above["DEL"][i]))
		below["both"] = append(below["both"], below["ADD"][i].plus(below["DEL"][i]))
	}
	b.ratio("ADD and DEL, 3 no-ops, CPU over the floor", "<= 1.25", above["both"], below["both"], cpu)
	for _, verb := range []string{"ADD", "DEL", "CHECK", "STATUS"} {
		b.ratio(verb+", CPU over the floor", "", above[verb], below[verb], cpu)
		b.ratio(verb+", time over the floor", "", above[verb], below[verb], wall)
	}
	b.median("peak memory of an ADD (RSS)", "<= 6", "MB", rss)
	info, err := os.Stat(b.multus)
	if err != nil {
		return err
	}
	b.rows = append(b.rows, row{Name: "binary, stripped", Value: float64(info.Size()) / 1e6, Unit: "MB", Figure: "<= 4.6"})
	return nil
}

// growth fits lines through the cost of 1 to 64 delegates.
func (b *bench) growth() error {
	var straight []float64
	for range rounds("1 to 64 delegates", max(b.rounds/10, 3)) {
		var x, y []float64
		for n := 1; n <= 64; n *= 2 {
			c, err := b.sum(b.call("ADD", noops(n)), b.call("DEL", noops(n)))
			if err != nil {
				return err
			}
			x, y = append(x, float64(n)), append(y, float64(c.cpu))
		}
		intercept, slope := line(x, y)
		straight = append(straight, y[len(y)-1]/(intercept+64*slope))
	}
	b.median("64 delegates, CPU over the fitted line", "1: straight", "x", straight)
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
		for range rounds(v.name, b.rounds/2) {
			c, err := b.sum(b.call("ADD", v.conf), b.call("DEL", v.conf))
			if err != nil {
				return err
			}
			plain, err := b.sum(b.call("ADD", noops(3)), b.call("DEL", noops(3)))
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
	if _, err := b.run(b.call("ADD", noops(3))); err != nil {
		return err
	}
	template, err := os.ReadFile(filepath.Join(cniDir, "bench:c1:eth0.json"))
	if err != nil {
		return err
	}
	if _, err := b.run(b.call("DEL", noops(3))); err != nil {
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
	for range rounds("10,000 records", b.rounds) {
		c, err := b.sum(b.call("ADD", full), b.call("DEL", full))
		if err != nil {
			return err
		}
		empty, err := b.sum(b.call("ADD", noops(3)), b.call("DEL", noops(3)))
		if err != nil {
			return err
		}
		above, below = append(above, c), append(below, empty)
	}
	b.ratio("ADD and DEL beside 10,000 records, CPU over none", "<= 1.02", above, below, cpu)
	gc := append(full[:len(full)-1:len(full)-1], `,"cni.dev/valid-attachments":[`+strings.Join(valid, ",")+`]}`...)
	var each []float64
	for range rounds("GC", max(b.rounds/20, 3)) {
		c, err := b.run(b.call("GC", gc))
		if err != nil {
			return err
		}
		noop, err := b.run(b.noops(20))
		if err != nil {
			return err
		}
		each = append(each, float64(c.cpu)/many/(float64(noop.cpu)/20))
	}
	b.median("GC over 10,000 records, CPU per record over a bare spawn", "", "x", each)
	return nil
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
	for range rounds("50 at once", max(b.rounds/40, 3)) {
		pods, err := together(func(i int) error {
			id := fmt.Sprintf("c%d", i)
			_, err := b.sum(call(b.multus, "ADD", b.bin, id, noops(3)), call(b.multus, "DEL", b.bin, id, noops(3)))
			return err
		})
		if err != nil {
			return err
		}
		floor := append(b.floor("ADD", 3), b.floor("DEL", 3)...)
		alone, err := together(func(int) error {
			_, err := b.sum(floor...)
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

// subnetEnv is what flanneld would have written.
const subnetEnv = "FLANNEL_NETWORK=10.1.0.0/16\nFLANNEL_SUBNET=10.1.17.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=false\n"

// realPod measures multus's own share of attaching and detaching a pod with
// the README's topology: its processor time, its delegates' not counted, over
// the whole, of one and the same run. The share that an empty plugin would have
// in its place shows what a program in Go can reach.
func (b *bench) realPod() error {
	if err := os.MkdirAll("/run/flannel", 0o755); err != nil {
		return err
	}
	if err := os.WriteFile("/run/flannel/subnet.env", []byte(subnetEnv), 0o644); err != nil {
		return err
	}
	pod := conf(
		`{"type":"macvlan","master":"up0","ipam":{"type":"host-local","subnet":"10.56.217.0/24","routes":[{"dst":"0.0.0.0/0"}]}}`,
		`{"type":"ptp","ipam":{"type":"host-local","subnet":"10.168.1.0/24","routes":[{"dst":"0.0.0.0/0"}]}}`,
		`{"type":"flannel","cniVersion":"0.4.0","masterplugin":true,"dataDir":"/run/flannel/data","delegate":{"bridge":"mbr0","isDefaultGateway":true}}`,
	)
	shares, empty := map[string][]float64{}, map[string][]float64{}
	for range rounds("real pods", max(b.rounds/4, 5)) {
		for _, verb := range []string{"ADD", "DEL"} {
			floor, err := b.sum(slices.Concat(b.floor(verb, 0), b.floor(verb, 0))...)
			if err != nil {
				return err
			}
			floor.own /= 2
			c, err := b.run(call(b.multus, verb, b.plugins, "pod", pod))
			if err != nil {
				return err
			}
			shares[verb] = append(shares[verb], 100*float64(c.own)/float64(c.cpu))
			empty[verb] = append(empty[verb], 100*float64(floor.own)/float64(c.cpu-c.own+floor.own))
		}
	}
	for _, verb := range []string{"ADD", "DEL"} {
		b.median("own share of a real pod's "+verb+", CPU", "<= 5", "%", shares[verb])
		b.median("the same, of an empty plugin in its place", "", "%", empty[verb])
	}
	return nil
}
