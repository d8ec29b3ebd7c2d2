// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Package netns identifies the network namespace of a pod and talks to the
// kernel about it through netlink sockets that were opened inside it.
//
// A thread enters the namespace only to open a socket. The package does nothing
// else inside it: it cannot, for example, write to the pod's /proc/sys.
package netns

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"

	"github.com/containernetworking/plugins/pkg/netlinksafe"
	"github.com/containernetworking/plugins/pkg/ns"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// ErrOwn means that a network namespace is the one that multus runs in.
var ErrOwn = errors.New("it is the network namespace of multus itself")

// Netns is an open network namespace.
type Netns struct {
	// Identity distinguishes it from all others.
	Identity Identity

	// file keeps the namespace alive, so that its inode number is not used
	// again.
	file    ns.NetNS
	inode   string // "DEVICE:INODE"
	links   netlinksafe.Handle
	sockets map[int]*nl.SocketHandle // of Request, by protocol
	watch   *nl.NetlinkSocket        // of Replacements, nil before the first call
}

// Open opens the network namespace at path. It returns ErrNotExist when there
// is none, and ErrOwn when it is the caller's and that is not allowed.
func Open(path string, allowOwn bool) (*Netns, error) {
	file, err := open(path)
	if err != nil {
		return nil, err
	}
	n := &Netns{file: file}
	if err := n.connect(allowOwn); err != nil {
		n.Close()
		return nil, fmt.Errorf("open the network namespace at %s: %w", path, err)
	}
	return n, nil
}

// open opens the network namespace at path. It returns ErrNotExist also for a
// file that is not a network namespace.
func open(path string) (ns.NetNS, error) {
	if _, err := inodeAt(path); err != nil { // ns.GetNS hides that a parent is no directory
		return nil, err
	}
	file, err := ns.GetNS(path)
	if errors.As(err, &ns.NSPathNotExistErr{}) || errors.As(err, &ns.NSPathNotNSErr{}) || errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w at %s", ErrNotExist, path)
	}
	return file, err
}

func (n *Netns) connect(allowOwn bool) (err error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(n.file.Fd()), &st); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	n.inode = inodeOf(&st)
	home, err := inodeAt(own)
	if err != nil {
		return err
	}
	if n.inode == home && !allowOwn {
		return ErrOwn
	}
	if n.Identity.Boot, err = bootID(); err != nil {
		return err
	}
	err = visit(n.file, unix.Setns, func() (err error) {
		if n.links, err = netlinksafe.NewHandle(unix.NETLINK_ROUTE); err != nil {
			return err
		}
		socket, err := nl.Subscribe(unix.NETLINK_ROUTE) // to nothing: only to have a socket
		if err != nil {
			return err
		}
		n.sockets = map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: {Socket: socket}}
		return nil
	})
	if err != nil {
		return err
	}
	n.Identity.Namespace, err = n.name()
	return err
}

// name returns the text of Identity.Namespace. A socket is of the namespace
// that it was opened in.
func (n *Netns) name() (string, error) {
	cookie, err := unix.GetsockoptUint64(n.sockets[unix.NETLINK_ROUTE].Socket.GetFd(), unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	if errors.Is(err, unix.ENOPROTOOPT) { // before Linux 5.14
		return n.inode, nil
	}
	if err != nil {
		return "", fmt.Errorf("read the cookie of the network namespace: %w", err)
	}
	return fmt.Sprintf("%s:%d", n.inode, cookie), nil
}

// Close releases the namespace.
func (n *Netns) Close() {
	n.links.Close()
	for _, handle := range n.sockets {
		handle.Close()
	}
	if n.watch != nil {
		n.watch.Close()
	}
	_ = n.file.Close()
}

// At reports whether path still leads to this namespace. While n is open, no
// other namespace can have its inode number.
func (n *Netns) At(path string) bool {
	found, err := inodeAt(path)
	return err == nil && found == n.inode
}

// visit calls do inside an open network namespace. It panics when the thread
// cannot return to its own namespace: nothing else may run on that thread,
// since plugins that it starts would run in the pod. setns is unix.Setns: the
// methods of ns.NetNS hide its errno, which callers need.
func visit(file ns.NetNS, setns func(fd, nstype int) error, do func() error) error {
	runtime.LockOSThread()
	home, err := ns.GetNS(own)
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("open multus's own network namespace: %w", err)
	}
	defer home.Close()
	if err := setns(int(file.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter the network namespace: %w", err)
	}
	err = do()
	if err := setns(int(home.Fd()), unix.CLONE_NEWNET); err != nil {
		panic(fmt.Errorf("return to multus's own network namespace: %w", err))
	}
	runtime.UnlockOSThread()
	if err != nil {
		return fmt.Errorf("open a netlink socket: %w", err)
	}
	return nil
}
