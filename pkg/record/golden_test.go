// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// The records of testdata/golden stand for those of running pods. They never
// change, and what they load as never changes: a new format adds a file here.

// place copies a golden record to where the store looks for it.
func place(t *testing.T, s Store, golden, name string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "golden", golden))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.Dir, name), text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// equal compares records; of raw values it ignores space.
func equal(t *testing.T, got, want *Record) {
	t.Helper()
	gotText, err := json.MarshalIndent(got, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	wantText, err := json.MarshalIndent(want, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(compact(t, got), compact(t, want)) {
		t.Errorf("got  %s\nwant %s", gotText, wantText)
	}
}

// compact returns a copy of the record in which raw values have no space.
func compact(t *testing.T, r *Record) *Record {
	t.Helper()
	shrink := func(text json.RawMessage) json.RawMessage {
		if text == nil {
			return nil
		}
		var out bytes.Buffer
		if err := json.Compact(&out, text); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		return out.Bytes()
	}
	c := *r
	if len(c.DefaultRoute) == 0 {
		c.DefaultRoute = nil // which is the same
	}
	c.RuntimeConfig = shrink(r.RuntimeConfig)
	c.Delegates = slices.Clone(r.Delegates)
	for i := range c.Delegates {
		d := &c.Delegates[i]
		d.Result = shrink(d.Result)
		d.Plugins = slices.Clone(d.Plugins)
		for j := range d.Plugins {
			d.Plugins[j].Config = shrink(d.Plugins[j].Config)
		}
	}
	return &c
}

func raw(text string) json.RawMessage { return json.RawMessage(text) }

func goldenFormat1() *Record {
	return &Record{
		Format: 1, Network: "demo", ContainerID: "c1", IfName: "eth0",
		Netns: "/run/netns/pod-1", NetnsID: "4:4026532201:77", BootID: "9c6e3a1f-2f0b-4c57-9a4e-0d6a5c1f0b11",
		CNIVersion: "1.0.0", CNIArgs: "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0",
		RuntimeConfig: raw(`{"portMappings":[{"hostPort":8080}],"big":9223372036854775807,"mac":"<&>\u00e9"}`),
		Delegates: []Delegate{{
			Index: 0, Name: "demo-net0", IfName: "net0",
			Plugins: []Plugin{{
				Type: "macvlan", CNIVersion: "1.0.0", Inherited: true,
				Config: raw(`{"type":"macvlan","master":"eth1","mtu":1.10,"big":9007199254740993,"s":"\u00e9<&>é","ipam":{"type":"host-local","subnet":"10.1.0.0/24"}}`),
			}},
			Result: raw(`{"cniVersion":"1.0.0","interfaces":[{"name":"net0","sandbox":"/run/netns/pod-1"}],"ips":[{"interface":0,"address":"10.1.0.2/24"}],"mtu":1.50}`),
		}, {
			Index: 1, Name: "cluster", IfName: "eth0", Primary: true,
			Plugins: []Plugin{{
				Type: "flannel", CNIVersion: "0.4.0",
				Config: raw(`{"type":"flannel","name":"cluster","cniVersion":"0.4.0","masterplugin":true,"capabilities":{"mac":true}}`),
			}},
			Result: raw(`{"cniVersion":"0.4.0","ips":[{"version":"4","address":"10.244.1.2/24"}],"dns":{},"big":9007199254740993}`),
		}, {
			Index: 2, Name: "chain", IfName: "net1", List: true, DisableCheck: true, DisableGC: true,
			Plugins: []Plugin{
				{Type: "bridge", CNIVersion: "0.3.1", Config: raw(`{"type":"bridge","bridge":"br0"}`)},
				{Type: "tuning", CNIVersion: "0.3.1", Config: raw(`{"type":"tuning","sysctl":{"net.core.somaxconn":"500"},"mtu":1e3}`)},
			},
			Result: raw(`{"cniVersion":"0.3.1","ips":[],"s":"<&>\u00e9"}`),
		}, {
			Index: 3, Name: "demo-net2", IfName: "net2", List: true,
			Plugins: []Plugin{{Type: "ptp", CNIVersion: "1.0.0", Inherited: true, Config: raw(`{"type":"ptp"}`)}},
		}},
		Complete: true, DefaultRoute: map[string]string{"ipv4": "eth0", "ipv6": "net1"},
	}
}

// An ADD that was killed while a list ran: the last line of each delegate
// counts, and a torn one does not.
func goldenFormat1Lines() *Record {
	return &Record{
		Format: 1, Network: "demo", ContainerID: "c1", IfName: "eth0",
		Netns: "/run/netns/pod-1", NetnsID: "4:4026532201", BootID: "9c6e3a1f-2f0b-4c57-9a4e-0d6a5c1f0b11",
		CNIVersion: "1.1.0",
		Delegates: []Delegate{{
			Index: 0, Name: "demo", IfName: "eth0", Primary: true, List: true,
			Plugins: []Plugin{
				{Type: "ptp", CNIVersion: "1.0.0", Inherited: true, Config: raw(`{"type":"ptp"}`)},
				{Type: "tuning", CNIVersion: "1.0.0", Inherited: true, Config: raw(`{"type":"tuning"}`)},
			},
			Result: raw(`{"cniVersion":"1.0.0","n":1.20}`), InterfaceSeen: true,
		}, {
			Index: 1, Name: "demo-net0", IfName: "net0",
			Plugins:       []Plugin{{Type: "macvlan", CNIVersion: "1.1.0", Inherited: true, Config: raw(`{"type":"macvlan"}`)}},
			InterfaceSeen: true,
		}},
		TakenRoutes: []string{"ipv4 net0 10.1.0.1 1024"},
	}
}

func TestGoldenRecordsLoadForEver(t *testing.T) {
	for golden, want := range map[string]*Record{
		"format-1.json":       goldenFormat1(),
		"format-1-lines.json": goldenFormat1Lines(),
	} {
		t.Run(golden, func(t *testing.T) {
			s := newStore(t)
			place(t, s, golden, "demo:c1:eth0.json")
			got, err := s.Load(want.Key())
			if err != nil {
				t.Fatal(err)
			}
			equal(t, got, want)
			if err := s.Save(got); err != nil { // as a rollback does
				t.Fatal(err)
			}
			if got, err = s.Load(want.Key()); err != nil {
				t.Fatal(err)
			}
			equal(t, got, want)
		})
	}
}

// What is written today is, byte for byte, what was released: an older multus
// that is installed again must be able to read it.
func TestSaveWritesTheGoldenRecord(t *testing.T) {
	s := newStore(t)
	r := goldenFormat1()
	if err := s.Save(r); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(s.Path(r.Key()))
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/golden/format-1.json")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestGoldenLegacyRecords(t *testing.T) {
	tests := map[string]Legacy{
		"2017.json": {Origin: Origin2017, Delegates: []LegacyDelegate{
			{Conf: raw(`{"master":"eth1","type":"macvlan","big":9007199254740993}`), IfName: "net0"},
			{Conf: raw(`{"delegate":{"isDefaultGateway":true},"masterplugin":true,"type":"flannel"}`), Primary: true},
			{Conf: raw(`{"type":"ipvlan","mtu":1.10}`), IfName: "net1"},
		}},
		"upstream.json": {Origin: OriginUpstream, Delegates: []LegacyDelegate{
			{Conf: raw(`{"type":"ptp","name":"cluster","ipam":{"type":"host-local","subnet":"10.22.0.0/16"}}`), Primary: true},
			{Conf: raw(`{"cniVersion":"0.3.1","type":"macvlan","name":"storage","master":"eth1","big":9007199254740993}`), IfName: "net1"},
			{Conf: raw(`{"cniVersion":"0.4.0","name":"chain","plugins":[{"type":"bridge","bridge":"br1"},{"type":"tuning"}]}`), IfName: "data0"},
			{Conf: raw(`{"type":"ipvlan","name":"last"}`), IfName: "net3"},
		}},
	}
	for golden, want := range tests {
		t.Run(golden, func(t *testing.T) {
			s := newStore(t)
			place(t, s, golden, "c1")
			want.Path = filepath.Join(s.Dir, "c1")
			got, err := s.LoadLegacy("c1")
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(*got, want) {
				t.Errorf("got  %+v\nwant %+v", *got, want)
			}
		})
	}
}

// A record of a newer multus is refused, whatever its members are by then, and
// nothing offers to rename it.
func TestNewerRecordIsLeftInPlace(t *testing.T) {
	s := newStore(t)
	place(t, s, "newer.json", "demo:c1:eth0.json")
	_, err := s.Load(Key{"demo", "c1", "eth0"})
	var newer *NewerError
	if !errors.As(err, &newer) || newer.Format != 2 || newer.Path != s.Path(Key{"demo", "c1", "eth0"}) {
		t.Fatalf("got error %v, want a *NewerError of format 2", err)
	}
	if errors.As(err, new(*DamagedError)) || errors.Is(err, ErrNotExist) {
		t.Errorf("%v is also an error that lets DEL go on by the conf", err)
	}
	if !strings.Contains(err.Error(), "newer") || !strings.Contains(err.Error(), newer.Path) {
		t.Errorf("got error %q, want it to say what to do and where", err)
	}
}

// Every member of the format was decided on. A new one goes into this list
// when it is decided what the record of an older release means without it, and
// that an older multus may ignore it; otherwise the format's number changes.
func TestEveryMemberWasDecidedOn(t *testing.T) {
	want := []string{
		"Record.Format format",
		"Record.Network network",
		"Record.ContainerID containerID",
		"Record.IfName ifname",
		"Record.Netns netns",
		"Record.NetnsID netnsID",
		"Record.BootID bootID",
		"Record.CNIVersion cniVersion",
		"Record.CNIArgs cniArgs,omitempty",
		"Record.RuntimeConfig runtimeConfig,omitempty",
		"Record.Delegates delegates",
		"Record.Complete complete,omitempty",
		"Record.DefaultRoute defaultRoute,omitempty",
		"Record.TakenRoutes takenRoutes,omitempty", // added later: without it CHECK looks for none
		"Delegate.Index index",
		"Delegate.Name name",
		"Delegate.IfName ifname",
		"Delegate.Primary masterplugin,omitempty",
		"Delegate.List list,omitempty",
		"Delegate.DisableCheck disableCheck,omitempty",
		"Delegate.DisableGC disableGC,omitempty",
		"Delegate.Plugins plugins",
		"Delegate.Result result,omitempty",
		"Delegate.InterfaceSeen interfaceSeen,omitempty", // added later: without it nobody has looked
		"Plugin.Type type",
		"Plugin.CNIVersion cniVersion",
		"Plugin.Inherited inherited,omitempty",
		"Plugin.Config config",
		"line.Delegate delegate",
		"line.CNIVersions cniVersions",
		"line.Result result,omitempty",
		"line.InterfaceSeen interfaceSeen,omitempty",
	}
	var got []string
	for _, value := range []any{Record{}, Delegate{}, Plugin{}, line{}} {
		typ := reflect.TypeOf(value)
		for i := range typ.NumField() {
			got = append(got, typ.Name()+"."+typ.Field(i).Name+" "+typ.Field(i).Tag.Get("json"))
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// The golden records together set every field, so that each is tested.
func TestGoldenRecordsSetEveryField(t *testing.T) {
	set := map[string]bool{}
	note := func(value any) {
		v := reflect.ValueOf(value)
		for i := range v.NumField() {
			name := v.Type().Name() + "." + v.Type().Field(i).Name
			set[name] = set[name] || !v.Field(i).IsZero()
		}
	}
	for _, r := range []*Record{goldenFormat1(), goldenFormat1Lines()} {
		note(*r)
		for _, d := range r.Delegates {
			note(d)
			for _, p := range d.Plugins {
				note(p)
			}
		}
	}
	for name, isSet := range set {
		if !isSet {
			t.Errorf("no golden record sets %s", name)
		}
	}
}
