// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package state

import (
	"testing"

	"multus-cni/pkg/netconf"
)

func benchRecord(b *testing.B) (Store, *Record) {
	b.Helper()
	conf, err := netconf.Parse([]byte(`{"name":"net","cniVersion":"1.0.0","delegates":[
		{"type":"x","masterplugin":true,"ipam":{"type":"host-local","subnet":"10.1.0.0/24"}},{"type":"y"},{"type":"z"}]}`))
	if err != nil {
		b.Fatal(err)
	}
	if conf.Delegates, err = conf.Plan("eth0"); err != nil {
		b.Fatal(err)
	}
	r := &Record{Network: "net", ContainerID: "c1", IfName: "eth0", NetnsID: "4:1"}
	for _, d := range conf.Delegates {
		r.Delegates = append(r.Delegates, Delegate{Delegate: d, Result: []byte(`{"ips":[{"address":"10.1.0.2/24"}]}`)})
	}
	return Store{b.TempDir()}, r
}

func BenchmarkSave(b *testing.B) {
	s, r := benchRecord(b)
	b.ReportAllocs()
	for range b.N {
		if err := s.Save(r); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLoad(b *testing.B) {
	s, r := benchRecord(b)
	if err := s.Save(r); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for range b.N {
		if _, err := s.Load(r.Key()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLock(b *testing.B) {
	s, r := benchRecord(b)
	b.ReportAllocs()
	for range b.N {
		lock, err := s.Lock(b.Context(), r.Key())
		if err != nil {
			b.Fatal(err)
		}
		lock.Unlock()
	}
}
