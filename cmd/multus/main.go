// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

// Multus is a CNI plugin that attaches a pod to several networks by calling
// the CNI plugins of these networks.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/containernetworking/cni/pkg/skel"
	cniversion "github.com/containernetworking/cni/pkg/version"

	"multus-cni/pkg/multus"
	"multus-cni/pkg/commandline"
)

// version is set by the build script.
var version = "unknown"

func init() {
	// A network namespace belongs to a thread. Everything happens on this one,
	// and multus waits for one process at a time: more processors would only
	// spin while it does.
	runtime.LockOSThread()
	runtime.GOMAXPROCS(1)
}

func main() {
	if len(os.Args) > 1 && os.Getenv("CNI_COMMAND") == "" { // a person, not a runtime
		os.Exit(commandline.Main(version, os.Args[1:]))
	}

	// A runtime that has gone away must not kill an ADD between two delegates:
	// a write to its pipe shall fail instead, and be rolled back. (Notify, not
	// Ignore: plugins would inherit that.)
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)

	m := &multus.Multus{Env: os.Environ(), Stdout: os.Stdout, Stderr: os.Stderr}
	serve := func(name string, verb multus.Verb) func(*skel.CmdArgs) error {
		return func(args *skel.CmdArgs) error { return m.Logged(context.Background(), name, verb, args) }
	}
	e := skel.PluginMainFuncsWithError(skel.CNIFuncs{
		Add: serve("ADD", func(ctx context.Context, args *skel.CmdArgs) error {
			ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
			defer stop()
			return m.Add(ctx, args)
		}),
		Del:    serve("DEL", m.Del),
		Check:  serve("CHECK", m.Check),
		GC:     serve("GC", m.GC),
		Status: serve("STATUS", m.Status),
	}, cniversion.All, about())
	if e != nil {
		if err := m.PrintError(e); err != nil {
			fmt.Fprintf(os.Stderr, "multus: print the error %q: %v\n", e.Msg, err)
		}
		os.Exit(1)
	}
}

func about() string {
	return fmt.Sprintf("multus %s: a CNI plugin that gives a pod several network interfaces by calling other CNI plugins.\n"+
		"A container runtime runs it, and says in CNI_COMMAND what to do. For people: multus help", version)
}
