// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package commandline

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"sort"
	"time"

	"multus-cni/pkg/cniargs"
	"multus-cni/pkg/delegate"
	"multus-cni/pkg/netns"
	"multus-cni/pkg/record"
)

// The states of an attachment.
const (
	stateAttached    = "attached"
	statePartial     = "partial"     // ADD has not ended, or failed and could not be undone
	stateStale       = "stale"       // the pod is gone and was never detached
	stateLocked      = "locked"      // there is a lock and no record
	stateDamaged     = "damaged"     // the record cannot be read
	stateNewer       = "newer"       // the record has a format of a newer multus
	stateQuarantined = "quarantined" // a damaged record that a DEL has renamed
	state2017        = "2017"        // written by the multus of 2017
	stateUpstream    = "upstream"    // written by Kubernetes Multus
)

// states lists them in the order of the help page.
func states() []string {
	return []string{stateAttached, statePartial, stateStale, stateLocked, stateDamaged, stateNewer, stateQuarantined, state2017, stateUpstream}
}

// attachment is one record, as --output json shows it.
type attachment struct {
	Network     string             `json:"network"`
	ContainerID string             `json:"containerID"`
	IfName      string             `json:"ifname"` // of the primary
	Pod         *cniargs.Pod       `json:"pod,omitempty"`
	Netns       string             `json:"netns,omitempty"`
	State       string             `json:"state"`
	Reason      string             `json:"reason,omitempty"` // for a state that is not "attached"
	Record      string             `json:"record"`
	Written     time.Time          `json:"written"`
	Interfaces  []networkInterface `json:"interfaces"`
}

// networkInterface is one interface of an attachment.
type networkInterface struct {
	Delegate  int      `json:"delegate"` // its index in the conf
	IfName    string   `json:"ifname"`
	Network   string   `json:"network,omitempty"`
	Plugins   []string `json:"plugins"`
	Primary   bool     `json:"primary"`
	Addresses []string `json:"addresses"` // none when the plugin returned none
	// Missing reports that the delegate's ADD has ended and there was no such
	// interface: some delegates make none on purpose, in others it is a mistake.
	Missing bool `json:"missing,omitempty"`
}

// stored is a record, and the directory that it is in.
type stored struct {
	record.Entry
	dir string
}

// recordsIn returns the records in some directories. A directory that does not
// exist is empty, and one that has two names counts once.
func recordsIn(dirs []string) ([]stored, error) {
	var records []stored
	var seen []os.FileInfo
	for _, dir := range dirs {
		if info, err := os.Stat(dir); err == nil {
			if slices.ContainsFunc(seen, func(other os.FileInfo) bool { return os.SameFile(info, other) }) {
				continue
			}
			seen = append(seen, info)
		}
		entries, err := record.Store{Dir: dir}.Entries()
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			records = append(records, stored{e, dir})
		}
	}
	return records, nil
}

// attachmentsIn returns what the records in some directories say, by network and
// then by pod.
func attachmentsIn(dirs []string) ([]attachment, error) {
	records, err := recordsIn(dirs)
	if err != nil {
		return nil, err
	}
	attachments := []attachment{}
	for _, r := range records {
		attachments = append(attachments, describe(&r.Entry))
	}
	slices.SortStableFunc(attachments, func(a, b attachment) int {
		return cmp.Or(cmp.Compare(a.Network, b.Network), cmp.Compare(a.Pod.String(), b.Pod.String()),
			cmp.Compare(a.ContainerID, b.ContainerID), cmp.Compare(a.IfName, b.IfName))
	})
	return attachments, nil
}

func describe(e *record.Entry) attachment {
	a := attachment{
		Network: e.Key.Network, ContainerID: e.Key.ContainerID, IfName: e.Key.IfName,
		Record: e.Path, Written: e.Written.UTC().Truncate(time.Second), Interfaces: []networkInterface{},
	}
	switch e.Kind {
	case record.KindReadable:
		a.fill(e.Record)
		return a
	case record.KindLegacy:
		a.fillLegacy(e.Legacy)
	case record.KindLockOnly:
		a.State = stateLocked
	case record.KindQuarantined:
		a.State, a.Reason = stateQuarantined, "a DEL could not read it and used the conf instead; look at it, then: multus forget "+e.Key.ContainerID
	case record.KindNewer:
		a.State, a.Reason = stateNewer, "a newer multus has written it, and must be used for this attachment; this one leaves it in place"
	case record.KindDamaged:
		a.State, a.Reason = stateDamaged, e.Err.Error()
	}
	var damaged *record.DamagedError
	if errors.As(e.Err, &damaged) {
		a.Reason = damaged.Err.Error() // without the path, which is shown beside it
	}
	a.Reason = cmp.Or(a.Reason, meaning(a.State))
	return a
}

func (a *attachment) fill(r *record.Record) {
	a.Netns, a.Pod, a.State = r.Netns, cniargs.PodOf(r.CNIArgs), stateAttached
	if !r.Complete {
		a.State, a.Reason = statePartial, meaning(statePartial)
	}
	err := netns.Identity{Boot: r.BootID, Namespace: r.NetnsID}.Check(r.Netns)
	switch {
	case netns.IsGone(err):
		a.State, a.Reason = stateStale, err.Error()
	case err != nil:
		a.Reason = fmt.Sprintf("cannot tell whether its network namespace exists: %v", err)
	}
	for index, d := range r.Delegates {
		a.Interfaces = append(a.Interfaces, networkInterface{
			Delegate: index, IfName: d.IfName, Network: d.Name, Plugins: d.Types(),
			Primary: d.Primary, Addresses: delegate.Addresses(d.Result), Missing: r.Complete && !d.InterfaceSeen,
		})
	}
	sort.SliceStable(a.Interfaces, func(i, j int) bool { return a.Interfaces[i].Primary && !a.Interfaces[j].Primary })
}

func (a *attachment) fillLegacy(legacy *record.Legacy) {
	a.State = state2017
	if legacy.Origin == record.OriginUpstream {
		a.State = stateUpstream
	}
	for index, d := range legacy.Delegates {
		types, name := typesIn(d.Conf)
		a.Interfaces = append(a.Interfaces, networkInterface{
			Delegate: index, IfName: cmp.Or(d.IfName, "-"), Network: name, Plugins: types, Primary: d.Primary, Addresses: []string{},
		})
	}
}

// typesIn returns the types of the plugins in a delegate's configuration, "?"
// for what cannot be read, and the name of its network.
func typesIn(conf json.RawMessage) (types []string, name string) {
	var d struct {
		Name, Type string
		Plugins    []struct{ Type string }
	}
	_ = json.Unmarshal(conf, &d) // the "?" says so
	for _, p := range d.Plugins {
		types = append(types, cmp.Or(p.Type, "?"))
	}
	if len(types) == 0 {
		types = []string{cmp.Or(d.Type, "?")}
	}
	return types, d.Name
}

// meaning explains a state, in words that are true for all attachments in it.
func meaning(state string) string {
	const legacy = "the next DEL of the container cleans up, or: multus forget CONTAINER --conf CONF"
	switch state {
	case stateStale:
		return "the node was rebooted, or the pod's network namespace is gone; the next ADD or DEL of the container " +
			"cleans up; where the runtime sends none (podman and nerdctl after a reboot): multus forget --stale"
	case statePartial:
		return "the ADD is running, was killed, or failed; the next DEL cleans up, or: multus forget CONTAINER"
	case stateLocked:
		return "an operation is running, or was killed before it had a record"
	case state2017:
		return "written by the multus of 2017; " + legacy
	case stateUpstream:
		return "written by Kubernetes Multus; " + legacy
	}
	return ""
}
