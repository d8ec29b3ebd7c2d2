// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package commandline

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"multus-cni/pkg/cnierror"
	"multus-cni/pkg/commandline/lint"
	"multus-cni/pkg/delegate"
	"multus-cni/pkg/multus"
	"multus-cni/pkg/netconf"
	"multus-cni/pkg/record"
)

// forgetting is one call of forget.
type forgetting struct {
	listing              // of the records that there are
	container, ifname    string
	confFile, pluginDirs string
	dryRun, stale        bool

	confs []*netconf.Conf // those in confFile
}

// remembered is a record, and what list shows of it.
type remembered struct {
	stored
	shown attachment
}

// forget removes the records of a container that no DEL removes.
func (p *program) forget(flags *flag.FlagSet) func([]string) error {
	f := &forgetting{listing: listing{program: p}}
	flags.StringVar(&f.ifname, "ifname", "", "")
	flags.StringVar(&f.cniDir, "cni-dir", "", "")
	flags.StringVar(&f.confDir, "conf-dir", defaultConfDir, "")
	flags.StringVar(&f.confFile, "conf", "", "")
	flags.StringVar(&f.pluginDirs, "cni-path", "", "")
	flags.BoolVar(&f.dryRun, "dry-run", false, "")
	flags.BoolVar(&f.stale, "stale", false, "")
	return func(args []string) error {
		switch {
		case f.stale && len(args) > 0:
			return &usageError{"--stale is for all containers that are gone: name none"}
		case !f.stale && len(args) != 1:
			return &usageError{"say which container to forget, or --stale"}
		case !f.stale:
			f.container = args[0]
		}
		if f.confFile != "" {
			var err error
			if f.confs, err = confsIn(f.confFile); err != nil {
				return err
			}
		}
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
		defer stop()
		return f.run(ctx)
	}
}

func (f *forgetting) run(ctx context.Context) error {
	if err := lint.CheckPath(f.pluginPath(f.pluginDirs)); err != nil { // the record would be removed and nothing released
		return err
	}
	dirs, err := f.dirs()
	if err != nil {
		return err
	}
	records, err := f.find(dirs)
	if err != nil {
		return err
	}
	if len(records) == 0 {
		return f.say("no record in %s is stale", strings.Join(dirs, ", "))
	}
	left := false
	for _, r := range records {
		released, err := f.forgetOne(ctx, r)
		if err != nil {
			return err
		}
		left = left || !released
	}
	if left {
		return errReported
	}
	return nil
}

// find returns the records that were asked for.
func (f *forgetting) find(dirs []string) ([]remembered, error) {
	records, err := recordsIn(dirs)
	if err != nil {
		return nil, err
	}
	var all []remembered
	for _, r := range records {
		all = append(all, remembered{r, describe(&r.Entry)})
	}
	if f.stale {
		return slices.DeleteFunc(all, func(r remembered) bool { return r.shown.State != stateStale || !f.isOfIfname(r) }), nil
	}
	id, err := f.containerIn(all)
	if err != nil {
		return nil, fmt.Errorf("%w in %s", err, strings.Join(dirs, ", "))
	}
	return slices.DeleteFunc(all, func(r remembered) bool { return r.Key.ContainerID != id || !f.isOfIfname(r) }), nil
}

// isOfIfname reports whether a record is of the CNI_IFNAME that was asked for.
// A legacy record does not tell.
func (f *forgetting) isOfIfname(r remembered) bool {
	return f.ifname == "" || r.Key.IfName == "" || r.Key.IfName == f.ifname
}

// containerIn returns the id of the container that was asked for: by its id, or
// by the beginning of it if only one container has that.
func (f *forgetting) containerIn(all []remembered) (string, error) {
	var ids []string
	for _, r := range all {
		id := r.Key.ContainerID
		if strings.HasPrefix(id, f.container) && f.isOfIfname(r) && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	switch {
	case f.container != "" && slices.Contains(ids, f.container):
		return f.container, nil
	case f.container == "" || len(ids) == 0:
		return "", fmt.Errorf("there is no record of a container %q", f.container)
	case len(ids) > 1:
		return "", fmt.Errorf("%d containers begin with %q", len(ids), f.container)
	}
	return ids[0], nil
}

// forgetOne removes one record and prints the outcome. It reports whether
// everything that the attachment had was released.
func (f *forgetting) forgetOne(ctx context.Context, r remembered) (released bool, err error) {
	conf := f.confOf(r.Key)
	if r.Key.Network == "" && conf != nil {
		r.Key.Network, r.Key.IfName = conf.Name, cmp.Or(f.ifname, "eth0")
	}
	name := "container " + r.Key.ContainerID
	if r.Key.Network != "" {
		name += fmt.Sprintf(", network %s, %s", r.Key.Network, r.Key.IfName)
	}
	if err := f.say("%s (%s): %s", cnierror.OneLine(name), r.shown.State, r.Path); err != nil {
		return false, err
	}
	if r.Kind == record.KindReadable && r.shown.State != stateStale {
		f.complain("warning: the pod's network namespace, %s, is still there: a pod that is running loses these networks", r.shown.Netns)
	}
	if f.dryRun {
		return true, f.write(planned(r))
	}
	m := &multus.Multus{Env: delegate.Env(os.Environ()).With("CNI_PATH=" + strings.Join(f.pluginPath(f.pluginDirs), ":")), Stderr: f.stderr}
	done := m.Forget(ctx, r.dir, r.Entry, conf)
	return done.Released(), f.write(outcome(done))
}

// confOf returns the conf of today for a record, nil when there is none.
func (f *forgetting) confOf(key record.Key) *netconf.Conf {
	for _, conf := range f.confs {
		if key.Network == "" || key.Network == conf.Name {
			return conf
		}
	}
	return nil
}

// confsIn returns the confs of multus in a file, as a runtime would send them.
func confsIn(file string) ([]*netconf.Conf, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	list, err := netconf.ReadFile(text, "eth0")
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	var confs []*netconf.Conf
	for i, p := range list.Plugins {
		if p.Config.Get("delegates") == nil {
			continue // a plugin behind multus
		}
		conf, err := netconf.Parse(list.Request(i, netconf.Inputs{}))
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", file, err)
		}
		confs = append(confs, conf)
	}
	if len(confs) == 0 {
		return nil, fmt.Errorf("%s is not a conf of multus", file)
	}
	return confs, nil
}
