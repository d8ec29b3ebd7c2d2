// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

// Package commandline implements the commands of multus: what it does when it
// is run by an operator and not by a container runtime.
//
// Most commands read confs and records, or put files in place. Attaching pods
// is for the runtime alone: try attaches a network namespace of its own, and
// forget detaches pods that the runtime no longer knows.
package commandline

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"multus-cni/pkg/cnierror"
	"multus-cni/pkg/netconf"
)

// Exit codes of all commands.
const (
	exitOK    = 0
	exitError = 1
	exitUsage = 2
)

const (
	defaultCNIPath = "/opt/cni/bin"   // where runtimes look for plugins unless told otherwise
	defaultConfDir = "/etc/cni/net.d" // where they look for confs
)

// Main runs the command that args begins with, and returns the exit code: 0, 1
// after an error, 2 after a usage error. args must not be empty. version is
// that of multus.
func Main(version string, args []string) int {
	p := &program{
		release: version, columns: terminalColumns(os.Stdout), defaultCNIDir: netconf.DefaultCNIDir, env: os.Getenv,
		self: "/proc/self/exe", stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr,
	}
	return p.main(args)
}

// program serves one command.
type program struct {
	release string // the version of multus
	columns int    // of the terminal, 0 when stdout leads to none

	defaultCNIDir string // where records are unless a conf says otherwise

	self   string // the path of this binary
	env    func(key string) string
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
}

// command is one of the commands: setup declares its flags, and returns what
// runs the command on the arguments that are left when these are parsed.
type command struct {
	name  string
	setup func(p *program, flags *flag.FlagSet) func(args []string) error
}

func commands() []command {
	return []command{
		{"validate", (*program).validate},
		{"compose", (*program).compose},
		{"try", (*program).try},
		{"list", (*program).list},
		{"forget", (*program).forget},
		{"install", (*program).install},
		{"ready", (*program).ready},
		{"uninstall", (*program).uninstall},
		{"version", (*program).version},
		{"help", (*program).help},
	}
}

func (p *program) main(args []string) int {
	name := args[0]
	switch name {
	case "-h", "--help":
		name = "help"
	case "--version":
		name = "version"
	}
	for _, c := range commands() {
		if c.name == name {
			return p.exit(name, p.run(c, args[1:]))
		}
	}
	return p.exit("", unknownCommand(name))
}

func (p *program) run(c command, args []string) error {
	flags := flag.NewFlagSet(c.name, flag.ContinueOnError)
	flags.SetOutput(io.Discard) // p.exit reports the error
	run := c.setup(p, flags)
	rest, err := parse(flags, args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return p.showPage(c.name)
	case err != nil:
		return &usageError{err.Error()}
	}
	return run(rest)
}

// parse accepts flags at any position: package flag alone stops at the first
// argument that is not a flag. It returns the other arguments, and all that
// follow "--".
func parse(flags *flag.FlagSet, args []string) (rest []string, err error) {
	for len(args) > 0 {
		if err := flags.Parse(args); err != nil {
			return nil, err
		}
		parsed, left := args[:len(args)-flags.NArg()], flags.Args()
		if len(left) == 0 || len(parsed) > 0 && parsed[len(parsed)-1] == "--" {
			return append(rest, left...), nil
		}
		rest, args = append(rest, left[0]), left[1:]
	}
	return rest, nil
}

// usageError is a mistake in the command line.
type usageError struct{ msg string }

func (e *usageError) Error() string { return e.msg }

func unknownCommand(name string) error {
	return &usageError{fmt.Sprintf("there is no command %q", name)}
}

// takesNone returns a usage error if a command that takes no arguments got one.
func takesNone(command string, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return &usageError{fmt.Sprintf("%s takes no argument such as %q", command, args[0])}
}

// errReported says that a command has failed and has already printed why.
var errReported = errors.New("reported")

// exit reports an error, and returns the exit code that says the same.
func (p *program) exit(command string, err error) int {
	var usage *usageError
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errReported):
		return exitError
	case errors.As(err, &usage):
		p.complain("%v: see %q", err, strings.TrimSpace("multus help "+command))
		return exitUsage
	}
	p.complain("%v", err)
	return exitError
}

func (p *program) complain(format string, args ...any) {
	p.report("multus: "+format, args...)
}

// report writes a line to stderr, and say one to stdout.
func (p *program) report(format string, args ...any) {
	_, _ = io.WriteString(p.stderr, printable(fmt.Sprintf(format+"\n", args...)))
}

func (p *program) say(format string, args ...any) error {
	return p.write(printable(fmt.Sprintf(format+"\n", args...)))
}

// printable replaces control characters, except line feeds, with spaces, for a
// terminal: names of files and what a conf holds may have any character.
func printable(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = cnierror.OneLine(line)
	}
	return strings.Join(lines, "\n")
}

func (p *program) write(text string) error {
	if _, err := p.stdout.Write([]byte(text)); err != nil {
		return fmt.Errorf("write to stdout: %w", err)
	}
	return nil
}
