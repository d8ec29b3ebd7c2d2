// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package try

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"sort"

	"multus-cni/pkg/defaultroute"
	"multus-cni/pkg/netns"
	"multus-cni/pkg/record"
)

// look fills the report with what the records say of the delegates and with
// what is in the namespace.
func (t *trial) look() {
	took := t.durations()
	for _, conf := range t.confs {
		r, err := record.Store{Dir: conf.CNIDir}.Load(record.Key{Network: conf.Name, ContainerID: t.id, IfName: ifname})
		if err != nil {
			t.problem("read the record: %v", err)
			continue
		}
		for _, d := range r.Delegates {
			t.report.Interfaces = append(t.report.Interfaces, Interface{
				Delegate: d.Index, Name: d.IfName, Network: d.Name, Plugins: d.Types(), Primary: d.Primary, Missing: !d.InterfaceSeen,
				Addresses: []string{}, Gateways: gatewaysIn(d.Result), Milliseconds: took[d.Index],
			})
		}
	}
	sort.SliceStable(t.report.Interfaces, func(i, j int) bool { return t.report.Interfaces[i].Primary && !t.report.Interfaces[j].Primary })
	if err := inNetns(t.netns, t.lookInside); err != nil {
		t.problem("look at the interfaces: %v", err)
	}
	if err := t.lookAtRoutes(); err != nil {
		t.problem("look at the routes: %v", err)
	}
}

// lookAtRoutes lists the default routes of the main table.
func (t *trial) lookAtRoutes() error {
	pod, err := netns.Open(t.netns, false)
	if err != nil {
		return err
	}
	defer pod.Close()
	routes, err := defaultroute.List(pod)
	t.report.DefaultRoutes = append(t.report.DefaultRoutes, routes...)
	return err
}

func (t *trial) problem(format string, args ...any) {
	t.report.Problems = append(t.report.Problems, fmt.Sprintf(format, args...))
}

// durations returns the milliseconds of each delegate's ADD, by its index, from
// the log that multus has written. A log that cannot be read says nothing.
func (t *trial) durations() map[int]float64 {
	took := map[int]float64{}
	file, err := os.Open(t.state.log())
	if err != nil {
		return took
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		var line struct {
			Msg      string
			Delegate int
			MS       float64
		}
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "delegate ADD" {
			took[line.Delegate] = line.MS
		}
	}
	return took
}

// lookInside is called in the namespace.
func (t *trial) lookInside() error {
	for n := range t.report.Interfaces {
		i := &t.report.Interfaces[n]
		if i.Missing {
			continue
		}
		link, err := net.InterfaceByName(i.Name)
		if err != nil {
			return err
		}
		i.MTU, i.MAC = link.MTU, link.HardwareAddr.String()
		addresses, err := link.Addrs()
		if err != nil {
			return err
		}
		for _, a := range addresses {
			if prefix, err := netip.ParsePrefix(a.String()); err == nil && !prefix.Addr().IsLinkLocalUnicast() {
				i.Addresses = append(i.Addresses, a.String())
			}
		}
	}
	return nil
}

// gatewaysIn returns the gateways that a result of any CNI version names.
func gatewaysIn(result json.RawMessage) []Gateway {
	type legacy struct{ Gateway string }
	var r struct {
		IPs      []struct{ Gateway string }
		Routes   []struct{ GW string }
		IP4, IP6 legacy
	}
	gateways := []Gateway{}
	if json.Unmarshal(result, &r) != nil {
		return gateways
	}
	add := func(address string) {
		known := slices.ContainsFunc(gateways, func(g Gateway) bool { return g.Address == address })
		if _, err := netip.ParseAddr(address); err == nil && !known {
			gateways = append(gateways, Gateway{address, Unasked})
		}
	}
	for _, ip := range r.IPs {
		add(ip.Gateway)
	}
	for _, route := range r.Routes {
		add(route.GW)
	}
	add(r.IP4.Gateway)
	add(r.IP6.Gateway)
	return gateways
}
