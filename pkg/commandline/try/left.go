// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package try

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"multus-cni/pkg/cnierror"
	"multus-cni/pkg/multus"
	"multus-cni/pkg/record"
)

const (
	// maxLease is more than any lease of a plugin has, in bytes.
	maxLease = 4 << 10
	// maxListing is how long a command that lists rules may take.
	maxListing = 10 * time.Second
)

// snapshot holds the names of the links in the pod and on the node.
type snapshot struct{ pod, node []string }

func (t *trial) snapshot() (s snapshot, err error) {
	if s.node, err = links(); err != nil {
		return s, err
	}
	err = inNetns(t.netns, func() (err error) {
		s.pod, err = links()
		return err
	})
	return s, err
}

// links returns the names of the links in this thread's namespace.
func links() (names []string, err error) {
	interfaces, err := net.Interfaces()
	for _, i := range interfaces {
		names = append(names, i.Name)
	}
	return names, err
}

// compare reports what is still there after the DEL.
func (t *trial) compare(ctx context.Context, before snapshot) error {
	after, err := t.snapshot()
	if err != nil {
		return err
	}
	for _, name := range without(after.pod, before.pod) {
		t.left("link %s in the pod", name)
	}
	t.report.New, t.report.Gone = without(after.node, before.node), without(before.node, after.node)
	for _, dir := range dataDirs(t.state.Conf) {
		t.findFiles(dir)
	}
	for _, command := range [][]string{{"iptables-save"}, {"ip6tables-save"}, {"nft", "list", "ruleset"}} {
		t.findRules(ctx, command)
	}
	return nil
}

// without returns the names that are not among others.
func without(names, others []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return slices.Contains(others, name) })
}

func (t *trial) left(format string, args ...any) {
	t.report.Left = append(t.report.Left, cnierror.OneLine(fmt.Sprintf(format, args...)))
}

// dataDirs returns where IPAM plugins keep their leases: where host-local and
// flannel do unless told otherwise, and every "dataDir" of the conf.
func dataDirs(conf []byte) []string {
	dirs := []string{"/var/lib/cni/networks", "/var/lib/cni/flannel"}
	var walk func(value any)
	walk = func(value any) {
		switch value := value.(type) {
		case []any:
			for _, element := range value {
				walk(element)
			}
		case map[string]any:
			if dir, ok := value["dataDir"].(string); ok && filepath.IsAbs(dir) && !slices.Contains(dirs, dir) {
				dirs = append(dirs, dir)
			}
			for _, member := range value {
				walk(member)
			}
		}
	}
	var document any
	_ = json.Unmarshal(conf, &document) // it was read before
	walk(document)
	return dirs
}

// findFiles reports the files in a directory that have the container's id as
// their name or in their text. What cannot be read, or goes meanwhile, is passed
// over.
func (t *trial) findFiles(dir string) {
	_ = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return nil
		}
		found := strings.Contains(entry.Name(), t.id)
		if info, err := entry.Info(); !found && err == nil && info.Size() <= maxLease {
			text, _ := os.ReadFile(path)
			found = bytes.Contains(text, []byte(t.id))
		}
		if found {
			t.left("file %s", path)
		}
		return nil
	})
}

// findRules reports the lines of a listing of the node's rules that mention the
// container. A command that is not there or fails has none to list.
func (t *trial) findRules(ctx context.Context, command []string) {
	ctx, stop := context.WithTimeout(ctx, maxListing)
	defer stop()
	listing, err := exec.CommandContext(ctx, command[0], command[1:]...).Output()
	if err != nil {
		return
	}
	for _, line := range strings.Split(string(listing), "\n") {
		if strings.Contains(line, t.id) {
			t.left("rule (%s): %s", command[0], strings.TrimSpace(line))
		}
	}
}

// forget removes the records of a container whose DEL has failed. Nobody would
// send another one, and this container never was anybody's.
func (t *trial) forget(ctx context.Context) error {
	var errs []error
	for _, conf := range t.confs {
		entries, err := record.Store{Dir: conf.CNIDir}.Entries()
		errs = append(errs, err)
		for _, e := range entries {
			if e.Key.ContainerID != t.id {
				continue
			}
			m := &multus.Multus{Env: t.env, Stderr: t.state.stderr}
			done := m.Forget(ctx, conf.CNIDir, e, nil)
			for _, d := range done.Delegates {
				if d.Err != nil && !d.AddressesReleased {
					t.left("perhaps the addresses of %s: %s", d.IfName, cmp.Or(strings.Join(d.Addresses, ", "), "unknown which"))
				}
			}
			if done.Err != nil {
				t.left("record %s: %v", e.Path, done.Err)
			} else {
				t.problem("the DEL left a record, and this try has removed it, as multus forget does")
			}
		}
	}
	return errors.Join(errs...)
}
