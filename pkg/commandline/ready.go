// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package commandline

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"multus-cni/pkg/commandline/lint"
)

// ready reports whether a runtime would call this multus, for the probe of a
// DaemonSet.
func (p *program) ready(flags *flag.FlagSet) func([]string) error {
	binDir := flags.String("bin-dir", defaultCNIPath, "")
	confDir := flags.String("conf-dir", defaultConfDir, "")
	return func(args []string) error {
		if len(args) > 1 {
			return &usageError{"name one CONF, or none"}
		}
		binary := filepath.Join(*binDir, "multus")
		if err := p.sameBinary(binary); err != nil {
			return fmt.Errorf("not ready: %w", err)
		}
		conf, err := firstOwn(*confDir)
		if err == nil && len(args) == 1 {
			err = installedFrom(args[0], conf)
		}
		if err != nil {
			return fmt.Errorf("not ready: %w", err)
		}
		return p.say("ready: %s and %s", binary, conf)
	}
}

// sameBinary checks that a file is this binary and can be executed.
func (p *program) sameBinary(file string) error {
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
		return fmt.Errorf("%s cannot be executed", file)
	}
	self, err := os.Stat(p.self)
	if err != nil || os.SameFile(info, self) {
		return err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	own, err := os.ReadFile(p.self)
	if err == nil && !bytes.Equal(text, own) {
		err = fmt.Errorf("%s is not the binary of this release, %s", file, p.release)
	}
	return err
}

// firstOwn returns the conf that the runtime reads, if that is one of multus.
func firstOwn(dir string) (file string, err error) {
	names, err := lint.Confs(dir)
	if err != nil {
		return "", err
	}
	if len(names) == 0 {
		return "", fmt.Errorf("there is no conf in %s", dir)
	}
	file = filepath.Join(dir, names[0])
	_, ours, err := own(file)
	if err != nil {
		return "", fmt.Errorf("runtimes read %s: %w", file, err)
	}
	if !ours {
		return "", fmt.Errorf("runtimes read %s, which is not a conf of multus", file)
	}
	return file, nil
}

// installedFrom checks that a conf was installed from source, whether or not
// somebody else has changed it since: install --wait leaves such a conf in place.
func installedFrom(source, conf string) error {
	stem := func(file string) string {
		return strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))
	}
	if stem(source) != stem(conf) {
		return fmt.Errorf("runtimes read %s, not %s", conf, filepath.Base(source))
	}
	text, err := readRegular(source)
	if err != nil {
		return err
	}
	now, err := readRegular(conf)
	if err != nil || bytes.Equal(text, now) {
		return err
	}
	from, err := os.Stat(source)
	if err != nil {
		return err
	}
	to, err := os.Stat(conf)
	if err == nil && to.ModTime().Before(from.ModTime()) {
		err = fmt.Errorf("%s has changed and is not installed as %s", source, conf)
	}
	return err
}
