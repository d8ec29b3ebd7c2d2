// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/containernetworking/cni/pkg/types"
)

// model is what must exist: the model that TestModel compares multus with. Its
// methods add, del, check and gc do what doc/behaviour.md says, the fakes'
// part included, and write down which calls the fakes get. They return the
// code of the error that multus must print, 0 for none.
type model struct {
	pods     map[string]*podState // by container; nil when no netns is at its path
	records  map[key]*record
	locks    map[key]bool          // left by a multus that was killed
	confs    map[string][]delegate // by network, as they are today
	confKey  key                   // the attachment that the newest conf was made for
	mistakes []mistake             // of the call that is made
	lines    []string              // the calls that the fakes got, in the form of the log
	says     string                // by the error, where its code is not enough
	told     map[string][]string   // what the fakes heard from GC, by type
}

type key struct{ network, container, ifname string }

func (k key) String() string { return strings.Join([]string{k.network, k.container, k.ifname}, ":") }

// podState is a pod's network namespace. Another one at the same path is another pod.
type podState struct{ links map[string]*link }

type link struct {
	addrs    []string
	defaults map[string]route // by family
}

// route is a default route. Its metric tells of which attachment it is.
type route struct {
	gateway string
	metric  int
}

// record is what multus must remember of an attachment.
type record struct {
	pod       *podState
	delegates []attached
	complete  bool              // ADD has succeeded
	defaults  map[string]string // interfaces by family
}

// delegate is one of a conf.
type delegate struct {
	kind    string
	list    bool // of two plugins, the second being tuning
	primary bool
	// how it adds its default route of a family: with a flag of the fake's
	// "default", as "usual", or not at all.
	how map[string]string
}

// attached is a delegate that has been called for an attachment.
type attached struct {
	delegate
	index        int
	name, ifname string
	text         string // its conf
	result       bool   // ADD has returned one, and multus has kept it
	seen         bool   // multus has seen its interface in the pod
}

// mistake is what a fake does wrong.
type mistake struct {
	verb  string
	index int  // of the delegate
	late  bool // after its work, and not before it; of a list, in the second plugin
	what  string
}

// mistakeOps are what a mistake makes the fake do, and the code that comes of it.
var mistakeOps = map[string]struct {
	op   string
	code int
}{
	"error":   {"error 12 broken", 12},
	"exit":    {"exit 3", int(types.ErrInternal)},
	"kill":    {"kill", int(types.ErrInternal)},
	"garbage": {`print {"ips": 7`, int(types.ErrDecodingFailure)},
	"empty":   {"print {}", 0}, // which only a primary may not
	"hold":    {"hold held", 0},
}

func (f mistake) file() string {
	if f.late {
		return fmt.Sprintf("%s-%d-late", f.verb, f.index)
	}
	return fmt.Sprintf("%s-%d", f.verb, f.index)
}

// killed is thrown by a fake that was held while multus was killed.
type killed struct{}

var families = []string{"ipv4", "ipv6"}

// address returns what a delegate of an attachment has on its interface, and
// the gateway in there.
func address(k key, index int, family string) (addr, gateway string) {
	network, ifname := k.network[len(k.network)-1]-'0', k.ifname[len(k.ifname)-1]-'0'
	if family == "ipv4" {
		return fmt.Sprintf("10.%d%d.%d.2/24", network, ifname, index), fmt.Sprintf("10.%d%d.%d.1", network, ifname, index)
	}
	return fmt.Sprintf("fd00:%d%d:%d::2/64", network, ifname, index+1), fmt.Sprintf("fd00:%d%d:%d::1", network, ifname, index+1)
}

// metric keeps the attachments of one pod apart: each has default routes of
// its own.
func metric(k key) int {
	return 100 + 10*int(k.network[len(k.network)-1]-'0') + int(k.ifname[len(k.ifname)-1]-'0')
}

// conf is the content of a conf that is made for an attachment.
func (d delegate) conf(k key, i int) map[string]any {
	fake := map[string][]string{}
	for _, verb := range []string{"ADD", "DEL", "CHECK", "GC"} {
		fake[verb] = []string{"obey " + mistake{verb: verb, index: i}.file()}
	}
	late := "obey " + mistake{verb: "ADD", index: i, late: true}.file()
	fake["ADD"] = append(fake["ADD"], "link")
	for _, family := range families {
		addr, gateway := address(k, i, family)
		if how := d.how[family]; how != "" {
			how = strings.TrimPrefix(how, "usual")
			fake["ADD"] = append(fake["ADD"], "addr "+addr, fmt.Sprintf("default %s %s metric %d", gateway, how, metric(k)))
		}
	}
	if !d.list {
		fake["ADD"] = append(fake["ADD"], late)
		return map[string]any{"masterplugin": d.primary, "type": d.kind, "fake": fake}
	}
	return map[string]any{"masterplugin": d.primary, "plugins": []any{
		map[string]any{"type": d.kind, "fake": fake},
		map[string]any{"type": "tuning", "fake": map[string]any{"ADD": late}},
	}}
}

// conf is what a runtime sends for an attachment, or for GC.
func (w *model) conf(k key, valid []types.GCAttachment) string {
	var delegates []map[string]any
	for i, d := range w.confs[k.network] {
		delegates = append(delegates, d.conf(k, i))
	}
	conf := map[string]any{"cniVersion": "1.1.0", "name": k.network, "type": "multus", "delegates": delegates}
	if valid != nil {
		conf["cni.dev/valid-attachments"] = valid
	}
	text, _ := json.Marshal(conf) // strings only
	return string(text)
}

// planned are today's delegates of an attachment.
func (w *model) planned(k key) []attached {
	var list []attached
	secondaries := 0
	for i, d := range w.confs[k.network] {
		conf := d.conf(w.confKey, i)
		if d.list {
			delete(conf, "masterplugin") // of the list, no plugin's
		}
		text, _ := json.Marshal(conf) // strings only
		a := attached{delegate: d, index: i, name: k.network, ifname: k.ifname, text: string(text)}
		if !d.primary {
			a.ifname = fmt.Sprintf("net%d", secondaries)
			a.name += "-" + a.ifname
			secondaries++
		}
		list = append(list, a)
	}
	return list
}

// call is a fake that is called: it returns the code of its error. Its work is
// done even when multus has been killed meanwhile.
func (w *model) call(k key, verb, kind string, a attached, netns, prev bool, late bool, work func() int) int {
	fields := []string{verb, k.container, a.ifname, kind, a.name, "1.1.0"}
	switch {
	case verb == "GC":
		fields[1], fields[2] = "-", "-"
	case netns && w.pods[k.container] == nil:
		fields = append(fields, "netns-gone")
	case netns:
		fields = append(fields, "netns")
	}
	if prev {
		fields = append(fields, "prev")
	}
	w.lines = append(w.lines, strings.Join(fields, " "))
	code, held := 0, false
	at := func(late bool) bool {
		for _, f := range w.mistakes {
			if f.verb != verb || f.index != a.index || f.late != late || (kind == "tuning") != (a.list && late) {
				continue
			}
			if f.what == "hold" {
				w.lines, held = append(w.lines, "over held"), true
				continue
			}
			code = mistakeOps[f.what].code
			return true
		}
		return false
	}
	if !at(false) {
		if code = work(); code == 0 && late {
			at(true)
		}
	}
	if held {
		panic(killed{})
	}
	if verb == "GC" && code != 0 { // is it too old to know GC?
		w.lines = append(w.lines, "VERSION - - "+kind+" - -")
	}
	return code
}

// faulty reports whether the ADD of a delegate has that late mistake.
func (w *model) faulty(a attached, what string) bool {
	return slices.Contains(w.mistakes, mistake{"ADD", a.index, true, what})
}

// attach is what the first plugin of a delegate does to the pod.
func (p *podState) attach(k key, a attached) int {
	l := &link{defaults: map[string]route{}}
	p.links[a.ifname] = l
	for _, family := range families {
		how := a.how[family]
		if how == "" {
			continue
		}
		addr, gateway := address(k, a.index, family)
		l.addrs = append(l.addrs, addr)
		l.defaults[family] = route{gateway, metric(k)}
	}
	return 0
}

func (w *model) copyOf(r *record) *record {
	c := *r
	c.delegates = slices.Clone(r.delegates)
	return &c
}

// locked makes a call under the lock of an attachment. If multus is killed
// meanwhile, the lock stays.
func (w *model) locked(k key, call func() int) int {
	w.locks[k] = true
	code := call()
	delete(w.locks, k)
	return code
}

// names returns the interfaces of delegates.
func names(list []attached) (all []string) {
	for _, a := range list {
		all = append(all, a.ifname)
	}
	return all
}

// sorted returns the attachments that have a record, or a lock that was left, in
// the order of the files.
func (w *model) sorted() []key {
	all := maps.Clone(w.locks)
	for k := range w.records {
		all[k] = true
	}
	return slices.SortedFunc(maps.Keys(all), func(a, b key) int { return strings.Compare(a.String()+".json", b.String()+".json") })
}
