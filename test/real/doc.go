// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

// Package real tests multus with the reference plugins: what they do to links,
// addresses, routes, leases and packet filters is real.
//
// Each test runs on a node of its own: the test binary starts itself again in
// new network, mount and PID namespaces, with empty /run and /var/lib. When
// that process ends, however it ends, everything that it made is gone. The
// tests need root, and the commands ip, nft, iptables-save,
// ip6tables-save and strace.
package real
