// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

// Package lint finds mistakes in a conf before a pod does: all of them at
// once, and each with its place in the file.
//
// It knows what multus refuses, and the mistakes with the reference plugins
// that keep pods from working. What else a delegate wants is known to nobody
// but its plugin.
package lint

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sort"

	"multus-cni/pkg/netconf"
	"multus-cni/pkg/state"
)

// Finding is one mistake in a conf, or something that looks like one.
type Finding struct {
	netconf.Problem
	Warning bool // pods start all the same
	Line    int  // counted from 1; 0 for what concerns the file as a whole
	Column  int  // counted from 1, in characters
}

// Report is what was found in one conf.
type Report struct {
	Findings []Finding // in the order of the file
	// Conf is the conf with its delegates planned as for an ADD of eth0, nil
	// when there are errors.
	Conf *netconf.Conf
}

// Errors counts the findings that keep pods from starting.
func (r *Report) Errors() int {
	n := 0
	for _, f := range r.Findings {
		if !f.Warning {
			n++
		}
	}
	return n
}

// Warnings counts the other findings.
func (r *Report) Warnings() int { return len(r.Findings) - r.Errors() }

// linter works through one conf.
type linter struct {
	text     []byte    // the file
	doc      *document // the conf of multus in there, once it is known where
	findings []Finding
	path     []string // where plugins are looked for
	asked    map[string]answer
}

// Check looks at the text of a conf file. What its name ends in tells a list
// of plugins from a single one, as it does for a runtime. Plugins are looked
// for in the folders of path, and those that are there are asked for their
// VERSION.
func Check(name string, text []byte, path []string) *Report {
	l := &linter{text: text, path: path}
	var conf *netconf.Conf
	if text, ok := l.syntax(); ok {
		conf = l.file(name, text)
	}
	report := &Report{Findings: l.sorted()}
	if report.Errors() == 0 {
		report.Conf = conf
	}
	return report
}

// file goes through a file that is JSON, and returns the conf as far as it
// can be read.
func (l *linter) file(name string, text []byte) *netconf.Conf {
	var top netconf.Object
	if err := top.UnmarshalJSON(text); err != nil {
		_, err = netconf.Parse(text)
		l.add(err)
		return nil
	}
	if l.isList(name, top) {
		l.doc = l.fromList(top)
	} else if l.isOurs(top) {
		l.doc = extract(top, 0)
	}
	if l.doc == nil {
		return nil
	}
	conf := l.parse()
	if conf == nil {
		return nil
	}
	_ = conf.Plan("eth0") // which is not the name of a secondary
	l.conf(conf)
	return conf
}

// isList tells whether a file is meant as a list of plugins, and reports one
// whose name says otherwise.
func (l *linter) isList(name string, top netconf.Object) bool {
	plugins := top.Get("plugins")
	content := plugins != nil && top.Get("type") == nil
	switch ext := filepath.Ext(name); {
	case ext == ".conflist" && plugins == nil:
		l.fault(0, "plugins", "is missing: runtimes expect a list of plugins in a file that ends in .conflist; "+
			"write one, or let the name end in .conf")
		return false
	case (ext == ".conf" || ext == ".json") && content:
		l.fault(plugins.Pos, "plugins", "makes this a list, and runtimes expect lists only in files that end in .conflist: rename the file")
	case ext == ".conflist":
		return true
	}
	return content
}

// isOurs tells whether a conf of a single plugin is meant for multus.
func (l *linter) isOurs(top netconf.Object) bool {
	m := top.Get("type")
	switch kind := str(m); {
	case m == nil:
		l.fault(0, "type", `is missing: write "type": "multus", it names the binary that the runtime calls`)
	case kind != "multus" && top.Get("delegates") == nil:
		l.fault(m.Pos, "type", "is %s: this is not a conf of multus", short(m.Value))
		return false
	case kind != "multus":
		l.fault(m.Pos, "type", `must be "multus", the binary that the runtime calls, not %s`, short(m.Value))
	}
	return true
}

// parse reads the conf. What keeps netconf from reading on is put right after
// it was reported, so that the rest is checked as well.
func (l *linter) parse() *netconf.Conf {
	conf, err := netconf.Parse(l.doc.text)
	l.add(err)
	if conf != nil {
		return conf
	}
	var object netconf.Object
	if object.UnmarshalJSON(l.doc.text) != nil {
		return nil
	}
	seen := len(l.findings)
	l.doc.amend(object, `"unnamed"`)
	conf, err = netconf.Parse(l.doc.text)
	l.add(err)
	l.findings = unique(l.findings, seen)
	return conf
}

// unique takes out of the findings from index on what is among those before.
func unique(findings []Finding, index int) []Finding {
	known := findings[:index]
	return append(known, slices.DeleteFunc(slices.Clone(findings[index:]), func(f Finding) bool {
		return slices.Contains(known, f)
	})...)
}

// conf checks what can be known only of the conf as a whole.
func (l *linter) conf(conf *netconf.Conf) {
	units := unitsOf(conf)
	l.names(conf)
	l.capabilities(conf)
	l.flannels(units)
	l.subnets(units)
	l.keys(conf, units)
	l.binaries(units)
	l.folder(conf)
}

// folder sees that records could be kept, where that can be told without
// making the folder.
func (l *linter) folder(conf *netconf.Conf) {
	if _, err := os.Stat(conf.CNIDir); err != nil || os.Geteuid() != 0 {
		return
	}
	if err := (state.Store{Dir: conf.CNIDir}).Prepare(); err != nil {
		l.fault(l.posOf("cniDir"), "cniDir", "cannot be used: %v", err)
	}
}

// posOf returns where a key of the conf itself stands, or the conf where it
// has none.
func (l *linter) posOf(key string) int {
	if m := l.top().Get(key); m != nil {
		return m.Pos
	}
	return 0
}

// add reports problems, at positions in the document.
func (l *linter) add(err error) {
	var problems netconf.Problems
	if errors.As(err, &problems) {
		for _, p := range problems {
			l.report(*p, false)
		}
	}
}

// fault reports an error that concerns no delegate.
func (l *linter) fault(pos int, field, format string, args ...any) {
	l.report(netconf.Problem{Delegate: -1, Field: field, Pos: pos, Msg: fmt.Sprintf(format, args...)}, false)
}

func (l *linter) report(p netconf.Problem, warning bool) {
	if l.doc != nil {
		p.Pos = l.doc.origin(p.Pos)
	}
	f := Finding{Problem: p, Warning: warning}
	f.Line, f.Column = position(l.text, p.Pos)
	l.findings = append(l.findings, f)
}

func (l *linter) sorted() []Finding {
	sort.SliceStable(l.findings, func(i, j int) bool { return l.findings[i].Pos < l.findings[j].Pos })
	return l.findings
}

// object reads the object that a member holds, nil when it holds none.
func object(m *netconf.Member) netconf.Object {
	var o netconf.Object
	if m == nil || o.UnmarshalJSON(m.Value) != nil {
		return nil
	}
	for i := range o {
		o[i].Pos += m.Pos
	}
	return o
}

// str reads the string that a member holds, "" when it holds none.
func str(m *netconf.Member) string {
	var s string
	if m == nil || json.Unmarshal(m.Value, &s) != nil {
		return ""
	}
	return s
}
