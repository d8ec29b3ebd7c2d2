// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

// Package faults is a matrix that is made of its axes: each delegate's place,
// each verb, each fault of a fake and each state of the machine around. A few
// rules say what each cell must come to. What several faults come to in a row is
// for package model. In the environment it is told
//
//	MULTUS_FAULTS         "all", or a regular expression for the names of the
//	                      cells to run; without it, some of them do
//	MULTUS_FAULTS_SEED    chooses these
package faults

import (
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"multus-cni/test/sandbox"
)

func TestMain(m *testing.M) { os.Exit(sandbox.NewSuite(m).Run()) }

const (
	faultsEnv     = "MULTUS_FAULTS"
	faultsSeedEnv = "MULTUS_FAULTS_SEED"
	// faultsWorkers is in how many worlds cells run side by side, at most:
	// -parallel counts too.
	faultsWorkers = 8
)

// verbs are what a cell does to the pod: those of CNI, the DEL of a rollback,
// which the last delegate's ADD makes necessary, and the DEL of a GC.
var verbs = []string{"ADD", "ROLLBACK", "DEL", "CHECK", "STATUS", "GC", "COLLECT"}

// kinds are the types of the three delegates.
var kinds = [3]string{"sriov", "ptp", "flannel"}

// last is the index of the last delegate.
const last = len(kinds) - 1

// cell is one combination: a verb while one of three delegates misbehaves, or
// while all of them are well and the machine around is not.
type cell struct {
	verb    string
	primary int
	faulty  int // index of the delegate, when there is a fault
	fault   *fault
	around  *surroundings
}

func (c cell) String() string {
	if c.fault == nil {
		return fmt.Sprintf("%s/primary-%d/%s", c.verb, c.primary, c.around.name)
	}
	return fmt.Sprintf("%s/primary-%d/faulty-%d/%s", c.verb, c.primary, c.faulty, c.fault.name)
}

// matrix returns all cells.
func matrix() []cell {
	var cells []cell
	for _, verb := range verbs {
		for primary := range kinds {
			for _, f := range faults() {
				for faulty := range kinds {
					cells = append(cells, cell{verb, primary, faulty, &f, nil})
				}
			}
			for _, around := range environments() {
				cells = append(cells, cell{verb, primary, 0, nil, &around})
			}
		}
	}
	return cells
}

func faultsSeed(t *testing.T) int64 {
	t.Helper()
	text := os.Getenv(faultsSeedEnv)
	if text == "" {
		return time.Now().UnixNano()
	}
	seed, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", faultsSeedEnv, err)
	}
	return seed
}

// chosen returns the cells to run, in random order.
func chosen(t *testing.T, all []cell, seed int64) []cell {
	t.Helper()
	cells := slices.Clone(all)
	rand.New(rand.NewPCG(uint64(seed), 0)).Shuffle(len(cells), func(i, j int) { cells[i], cells[j] = cells[j], cells[i] })
	switch which := os.Getenv(faultsEnv); which {
	case "":
		return sample(cells)
	case "all":
		return cells
	default:
		pattern, err := regexp.Compile(which)
		if err != nil {
			t.Fatalf("%s: %v", faultsEnv, err)
		}
		return slices.DeleteFunc(cells, func(c cell) bool { return !pattern.MatchString(c.String()) })
	}
}

// sample takes the first cell of each verb with each fault and each of the
// surroundings.
func sample(cells []cell) []cell {
	seen := map[string]bool{}
	return slices.DeleteFunc(cells, func(c cell) bool {
		kind := c.verb
		if c.fault != nil {
			kind += c.fault.name
		} else {
			kind += c.around.name
		}
		twice := seen[kind]
		seen[kind] = true
		return twice
	})
}

// TestFaults runs the matrix of what can go wrong, or a sample of it.
func TestFaults(t *testing.T) {
	all, seed := matrix(), faultsSeed(t)
	cells := chosen(t, all, seed)
	queue := make(chan cell, len(cells))
	for _, c := range cells {
		queue <- c
	}
	close(queue)
	var failed atomic.Int32
	start := time.Now()
	t.Run("cells", func(t *testing.T) {
		for i := range faultsWorkers {
			t.Run(strconv.Itoa(i), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				for c := range queue {
					if err := w.run(c); err != nil {
						t.Errorf("%s: %v", c, err)
						failed.Add(1)
						w.startOver(t)
					}
					sandbox.Progress("matrix", len(cells)-len(queue), len(cells), int(failed.Load()))
				}
			})
		}
	})
	t.Logf("faults: %d cells of %d, %d failed, %s=%d, %.0f s", len(cells), len(all), failed.Load(),
		faultsSeedEnv, seed, time.Since(start).Seconds())
	if len(cells) == 0 {
		t.Errorf("%s matches no cell", faultsEnv)
	}
}

// want is what a cell must come to.
type want struct {
	code    int    // of the error, 0 for success
	msg     string // regular expression of the error
	details string
	calls   []string // of delegates, in order
	record  bool     // there is one afterwards
	links   []string // the pod's interfaces
	owner   int      // of the default routes, or nobody
}

const nobody = -1

// ifname returns the name of a delegate's interface.
func (c cell) ifname(i int) string {
	switch {
	case i == c.primary:
		return "eth0"
	case i < c.primary:
		return "net" + strconv.Itoa(i)
	}
	return "net" + strconv.Itoa(i-1)
}

// calls returns the lines of the log when these delegates are called.
func (c cell) calls(verb string, indexes ...int) []string {
	var lines []string
	for _, i := range indexes {
		if verb == "STATUS" || verb == "GC" {
			lines = append(lines, fmt.Sprintf("%s - - %s", verb, kinds[i]))
		} else {
			lines = append(lines, fmt.Sprintf("%s c1 %s %s", verb, c.ifname(i), kinds[i]))
		}
	}
	return lines
}

// upTo returns 0, 1, ... n.
func upTo(n int) []int {
	var list []int
	for i := range n + 1 {
		list = append(list, i)
	}
	return list
}

// downFrom returns from, from-1, ... to.
func downFrom(from, to int) []int {
	list := upTo(from)[to:]
	slices.Reverse(list)
	return list
}

func (c cell) allLinks() []string {
	links := []string{c.ifname(0), c.ifname(1), c.ifname(2)}
	slices.Sort(links)
	return links
}

// delegateVerb is what a faulty delegate is called with.
func (c cell) delegateVerb() string {
	if c.verb == "ROLLBACK" || c.verb == "COLLECT" {
		return "DEL"
	}
	return c.verb
}

// multusVerb is what multus is called with.
func (c cell) multusVerb() string {
	return strings.NewReplacer("ROLLBACK", "ADD", "COLLECT", "GC").Replace(c.verb)
}

// begins reports whether the verb is the pod's first.
func (c cell) begins() bool { return c.verb == "ADD" || c.verb == "ROLLBACK" }
