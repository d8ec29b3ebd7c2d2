// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package commandline

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"multus-cni/pkg/cnierror"
	"multus-cni/pkg/commandline/lint"
	"multus-cni/pkg/netconf"
	"multus-cni/pkg/pluginexec"
)

// validate checks confs and reports all that is wrong with each.
func (p *program) validate(flags *flag.FlagSet) func([]string) error {
	path := flags.String("cni-path", "", "")
	asJSON := flags.Bool("json", false, "")
	return func(files []string) error {
		if len(files) == 0 {
			return &usageError{"say which conf to validate"}
		}
		return p.validateFiles(files, p.pluginPath(*path), *asJSON)
	}
}

func (p *program) validateFiles(files, path []string, asJSON bool) (err error) {
	reports := make([]*lint.Report, len(files))
	failed := false
	for i, file := range files {
		reports[i] = p.check(file, path)
		failed = failed || reports[i].Errors() > 0
	}
	if asJSON {
		err = p.printReports(files, reports)
	} else {
		for i, file := range files {
			if reportErr := p.printReport(file, reports[i]); err == nil {
				err = reportErr
			}
		}
	}
	if err == nil && failed {
		return errReported
	}
	return err
}

// check reads one conf, "-" being stdin, and checks it and its directory.
func (p *program) check(file string, path []string) *lint.Report {
	var text []byte
	var err error
	if file == "-" {
		text, err = io.ReadAll(p.stdin)
	} else {
		text, err = os.ReadFile(file)
	}
	if err != nil {
		return &lint.Report{Findings: []lint.Finding{{Problem: netconf.Problem{Delegate: -1, Msg: err.Error()}}}}
	}
	report := lint.Check(file, text, path)
	warn := func(reason string) {
		report.Findings = append(report.Findings, lint.Finding{Problem: netconf.Problem{Delegate: -1, Msg: reason}, Warning: true})
	}
	if _, err := (&pluginexec.Exec{}).FindInPath("multus", path); err != nil && report.Errors() == 0 {
		warn("multus itself is not in " + strings.Join(path, ", ") + ", where the runtime would call it: install it before the conf")
	}
	if file == "-" {
		return report
	}
	reason, err := lint.Unread(filepath.Dir(file), filepath.Base(file))
	if err != nil {
		reason = err.Error()
	}
	if reason != "" {
		warn(reason)
	}
	return report
}

// printReport writes a line for each finding, in the form that editors know,
// and one for the whole.
func (p *program) printReport(file string, report *lint.Report) error {
	for _, f := range report.Findings {
		where := file
		if f.Line > 0 {
			where = fmt.Sprintf("%s:%d:%d", file, f.Line, f.Column)
		}
		_, _ = fmt.Fprintf(p.stderr, "%s: %s: %s\n", where, severity(f), cnierror.OneLine(f.Error()))
	}
	summary := count(report.Warnings(), "warning")
	if n := report.Errors(); n > 0 {
		_, _ = fmt.Fprintf(p.stderr, "%s: %s, %s\n", file, count(n, "error"), summary)
		return nil
	}
	return p.say("%s: ok, %s: network %q gives a pod %s", file, summary, report.Conf.Name, interfaces(report.Conf))
}

// interfaces lists what an ADD makes: "eth0 (flannel) and net0 (ptp)".
func interfaces(conf *netconf.Conf) string {
	names := make([]string, len(conf.Delegates))
	for i, d := range conf.Delegates {
		names[i] = fmt.Sprintf("%s (%s)", d.IfName, strings.Join(typesOf(&d), "+"))
	}
	last := len(names) - 1
	if last == 0 {
		return names[0]
	}
	return strings.Join(names[:last], ", ") + " and " + names[last]
}

// typesOf lists the types of a delegate's plugins.
func typesOf(d *netconf.Delegate) []string {
	names := make([]string, len(d.Plugins))
	for i, p := range d.Plugins {
		names[i] = p.Type
	}
	return names
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

// finding is how --json writes one.
type finding struct {
	Severity string `json:"severity"` // "error" or "warning"
	Line     int    `json:"line,omitempty"`
	Column   int    `json:"column,omitempty"`
	Delegate *int   `json:"delegate,omitempty"`
	Type     string `json:"type,omitempty"`
	Field    string `json:"field,omitempty"`
	Message  string `json:"message"`
}

func (p *program) printReports(files []string, reports []*lint.Report) error {
	type report struct {
		File     string    `json:"file"`
		Valid    bool      `json:"valid"`
		Findings []finding `json:"findings"`
	}
	list := make([]report, len(files))
	for i, r := range reports {
		list[i] = report{File: files[i], Valid: r.Errors() == 0, Findings: []finding{}}
		for _, f := range r.Findings {
			entry := finding{severity(f), f.Line, f.Column, nil, f.Type, f.Field, f.Msg}
			if f.Delegate >= 0 {
				entry.Delegate = &f.Delegate
			}
			list[i].Findings = append(list[i].Findings, entry)
		}
	}
	return p.printJSON(list)
}

func (p *program) printJSON(value any) error {
	encoder := json.NewEncoder(p.stdout)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(value); err != nil {
		return fmt.Errorf("write to stdout: %w", err)
	}
	return nil
}
