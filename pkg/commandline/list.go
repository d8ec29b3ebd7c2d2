// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package commandline

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
	"multus-cni/pkg/cnierror"
)

// listing is one call of list.
type listing struct {
	*program
	cniDir, confDir     string
	pod, network, state string // only these, "" for all
	output              string
	wide, json, metrics bool
}

// list shows the attachments of this node.
func (p *program) list(flags *flag.FlagSet) func([]string) error {
	l := &listing{program: p}
	flags.StringVar(&l.cniDir, "cni-dir", "", "")
	flags.StringVar(&l.confDir, "conf-dir", defaultConfDir, "")
	flags.StringVar(&l.pod, "pod", "", "")
	flags.StringVar(&l.network, "network", "", "")
	flags.StringVar(&l.state, "state", "", "")
	flags.StringVar(&l.output, "output", "table", "")
	flags.BoolVar(&l.wide, "wide", false, "")
	flags.BoolVar(&l.json, "json", false, "")
	flags.BoolVar(&l.metrics, "metrics", false, "")
	return func(args []string) error {
		if err := l.checkUsage(args); err != nil {
			return err
		}
		return l.run()
	}
}

// checkUsage also turns --wide, --json and --metrics into the output that they
// mean.
func (l *listing) checkUsage(args []string) error {
	if err := takesNone("list", args); err != nil {
		return err
	}
	if l.state != "" && !slices.Contains(states(), l.state) {
		return &usageError{fmt.Sprintf("there is no state %q, only %s", l.state, strings.Join(states(), ", "))}
	}
	if !slices.Contains(outputs(), l.output) {
		return &usageError{fmt.Sprintf("there is no output %q, only %s", l.output, strings.Join(outputs(), ", "))}
	}
	switch {
	case l.metrics:
		l.output = "metrics"
	case l.json:
		l.output = "json"
	case l.wide:
		l.output = "wide"
	}
	return nil
}

func outputs() []string { return []string{"table", "wide", "json"} }

func (l *listing) run() error {
	dirs, err := l.dirs()
	if err != nil {
		return err
	}
	all, err := attachmentsIn(dirs)
	if err != nil {
		return err
	}
	found := slices.DeleteFunc(slices.Clone(all), func(a attachment) bool { return !l.selects(&a) })
	switch {
	case l.output == "metrics":
		return l.printMetrics(found)
	case l.output == "json":
		return l.printJSON(found)
	case len(all) == 0:
		return l.say("nothing is attached: there is no record in %s", strings.Join(dirs, ", "))
	case len(found) == 0:
		return l.say("no match among %s in %s", count(len(all), "record"), strings.Join(dirs, ", "))
	case l.output == "wide":
		return l.printTables(found, 0)
	}
	return l.printTables(found, l.columns)
}

// dirs returns the directories of the records: those of --cni-dir or, without
// it, the default one and those of the confs. Only those of --cni-dir must
// exist: the first ADD makes the others.
func (l *listing) dirs() ([]string, error) {
	named := splitDirs(l.cniDir)
	for _, dir := range named {
		if _, err := os.Stat(dir); err != nil {
			return nil, fmt.Errorf("look for records: %w", err)
		}
	}
	if len(named) > 0 {
		return named, nil
	}
	confs, err := readOwnConfs(l.confDir)
	if errors.Is(err, fs.ErrNotExist) && l.confDir == defaultConfDir {
		confs, err = &ownConfs{}, nil
	}
	if err != nil {
		return nil, err
	}
	for _, err := range confs.unknown {
		l.complain("warning: %s", cnierror.OneLine(err.Error()))
	}
	dirs := slices.DeleteFunc(confs.cniDirs, func(dir string) bool {
		info, err := os.Stat(dir)
		if err != nil || info.IsDir() {
			return false
		}
		l.complain("warning: cniDir %s is not a directory", dir)
		return true
	})
	if !slices.Contains(dirs, l.defaultCNIDir) {
		dirs = append(dirs, l.defaultCNIDir)
	}
	return dirs, nil
}

// splitDirs returns the directories of a list that are not "".
func splitDirs(list string) []string {
	return slices.DeleteFunc(filepath.SplitList(list), func(dir string) bool { return dir == "" })
}

// forgetCommand returns the command that looks for records where list has.
func (l *listing) forgetCommand() string {
	switch {
	case l.cniDir != "":
		return "multus forget --cni-dir " + l.cniDir
	case l.confDir != defaultConfDir:
		return "multus forget --conf-dir " + l.confDir
	}
	return "multus forget"
}

// selects reports whether an attachment matches --state, --pod and --network.
func (l *listing) selects(a *attachment) bool {
	return (l.state == "" || l.state == a.State) &&
		(l.pod == "" || l.pod == a.Pod.String() || a.Pod != nil && l.pod == a.Pod.Name) &&
		(l.network == "" || l.network == a.Network ||
			slices.ContainsFunc(a.Interfaces, func(i networkInterface) bool { return i.Network == l.network }))
}

// terminalColumns returns the width of a terminal, and 0 for a file that is not
// a terminal.
func terminalColumns(file *os.File) int {
	size, err := unix.IoctlGetWinsize(int(file.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0
	}
	return cmp.Or(int(size.Col), screen) // a serial line does not know
}
