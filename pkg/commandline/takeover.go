// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package commandline

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"multus-cni/pkg/commandline/lint"
	"multus-cni/pkg/netconf"
)

// network is one network of a conf. IPAM plugins keep their leases by its name.
type network struct {
	kind string // the type of its first plugin
	name string
}

// predecessor is the conf that the runtime has read so far.
type predecessor struct {
	file     string
	networks []network
	primary  network
	source   *source
	cniDirs  []string // where the records of its pods are, when it is one of multus
}

// takeOver compares the conf with the one that it replaces. It warns of what new
// pods would lose, and returns an error when they could get addresses of
// running pods, or when the records of running pods would not be found.
func (i *installation) takeOver(text []byte, conf *netconf.Conf) error {
	old, err := i.predecessor()
	if err != nil || old == nil {
		return err
	}
	i.warnOfLosses(old, text, conf)
	i.warnOfNewPrimary(old, conf)
	if i.drained || old.hasNoPods() {
		return nil
	}
	if err := i.recordsLost(old, conf); err != nil {
		return err
	}
	return old.poolLost(conf)
}

// hasNoPods reports whether the records show that no pod is attached. A missing
// directory shows nothing: a container that installs multus on its node may not
// have it mounted.
func (old *predecessor) hasNoPods() bool {
	return len(old.cniDirs) > 0 && !slices.ContainsFunc(old.cniDirs, func(dir string) bool { return !exists(dir) }) &&
		unattached(old.cniDirs) == nil
}

// predecessor returns nil when there is none that a runtime could use.
func (i *installation) predecessor() (*predecessor, error) {
	file := i.conf
	if !i.named {
		names, err := lint.Confs(filepath.Dir(i.conf))
		if err != nil {
			return nil, err
		}
		if len(names) == 0 {
			return nil, nil
		}
		file = filepath.Join(filepath.Dir(i.conf), names[0])
	}
	text, err := readRegular(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	old := &predecessor{file: filepath.Base(file), source: &source{}}
	if json.Unmarshal(text, old.source) != nil || len(old.source.types()) == 0 {
		return nil, nil
	}
	if dirs, ours, err := netconf.Own(text); err == nil && ours {
		old.cniDirs = dirs
		if conf := lint.Check(file, text, nil).Conf; conf != nil {
			old.networks = networksOf(conf)
			old.primary = old.networks[slices.IndexFunc(conf.Delegates, func(d netconf.Delegate) bool { return d.Primary })]
		}
		return old, nil
	}
	old.primary = network{old.source.list()[0].Type, old.source.Name}
	old.networks = []network{old.primary}
	return old, nil
}

// networksOf returns the network of each delegate.
func networksOf(conf *netconf.Conf) []network {
	networks := make([]network, len(conf.Delegates))
	for i, d := range conf.Delegates {
		networks[i] = network{d.Plugins[0].Type, d.Name}
	}
	return networks
}

// recordsLost returns an error when running pods have records that multus would
// not find with the conf: it looks in cniDir and in the default directory, for
// the name of the conf. Where the records are out of sight, recordsLost only
// warns, since they may be those of another Multus, which do not depend on the
// name.
func (i *installation) recordsLost(old *predecessor, conf *netconf.Conf) error {
	var was, is string
	switch {
	case len(old.cniDirs) == 0:
		return nil
	case old.source.Name != conf.Name:
		was, is = fmt.Sprintf(`"name": %q`, old.source.Name), fmt.Sprintf("%q", conf.Name)
	case !slices.Contains(old.cniDirs, conf.CNIDir) && !slices.Contains(old.cniDirs, i.defaultCNIDir):
		was, is = fmt.Sprintf(`"cniDir": %q`, old.cniDirs[0]), fmt.Sprintf("%q", conf.CNIDir)
	default:
		return nil
	}
	if !slices.ContainsFunc(old.cniDirs, exists) {
		i.complain("warning: %s has %s and this conf has %s: multus would not find the records of pods that are attached", old.file, was, is)
		return nil
	}
	records, err := recordsIn(old.cniDirs)
	if err != nil || !slices.ContainsFunc(records, func(r stored) bool { return r.Key.Network == old.source.Name }) {
		return err
	}
	return fmt.Errorf("%s serves the pods of this node and has %s, and this conf has %s: "+
		"to delete these pods, multus would not find their records. Write %s; or drain the node, then use --drained", old.file, was, is, was)
}

// poolLost returns an error when a plugin that serves the pods so far would get
// another network name.
func (old *predecessor) poolLost(conf *netconf.Conf) error {
	networks := networksOf(conf)
	for _, had := range old.networks {
		if had.name == "" || slices.Contains(networks, had) {
			continue
		}
		n := slices.IndexFunc(networks, func(now network) bool {
			return now.kind == had.kind && !slices.Contains(old.networks, now)
		})
		if n < 0 {
			continue
		}
		return fmt.Errorf("%s serves the pods of this node, and its %q has the network name %q; in delegate %d it is %q. "+
			"IPAM plugins keep addresses by that name, so a new pod could get the address of a running one. "+
			`Write "name": %q into delegate %d; or drain the node, then use --drained`,
			old.file, had.kind, had.name, n, networks[n].name, had.name, n)
	}
	return nil
}

// warnOfNewPrimary warns when the network that has been the primary becomes a
// secondary: Services and NetworkPolicies are for the primary alone.
func (i *installation) warnOfNewPrimary(old *predecessor, conf *netconf.Conf) {
	for n, d := range conf.Delegates {
		if !d.Primary && d.Name != "" && (network{d.Plugins[0].Type, d.Name}) == old.primary {
			i.complain("warning: %q is the primary network in %s, and in this conf it is a secondary, %s: "+
				`if you do not mean that, move "masterplugin": true to delegate %d`, d.Name, old.file, d.IfName, n)
		}
	}
}

// warnOfLosses warns of plugins and capabilities that the conf no longer has.
func (i *installation) warnOfLosses(old *predecessor, text []byte, conf *netconf.Conf) {
	now := &source{}
	if err := json.Unmarshal(text, now); err != nil {
		return // a conf without errors has the right types where it matters to anybody
	}
	declared := capabilitiesOf([]*source{now})
	for _, name := range capabilitiesOf([]*source{old.source}) {
		if !slices.Contains(declared, name) {
			i.complain("warning: %s declares the capability %s, and this conf does not: runtimes would no longer send it", old.file, name)
		}
	}
	if len(old.cniDirs) > 0 {
		return // who changes the delegates of multus knows which ones
	}
	kinds := now.types()
	for _, d := range conf.Delegates {
		kinds = append(kinds, d.Types()...)
	}
	for _, p := range old.source.list() {
		if !slices.Contains(kinds, p.Type) {
			i.complain("warning: %s runs %q, and no delegate of this conf does: new pods would go without it", old.file, p.Type)
		}
	}
}
