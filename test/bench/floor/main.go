// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

// Floor is the least that a CNI plugin in Go can cost: it reads its request
// with skel and prints an empty result.
package main

import (
	"os"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/version"
)

func main() {
	reply := func(*skel.CmdArgs) error {
		_, err := os.Stdout.WriteString(`{"cniVersion":"1.1.0"}`)
		return err
	}
	skel.PluginMainFuncs(skel.CNIFuncs{Add: reply, Del: reply, Check: reply, GC: reply, Status: reply}, version.All, "floor")
}
