// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"multus-cni/test/pod"
	"multus-cni/test/sandbox"
)

// predict makes a call in the model. Multus is killed during it when one of
// the mistakes is to be held, and it comes so far.
func (m *machine) predict(verb string, k key, mistakes []mistake, netns bool, valid []types.GCAttachment) (code int, dies bool) {
	m.want.confKey = k
	defer func() {
		if p := recover(); p != nil {
			if _, dies = p.(killed); !dies {
				panic(p)
			}
		}
	}()
	m.want.mistakes, m.want.told, m.want.says = mistakes, nil, ""
	switch verb {
	case "ADD":
		code = m.want.add(k)
	case "DEL":
		code = m.want.del(k, netns)
	case "CHECK":
		code = m.want.check(k)
	case "GC":
		code = m.want.gc(k.network, valid)
	}
	return code, false
}

// running is a multus that has been started.
type running struct {
	*exec.Cmd
	out, err bytes.Buffer
}

func (m *machine) start(t *rapid.T, verb string, k key, netns bool, valid []types.GCAttachment) *running {
	t.Helper()
	p := &running{Cmd: exec.Command(os.Getenv("MULTUS"))}
	p.Stdin = strings.NewReader(m.want.conf(k, valid))
	p.Stdout, p.Stderr = &p.out, &p.err
	p.Env = m.Env(verb)
	if verb != "GC" {
		path := ""
		if netns {
			path = pod.PathOf(k.container)
		}
		p.Env = m.Env(verb, "CNI_CONTAINERID="+k.container, "CNI_IFNAME="+k.ifname, "CNI_NETNS="+path)
	}
	if verb == "GC" {
		defer onOneProcessor(t)()
	}
	must(t, p.Start())
	return p
}

// onOneProcessor is for starting a GC: on one processor it collects the
// attachments one after the other, so that the model can tell in which order
// the fakes are called, and what a kill leaves.
func onOneProcessor(t *rapid.T) (undo func()) {
	t.Helper()
	runtime.LockOSThread()
	var all, one unix.CPUSet
	must(t, unix.SchedGetaffinity(0, &all))
	cpu := 0
	for !all.IsSet(cpu) {
		cpu++
	}
	one.Set(cpu)
	must(t, unix.SchedSetaffinity(0, &one))
	return func() {
		must(t, unix.SchedSetaffinity(0, &all))
		runtime.UnlockOSThread()
	}
}

// answers checks that multus ends with an error of that code whose message says
// that, or with success if the code is 0.
func (p *running) answers(t *rapid.T, code int, says string) {
	t.Helper()
	late := time.AfterFunc(sandbox.Patience, func() { _ = p.Process.Kill() })
	err := p.Wait()
	if !late.Stop() {
		t.Fatalf("multus does not end; its stderr:\n%s", &p.err)
	}
	e := &sandbox.Error{}
	if err != nil {
		e, err = sandbox.DecodeError(p.out.String())
	}
	if err != nil || e.Code != code || !strings.Contains(e.Msg, says) {
		t.Fatalf("got error %v, code %d, want code %d %q\nstdout: %s\nstderr: %s", err, e.Code, code, says, &p.out, &p.err)
	}
}

// run makes a call, and the same call in the model.
func (m *machine) run(t *rapid.T, verb string, k key, mistakes []mistake, netns bool, valid []types.GCAttachment) {
	t.Helper()
	t.Logf("%s %v netns=%v valid=%v mistakes=%v", verb, k, netns, valid, mistakes)
	defer m.arm(t, mistakes)()
	code, _ := m.predict(verb, k, mistakes, netns, valid)
	p := m.start(t, verb, k, netns, valid)
	p.answers(t, code, m.want.says)
	if verb == "ADD" && code == 0 {
		m.checkResult(t, k, p.out.Bytes())
	}
	for kind, want := range m.want.told {
		m.checkTold(t, kind, want)
	}
}

// arm makes the fakes do what is wrong.
func (m *machine) arm(t *rapid.T, mistakes []mistake) (disarm func()) {
	for _, f := range mistakes {
		must(t, os.WriteFile(filepath.Join(m.Work, f.file()), []byte(mistakeOps[f.what].op), 0o600))
	}
	return func() {
		for _, f := range mistakes {
			_ = os.Remove(filepath.Join(m.Work, f.file()))
		}
	}
}

// checkResult checks that ADD returned what the primary has, and nothing else.
func (m *machine) checkResult(t *rapid.T, k key, stdout []byte) {
	t.Helper()
	var result types100.Result
	if err := json.Unmarshal(stdout, &result); err != nil {
		t.Fatalf("ADD %v: %v: %s", k, err, stdout)
	}
	var got []string
	for _, ip := range result.IPs {
		got = append(got, ip.Address.String())
	}
	want := m.want.pods[k.container].links[k.ifname].addrs
	if len(result.Interfaces) != 1 || result.Interfaces[0].Name != k.ifname || !slices.Equal(got, want) {
		t.Fatalf("ADD %v: returned %s\nwant %s with %v", k, stdout, k.ifname, want)
	}
}

// checkTold compares the valid attachments that GC told a fake.
func (m *machine) checkTold(t *rapid.T, kind string, want []string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(m.Work, "got", "GC-"+kind))
	must(t, err)
	var stdin struct {
		Valid []types.GCAttachment `json:"cni.dev/valid-attachments"`
	}
	must(t, json.Unmarshal(text, &stdin))
	var got []string
	for _, v := range stdin.Valid {
		got = append(got, v.ContainerID+" "+v.IfName)
	}
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Fatalf("GC told %s that %q are valid, want %q", kind, got, want)
	}
}

// compare compares the machine with the model.
func (m *machine) compare(t *rapid.T) {
	t.Helper()
	calls, err := m.NewCalls()
	must(t, err)
	same(t, "calls", calls, m.want.lines)
	m.want.lines = nil
	records, err := sandbox.Records(sandbox.RecordDir)
	must(t, err)
	same(t, "records", records, m.want.recordLines())
	for _, c := range containers {
		want := m.want.pods[c]
		if want == nil {
			continue
		}
		links, err := pod.Links(pod.PathOf(c))
		must(t, err)
		same(t, "interfaces of "+c, links, want.linkLines())
		defaults, err := pod.Defaults(pod.PathOf(c))
		must(t, err)
		same(t, "default routes of "+c, defaults, want.defaultLines())
	}
}

func same(t *rapid.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("%s:\n  got\n    %s\n  want\n    %s", what, strings.Join(got, "\n    "), strings.Join(want, "\n    "))
	}
}
