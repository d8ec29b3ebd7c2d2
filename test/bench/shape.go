// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"path/filepath"
)

// shape is what the calls of one program cost in one round, in nanoseconds of
// CPU: its start alone, and ADD and DEL by the number of delegates.
type shape struct {
	start float64
	both  map[int]cost
}

// startCount is how many starts are measured for one figure.
const startCount = 4

func (b *bench) starts(path string) program {
	p := call(path, "VERSION", b.bin, "c1", nil)
	p.count = startCount
	return p
}

// shapeOf measures a program with each of these numbers of delegates.
func (b *bench) shapeOf(path string, numbers []int) (s shape, err error) {
	start, err := b.run(b.starts(path))
	s = shape{start: float64(start.cpu) / startCount, both: map[int]cost{}}
	for _, n := range numbers {
		if err == nil {
			s.both[n], err = b.sum(call(path, "ADD", b.bin, "c1", noops(n)), call(path, "DEL", b.bin, "c1", noops(n)))
		}
	}
	return s, err
}

// parts takes a call apart: what it costs beside its start and its delegates,
// and what one more delegate costs. ADD and DEL count half each.
func (s shape) parts() (fixed, slope float64) {
	var x, y []float64
	for n, c := range s.both {
		x, y = append(x, float64(n)), append(y, float64(c.cpu)/2)
	}
	intercept, slope := line(x, y)
	return intercept - s.start, slope
}

// shape shows start, fixed work and delegates apart, against an empty plugin
// and bare spawns, for multus and for a program made like the one of 2017; and
// how the two compare as a whole.
func (b *bench) shape() error {
	numbers := []int{1, 3, 8}
	programs := []string{b.multus, filepath.Join(b.bin, "like2017")}
	shapes := make([][]shape, len(programs))
	var empties, spawns []float64
	for range rounds("parts of a call", b.rounds) {
		empty, err := b.run(b.starts(filepath.Join(b.bin, "floor")))
		if err != nil {
			return err
		}
		spawn, err := b.run(b.noops(10))
		if err != nil {
			return err
		}
		empties, spawns = append(empties, float64(empty.cpu)/startCount), append(spawns, float64(spawn.cpu)/10)
		for i, p := range programs {
			s, err := b.shapeOf(p, numbers)
			if err != nil {
				return err
			}
			shapes[i] = append(shapes[i], s)
		}
	}
	b.apart("", [3]string{"<= 1.10", "<= 1.2", "<= 1.45"}, shapes[0], empties, spawns)
	b.apart("like 2017: ", [3]string{}, shapes[1], empties, spawns)
	for _, n := range numbers {
		var ours, theirs []cost
		for i := range shapes[0] {
			ours, theirs = append(ours, shapes[0][i].both[n]), append(theirs, shapes[1][i].both[n])
		}
		b.ratio(fmt.Sprintf("ADD and DEL, %d no-ops, CPU over one like 2017", n), "<= 1.00", ours, theirs, cpu)
	}
	return nil
}

// apart adds the rows of one program.
func (b *bench) apart(prefix string, figures [3]string, shapes []shape, empties, spawns []float64) {
	var start, fixed, slope []float64
	for i, s := range shapes {
		f, d := s.parts()
		start, fixed, slope = append(start, s.start/empties[i]), append(fixed, f/spawns[i]), append(slope, d/spawns[i])
	}
	b.median(prefix+"start (VERSION), CPU over an empty plugin", figures[0], "x", start)
	b.median(prefix+"fixed work of a call, CPU over a bare spawn", figures[1], "x", fixed)
	b.median(prefix+"one more delegate, CPU over a bare spawn", figures[2], "x", slope)
}
