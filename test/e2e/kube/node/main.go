// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

// Kube is a whole Kubernetes node in one binary, for the end-to-end check: the
// name it is called by, or else its first argument, picks the component. The
// components share nearly all of their code, so one link takes the time and
// the disk of one, not of six.
//
// It is the real software, unchanged; only this file is ours. It is no way to
// run a cluster that matters.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"          // the json log format of the real binaries
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // and their metrics
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

// components builds the command of each component that is made with cobra;
// etcd, which is not, is missing.
var components = map[string]func() *cobra.Command{
	"kube-apiserver":          apiserver.NewAPIServerCommand,
	"kube-controller-manager": controllers.NewControllerManagerCommand,
	"kube-scheduler":          func() *cobra.Command { return scheduler.NewSchedulerCommand() },
	"kubectl":                 kubectl.NewDefaultKubectlCommand,
	"kubelet":                 func() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) },
}

func main() {
	name := filepath.Base(os.Args[0])
	if !known(name) && len(os.Args) > 1 {
		os.Args = os.Args[1:]
		name = os.Args[0]
	}
	switch {
	case name == "etcd":
		etcdmain.Main(os.Args)
	case name == "kubectl":
		// Its exit code is the remote command's, its errors are not logged.
		if err := cli.RunNoErrOutput(components[name]()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	case known(name):
		os.Exit(cli.Run(components[name]()))
	default:
		fmt.Fprintf(os.Stderr, "unknown component %q: want etcd", name)
		for _, n := range names() {
			fmt.Fprintf(os.Stderr, ", %s", n)
		}
		fmt.Fprintln(os.Stderr)
		os.Exit(2)
	}
}

func known(name string) bool {
	return name == "etcd" || components[name] != nil
}

func names() []string {
	var all []string
	for n := range components {
		all = append(all, n)
	}
	slices.Sort(all)
	return all
}
