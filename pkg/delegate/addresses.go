// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package delegate

import "encoding/json"

// Addresses returns the addresses, with their prefix lengths, in a result of
// any version of the CNI spec. The list is empty, and not nil, when there are
// none and when the result cannot be read.
func Addresses(result json.RawMessage) []string {
	var r struct {
		IPs []struct{ Address string } // since 0.3.0
		IP4 *struct{ IP string }       // 0.1.0 and 0.2.0
		IP6 *struct{ IP string }
	}
	addresses := []string{}
	if json.Unmarshal(result, &r) != nil {
		return addresses
	}
	for _, ip := range r.IPs {
		addresses = append(addresses, ip.Address)
	}
	for _, ip := range []*struct{ IP string }{r.IP4, r.IP6} {
		if ip != nil {
			addresses = append(addresses, ip.IP)
		}
	}
	return addresses
}
