// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package try

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"multus-cni/pkg/netns"
)

const (
	// gatewayPatience is longer than the kernel tries to find a neighbor: three
	// times, a second each, and for IPv6 after the pod's own address was found
	// to be free.
	gatewayPatience = 6 * time.Second
	gatewayPause    = 20 * time.Millisecond
	discardPort     = 9 // of RFC 863: what arrives there is of no interest
)

// askGateways finds out for all gateways, side by side, whether they are there.
func (t *trial) askGateways(ctx context.Context) {
	ctx, stop := context.WithTimeout(ctx, gatewayPatience)
	defer stop()
	var all sync.WaitGroup
	for n := range t.report.Interfaces {
		i := &t.report.Interfaces[n]
		if i.Missing {
			continue
		}
		for m := range i.Gateways {
			g := &i.Gateways[m]
			all.Add(1)
			go func() {
				defer all.Done()
				if answer, err := ask(ctx, t.netns, i.Name, netip.MustParseAddr(g.Address)); err == nil {
					g.State = answer
				}
			}()
		}
	}
	all.Wait()
}

// ask sends a packet to a gateway through one interface, which makes the kernel
// look for its link address, and waits for what comes of it. The gateway need
// not answer the packet.
func ask(ctx context.Context, path, ifname string, gateway netip.Addr) (answer Answer, err error) {
	pod, err := netns.Open(path, false)
	if err != nil {
		return Unasked, err
	}
	defer pod.Close()
	err = inNetns(path, func() (err error) {
		answer, err = askInside(ctx, pod, ifname, gateway)
		return err
	})
	return answer, err
}

// askInside is called in the namespace.
func askInside(ctx context.Context, pod *netns.Netns, ifname string, gateway netip.Addr) (Answer, error) {
	link, err := net.InterfaceByName(ifname)
	if err != nil {
		return Unasked, err
	}
	if flags, err := linkFlags(unix.SIOCGIFFLAGS, ifname, 0); err != nil || flags&unix.IFF_NOARP != 0 {
		return Unasked, err
	}
	socket, to, err := openSocket(ifname, gateway)
	if err != nil {
		return Unasked, err
	}
	defer unix.Close(socket)
	for {
		sendErr := unix.Sendto(socket, nil, unix.MSG_DONTWAIT, to) // refused while the pod's IPv6 address is tentative
		state, err := neighborState(pod, link.Index, gateway)
		switch {
		case err != nil:
			return Unasked, err
		case state&(unix.NUD_REACHABLE|unix.NUD_STALE|unix.NUD_DELAY|unix.NUD_PROBE) != 0:
			return Answers, nil
		case state&unix.NUD_FAILED != 0 && sendErr == nil:
			return Silent, nil
		case state&(unix.NUD_PERMANENT|unix.NUD_NOARP) != 0:
			return Unasked, nil
		}
		select {
		case <-ctx.Done():
			return Silent, nil
		case <-time.After(gatewayPause):
		}
	}
}

// openSocket returns a UDP socket that sends through one interface only.
func openSocket(ifname string, gateway netip.Addr) (socket int, to unix.Sockaddr, err error) {
	family := unix.AF_INET6
	to = &unix.SockaddrInet6{Port: discardPort, Addr: gateway.As16()}
	if gateway.Is4() {
		family, to = unix.AF_INET, &unix.SockaddrInet4{Port: discardPort, Addr: gateway.As4()}
	}
	socket, err = unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, nil, err
	}
	if err := unix.BindToDevice(socket, ifname); err != nil {
		_ = unix.Close(socket)
		return -1, nil, err
	}
	return socket, to, nil
}

// neighborState returns the NUD_ state of a neighbor, 0 when the kernel has not
// looked for it.
func neighborState(pod *netns.Netns, link int, address netip.Addr) (uint16, error) {
	const sizeofNdMsg = 12 // family, padding, index, state, flags, type
	neighbors, err := pod.Request(unix.RTM_GETNEIGH, unix.NLM_F_DUMP, make([]byte, sizeofNdMsg))
	if err != nil {
		return 0, err
	}
	for _, body := range neighbors {
		if len(body) < sizeofNdMsg || int(binary.NativeEndian.Uint32(body[4:])) != link {
			continue
		}
		attrs, err := nl.ParseRouteAttr(body[sizeofNdMsg:])
		if err != nil {
			return 0, err
		}
		for _, a := range attrs {
			if found, _ := netip.AddrFromSlice(a.Value); a.Attr.Type == unix.NDA_DST && found == address {
				return binary.NativeEndian.Uint16(body[8:]), nil
			}
		}
	}
	return 0, nil
}
