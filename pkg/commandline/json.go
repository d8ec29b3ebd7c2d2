// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package commandline

import (
	"encoding/json"
	"fmt"

	"multus-cni/pkg/commandline/lint"
)

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
