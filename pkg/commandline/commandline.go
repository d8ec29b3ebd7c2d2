// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

// Package commandline is the commands for people: what multus does when it is
// run by hand and not by a container runtime.
//
// It only looks at confs and records, and puts files in place. Attaching and
// detaching pods is for the runtime alone.
package commandline

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// What a command exits with.
const (
	exitOK    = 0
	exitError = 1
	exitUsage = 2
)

// DefaultCNIPath is where runtimes look for plugins unless told otherwise, and
// DefaultConfDir where they look for confs.
const (
	DefaultCNIPath = "/opt/cni/bin"
	DefaultConfDir = "/etc/cni/net.d"
)

// Main runs the command that args begins with, and returns what to exit with.
// version is that of multus.
func Main(version string, args []string) int {
	p := &program{about: version, env: os.Getenv, stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr}
	return p.main(args)
}

// program serves one command.
type program struct {
	about  string // the version of multus
	env    func(key string) string
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
}

func (p *program) main(args []string) int {
	command, rest := args[0], args[1:]
	for name, run := range map[string]func([]string) error{
		"validate":  p.validate,
		"list":      p.list,
		"install":   p.install,
		"uninstall": p.uninstall,
		"version":   p.version,
		"--version": p.version,
		"help":      p.help,
		"--help":    p.help,
		"-h":        p.help,
	} {
		if name != command {
			continue
		}
		if slices.Contains(rest, "--help") || slices.Contains(rest, "-h") {
			return p.exit("help", p.help([]string{command}))
		}
		return p.exit(command, run(rest))
	}
	return p.exit("", &usageError{fmt.Sprintf("there is no command %q", command)})
}

// usageError says that a command was called in a way that it does not know.
type usageError struct{ msg string }

func (e *usageError) Error() string { return e.msg }

// errReported says that a command has failed and has said all about it.
var errReported = errors.New("reported")

// exit reports an error to the person who called.
func (p *program) exit(command string, err error) int {
	var usage *usageError
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errReported):
		return exitError
	case errors.As(err, &usage):
		p.complain("%v: see \"%s\"", err, strings.TrimSpace("multus help "+strings.TrimLeft(command, "-")))
		return exitUsage
	}
	p.complain("%v", err)
	return exitError
}

func (p *program) complain(format string, args ...any) {
	_, _ = fmt.Fprintf(p.stderr, "multus: "+format+"\n", args...)
}

func (p *program) say(format string, args ...any) error {
	if _, err := fmt.Fprintf(p.stdout, format+"\n", args...); err != nil {
		return fmt.Errorf("write to stdout: %w", err)
	}
	return nil
}

// options reads what follows a command: the --NAME=VALUE or --NAME VALUE of
// values, the --NAME of switches, and everything else, which it returns. They
// may stand in any order, with "--" before what only looks like an option.
func options(args []string, values map[string]*string, switches map[string]*bool) (rest []string, err error) {
	for i := 0; i < len(args); i++ {
		name, value, joined := strings.Cut(args[i], "=")
		switch {
		case args[i] == "--":
			return append(rest, args[i+1:]...), nil
		case len(args[i]) < 2 || args[i][0] != '-':
			rest = append(rest, args[i])
		case switches[name] != nil && !joined:
			*switches[name] = true
		case values[name] != nil && joined:
			*values[name] = value
		case values[name] != nil && i+1 < len(args):
			i++
			*values[name] = args[i]
		case values[name] != nil:
			return nil, &usageError{name + " needs a value"}
		case switches[name] != nil:
			return nil, &usageError{name + " takes no value"}
		default:
			return nil, &usageError{"there is no option " + name}
		}
	}
	return rest, nil
}
