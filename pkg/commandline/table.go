// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package commandline

import (
	"fmt"
	"strings"
	"time"
)

const (
	screen      = 80 // columns
	shortID     = 12 // characters of a container's id, as docker shows them
	shortestID  = len("CONTAINER")
	shortestPod = 12
)

// table is rows of cells, the first row being the heads of the columns.
type table struct {
	rows [][]string
}

const (
	columnID = iota
	columnPod
	columnIfName
	columnPlugin
	columnAddress
	columnAge
	columnState
	columns
)

// printTables writes one table for each network, and what there is to say of
// attachments that are not simply there.
func (p *program) printTables(attachments []attachment, wide bool) error {
	var text strings.Builder
	for from := 0; from < len(attachments); {
		to := from
		for to < len(attachments) && attachments[to].Network == attachments[from].Network {
			to++
		}
		if from > 0 {
			text.WriteByte('\n')
		}
		name := attachments[from].Network
		if name == "" {
			name = "unknown"
		}
		fmt.Fprintf(&text, "network %s\n", cnierror.OneLine(name))
		t := newTable(attachments[from:to], wide)
		t.write(&text)
		from = to
	}
	text.WriteString(notes(attachments))
	_, err := p.stdout.Write([]byte(text.String()))
	if err != nil {
		return fmt.Errorf("write to stdout: %w", err)
	}
	return nil
}

func newTable(attachments []attachment, wide bool) *table {
	t := &table{rows: [][]string{{"CONTAINER", "POD", "IFNAME", "PLUGIN", "ADDRESS", "AGE", "STATE"}}}
	for _, a := range attachments {
		t.add(a, wide)
	}
	t.dropEmpty(columnPod)
	t.dropEmpty(columnState)
	if !wide {
		t.shorten(columnID, shortestID, func(s string, n int) string { return s[:n] })
		t.shorten(columnPod, shortestPod, middle)
	}
	return t
}

// add makes a row of each interface. Further addresses of an interface get
// rows of their own, which are empty but for that.
func (t *table) add(a attachment, wide bool) {
	id := a.ContainerID
	if !wide && len(id) > shortID {
		id = id[:shortID]
	}
	state := a.State
	if state == isAttached {
		state = ""
	}
	list := a.Interfaces
	if len(list) == 0 {
		list = []networkInterface{{IfName: a.IfName, Plugins: []string{"-"}}}
	}
	for _, i := range list {
		plugin := strings.Join(i.Plugins, "+")
		if !wide && len(i.Plugins) > 2 {
			plugin = fmt.Sprintf("%s+%d more", i.Plugins[0], len(i.Plugins)-1)
		}
		first := "-"
		if len(i.Addresses) > 0 {
			first = i.Addresses[0]
		}
		t.row(id, a.Pod.String(), i.IfName, plugin, first, age(time.Since(a.Written)), state)
		for n := 1; n < len(i.Addresses); n++ {
			t.row("", "", "", "", i.Addresses[n], "", "")
		}
	}
}

// row adds a row. Records hold what others wrote, and control characters in it
// would reach the terminal.
func (t *table) row(cells ...string) {
	for i, cell := range cells {
		cells[i] = cnierror.OneLine(cell)
	}
	t.rows = append(t.rows, cells)
}

// dropEmpty removes the head of a column that has nothing else.
func (t *table) dropEmpty(column int) {
	for _, row := range t.rows[1:] {
		if row[column] != "" {
			return
		}
	}
	t.rows[0][column] = ""
}

// width returns the width of a column, 0 for one that is empty.
func (t *table) width(column int) int {
	width := 0
	for _, row := range t.rows {
		width = max(width, len(row[column]))
	}
	return width
}

// shorten makes a column narrower, down to a limit, until all of the table
// fits the screen.
func (t *table) shorten(column, limit int, cut func(string, int) string) {
	total := -2
	for c := range columns {
		if width := t.width(c); width > 0 {
			total += width + 2
		}
	}
	width := t.width(column)
	to := max(min(limit, width), width-max(0, total-screen))
	for _, row := range t.rows {
		if len(row[column]) > to {
			row[column] = cut(row[column], to)
		}
	}
}

// middle takes the middle out of a string: the beginning of a pod's name says
// what it is and the end which.
func middle(s string, n int) string {
	head := (n - 2) / 2
	return s[:head] + ".." + s[len(s)-(n-2-head):]
}

func (t *table) write(text *strings.Builder) {
	widths := make([]int, columns)
	for c := range widths {
		widths[c] = t.width(c)
	}
	for _, row := range t.rows {
		var line strings.Builder
		for c, cell := range row {
			if widths[c] > 0 {
				fmt.Fprintf(&line, "%-*s  ", widths[c], cell)
			}
		}
		text.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
}

// notes explains each state that is not "attached", and names the files that
// somebody has to look at.
func notes(attachments []attachment) string {
	var text strings.Builder
	seen := map[string]bool{isAttached: true}
	for _, a := range attachments {
		if file := a.State == isDamaged || a.State == isQuarantined; file {
			fmt.Fprintf(&text, "%s: %s\n  %s\n", a.State, cnierror.OneLine(a.Record), oneLine(a.Reason))
		} else if !seen[a.State] {
			seen[a.State] = true
			fmt.Fprintf(&text, "%s: %s\n", a.State, meaning(a.State))
		}
	}
	if text.Len() == 0 {
		return ""
	}
	return "\n" + text.String()
}

func meaning(state string) string {
	switch state {
	case isStale:
		return "the node was rebooted, or the pod's network namespace is gone;\n" +
			"  the next ADD or DEL of the container cleans up"
	case isPartial:
		return "the ADD is running, was killed, or failed; the next DEL cleans up"
	case is2017:
		return "written by the multus of 2017; the next DEL of the container cleans up"
	}
	return state
}

// age writes a duration in its largest unit.
func age(d time.Duration) string {
	switch d = max(d, 0); {
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}
