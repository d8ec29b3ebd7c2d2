// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Package netns identifies the network namespace of a pod and talks to the
// kernel about it through a netlink socket that was opened in there.
//
// A thread is in the namespace only while that socket is opened. What else has
// to happen inside, such as writing to /proc/sys, this package does not do.
package netns

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// ErrOwn says that a network namespace is the one that multus runs in.
var ErrOwn = errors.New("it is the network namespace of multus itself")

// Netns is an open network namespace.
type Netns struct {
	// Identity tells it from all others.
	Identity Identity

	// file keeps the namespace, and so its inode number, from being used again.
	file   int
	inode  inode
	socket int
	watch  int // socket of Watch, -1 without
	seq    uint32
	buffer [maxReply]byte // of the reply that is being read
}

// Open opens the network namespace at path. It returns ErrNotExist when there
// is none, and ErrOwn when it is the caller's and that is not allowed.
func Open(path string, allowOwn bool) (*Netns, error) {
	file, err := open(path)
	if err != nil {
		return nil, err
	}
	n := &Netns{file: file, socket: -1, watch: -1}
	if err := n.connect(allowOwn); err != nil {
		n.Close()
		return nil, fmt.Errorf("open the network namespace at %s: %w", path, err)
	}
	return n, nil
}

func (n *Netns) connect(allowOwn bool) (err error) {
	if n.inode, err = inodeOf(n.file); err != nil {
		return err
	}
	home, err := inodeAt(own)
	if err != nil {
		return err
	}
	if n.inode == home && !allowOwn {
		return ErrOwn
	}
	if n.Identity.Boot, err = BootID(); err != nil {
		return err
	}
	n.socket, err = visit(n.file, unix.Setns)
	if err != nil {
		return err
	}
	n.Identity.Namespace, err = name(n.inode, n.socket)
	return err
}

// Close releases the namespace.
func (n *Netns) Close() {
	for _, file := range []int{n.file, n.socket, n.watch} {
		if file >= 0 {
			_ = unix.Close(file)
		}
	}
}

// At reports whether path still leads to this namespace. While n is open no
// other one can have its inode number.
func (n *Netns) At(path string) bool {
	found, err := inodeAt(path)
	return err == nil && found == n.inode
}

// Present returns those of names that an interface has, as its name or as an
// alternative one.
func (n *Netns) Present(names []string) ([]string, error) {
	links, err := n.Request(unix.RTM_GETLINK, unix.NLM_F_DUMP, make([]byte, unix.SizeofIfInfomsg))
	if err != nil {
		return nil, fmt.Errorf("list the pod's interfaces: %w", err)
	}
	var present []string
	for _, link := range links {
		found, err := linkNames(link)
		if err != nil {
			return nil, fmt.Errorf("list the pod's interfaces: %w", err)
		}
		for _, name := range found {
			if slices.Contains(names, name) {
				present = append(present, name)
			}
		}
	}
	return present, nil
}

// LinkName returns the name of the interface with an index. It returns
// unix.ENODEV when there is none.
func (n *Netns) LinkName(index int) (string, error) {
	request := make([]byte, unix.SizeofIfInfomsg)
	order.PutUint32(request[4:], uint32(index))
	links, err := n.Request(unix.RTM_GETLINK, unix.NLM_F_ACK, request)
	if err != nil {
		return "", fmt.Errorf("look up interface %d of the pod: %w", index, err)
	}
	for _, link := range links {
		names, err := linkNames(link)
		if err != nil {
			return "", fmt.Errorf("look up interface %d of the pod: %w", index, err)
		}
		if len(names) > 0 {
			return names[0], nil
		}
	}
	return "", fmt.Errorf("look up interface %d of the pod: %w", index, unix.ENODEV)
}

// linkNames returns the name and the alternative names in the body of an
// RTM_NEWLINK message.
func linkNames(link []byte) (names []string, err error) {
	if len(link) < unix.SizeofIfInfomsg {
		return nil, unix.EBADMSG
	}
	attrs, err := nl.ParseRouteAttr(link[unix.SizeofIfInfomsg:])
	if err != nil {
		return nil, err
	}
	for _, a := range attrs {
		switch a.Attr.Type &^ unix.NLA_F_NESTED {
		case unix.IFLA_IFNAME:
			names = slices.Insert(names, 0, unix.ByteSliceToString(a.Value))
		case unix.IFLA_PROP_LIST:
			others, err := nl.ParseRouteAttr(a.Value)
			if err != nil {
				return nil, err
			}
			for _, a := range others {
				if a.Attr.Type == unix.IFLA_ALT_IFNAME {
					names = append(names, unix.ByteSliceToString(a.Value))
				}
			}
		}
	}
	return names, nil
}

// open opens the network namespace at path. A file that is none counts as no
// namespace. Linux before 3.19 had namespaces on procfs.
func open(path string) (int, error) {
	file, err := ignoringEINTR(func() (int, error) {
		return unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	})
	if err != nil {
		return -1, pathError("open", path, err)
	}
	var st unix.Statfs_t
	if err := unix.Fstatfs(file, &st); err != nil {
		_ = unix.Close(file)
		return -1, fmt.Errorf("statfs %s: %w", path, err)
	}
	if st.Type != unix.NSFS_MAGIC && st.Type != unix.PROC_SUPER_MAGIC {
		_ = unix.Close(file)
		return -1, fmt.Errorf("%w at %s", ErrNotExist, path)
	}
	return file, nil
}

// enter returns the identity of an open namespace.
func enter(file int) (Identity, error) {
	inode, err := inodeOf(file)
	if err != nil {
		return Identity{}, err
	}
	boot, err := BootID()
	if err != nil {
		return Identity{}, err
	}
	socket, err := visit(file, unix.Setns)
	if err != nil {
		return Identity{}, err
	}
	defer unix.Close(socket)
	namespace, err := name(inode, socket)
	return Identity{Boot: boot, Namespace: namespace}, err
}

// visit opens a netlink socket in an open network namespace. It panics when
// the thread cannot return to its own namespace: nothing more may happen on it
// then, since plugins that multus started would work in the pod. setns is
// unix.Setns.
func visit(file int, setns func(fd, nstype int) error) (int, error) {
	runtime.LockOSThread()
	home, err := unix.Open(own, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		runtime.UnlockOSThread()
		return -1, fmt.Errorf("open the own network namespace: %w", err)
	}
	defer unix.Close(home)
	if err := setns(file, unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return -1, fmt.Errorf("enter the network namespace: %w", err)
	}
	socket, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err := setns(home, unix.CLONE_NEWNET); err != nil {
		panic(fmt.Errorf("return to the own network namespace: %w", err))
	}
	runtime.UnlockOSThread()
	if err != nil {
		return -1, fmt.Errorf("open a netlink socket: %w", err)
	}
	return socket, nil
}

// name returns the text of Identity.Namespace. A socket is of the namespace
// that it was opened in.
func name(inode inode, socket int) (string, error) {
	cookie, err := unix.GetsockoptUint64(socket, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	if errors.Is(err, unix.ENOPROTOOPT) { // before Linux 5.14
		return inode.String(), nil
	}
	if err != nil {
		return "", fmt.Errorf("read the cookie of the network namespace: %w", err)
	}
	return fmt.Sprintf("%s:%d", inode, cookie), nil
}

func ignoringEINTR(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if err != syscall.EINTR {
			return n, err
		}
	}
}
