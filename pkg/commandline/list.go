// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package commandline

import (
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"sort"
	"time"

	"multus-cni/pkg/cniargs"
	"multus-cni/pkg/delegate"
	"multus-cni/pkg/route"
	"multus-cni/pkg/state"
)

// The states of an attachment.
const (
	isAttached    = "attached"
	isPartial     = "partial"     // ADD has not ended, or failed and could not be undone
	isStale       = "stale"       // the pod is gone and was never detached
	isDamaged     = "damaged"     // the record cannot be read
	isQuarantined = "quarantined" // a damaged record that a DEL has renamed
	is2017        = "2017"        // written by the multus of 2017
)

// attachment is one record, as --json writes it.
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
}

// list shows the attachments of this node.
func (p *program) list(flags *flag.FlagSet) func([]string) error {
	dir := flags.String("cni-dir", p.cniDir, "")
	wide := flags.Bool("wide", false, "")
	asJSON := flags.Bool("json", false, "")
	return func(args []string) error {
		if err := takesNone("list", args); err != nil {
			return err
		}
		attachments, err := attachmentsIn(*dir)
		switch {
		case err != nil:
			return err
		case *asJSON:
			return p.printJSON(attachments)
		case len(attachments) == 0:
			return p.say("nothing is attached: there is no record in %s", *dir)
		}
		return p.printTables(attachments, *wide)
	}
}

// attachmentsIn reads the records of a directory.
func attachmentsIn(dir string) ([]attachment, error) {
	entries, err := state.Store{Dir: dir}.Entries()
	if err != nil {
		return nil, err
	}
	boot, err := state.BootID()
	if err != nil {
		return nil, err
	}
	attachments := make([]attachment, 0, len(entries))
	for _, e := range entries {
		attachments = append(attachments, describe(e, boot))
	}
	sort.SliceStable(attachments, func(i, j int) bool { return attachments[i].less(&attachments[j]) })
	return attachments, nil
}

// less is the order of the list: by network, then by pod.
func (a *attachment) less(b *attachment) bool {
	return cmp.Or(cmp.Compare(a.Network, b.Network), cmp.Compare(a.Pod.String(), b.Pod.String()),
		cmp.Compare(a.ContainerID, b.ContainerID), cmp.Compare(a.IfName, b.IfName)) < 0
}

func describe(e state.Entry, boot string) attachment {
	a := attachment{
		Network: e.Key.Network, ContainerID: e.Key.ContainerID, IfName: e.Key.IfName,
		Record: e.Path, Written: e.Written.UTC().Truncate(time.Second), Interfaces: []networkInterface{},
	}
	switch {
	case e.Aside:
		a.State, a.Reason = isQuarantined, "a DEL could not read it and used the conf instead; look at it, then remove it"
	case e.Err != nil:
		a.State, a.Reason = isDamaged, reason(e.Err)
	case e.Record == nil:
		a.State, a.Reason = is2017, meaning(is2017)
		a.Interfaces = append(a.Interfaces, networkInterface{IfName: "-", Plugins: typesOf2017(e.Legacy), Addresses: []string{}})
	default:
		a.fill(e.Record, boot)
	}
	return a
}

// reason returns what is wrong with a record without its path, which is shown
// beside it.
func reason(err error) string {
	var damaged *state.DamagedError
	if errors.As(err, &damaged) {
		return damaged.Err.Error()
	}
	return err.Error()
}

func (a *attachment) fill(r *state.Record, boot string) {
	a.Netns, a.State, a.Pod = r.Netns, isAttached, cniargs.PodOf(r.CNIArgs)
	if reason := whyStale(r, boot); reason != "" {
		a.State, a.Reason = isStale, reason
	} else if !r.Complete {
		a.State, a.Reason = isPartial, meaning(isPartial)
	}
	for index, d := range r.Delegates {
		a.Interfaces = append(a.Interfaces, networkInterface{
			Delegate: index, IfName: d.IfName, Network: d.Name, Plugins: typesOf(&d.Delegate),
			Primary: d.Primary, Addresses: delegate.Addresses(d.Result),
		})
	}
	sort.SliceStable(a.Interfaces, func(i, j int) bool { return a.Interfaces[i].Primary && !a.Interfaces[j].Primary })
}

// whyStale says why the pod of a record can no longer exist. It returns "" for
// one that may.
func whyStale(r *state.Record, boot string) string {
	if r.BootID != boot {
		return "the node was rebooted"
	}
	switch id, err := route.ID(r.Netns); {
	case err != nil:
		return fmt.Sprintf("its network namespace is gone: %v", err)
	case id != r.NetnsID:
		return fmt.Sprintf("its network namespace is gone: there is another one at %s now", r.Netns)
	}
	return ""
}

func typesOf2017(array []byte) []string {
	var delegates []struct{ Type string }
	_ = json.Unmarshal(array, &delegates) // a "?" below says what could not be read
	names := []string{}
	for _, d := range delegates {
		names = append(names, cmp.Or(d.Type, "?"))
	}
	return names
}
