// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"multus-cni/test/pod"
	"multus-cni/test/sandbox"
)

// called compares the delegates' calls.
func (w *world) called(want []string) error {
	lines, err := w.NewCalls()
	var got []string
	for _, line := range lines {
		if fields := strings.Fields(line); fields[0] != "over" {
			got = append(got, strings.Join(fields[:min(4, len(fields))], " "))
		}
	}
	if err == nil && !slices.Equal(got, want) {
		return fmt.Errorf("calls\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
	return err
}

// checkPod looks at the pod's interfaces and default routes, if it still exists.
func (c cell) checkPod(want want) error {
	if exists, err := pod.Exists(pod.Path); !exists {
		return err
	}
	links, err := namesOf(pod.Path)
	if err != nil {
		return err
	}
	slices.Sort(want.links)
	if !slices.Equal(links, want.links) {
		return fmt.Errorf("the pod has the interfaces %q, want %q", links, want.links)
	}
	defaults, err := pod.Defaults(pod.Path)
	if err != nil {
		return err
	}
	defaults = slices.DeleteFunc(defaults, func(line string) bool { return strings.Contains(line, foreign) })
	var expected []string
	if want.owner != nobody {
		n, ifname := want.owner+1, c.ifname(want.owner)
		expected = []string{fmt.Sprintf("via 10.%d.0.1 dev %s", n, ifname), fmt.Sprintf("via fd0%d::1 dev %s", n, ifname)}
	}
	if !slices.Equal(defaults, expected) {
		return fmt.Errorf("default routes %q, want %q", defaults, expected)
	}
	return nil
}

// namesOf returns the names of the interfaces that are not foreign.
func namesOf(netns string) ([]string, error) {
	names, err := pod.Names(netns)
	return slices.DeleteFunc(names, func(name string) bool { return strings.Contains(name, foreign) }), err
}

// nothingLeft looks at the pod and at the records of the cell.
func (w *world) nothingLeft(cniDir string) error {
	exists, err := pod.Exists(pod.Path)
	if err != nil {
		return err
	}
	if exists {
		now, err := pod.Snapshot(pod.Path)
		if err != nil {
			return err
		}
		if now != w.foreignPod {
			return fmt.Errorf("the pod is\n%s\nand was\n%s", now, w.foreignPod)
		}
	}
	if cniDir != "" {
		got, err := files(cellDir)
		if err != nil {
			return err
		}
		if fmt.Sprint(got) != fmt.Sprint(w.cellRecords) {
			return fmt.Errorf("%s holds %q, want %q", cniDir, got, w.cellRecords)
		}
		w.removeCellDir()
	}
	if exists && strings.Contains(w.foreignPod, foreign) {
		return nil
	}
	if exists {
		if err := pod.Delete("pod"); err != nil {
			return err
		}
	}
	return errors.Join(pod.Make("pod"), furnish(pod.Path, foreign))
}

// nothingForeign checks that the node and what is not ours are as they were. The
// kernel takes its time with a network namespace that has gone.
func (w *world) nothingForeign() error {
	var now string
	var err error
	waitErr := sandbox.WaitFor("the node to be as it was", func() bool {
		now, err = w.foreigners()
		return err != nil || now == w.before
	})
	if waitErr != nil {
		return fmt.Errorf("%w: it is\n%s\nand was\n%s", waitErr, now, w.before)
	}
	return err
}

// foreigners describes the node, the other pod and all records.
func (w *world) foreigners() (string, error) {
	other, err := pod.Snapshot(foreignNetns)
	links, linksErr := namesOf(pod.Own)
	defaults, defaultsErr := pod.Defaults(pod.Own)
	all, filesErr := files(sandbox.RecordDir)
	return fmt.Sprint(other, links, "\n", defaults, "\n", all), errors.Join(err, linksErr, defaultsErr, filesErr)
}

// files returns what is in a directory, by name but what fills the disk. A
// directory that is not there is empty.
func files(dir string) (map[string]string, error) {
	texts := map[string]string{}
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return texts, nil
	}
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), "fill") {
			continue
		}
		text, readErr := os.ReadFile(filepath.Join(dir, entry.Name()))
		texts[entry.Name()] = string(text)
		err = errors.Join(err, readErr)
	}
	return texts, err
}
