// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package multus

import (
	"errors"
	"slices"

	"github.com/containernetworking/cni/pkg/types"

	"multus-cni/pkg/cnierror"
	"multus-cni/pkg/netns"
	"multus-cni/pkg/record"
)

// pod is a pod's network namespace, and the path that delegates get for it.
//
// A path such as /proc/PID/ns/net leads to another namespace, even to the node's,
// when the pid is used again. Therefore the namespace is held open, and the path
// is checked against it before each use.
type pod struct {
	path  string // CNI_NETNS
	netns *netns.Netns
	// present are the delegates' interfaces that lookFor has found.
	present []string
}

// openPod opens the network namespace for an ADD or a CHECK. It refuses one
// that does not exist (code 4), and multus's own (code 8).
func (c *call) openPod() (*pod, error) {
	ns, err := netns.Open(c.args.Netns, c.ownNetnsAllowed())
	switch {
	case errors.Is(err, netns.ErrOwn):
		return nil, cnierror.New(types.ErrInvalidNetNS,
			"CNI_NETNS=%s: %w: an ADD there would change the node's own interfaces", c.args.Netns, err)
	case errors.Is(err, netns.ErrNotExist):
		return nil, cnierror.New(types.ErrInvalidEnvironmentVariables, "CNI_NETNS: %w", err)
	case err != nil:
		return nil, err
	}
	return &pod{path: c.args.Netns, netns: ns}, nil
}

// openPodToDelete opens the network namespace at path for a DEL. If the pod's
// namespace is gone, or another one is at the path by now, delegates get an empty
// CNI_NETNS. r says which one was the pod's; nil means the one at the path.
func (c *call) openPodToDelete(path string, r *record.Record) *pod {
	gone := &pod{}
	if path == "" {
		return gone
	}
	if own, err := netns.IsOwn(path); err == nil && own && !c.ownNetnsAllowed() {
		return gone // plugins would refuse it, or take the node's interfaces
	}
	ns, err := netns.Open(path, true)
	p := &pod{path: path, netns: ns} // netns is nil if it cannot be entered
	switch {
	case r == nil || netns.IsGone(err):
	case err == nil:
		err = identity(r).Compare(ns.Identity)
	default:
		err = identity(r).Check(path)
	}
	if netns.IsGone(err) {
		p.close()
		return gone
	}
	return p
}

// identity returns the identity of the network namespace in a record.
func identity(r *record.Record) netns.Identity {
	return netns.Identity{Boot: r.BootID, Namespace: r.NetnsID}
}

// lookFor finds out which of these interfaces are in the namespace. If that
// fails, it assumes that all of them are.
func (p *pod) lookFor(names []string) {
	if p.netns == nil {
		return
	}
	present, err := p.netns.Present(names)
	if err != nil {
		present = names
	}
	p.present = present
}

// markSeen marks the delegates whose interface lookFor has found, for the DEL
// that follows one that has failed half-way. It reports whether it has changed a
// delegate.
func (p *pod) markSeen(delegates []record.Delegate) (changed bool) {
	if p.netns == nil {
		return false
	}
	for i := range delegates {
		d := &delegates[i]
		if !d.InterfaceSeen && slices.Contains(p.present, d.IfName) {
			d.InterfaceSeen, changed = true, true
		}
	}
	return changed
}

// current returns the path to hand to the next delegate: "" when the namespace
// is gone, or the path has come to lead to another one.
func (p *pod) current() string {
	if p.netns != nil && !p.netns.At(p.path) {
		return ""
	}
	return p.path
}

func (p *pod) lacked(ifname string) bool {
	return p.netns != nil && !slices.Contains(p.present, ifname)
}

func (p *pod) close() {
	if p.netns != nil {
		p.netns.Close()
	}
}
