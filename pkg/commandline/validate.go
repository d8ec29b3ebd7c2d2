// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package commandline

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"multus-cni/pkg/cnierror"
	"multus-cni/pkg/commandline/lint"
	"multus-cni/pkg/netconf"
	"multus-cni/pkg/pluginexec"
)

// maxFindings is how many findings of one file are printed for people.
const maxFindings = 20

// validation is one call of validate.
type validation struct {
	*program
	path    []string // of the plugins, nil for --offline
	strict  bool
	asJSON  bool
	files   []string
	reports []*lint.Report // one for each file
}

// validate checks confs and reports all that is wrong with each.
func (p *program) validate(flags *flag.FlagSet) func([]string) error {
	v := &validation{program: p}
	path := flags.String("cni-path", "", "")
	offline := flags.Bool("offline", false, "")
	flags.BoolVar(&v.strict, "strict", false, "")
	flags.BoolVar(&v.asJSON, "json", false, "")
	return func(files []string) error {
		switch {
		case len(files) == 0:
			return &usageError{"say which conf to validate"}
		case *offline && *path != "":
			return &usageError{"--offline asks no plugins: leave out --cni-path"}
		case !*offline:
			v.path = p.pluginPath(*path)
		}
		return v.run(files)
	}
}

func (v *validation) run(args []string) error {
	for _, arg := range args {
		if arg != "-" && isDir(arg) {
			if err := v.directory(arg); err != nil {
				return err
			}
			continue
		}
		v.file(arg, os.ReadFile) // also of a pipe, such as the shell's <(...)
	}
	if err := v.print(); err != nil {
		return err
	}
	if slices.ContainsFunc(v.reports, func(r *lint.Report) bool { return r.Errors() > 0 }) {
		return errReported
	}
	return nil
}

// directory checks the confs in a directory that are, or may be, of multus, and
// says what a runtime reads there.
func (v *validation) directory(dir string) error {
	names, err := lint.Confs(dir)
	if err != nil {
		return err
	}
	before := len(v.files)
	var lines strings.Builder
	for i, name := range names {
		file := filepath.Join(dir, name)
		what, check := v.purpose(file)
		fmt.Fprintf(&lines, "  %d %s: %s\n", i+1, name, cnierror.OneLine(what))
		if check {
			v.file(file, readRegular)
		}
	}
	if !v.asJSON && len(names) > 0 {
		if err := v.say("%s: runtimes read the first of these (podman and nerdctl: the one with the network's name):\n%s",
			dir, strings.TrimSuffix(lines.String(), "\n")); err != nil {
			return err
		}
	}
	if len(v.files) == before {
		v.report(dir, failed("there is no conf of multus in this directory"))
	}
	return nil
}

// purpose describes a conf, and reports whether validate must check it.
func (v *validation) purpose(file string) (what string, check bool) {
	_, ours, err := own(file)
	switch {
	case err != nil:
		return err.Error(), true
	case ours:
		return "multus", true
	}
	s, err := readSource(file)
	if err != nil {
		return err.Error(), true
	}
	var kinds []string
	for _, p := range s.list() {
		if lint.IsMultus(p.Type, v.path) {
			return fmt.Sprintf("multus, as %q", p.Type), true
		}
		kinds = append(kinds, p.Type)
	}
	return fmt.Sprintf("network %q of %s", s.Name, strings.Join(kinds, "+")), false
}

func (v *validation) report(file string, report *lint.Report) {
	for i := range report.Findings {
		report.Findings[i].Warning = report.Findings[i].Warning && !v.strict
	}
	v.files, v.reports = append(v.files, file), append(v.reports, report)
}

// failed is the report of what could not be checked.
func failed(reason string) *lint.Report {
	return &lint.Report{Findings: []lint.Finding{{Problem: netconf.Problem{Delegate: -1, Msg: reason}}}}
}

// file reads one conf, "-" being stdin, and checks it and its directory.
func (v *validation) file(file string, read func(path string) ([]byte, error)) {
	var text []byte
	var err error
	if file == "-" {
		text, err = io.ReadAll(v.stdin)
	} else {
		text, err = read(file)
	}
	if err != nil {
		v.report(file, failed(err.Error()))
		return
	}
	report := lint.Check(file, text, v.path)
	warn := func(reason string) {
		report.Findings = append(report.Findings, lint.Finding{Problem: netconf.Problem{Delegate: -1, Msg: reason}, Warning: true})
	}
	if v.path != nil && report.Errors() == 0 {
		if _, err := (&pluginexec.Exec{}).FindInPath("multus", v.path); err != nil {
			warn("multus itself is not in " + strings.Join(v.path, ", ") + ", where the runtime would call it: install it before the conf")
		}
	}
	if file != "-" {
		if reason := v.unread(file); reason != "" {
			warn(reason)
		}
	}
	v.report(file, report)
}

// unread explains why a runtime would not read a file. With --offline the file
// is in no directory of a runtime, and only its own name counts.
func (v *validation) unread(file string) string {
	dir := filepath.Dir(file)
	if v.path == nil {
		dir = ""
	}
	reason, err := lint.Unread(dir, filepath.Base(file))
	if err != nil {
		return err.Error()
	}
	return reason
}

func (v *validation) print() error {
	if v.asJSON {
		return v.printReports(v.files, v.reports)
	}
	for i, file := range v.files {
		if err := v.printReport(file, v.reports[i]); err != nil {
			return err
		}
	}
	return nil
}

// printReport writes a line for each finding, in the form that editors know,
// and one for the whole. What is left out of a long report is counted.
func (p *program) printReport(file string, report *lint.Report) error {
	shown := report.Findings[:min(len(report.Findings), maxFindings)]
	for _, f := range shown {
		where := file
		if f.Line > 0 {
			where = fmt.Sprintf("%s:%d:%d", file, f.Line, f.Column)
		}
		p.report("%s: %s: %s", where, severity(f), cnierror.OneLine(f.Error()))
	}
	if n := len(report.Findings) - len(shown); n > 0 {
		p.report("%s: and %d more", file, n)
	}
	summary := count(report.Warnings(), "warning")
	if n := report.Errors(); n > 0 {
		p.report("%s: %s, %s", file, count(n, "error"), summary)
		return nil
	}
	return p.say("%s: ok, %s: network %q gives a pod %s", file, summary, report.Conf.Name, interfaces(report.Conf))
}

// interfaces lists what an ADD makes: "eth0 (flannel) and net0 (ptp)".
func interfaces(conf *netconf.Conf) string {
	names := make([]string, len(conf.Delegates))
	for i, d := range conf.Delegates {
		names[i] = fmt.Sprintf("%s (%s)", d.IfName, cnierror.OneLine(strings.Join(d.Types(), "+")))
	}
	last := len(names) - 1
	if last == 0 {
		return names[0]
	}
	return strings.Join(names[:last], ", ") + " and " + names[last]
}

func severity(f lint.Finding) string {
	if f.Warning {
		return "warning"
	}
	return "error"
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
