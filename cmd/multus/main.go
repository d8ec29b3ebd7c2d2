// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

// Multus is a CNI meta-plugin: it attaches a pod to several networks by calling
// the CNI plugins of these networks.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"multus-cni/pkg/commandline"
	"multus-cni/pkg/multus"
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

func main() { os.Exit(run(os.Args[1:])) }

// run does what the command line or, with CNI_COMMAND set, a runtime asks for,
// and returns the exit code.
func run(args []string) int {
	if len(args) > 0 && os.Getenv("CNI_COMMAND") == "" { // a person, not a runtime
		return commandline.Main(version, args)
	}
	return serve()
}

// serve handles the call of a runtime and returns the exit code.
func serve() int {
	// A runtime that has gone away must not kill an ADD between two delegates:
	// a write to its pipe must fail instead, and be rolled back. (Notify, not
	// Ignore: plugins would inherit that.)
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)

	ctx, stop := context.Background(), func() {}
	if os.Getenv("CNI_COMMAND") == "ADD" {
		ctx, stop = signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	}
	defer stop()
	m := &multus.Multus{Env: os.Environ(), Stdout: os.Stdout, Stderr: os.Stderr}
	return m.Serve(ctx, fmt.Sprintf("multus %s: a CNI meta-plugin that gives a pod several network interfaces by calling other CNI plugins.\n"+
		"Container runtimes run it with CNI_COMMAND set. For people: multus help", version))
}
