// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"
)

// cost is what running one or more programs cost: the processor time of them
// and of the processes that they waited for, the part of it that is their own,
// the time that passed, and the memory of the largest.
type cost struct {
	cpu, own, wall time.Duration
	rss            int64 // KiB
}

func (c cost) plus(d cost) cost {
	return cost{c.cpu + d.cpu, c.own + d.own, c.wall + d.wall, max(c.rss, d.rss)}
}

// program is something to run, count times.
type program struct {
	path  string
	count int
	env   []string
	stdin []byte
}

// run lets spawn start the program: all that is compared is started by the
// same small program, and what that cost is counted with it.
func (b *bench) run(p program) (c cost, err error) {
	cmd := exec.Command(filepath.Join(b.bin, "spawn"), slices.Repeat([]string{p.path}, max(p.count, 1))...)
	cmd.Env, cmd.Stdin = p.env, bytes.NewReader(p.stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return cost{}, fmt.Errorf("%s %v: %w: %s", p.path, p.env, err, stderr.Bytes())
	}
	if _, err := fmt.Fscan(&stdout, &c.cpu, &c.own, &c.wall, &c.rss); err != nil {
		return cost{}, fmt.Errorf("read what spawn printed: %w", err)
	}
	return c, nil
}

// sum runs programs one after the other.
func (b *bench) sum(programs ...program) (total cost, err error) {
	for _, p := range programs {
		c, err := b.run(p)
		if err != nil {
			return cost{}, err
		}
		total = total.plus(c)
	}
	return total, nil
}

// call is one call of a plugin, as a runtime would make it.
func call(path, verb, cniPath, containerID string, conf []byte) program {
	return program{path: path, stdin: conf, env: []string{
		"CNI_COMMAND=" + verb, "CNI_CONTAINERID=" + containerID, "CNI_NETNS=/run/netns/pod", "CNI_IFNAME=eth0",
		"CNI_PATH=" + cniPath, "PATH=" + os.Getenv("PATH"),
	}}
}

// quartiles returns the lower one, the median and the upper one.
func quartiles(values []float64) (low, median, high float64) {
	sorted := slices.Clone(values)
	slices.Sort(sorted)
	n := len(sorted)
	return sorted[n/4], sorted[n/2], sorted[3*n/4]
}

// ratio adds a row for the ratios of pairs.
func (b *bench) ratio(name, figure string, above, below []cost, of func(cost) time.Duration) {
	ratios := make([]float64, len(above))
	for i := range above {
		ratios[i] = float64(of(above[i])) / float64(max(of(below[i]), time.Microsecond))
	}
	b.median(name, figure, "x", ratios)
}

// median adds a row for values that were measured many times.
func (b *bench) median(name, figure, unit string, values []float64) {
	low, median, high := quartiles(values)
	b.rows = append(b.rows, row{name, median, low, high, unit, figure})
}

func cpu(c cost) time.Duration  { return c.cpu }
func wall(c cost) time.Duration { return c.wall }

// line fits a line through points, by least squares.
func line(x, y []float64) (intercept, slope float64) {
	var sx, sy, sxx, sxy float64
	for i := range x {
		sx, sy, sxx, sxy = sx+x[i], sy+y[i], sxx+x[i]*x[i], sxy+x[i]*y[i]
	}
	n := float64(len(x))
	slope = (n*sxy - sx*sy) / (n*sxx - sx*sx)
	return (sy - slope*sx) / n, slope
}
