// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package commandline

import (
	"embed"
	"errors"
	"flag"
	"io/fs"
	"runtime"
	"strings"

	"github.com/containernetworking/cni/pkg/version"
)

// pages holds help/COMMAND.txt for each command. Each fits a screen of 24 lines
// and 80 columns.
//
//go:embed help/*.txt
var pages embed.FS

func (p *program) help(*flag.FlagSet) func([]string) error {
	return func(args []string) error {
		switch len(args) {
		case 0:
			return p.showPage("help")
		case 1:
			return p.showPage(args[0])
		}
		return &usageError{"help takes one command"}
	}
}

func (p *program) showPage(command string) error {
	page, err := pages.ReadFile("help/" + command + ".txt")
	if errors.Is(err, fs.ErrNotExist) {
		return unknownCommand(command)
	}
	if err != nil {
		return err
	}
	return p.say("%s", strings.TrimSuffix(string(page), "\n"))
}

func (p *program) version(*flag.FlagSet) func([]string) error {
	return func(args []string) error {
		if err := takesNone("version", args); err != nil {
			return err
		}
		return p.say("multus %s\nCNI spec: %s\nbuilt with %s for %s/%s", p.release,
			strings.Join(version.All.SupportedVersions(), ", "), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	}
}
