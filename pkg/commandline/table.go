// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package commandline

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"multus-cni/pkg/cnierror"
)

const (
	screen      = 80 // columns of a terminal that does not say
	shortID     = 13 // characters of a container's id, as crictl shows them
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

// layout says which columns are shortened. The zero layout shortens none.
type layout struct {
	ids, plugins, addresses bool
}

// printTables writes one table for each network, and explains the states other
// than "attached". Nothing is shortened if width, in columns, is 0.
func (l *listing) printTables(attachments []attachment, width int) error {
	var text strings.Builder
	for from := 0; from < len(attachments); {
		to := from
		for to < len(attachments) && attachments[to].Network == attachments[from].Network {
			to++
		}
		if from > 0 {
			text.WriteByte('\n')
		}
		fmt.Fprintf(&text, "network %s\n", cnierror.OneLine(cmp.Or(attachments[from].Network, "unknown")))
		fit(attachments[from:to], width).write(&text)
		from = to
	}
	text.WriteString(notes(attachments, l.forgetCommand()))
	return l.write(text.String())
}

// fit returns the table that shows most and is not wider than width, or the
// narrowest one.
func fit(attachments []attachment, width int) *table {
	if width == 0 {
		return newTable(attachments, layout{})
	}
	var t *table
	for _, short := range []layout{{ids: true}, {ids: true, plugins: true}, {ids: true, plugins: true, addresses: true}} {
		if t = newTable(attachments, short); t.total() <= width {
			return t
		}
	}
	t.shortenPods(t.total() - width)
	return t
}

func newTable(attachments []attachment, short layout) *table {
	t := &table{rows: [][]string{{"CONTAINER", "POD", "IFNAME", "PLUGIN", "ADDRESS", "AGE", "STATE"}}}
	for i := range attachments {
		t.add(&attachments[i], short)
	}
	t.dropEmpty(columnPod)
	t.dropEmpty(columnState)
	return t
}

// add makes a row of each interface.
func (t *table) add(a *attachment, short layout) {
	id := a.ContainerID
	if short.ids && len(id) > shortID {
		id = id[:shortID]
	}
	state := a.State
	if state == stateAttached {
		state = ""
	}
	list := a.Interfaces
	if len(list) == 0 {
		list = []networkInterface{{IfName: a.IfName}}
	}
	for _, i := range list {
		addresses := join(i.Addresses, short.addresses, ",", ",+%d")
		if i.Missing && len(i.Addresses) == 0 {
			addresses = "no interface"
		}
		t.row(id, a.Pod.String(), i.IfName, join(i.Plugins, short.plugins, "+", "+%d more"),
			addresses, age(time.Since(a.Written)), state)
	}
}

// join joins the elements of a list. A short list is the first element and the
// number of the others.
func join(list []string, short bool, separator, others string) string {
	switch {
	case len(list) == 0:
		return "-"
	case short && len(list) > 1:
		return list[0] + fmt.Sprintf(others, len(list)-1)
	}
	return strings.Join(list, separator)
}

// row adds a row. Records hold what others wrote, and control characters in it
// would reach the terminal.
func (t *table) row(cells ...string) {
	for i, cell := range cells {
		cells[i] = cnierror.OneLine(cell)
	}
	t.rows = append(t.rows, cells)
}

// dropEmpty removes the head of a column whose other cells are empty.
func (t *table) dropEmpty(column int) {
	if !slices.ContainsFunc(t.rows[1:], func(row []string) bool { return row[column] != "" }) {
		t.rows[0][column] = ""
	}
}

// width returns the width of a column, 0 for one that is empty.
func (t *table) width(column int) int {
	width := 0
	for _, row := range t.rows {
		width = max(width, utf8.RuneCountInString(row[column]))
	}
	return width
}

// total returns the width of the table.
func (t *table) total() int {
	total := -2
	for c := range columns {
		if width := t.width(c); width > 0 {
			total += width + 2
		}
	}
	return total
}

// shortenPods makes the column of pods narrower, but no narrower than
// shortestPod.
func (t *table) shortenPods(by int) {
	to := max(shortestPod, t.width(columnPod)-by)
	for _, row := range t.rows {
		row[columnPod] = middle(row[columnPod], to)
	}
}

// middle takes the middle out of a string that has more than n characters: the
// beginning of a pod's name says what it is, and its end tells replicas apart.
func middle(s string, n int) string {
	runes := []rune(s)
	if len(runes) <= n {
		return s
	}
	head := (n - 2) / 2
	return string(runes[:head]) + ".." + string(runes[len(runes)-(n-2-head):])
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
// somebody has to look at. forget is the command that finds the records of these
// attachments.
func notes(attachments []attachment, forget string) string {
	var text strings.Builder
	replace := func(text string) string {
		return strings.ReplaceAll(cnierror.OneLine(text), "multus forget", forget)
	}
	seen := map[string]bool{stateAttached: true}
	for _, a := range attachments {
		if general := meaning(a.State); general == "" && a.State != stateAttached {
			fmt.Fprintf(&text, "%s: %s\n", a.State, cnierror.OneLine(a.Record))
			fmt.Fprintf(&text, "  %s\n", replace(a.Reason))
		} else if !seen[a.State] {
			seen[a.State] = true
			fmt.Fprintf(&text, "%s: %s\n", a.State, strings.ReplaceAll(replace(general), "; ", ";\n  "))
		}
	}
	if text.Len() == 0 {
		return ""
	}
	return "\n" + text.String()
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
