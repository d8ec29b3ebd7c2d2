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
	"os"
	"runtime"
	"slices"

	"github.com/containernetworking/plugins/pkg/netlinksafe"
	"github.com/containernetworking/plugins/pkg/ns"
	"github.com/vishvananda/netlink"
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
	ID     string // see ID
	handle netlinksafe.Handle
}

// ID returns what tells the network namespace at path from any other of this
// boot: device and inode and, since an inode number is used again as soon as
// it is free, the cookie that Linux has given out since 5.14
// (SO_NETNS_COOKIE). It returns ErrNotExist when there is no namespace.
func ID(path string) (string, error) {
	file, err := ns.GetNS(path)
	if err != nil {
		return "", openError(path, err)
	}
	defer file.Close()
	var id string
	err = visit(file, func() (err error) {
		id, err = idHere()
		return err
	})
	return id, err
}

// IsOwn tells whether the network namespace at path is the caller's.
func IsOwn(path string) (bool, error) {
	own, err := inode(ownNetns)
	if err != nil {
		return false, err
	}
	other, err := inode(path)
	if errors.Is(err, ErrNotExist) {
		return false, nil
	}
	return own == other, err
}

// Open enters the network namespace at path for as long as it takes to open a
// netlink socket. It returns ErrNotExist when there is none, and ErrOwn when
// it is the caller's and that is not allowed.
func Open(path string, allowOwn bool) (*Netns, error) {
	file, err := ns.GetNS(path)
	if err != nil {
		return nil, openError(path, err)
	}
	defer file.Close()
	own, err := IsOwn(path)
	if err != nil {
		return nil, err
	}
	if own && !allowOwn {
		return nil, ErrOwn
	}
	n := &Netns{}
	err = visit(file, func() (err error) {
		if n.ID, err = idHere(); err != nil {
			return err
		}
		n.handle, err = netlinksafe.NewHandle(unix.NETLINK_ROUTE)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("enter %s: %w", path, err)
	}
	return n, nil
}

// visit runs do inside of a network namespace. It panics when the thread cannot
// be brought back: nothing more may happen then, since plugins that multus
// started would work in the pod.
func visit(file ns.NetNS, do func() error) error {
	runtime.LockOSThread()
	home, err := os.Open(ownNetns)
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("open the own network namespace: %w", err)
	}
	defer home.Close()
	if err := file.Set(); err != nil {
		runtime.UnlockOSThread()
		return err
	}
	err = do()
	if err := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); err != nil {
		panic(fmt.Errorf("come back to the own network namespace: %w", err))
	}
	runtime.UnlockOSThread()
	return err
}

// idHere is the ID of the network namespace that the thread is in.
func idHere() (string, error) {
	id, err := inode(ownNetns)
	if err != nil {
		return "", err
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", fmt.Errorf("open a socket: %w", err)
	}
	defer unix.Close(fd)
	cookie, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	if errors.Is(err, unix.ENOPROTOOPT) { // before Linux 5.14
		return id, nil
	}
	if err != nil {
		return "", fmt.Errorf("read the cookie of the network namespace: %w", err)
	}
	return fmt.Sprintf("%s:%d", id, cookie), nil
}

// inode returns device and inode of what is at path.
func inode(path string) (string, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("%w at %s", ErrNotExist, path)
		}
		return "", fmt.Errorf("stat %s: %w", path, err)
	}
	return fmt.Sprintf("%d:%d", st.Dev, st.Ino), nil
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
