// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package commandline

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"sort"
	"strings"
	"time"

	"multus-cni/pkg/netconf"
	"multus-cni/pkg/route"
	"multus-cni/pkg/state"
)

// What an attachment can be found to be.
const (
	isAttached = "attached"
	isPartial  = "partial" // ADD has not ended, or failed and could not be undone
	isStale    = "stale"   // the pod is gone and was never detached
	isDamaged  = "damaged" // the record cannot be read
	isAside    = "aside"   // a damaged record that a DEL has renamed
	is2017     = "2017"    // the record is of the multus of 2017
)

// attachment is one record, as --json writes it.
type attachment struct {
	Network     string             `json:"network"`
	ContainerID string             `json:"containerID"`
	IfName      string             `json:"ifname"` // of the primary
	Pod         *pod               `json:"pod,omitempty"`
	Netns       string             `json:"netns,omitempty"`
	State       string             `json:"state"`
	Reason      string             `json:"reason,omitempty"` // for a state that is not "attached"
	Record      string             `json:"record"`
	Written     time.Time          `json:"written"`
	Interfaces  []networkInterface `json:"interfaces"`
}

type pod struct {
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
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
func (p *program) list(args []string) error {
	dir := netconf.DefaultCNIDir
	var asJSON, wide bool
	rest, err := options(args, map[string]*string{"--cni-dir": &dir}, map[string]*bool{"--json": &asJSON, "--wide": &wide})
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return &usageError{fmt.Sprintf("list takes no argument such as %q", rest[0])}
	}
	attachments, err := attachmentsIn(dir)
	switch {
	case err != nil:
		return err
	case asJSON:
		return p.printJSON(attachments)
	case len(attachments) == 0:
		return p.say("nothing is attached: there is no record in %s", dir)
	}
	return p.printTables(attachments, wide)
}

// attachmentsIn reads the records of a folder.
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
		a.State, a.Reason = isAside, "a DEL could not read it and went by the conf; look at it, then remove it"
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

// reason leaves out the path, which stands beside it.
func reason(err error) string {
	var damaged *state.DamagedError
	if errors.As(err, &damaged) {
		return damaged.Err.Error()
	}
	return err.Error()
}

func (a *attachment) fill(r *state.Record, boot string) {
	a.Netns, a.State, a.Pod = r.Netns, isAttached, podOf(r.CNIArgs)
	id, err := route.ID(r.Netns)
	switch {
	case r.BootID != boot:
		a.State, a.Reason = isStale, "the node was booted since"
	case err != nil:
		a.State, a.Reason = isStale, fmt.Sprintf("its network namespace is gone: %v", err)
	case id != r.NetnsID:
		a.State, a.Reason = isStale, fmt.Sprintf("its network namespace is gone: another one is at %s now", r.Netns)
	case !r.Complete:
		a.State, a.Reason = isPartial, meaning(isPartial)
	}
	for index, d := range r.Delegates {
		a.Interfaces = append(a.Interfaces, networkInterface{
			Delegate: index, IfName: d.IfName, Network: d.Name, Plugins: typesOf(&d.Delegate),
			Primary: d.Primary, Addresses: addressesOf(d.Result),
		})
	}
	sort.SliceStable(a.Interfaces, func(i, j int) bool { return a.Interfaces[i].Primary && !a.Interfaces[j].Primary })
}

// podOf finds the pod's name in what a runtime of Kubernetes sets as CNI_ARGS.
// It returns nil when there is none.
func podOf(args string) *pod {
	var p pod
	for _, pair := range strings.Split(args, ";") {
		switch key, value, _ := strings.Cut(pair, "="); key {
		case "K8S_POD_NAMESPACE":
			p.Namespace = value
		case "K8S_POD_NAME":
			p.Name = value
		}
	}
	if p.Name == "" {
		return nil
	}
	return &p
}

// String returns "namespace/name", and "" for no pod.
func (p *pod) String() string {
	switch {
	case p == nil:
		return ""
	case p.Namespace == "":
		return p.Name
	}
	return p.Namespace + "/" + p.Name
}

// addressesOf reads the addresses of a result of any version of the CNI spec.
func addressesOf(result json.RawMessage) []string {
	var r struct {
		IPs []struct{ Address string } // since 0.3.0
		IP4 *struct{ IP string }
		IP6 *struct{ IP string }
	}
	addresses := []string{}
	if json.Unmarshal(result, &r) != nil {
		return addresses
	}
	for _, ip := range r.IPs {
		addresses = append(addresses, ip.Address)
	}
	for _, ip := range []*struct{ IP string }{r.IP4, r.IP6} {
		if ip != nil {
			addresses = append(addresses, ip.IP)
		}
	}
	return addresses
}

func typesOf2017(array []byte) []string {
	var delegates []struct{ Type string }
	_ = json.Unmarshal(array, &delegates) // without a type it says so
	names := []string{}
	for _, d := range delegates {
		names = append(names, cmp.Or(d.Type, "?"))
	}
	return names
}
