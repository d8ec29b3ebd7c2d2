// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"multus-cni/test/sandbox"
)

// runMultus is the command cni: it becomes multus, so that a signal to it is a
// signal to multus.
func runMultus() {
	verb, conf, env, redirect, stderr := os.Args[1], os.Args[2], os.Environ(), "", ""
	env = sandbox.Setenv(env, "CNI_COMMAND="+verb)
	if verb == "STATUS" || verb == "GC" || verb == "VERSION" { // these concern no attachment
		env = slices.DeleteFunc(env, func(kv string) bool {
			key, _, _ := strings.Cut(kv, "=")
			return key == "CNI_CONTAINERID" || key == "CNI_NETNS" || key == "CNI_IFNAME"
		})
	}
	for _, arg := range os.Args[3:] {
		if target, ok := strings.CutPrefix(arg, ">"); ok {
			redirect = target
		} else if target, ok := strings.CutPrefix(arg, "2>"); ok {
			stderr = target
		} else {
			env = sandbox.Setenv(env, arg)
		}
	}
	err := errors.Join(
		os.WriteFile(filepath.Join(os.Getenv("WORK"), ".given.env"), lines(env), 0o600),
		stdin(conf, env),
		stdout(redirect),
	)
	if err == nil && stderr != "" {
		var fd int
		if fd, err = unix.Open(stderr, unix.O_WRONLY|unix.O_CREAT|unix.O_CLOEXEC, 0o600); err == nil {
			err = unix.Dup3(fd, 2, 0)
		}
	}
	if err == nil {
		err = unix.Exec(os.Getenv("MULTUS"), []string{"multus"}, env)
	}
	fmt.Fprintln(os.Stderr, "cni:", err)
	os.Exit(99)
}

// lines makes one text of an environment, as the fakes do with theirs.
func lines(env []string) []byte {
	env = slices.Sorted(slices.Values(env))
	return []byte(strings.Join(env, "\n") + "\n")
}

// stdin makes the conf our stdin. What stands for a variable is in a string.
func stdin(conf string, env []string) error {
	var text []byte
	if conf != "-" {
		raw, err := os.ReadFile(conf)
		if err != nil {
			return err
		}
		text = regexp.MustCompile(`\$[A-Z0-9_]+`).ReplaceAllFunc(raw, func(name []byte) []byte {
			quoted, _ := json.Marshal(sandbox.Getenv(env, string(name[1:])))
			return quoted[1 : len(quoted)-1]
		})
	}
	fd, err := unix.MemfdCreate("conf", unix.MFD_CLOEXEC)
	if err != nil {
		return err
	}
	if _, err := unix.Pwrite(fd, text, 0); err != nil {
		return err
	}
	return unix.Dup3(fd, 0, 0)
}

func stdout(target string) error {
	switch target {
	case "":
		return nil
	case "broken-pipe":
		var ends [2]int
		if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
			return err
		}
		return errors.Join(unix.Dup3(ends[1], 1, 0), unix.Close(ends[0]))
	}
	fd, err := unix.Open(target, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return unix.Dup3(fd, 1, 0)
}
