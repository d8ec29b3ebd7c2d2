// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package netns

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	// maxReply is more than the kernel puts into one datagram of a dump.
	maxReply = 64 << 10
	// maxDumps is how often a dump is tried again that a change interrupted.
	maxDumps = 10
)

// errInterrupted says that a dump is not consistent: NLM_F_DUMP_INTR.
var errInterrupted = errors.New("the tables changed while they were listed")

// order is the byte order of netlink(7): the machine's own.
var order = binary.NativeEndian

// Request sends one rtnetlink(7) message and returns the bodies of the
// messages that the kernel answers with. kind is an RTM_ constant, flags are
// NLM_F_ constants, of which one must make the kernel answer: NLM_F_ACK or
// NLM_F_DUMP. What the kernel refuses is returned as a unix.Errno.
func (n *Netns) Request(kind uint16, flags int, body []byte) ([][]byte, error) {
	for try := 1; ; try++ {
		replies, err := n.exchange(kind, flags, body)
		if !errors.Is(err, errInterrupted) || try == maxDumps {
			return replies, err
		}
	}
}

// Watch starts to collect what Replacements returns.
func (n *Netns) Watch() error {
	if n.watch >= 0 {
		return nil
	}
	socket, err := visit(n.file, unix.Setns)
	if err != nil {
		return err
	}
	groups := uint32(1<<(unix.RTNLGRP_IPV4_ROUTE-1) | 1<<(unix.RTNLGRP_IPV6_ROUTE-1))
	if err := unix.Bind(socket, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		_ = unix.Close(socket)
		return os.NewSyscallError("bind", err)
	}
	n.watch = socket
	return nil
}

// Replacements returns the bodies of the RTM_NEWROUTE messages about routes
// that have replaced others (NLM_F_REPLACE) since Watch or since the last call.
// When too many routes have changed, the kernel drops messages.
func (n *Netns) Replacements() ([][]byte, error) {
	var found [][]byte
	for {
		messages, err := n.receive(n.watch, unix.MSG_DONTWAIT)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return found, nil
		case errors.Is(err, unix.ENOBUFS): // messages were dropped
			continue
		case err != nil:
			return nil, err
		}
		for _, m := range messages {
			if m.Header.Type == unix.RTM_NEWROUTE && m.Header.Flags&unix.NLM_F_REPLACE != 0 {
				found = append(found, slices.Clone(m.Data))
			}
		}
	}
}

func (n *Netns) exchange(kind uint16, flags int, body []byte) ([][]byte, error) {
	n.seq++
	message := make([]byte, unix.SizeofNlMsghdr+len(body))
	order.PutUint32(message, uint32(len(message)))
	order.PutUint16(message[4:], kind)
	order.PutUint16(message[6:], uint16(unix.NLM_F_REQUEST|flags))
	order.PutUint32(message[8:], n.seq)
	copy(message[unix.SizeofNlMsghdr:], body)
	if err := unix.Sendto(n.socket, message, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, os.NewSyscallError("sendto", err)
	}
	var replies [][]byte
	var interrupted error
	for {
		messages, err := n.receive(n.socket, 0)
		if err != nil {
			return nil, err
		}
		for _, m := range messages {
			if m.Header.Seq != n.seq {
				continue // what is left of a request that failed half-way
			}
			if m.Header.Flags&unix.NLM_F_DUMP_INTR != 0 {
				interrupted = errInterrupted
			}
			switch m.Header.Type {
			case unix.NLMSG_ERROR:
				return replies, errorOf(m)
			case unix.NLMSG_DONE:
				return replies, errors.Join(errorOf(m), interrupted)
			}
			replies = append(replies, slices.Clone(m.Data))
		}
	}
}

func (n *Netns) receive(socket, flags int) ([]syscall.NetlinkMessage, error) {
	size, err := ignoringEINTR(func() (int, error) {
		size, _, err := unix.Recvfrom(socket, n.buffer[:], flags|unix.MSG_TRUNC)
		return size, err
	})
	if err != nil {
		return nil, os.NewSyscallError("recvfrom", err)
	}
	if size > len(n.buffer) {
		return nil, fmt.Errorf("a netlink reply of %d bytes is too long", size)
	}
	return syscall.ParseNetlinkMessage(n.buffer[:size])
}

// errorOf returns the error that an NLMSG_ERROR or NLMSG_DONE message carries,
// nil for an acknowledgement.
func errorOf(m syscall.NetlinkMessage) error {
	if len(m.Data) < 4 {
		return nil
	}
	if code := int32(order.Uint32(m.Data)); code != 0 {
		return unix.Errno(-code)
	}
	return nil
}
