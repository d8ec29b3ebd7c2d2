// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package netconf

import (
	"fmt"
	"strings"
	"testing"
)

func benchConf(n int) []byte {
	delegates := make([]string, n)
	for i := range delegates {
		delegates[i] = fmt.Sprintf(`{"type":"ptp","masterplugin":%t,"mtu":1500,"ipam":{"type":"host-local","subnet":"10.%d.0.0/24"}}`, i == 0, i)
	}
	return []byte(delegatesConf("[" + strings.Join(delegates, ",") + "]"))
}

func BenchmarkParse(b *testing.B) {
	for _, n := range []int{3, 64} {
		b.Run(fmt.Sprintf("delegates=%d", n), func(b *testing.B) {
			conf := benchConf(n)
			b.SetBytes(int64(len(conf)))
			b.ReportAllocs()
			for range b.N {
				if _, err := Parse(conf); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkRequest(b *testing.B) {
	conf, err := Parse(benchConf(3))
	if err != nil {
		b.Fatal(err)
	}
	delegates, err := conf.Plan("eth0")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for range b.N {
		delegates[1].Request(0, Inputs{PrevResult: []byte(`{"ips":[]}`)})
	}
}
