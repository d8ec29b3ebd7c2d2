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

// pod is a pod's network namespace, together with the path by which delegates
// are told of it.
//
// The path of /proc/PID/ns/net leads to another namespace, even to the node's,
// once the pid is used again. The namespace itself is held open here, so that
// each use of the path can be checked against it.
type pod struct {
	path  string // CNI_NETNS
	netns *netns.Netns
	// present are those of the delegates' interfaces that were in the
	// namespace when it was looked into for a DEL.
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

// openPodToDelete opens the network namespace at path for a DEL. The pod's own
// one may be gone, or another one may be at the path by now: r says which it
// was, nil for "whichever is there". Then delegates get an empty CNI_NETNS.
func (c *call) openPodToDelete(path string, r *record.Record) *pod {
	gone := &pod{}
	if path == "" {
		return gone
	}
	if own, err := netns.IsOwn(path); err == nil && own && !c.ownNetnsAllowed() {
		return gone // plugins would refuse it, or take the node's interfaces
	}
	if r != nil && r.NetnsID != "" && isGone(identity(r).Check(path)) {
		return gone
	}
	ns, err := netns.Open(path, true)
	if isGone(err) {
		return gone
	}
	return &pod{path: path, netns: ns} // netns is nil if it cannot be entered: then the path is all there is
}

// identity is that of the network namespace which a record is of.
func identity(r *record.Record) netns.Identity {
	return netns.Identity{Boot: r.BootID, Namespace: r.NetnsID}
}

// isGone reports whether an error says that a namespace is not there any more,
// rather than that nobody can tell.
func isGone(err error) bool {
	return errors.Is(err, netns.ErrNotExist) || errors.Is(err, netns.ErrReplaced) || errors.Is(err, netns.ErrRebooted)
}

// lookFor finds out which of these interfaces are in the namespace. Where that
// cannot be found out, none is called missing.
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

// markSeen notes which delegates had their interface in the pod when it was
// looked into, for the DEL that follows one which has failed half-way. It
// reports whether any of that is new.
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
