// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package netns

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// maxDumps is how often a dump is tried if changes interrupt it.
const maxDumps = 10

// Request sends one rtnetlink(7) message and returns the bodies of the messages
// that the kernel answers with. kind is an RTM_ constant and flags are NLM_F_
// constants, which must include NLM_F_ACK or NLM_F_DUMP so that the kernel
// answers. If the kernel refuses the message, Request returns its error as a
// unix.Errno.
//
// Routes are passed as raw messages because they must go back exactly as they
// were: netlink.Route lacks RTA_PREF, the expiry and the id of a nexthop object.
func (n *Netns) Request(kind uint16, flags int, body []byte) ([][]byte, error) {
	for try := 1; ; try++ {
		request := nl.NewNetlinkRequest(int(kind), flags)
		request.Sockets = n.sockets
		request.AddRawData(body)
		replies, err := request.Execute(unix.NETLINK_ROUTE, 0)
		if !errors.Is(err, nl.ErrDumpInterrupted) || try == maxDumps {
			return replies, err
		}
	}
}

// Present returns those of names that an interface has, as its name or as an
// alternative name.
func (n *Netns) Present(names []string) ([]string, error) {
	links, err := n.links.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list the pod's interfaces: %w", err)
	}
	var present []string
	for _, link := range links {
		for _, name := range append(link.Attrs().AltNames, link.Attrs().Name) {
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
	link, err := n.links.LinkByIndex(index)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		err = unix.ENODEV
	}
	if err != nil {
		return "", fmt.Errorf("look up interface %d of the pod: %w", index, err)
	}
	return link.Attrs().Name, nil
}

// Replacements returns the bodies of the RTM_NEWROUTE messages about routes
// that have replaced others (NLM_F_REPLACE) since the last call; the first call
// only starts to collect them. When too many routes have changed, the kernel
// drops messages.
func (n *Netns) Replacements() ([][]byte, error) {
	if n.watch == nil {
		return nil, visit(n.file, unix.Setns, func() (err error) {
			n.watch, err = nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE)
			return err
		})
	}
	var found [][]byte
	for {
		// NetlinkSocket.Receive would wait for the next change.
		buffer := make([]byte, nl.RECEIVE_BUFFER_SIZE)
		size, _, err := unix.Recvfrom(n.watch.GetFd(), buffer, unix.MSG_DONTWAIT)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return found, nil
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.ENOBUFS): // messages were dropped
			continue
		case err != nil:
			return nil, os.NewSyscallError("recvfrom", err)
		}
		messages, err := syscall.ParseNetlinkMessage(buffer[:size])
		if err != nil {
			return nil, err
		}
		for _, m := range messages {
			if m.Header.Type == unix.RTM_NEWROUTE && m.Header.Flags&unix.NLM_F_REPLACE != 0 {
				found = append(found, m.Data)
			}
		}
	}
}
