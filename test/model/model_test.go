// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

// Package model draws sequences of calls, mistakes and kills, and compares after
// each call what exists with a model of it: see world_test.go. A failure is made
// as short as possible, and comes with the seed that leads to it. Verbs that run
// side by side are for test/real. In the environment it is told
//
//	MULTUS_MODEL          how many sequences to draw
//	RAPID_SEED            where they begin (or -rapid.seed)
package model

import (
	"flag"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	"pgregory.net/rapid"

	"multus-cni/test/pod"
	"multus-cni/test/sandbox"
)

func TestMain(m *testing.M) { os.Exit(sandbox.NewSuite(m).Run()) }

// A sequence has about modelSteps calls. modelEnv says how many sequences
// to draw; the seed of the first is that of -rapid.seed.
const (
	modelEnv   = "MULTUS_MODEL"
	modelSize  = 40
	modelSteps = 8
)

var (
	containers = []string{"c1", "c2"}
	networks   = []string{"demo1", "demo2"}
	ifnames    = []string{"eth0", "eth1"}
	strangers  = []string{"net0", "net1", "eth1"} // interfaces that somebody else makes
	allKeys    = every()
)

func every() (all []key) {
	for _, n := range networks {
		for _, c := range containers {
			for _, i := range ifnames {
				all = append(all, key{n, c, i})
			}
		}
	}
	return all
}

// TestModel drives multus with random sequences of calls, mistakes and kills,
// and compares after each of them the calls that the fakes got, the records,
// and all that is in the pods with what the model says must be there.
func TestModel(t *testing.T) {
	size := modelSize
	if text := os.Getenv(modelEnv); text != "" {
		var err error
		if size, err = strconv.Atoi(text); err != nil {
			t.Fatalf("%s: %v", modelEnv, err)
		}
	}
	set := map[string]string{"rapid.checks": strconv.Itoa(size), "rapid.steps": strconv.Itoa(modelSteps), "rapid.nofailfile": "true"}
	if flag.Lookup("rapid.seed").Value.String() == "0" {
		set["rapid.seed"] = "1"
	}
	for name, value := range set {
		if err := flag.Set(name, value); err != nil {
			t.Fatal(err)
		}
	}
	s, err := sandbox.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	m := &machine{Sandbox: s, steps: map[string]int{}, size: size}
	seed := flag.Lookup("rapid.seed").Value
	t.Logf("seed %s, %d sequences", seed, size)
	rapid.Check(t, m.sequence) // ends the test if it finds anything
	sandbox.Progress("model", size, size, 0)
	t.Logf("model: seed %s, %d sequences, found 0; steps: %v", seed, size, m.steps)
}

// machine is the world as it is, beside the world as it must be.
type machine struct {
	*sandbox.Sandbox
	want  *model
	last  key // the attachment of the call before
	steps map[string]int

	sequences, size int
}

// sequence is one run through a few calls, on an empty machine.
func (m *machine) sequence(t *rapid.T) {
	sandbox.Progress("model", m.sequences, m.size, 0)
	m.sequences++
	m.reset(t)
	for _, network := range networks {
		m.want.confs[network] = confs().Draw(t, network)
	}
	step := func(name string, do func(*rapid.T)) func(*rapid.T) {
		return func(t *rapid.T) {
			m.steps[name]++
			do(t)
		}
	}
	t.Repeat(map[string]func(*rapid.T){
		"ADD":        step("ADD", func(t *rapid.T) { m.call(t, "ADD", nil) }),
		"ADD faulty": step("ADD faulty", func(t *rapid.T) { m.call(t, "ADD", mistakes(t, "ADD", "DEL")) }),
		"DEL":        step("DEL", func(t *rapid.T) { m.call(t, "DEL", nil) }),
		"DEL faulty": step("DEL faulty", func(t *rapid.T) { m.call(t, "DEL", mistakes(t, "DEL", "DEL")) }),
		"CHECK":      step("CHECK", func(t *rapid.T) { m.call(t, "CHECK", mistakes(t, "", "CHECK")) }),
		"GC":         step("GC", func(t *rapid.T) { m.call(t, "GC", mistakes(t, "", "DEL", "GC")) }),
		"kill":       step("kill", m.kill),
		"netns":      step("netns", m.netns),
		"conf":       step("conf", m.conf),
		"stranger":   step("stranger", m.stranger),
		"":           m.compare,
	})
	for _, k := range m.want.sorted() {
		m.run(t, "DEL", k, nil, true, nil)
		m.compare(t)
	}
}

// reset makes an empty machine: the namespaces stay, what is in them goes.
func (m *machine) reset(t *rapid.T) {
	m.ReleaseAll()
	m.want = &model{pods: map[string]*podState{}, records: map[key]*record{}, locks: map[key]bool{}, confs: map[string][]delegate{}}
	m.last = allKeys[0]
	must(t, os.RemoveAll(sandbox.RecordDir))
	for _, c := range containers {
		m.want.pods[c] = &podState{map[string]*link{}}
		if _, err := os.Stat(pod.PathOf(c)); err != nil {
			must(t, pod.Make(c))
		}
		must(t, pod.Empty(pod.PathOf(c)))
	}
	_, err := m.NewCalls()
	must(t, err)
}

func must(t *rapid.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%v", err)
	}
}

// confs are lists of one to three delegates.
func confs() *rapid.Generator[[]delegate] {
	return rapid.Custom(func(t *rapid.T) []delegate {
		kinds := rapid.Permutation([]string{"sriov", "ptp", "flannel"}).Draw(t, "types")
		list := make([]delegate, rapid.IntRange(1, len(kinds)).Draw(t, "delegates"))
		how := rapid.SampledFrom([]string{"", "usual", "excl", "replace", "append"})
		for i := range list {
			list[i] = delegate{
				kind: kinds[i], list: rapid.Bool().Draw(t, "list"),
				how: map[string]string{"ipv4": how.Draw(t, "ipv4"), "ipv6": how.Draw(t, "ipv6")},
			}
		}
		list[rapid.IntRange(0, len(list)-1).Draw(t, "primary")].primary = true
		return list
	})
}

// mistakes draws one mistake of one of the verbs, or two: the first of verb.
func mistakes(t *rapid.T, verb string, others ...string) (list []mistake) {
	draw := func(verb string) {
		f := mistake{verb: verb, index: rapid.IntRange(0, 2).Draw(t, "index")}
		whats := []string{"error", "exit", "kill"}
		if f.late = verb == "ADD" && rapid.Bool().Draw(t, "late"); f.late {
			whats = append(whats, "garbage", "empty")
		}
		f.what = rapid.SampledFrom(whats).Draw(t, "mistake")
		if !slices.ContainsFunc(list, func(other mistake) bool { return other.file() == f.file() }) {
			list = append(list, f)
		}
	}
	if verb != "" {
		draw(verb)
	}
	if rapid.Bool().Draw(t, "another") {
		draw(rapid.SampledFrom(others).Draw(t, "verb"))
	}
	return list
}

// attachment draws one, often the same as before: it is what has happened to an
// attachment that makes the next call interesting.
func (m *machine) attachment(t *rapid.T) key {
	if rapid.IntRange(0, 2).Draw(t, "another") == 0 {
		m.last = rapid.SampledFrom(allKeys).Draw(t, "attachment")
	}
	return m.last
}

// call is a call that multus answers.
func (m *machine) call(t *rapid.T, verb string, mistakes []mistake) {
	k := m.attachment(t)
	netns := verb != "DEL" || rapid.IntRange(0, 3).Draw(t, "netns") > 0
	m.run(t, verb, k, mistakes, netns, valid(t, verb))
}

// valid draws the attachments that the runtime tells GC about.
func valid(t *rapid.T, verb string) []types.GCAttachment {
	if verb != "GC" {
		return nil
	}
	list := []types.GCAttachment{}
	for _, c := range containers {
		for _, i := range ifnames {
			if rapid.Bool().Draw(t, "valid "+c+" "+i) {
				list = append(list, types.GCAttachment{ContainerID: c, IfName: i})
			}
		}
	}
	return list
}

// kill kills multus while a fake is held, and may send a DEL before that fake
// goes on.
func (m *machine) kill(t *rapid.T) {
	verb := rapid.SampledFrom([]string{"ADD", "ADD", "DEL", "GC", "CHECK"}).Draw(t, "call")
	at := rapid.SampledFrom(map[string][]string{
		"ADD": {"ADD"}, "DEL": {"DEL"}, "GC": {"DEL", "GC"}, "CHECK": {"CHECK"},
	}[verb]).Draw(t, "verb")
	f := mistake{verb: at, index: rapid.IntRange(0, 2).Draw(t, "index"), what: "hold"}
	f.late = at == "ADD" && rapid.Bool().Draw(t, "late")
	k := m.attachment(t)
	list := valid(t, verb)
	t.Logf("%s %v valid=%v, killed at %v", verb, k, list, f)
	disarm := m.arm(t, []mistake{f})
	defer disarm()
	code, dies := m.predict(verb, k, []mistake{f}, true, list)
	p := m.start(t, verb, k, true, list)
	if !dies {
		p.answers(t, code, m.want.says)
		return
	}
	must(t, m.Await("held"))
	held := m.Held("held")
	_ = p.Process.Kill()
	_ = p.Wait()
	disarm()
	var del *running
	if verb != "GC" && rapid.Bool().Draw(t, "and DEL") {
		t.Logf("and DEL")
		code, _ = m.predict("DEL", k, nil, true, nil)
		del = m.start(t, "DEL", k, true, nil)
		must(t, sandbox.LookOn(5, func() error { return nil }))
	}
	must(t, m.Release("held"))
	for _, fifo := range held {
		must(t, sandbox.WaitFor("what was held to end", func() bool { return !sandbox.Lives(sandbox.PidOf(fifo)) }))
	}
	if del == nil {
		return
	}
	del.answers(t, code, m.want.says)
}

// netns takes a pod's network namespace away, or makes another one at its path,
// or both.
func (m *machine) netns(t *rapid.T) {
	c, another := m.attachment(t).container, rapid.Bool().Draw(t, "another one")
	t.Logf("netns of %s: there %v, another %v", c, m.want.pods[c] != nil, another)
	if m.want.pods[c] == nil {
		another = true
	} else {
		must(t, pod.Empty(pod.PathOf(c))) // the kernel would do it, some time
		must(t, pod.Delete(c))
		m.want.pods[c] = nil
	}
	if another {
		must(t, pod.Make(c))
		m.want.pods[c] = &podState{map[string]*link{}}
	}
}

// conf changes the conf of a network.
func (m *machine) conf(t *rapid.T) {
	network := m.attachment(t).network
	m.want.confs[network] = confs().Draw(t, "conf")
}

// stranger makes an interface that is not multus's, or takes it away.
func (m *machine) stranger(t *rapid.T) {
	c, name := rapid.SampledFrom(containers).Draw(t, "container"), rapid.SampledFrom(strangers).Draw(t, "interface")
	box := m.want.pods[c]
	if box == nil {
		return
	}
	t.Logf("stranger's %s in %s: gone %v", name, c, box.links[name] != nil)
	if box.links[name] != nil {
		delete(box.links, name)
		must(t, pod.DeleteLink(pod.PathOf(c), name))
		return
	}
	box.links[name] = &link{}
	must(t, pod.AddBridge(pod.PathOf(c), name))
}
