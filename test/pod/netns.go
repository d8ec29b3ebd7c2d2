// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

// Package pod makes, changes and describes the network namespaces that tests
// use as pods. Namespaces are named by their paths; Own is the caller's.
//
// What it lists is complete: a netlink dump that the kernel reports as
// interrupted is asked for again until it is whole. It does not watch: what it
// returns was true at one moment.
package pod

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

const (
	// Path is where a test has its first pod.
	Path = "/run/netns/pod"
	// Own is the network namespace of the calling thread.
	Own = "/proc/thread-self/ns/net"
)

// PathOf returns the path of a pod with that name.
func PathOf(name string) string { return filepath.Join("/run/netns", name) }

// Make makes a pod at PathOf(name). The caller must be locked to its thread,
// which returns to its own network namespace.
func Make(name string) error {
	path := PathOf(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path, nil, 0o444); err != nil {
		return err
	}
	own, err := netns.Get()
	if err != nil {
		return err
	}
	defer own.Close()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return err
	}
	return errors.Join(
		// No link-local addresses: the kernel adds them whenever it likes.
		os.WriteFile("/proc/sys/net/ipv6/conf/default/addr_gen_mode", []byte("1"), 0),
		unix.Mount(Own, path, "", unix.MS_BIND, ""),
		netns.Set(own),
	)
}

// Delete takes the name of a pod away, and with it the pod unless somebody
// still uses it.
func Delete(name string) error {
	return errors.Join(unix.Unmount(PathOf(name), unix.MNT_DETACH), os.Remove(PathOf(name)))
}

// Exists reports whether there is a network namespace at path.
func Exists(path string) (bool, error) {
	var st unix.Statfs_t
	err := unix.Statfs(path, &st)
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	return err == nil && st.Type == unix.NSFS_MAGIC, err
}

// handle is a netlink socket in a network namespace.
type handle struct{ *netlink.Handle }

func open(path string) (handle, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ns, err := netns.GetFromPath(path)
	if err != nil {
		return handle{}, fmt.Errorf("open %s: %w", path, err)
	}
	defer ns.Close()
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	return handle{h}, err
}

// whole repeats a dump until nothing has interrupted it. The kernel reports an
// interruption whenever anything was changed meanwhile, and what it has returned
// may then lack entries.
func whole[T any](dump func() (T, error)) (T, error) {
	for end := time.Now().Add(time.Minute); ; {
		result, err := dump()
		if !errors.Is(err, netlink.ErrDumpInterrupted) || time.Now().After(end) {
			return result, err
		}
	}
}

// link returns the interface of that name, or nil.
func (h handle) link(name string) (netlink.Link, error) {
	link, err := whole(func() (netlink.Link, error) { return h.LinkByName(name) })
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil, nil
	}
	return link, err
}

// HasLink reports whether a pod has an interface of that name. A path that is
// empty has none.
func HasLink(path, ifname string) (bool, error) {
	if path == "" {
		return false, nil
	}
	h, err := open(path)
	if err != nil {
		return false, err
	}
	defer h.Close()
	link, err := h.link(ifname)
	return link != nil, err
}

// DeleteLink succeeds when there is no such interface, or nothing at path.
func DeleteLink(path, ifname string) error {
	if _, err := os.Stat(path); err != nil {
		return nil
	}
	h, err := open(path)
	if err != nil {
		return err
	}
	defer h.Close()
	link, err := h.link(ifname)
	if err != nil || link == nil {
		return err
	}
	if err := h.LinkDel(link); !errors.Is(err, unix.ENODEV) { // else somebody else was faster
		return err
	}
	return nil
}

// Empty removes all interfaces of a pod but lo.
func Empty(path string) error {
	names, err := Names(path)
	for _, name := range names {
		err = errors.Join(err, DeleteLink(path, name))
	}
	return err
}

// AddBridge adds an interface that has no peer anywhere.
func AddBridge(path, ifname string) error {
	h, err := open(path)
	if err != nil {
		return err
	}
	defer h.Close()
	return h.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: ifname}})
}

// addVeth adds a veth whose peer is in the network namespace of the caller.
func (h handle) addVeth(ifname string) error {
	host, err := netns.Get()
	if err != nil {
		return err
	}
	defer host.Close()
	veth := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: ifname},
		PeerName:  PeerName(ifname), PeerNamespace: netlink.NsFd(host),
	}
	if err := h.LinkAdd(veth); err != nil {
		return err
	}
	own := handle{&netlink.Handle{}}
	peer, err := own.link(veth.PeerName)
	if err != nil {
		return err
	}
	if peer == nil {
		return fmt.Errorf("the peer %s is not there", veth.PeerName)
	}
	return errors.Join(netlink.LinkSetUp(peer), h.LinkSetUp(veth))
}

// PeerName is the name of the other end of a veth that this process has made.
func PeerName(ifname string) string {
	name := fmt.Sprintf("v%d%s", os.Getpid(), ifname)
	return name[:min(len(name), unix.IFNAMSIZ-1)]
}

// ErrNoLink is the error of Change for an interface that does not exist.
var ErrNoLink = errors.New("no such interface")

// Change changes an interface of a pod; words are one of:
//
//	link
//	addr ADDRESS/BITS
//	mac ADDRESS
//	altname NAME
//	default GATEWAY [excl|replace|append] [onlink] [metric N] [table N] [proto ra|static]
//	no-default GATEWAY
//
// Link adds a veth, default a default route: without NLM_F_EXCL, as the
// reference plugins do, unless a flag is named.
func Change(path, ifname string, words []string) error {
	h, err := open(path)
	if err != nil {
		return err
	}
	defer h.Close()
	if words[0] == "link" {
		return h.addVeth(ifname)
	}
	link, err := h.link(ifname)
	if err != nil {
		return err
	}
	if link == nil {
		return fmt.Errorf("%s: %w", ifname, ErrNoLink)
	}
	switch words[0] {
	case "addr":
		addr, err := netlink.ParseAddr(words[1])
		if err != nil {
			return err
		}
		addr.Flags = unix.IFA_F_NODAD // nobody else is there
		return h.AddrAdd(link, addr)
	case "mac":
		mac, err := net.ParseMAC(words[1])
		if err != nil {
			return err
		}
		return h.LinkSetHardwareAddr(link, mac)
	case "altname":
		return h.LinkAddAltName(link, words[1])
	case "no-default":
		gateway := net.ParseIP(words[1])
		dst := Anywhere(gateway)
		return h.RouteDel(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: &dst, Gw: gateway})
	case "default":
		return h.addDefault(link, words[1:])
	}
	return fmt.Errorf("unknown change: %s", words[0])
}
