// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

// Package lint finds mistakes in a conf before a pod does: all of them at
// once, and each with its place in the file.
//
// It knows what multus refuses, and how delegates interfere with each other. It
// does not know the keys of plugins, but it warns of common mistakes in them
// that the plugins report late or not at all.
package lint

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"

	"multus-cni/pkg/netconf"
	"multus-cni/pkg/rawjson"
	"multus-cni/pkg/record"
)

// Finding is one mistake in a conf, or something that looks like one.
type Finding struct {
	netconf.Problem
	Warning bool // pods start nevertheless
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
	text     []byte // the file
	findings []Finding
	path     []string // where plugins are looked for
	asked    map[string]answer
}

// Check checks the text of a conf file. The extension of its name decides, as
// it does for a runtime, whether it is a list of plugins or a single one. Check
// looks for the plugins in the directories of path, and asks those that exist
// for their VERSION. When path is nil, it runs no plugin, and does not check
// which links and directories this machine has.
func Check(name string, text []byte, path []string) *Report {
	l := &linter{text: text, path: path, asked: map[string]answer{}}
	conf := l.file(name)
	report := &Report{Findings: l.sorted()}
	if report.Errors() == 0 {
		report.Conf = conf
	}
	return report
}

// file checks the file and returns the conf in it as far as it can be read,
// with its delegates planned.
func (l *linter) file(name string) *netconf.Conf {
	text, ok := l.repaired()
	if !ok {
		return nil
	}
	top, err := rawjson.ParseObject(text, 0)
	if err != nil {
		_, err = netconf.Parse(text)
		l.add(err)
		return nil
	}
	own, pos := top, 0
	if l.isList(name, top) {
		own, pos = l.fromList(top)
	} else if !l.isOurs(top) {
		own = nil
	}
	if own == nil {
		return nil
	}
	conf, err := netconf.Read(own, pos)
	l.add(err)
	conf = l.planned(conf)
	l.conf(conf)
	return conf
}

// isList reports whether a file holds a list of plugins, and adds a finding when
// its extension says otherwise.
func (l *linter) isList(name string, top rawjson.Object) bool {
	plugins := top.Get("plugins")
	content := plugins != nil && top.Get("type") == nil
	switch ext := filepath.Ext(name); {
	case ext == ".conflist" && plugins == nil:
		l.fault(0, "plugins", "is missing: runtimes expect a list of plugins in a file that ends in .conflist; "+
			"write one, or rename the file to end in .conf")
		return false
	case (ext == ".conf" || ext == ".json") && content:
		l.fault(plugins.Pos, "plugins", "makes this a list, and runtimes expect lists only in files that end in .conflist: rename the file")
	case ext == ".conflist":
		return true
	}
	return content
}

// isOurs reports whether a conf of a single plugin is, or should be, of multus.
func (l *linter) isOurs(top rawjson.Object) bool {
	m := top.Get("type")
	switch kind := m.String(); {
	case m == nil:
		l.fault(0, "type", `is missing: write "type": "multus", it names the binary that the runtime calls`)
	case IsMultus(kind, l.path):
	case top.Get("delegates") == nil:
		l.fault(m.Pos, "type", "is %s: this is not a conf of multus; multus compose makes one from it", short(m.Value))
		return false
	default:
		l.fault(m.Pos, "type", `must be "multus", the binary that the runtime calls, not %s`, short(m.Value))
	}
	return true
}

// IsMultus reports whether a type means this multus: by its usual name, or, in
// the directories of path, by the name of a link to it, or of a copy of this program.
func IsMultus(kind string, path []string) bool {
	if kind == "multus" {
		return true
	}
	file, err := find(kind, path)
	if err != nil {
		return false
	}
	info, err := os.Stat(file)
	if err != nil {
		return false
	}
	const self = "/proc/self/exe"
	installed, _ := find("multus", path) // "" is no file
	for _, other := range []string{installed, self} {
		if otherInfo, err := os.Stat(other); err == nil && os.SameFile(info, otherInfo) {
			return true
		}
	}
	text, err := os.ReadFile(file)
	own, ownErr := os.ReadFile(self)
	return err == nil && ownErr == nil && bytes.Equal(text, own)
}

// planned returns the conf with its delegates as for an ADD of eth0.
func (l *linter) planned(conf *netconf.Conf) *netconf.Conf {
	planned := *conf
	var err error
	if planned.Delegates, err = conf.Plan("eth0"); err == nil {
		return &planned
	}
	planned.Delegates = conf.Delegates
	for i, d := range conf.Delegates {
		if d.IfName == "eth0" { // no other name can be the primary's
			l.report(netconf.Problem{
				Delegate: i, Field: "ifname", Pos: d.Members.Get("ifname").Pos,
				Msg: `"eth0" is what runtimes call the interface of the primary: choose another name`,
			}, false)
		}
	}
	return &planned
}

// conf checks what can be known only of the conf as a whole.
func (l *linter) conf(conf *netconf.Conf) {
	units := unitsOf(conf)
	l.length(conf)
	l.names(conf)
	l.capabilities(conf)
	l.subnets(units)
	l.keys(conf, units)
	l.hints(conf, units)
	if l.path != nil {
		l.binaries(units)
		l.directory(conf)
	}
}

// length reports a network name that leaves no room for container ids in the
// names of the records.
func (l *linter) length(conf *netconf.Conf) {
	if n := len(conf.Name); n > netconf.MaxNameLength {
		l.fault(conf.Members.Get("name").Pos, "name", "is %d bytes long: a record's file name has room for %d", n, netconf.MaxNameLength)
	}
}

// directory checks that records can be kept, where that can be known without
// creating the directory.
func (l *linter) directory(conf *netconf.Conf) {
	if _, err := os.Stat(conf.CNIDir); err != nil || os.Geteuid() != 0 {
		return
	}
	if err := (record.Store{Dir: conf.CNIDir}).Prepare(); err != nil {
		pos := 0
		if m := conf.Members.Get("cniDir"); m != nil {
			pos = m.Pos
		}
		l.fault(pos, "cniDir", "cannot be used: %v", err)
	}
}

// add reports the problems of a conf.
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

func (l *linter) warn(p netconf.Problem) { l.report(p, true) }

func (l *linter) report(p netconf.Problem, warning bool) {
	f := Finding{Problem: p, Warning: warning}
	f.Line, f.Column = position(l.text, p.Pos)
	l.findings = append(l.findings, f)
}

func (l *linter) sorted() []Finding {
	sort.SliceStable(l.findings, func(i, j int) bool { return l.findings[i].Pos < l.findings[j].Pos })
	return l.findings
}
