// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package record

import "testing"

func BenchmarkSave(b *testing.B) {
	s, r := newStore(b), newRecord()
	b.ReportAllocs()
	for range b.N {
		if err := s.Save(r); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendResult(b *testing.B) {
	s, r := newStore(b), newRecord()
	if err := s.Save(r); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for range b.N {
		if err := s.AppendResult(r, 0); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLoad(b *testing.B) {
	s := newStore(b)
	if err := s.Save(newRecord()); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for range b.N {
		if _, err := s.Load(key); err != nil {
			b.Fatal(err)
		}
	}
}
