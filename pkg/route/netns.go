// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

// Package route looks into a pod's network namespace: which interfaces there
// are, and through which of them the default route leads.
//
// It knows the main routing table and unicast routes only. Policy routing, and
// nexthop objects (ip-nexthop(8)) that a plugin shares between routes, are
// left alone.
package route

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/containernetworking/plugins/pkg/netlinksafe"
	"github.com/containernetworking/plugins/pkg/ns"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

var (
	// ErrNotExist says that there is no network namespace at a path.
	ErrNotExist = errors.New("there is no network namespace")
	// ErrOwn says that a network namespace is the one that multus runs in.
	ErrOwn = errors.New("it is the network namespace of multus itself")
)

// ownNetns is the namespace of the thread that asks: threads can differ.
const ownNetns = "/proc/thread-self/ns/net"

// Netns is a pod's network namespace. It holds a netlink socket in there; the
// thread itself has never more than stepped in to open it.
type Netns struct {
	ID     string // device and inode, see ID
	handle netlinksafe.Handle
}

// ID returns device and inode of the network namespace at path, which tell it
// from any other that exists at the same time. It returns ErrNotExist when
// there is none.
func ID(path string) (string, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("%w at %s", ErrNotExist, path)
		}
		return "", fmt.Errorf("stat %s: %w", path, err)
	}
	return fmt.Sprintf("%d:%d", st.Dev, st.Ino), nil
}

// IsOwn tells whether the network namespace at path is the caller's.
func IsOwn(path string) (bool, error) {
	own, err := ID(ownNetns)
	if err != nil {
		return false, err
	}
	other, err := ID(path)
	if errors.Is(err, ErrNotExist) {
		return false, nil
	}
	return own == other, err
}

// Open enters the network namespace at path for as long as it takes to open a
// netlink socket. The caller must be locked to its thread.
//
// It returns ErrNotExist when there is no namespace, and ErrOwn when it is the
// caller's and that is not allowed. When the thread cannot be brought back,
// the error says so, and the caller must do nothing more.
func Open(path string, allowOwn bool) (*Netns, error) {
	own, err := ID(ownNetns)
	if err != nil {
		return nil, err
	}
	file, err := ns.GetNS(path)
	if err != nil {
		return nil, openError(path, err)
	}
	defer file.Close()
	id, err := ID(path)
	if err != nil {
		return nil, err
	}
	if id == own && !allowOwn {
		return nil, ErrOwn
	}
	handle, err := netlinksafe.NewHandleAt(netns.NsHandle(file.Fd()), unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open a netlink socket in %s: %w", path, err)
	}
	if now, _ := ID(ownNetns); now != own {
		handle.Close()
		return nil, fmt.Errorf("leave %s: the thread is in network namespace %q now instead of %q", path, now, own)
	}
	return &Netns{ID: id, handle: handle}, nil
}

func openError(path string, err error) error {
	if errors.As(err, &ns.NSPathNotExistErr{}) || errors.As(err, &ns.NSPathNotNSErr{}) {
		return fmt.Errorf("%w at %s", ErrNotExist, path)
	}
	return fmt.Errorf("open the network namespace: %w", err)
}

// Close gives the socket back.
func (n *Netns) Close() { n.handle.Close() }

// Present returns which of these names an interface has, as its name or as an
// alternative one.
func (n *Netns) Present(names []string) ([]string, error) {
	links, err := n.handle.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list the pod's interfaces: %w", err)
	}
	var present []string
	for _, link := range links {
		attrs := link.Attrs()
		for _, name := range append([]string{attrs.Name}, attrs.AltNames...) {
			if slices.Contains(names, name) {
				present = append(present, name)
			}
		}
	}
	return present, nil
}

// linkName returns the name of the interface with that index, and "" for a
// route that names none.
func (n *Netns) linkName(index int) (string, error) {
	if index == 0 {
		return "", nil
	}
	link, err := n.handle.LinkByIndex(index)
	if err != nil {
		return "", fmt.Errorf("look up interface %d of the pod: %w", index, err)
	}
	return link.Attrs().Name, nil
}

// defaults returns the default routes in the main table, except those that the
// kernel learned by router advertisement. IPv6 routes come one for each next
// hop: the kernel joins those of one metric into one multipath route, whoever
// added them.
func (n *Netns) defaults() ([]netlink.Route, error) {
	routes, err := n.handle.RouteListFiltered(netlink.FAMILY_ALL,
		&netlink.Route{Table: unix.RT_TABLE_MAIN, Type: unix.RTN_UNICAST}, netlink.RT_FILTER_TABLE|netlink.RT_FILTER_TYPE)
	if err != nil {
		return nil, fmt.Errorf("list the pod's routes: %w", err)
	}
	var found []netlink.Route
	for _, r := range routes {
		if !isDefault(r) || r.Protocol == unix.RTPROT_RA {
			continue
		}
		if r.Family == netlink.FAMILY_V6 {
			found = append(found, nextHops(r)...)
		} else {
			found = append(found, r)
		}
	}
	return found, nil
}

func isDefault(r netlink.Route) bool {
	if r.Family != netlink.FAMILY_V4 && r.Family != netlink.FAMILY_V6 {
		return false
	}
	if r.Dst == nil {
		return true
	}
	ones, _ := r.Dst.Mask.Size()
	return ones == 0
}

func nextHops(r netlink.Route) []netlink.Route {
	if len(r.MultiPath) == 0 {
		return []netlink.Route{r}
	}
	hops := make([]netlink.Route, 0, len(r.MultiPath))
	for _, hop := range r.MultiPath {
		single := r
		single.MultiPath = nil
		single.LinkIndex, single.Gw, single.Via, single.Encap, single.Flags = hop.LinkIndex, hop.Gw, hop.Via, hop.Encap, hop.Flags
		hops = append(hops, single)
	}
	return hops
}

func (n *Netns) remove(r netlink.Route) error {
	if err := n.handle.RouteDel(&r); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("remove default route %s: %w", r, err)
	}
	return nil
}

// add puts a route back as it was listed. The kernel takes what it reports of
// a next hop's state (see RTNH_F_* in rtnetlink(7)) for an error.
func (n *Netns) add(r netlink.Route) error {
	r.Flags &= unix.RTNH_F_ONLINK
	r.MultiPath = slices.Clone(r.MultiPath)
	for i, hop := range r.MultiPath {
		masked := *hop
		masked.Flags &= unix.RTNH_F_ONLINK
		r.MultiPath[i] = &masked
	}
	if err := n.handle.RouteAppend(&r); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("add default route %s: %w", r, err)
	}
	return nil
}
