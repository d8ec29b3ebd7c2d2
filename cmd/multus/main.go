// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

// Multus is a CNI meta-plugin: it attaches a pod to several networks by calling
// the CNI plugins of these networks.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"multus-cni/pkg/commandline"
	"multus-cni/pkg/multus"
)

// version is set by the build script.
var version = "unknown"

func main() { os.Exit(run(os.Args[1:])) }

// run does what the command line or, with CNI_COMMAND set, a runtime asks for,
// and returns the exit code.
func run(args []string) int {
	if len(args) > 0 && os.Getenv("CNI_COMMAND") == "" { // a person, not a runtime
		return commandline.Main(version, args)
	}
	growStack(0)
	return serve()
}

// growStack makes this goroutine's stack as large as a call needs. The runtime
// would double it several times, from 4 KiB on, and each time touch new memory
// and copy what is there: 4 % of the CPU of an ADD and its DEL.
//
// It is the size of the frame that does it. To use the array as well would cost
// the memory that is to be saved, so n is 0.
//
//go:noinline
func growStack(n int) byte {
	if n == 0 {
		return 0
	}
	var room [32 << 10]byte
	return room[n]
}

// serve handles the call of a runtime and returns the exit code.
//
// An ADD stays on the process's first thread; waiting for signals would move it
// to another. When another thread has opened /proc/thread-self, as netns and
// skel do, whoever reaps the process spins in the kernel until that thread is
// gone: several milliseconds of the runtime's CPU on a busy node.
func serve() int {
	ctx := context.Background()
	if os.Getenv("CNI_COMMAND") == "ADD" {
		runtime.LockOSThread()
		ctx, _ = signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT) // until the process ends
	}
	m := &multus.Multus{Env: os.Environ(), Stdout: survivor(os.Stdout), Stderr: survivor(os.Stderr)}
	return m.Serve(ctx, "multus "+version+": a CNI meta-plugin that gives a pod several network interfaces by calling other CNI plugins.\n"+
		"Container runtimes run it with CNI_COMMAND set. For its other commands: multus help")
}

// survivor returns a file like stdout or stderr to which a write fails with
// EPIPE when nobody reads it: a runtime that has gone away must not kill an
// ADD between two delegates. The os package raises SIGPIPE when a write to
// descriptor 1 or 2 fails with EPIPE, and for no other descriptor. (Catching
// the signal instead would cost a thread; if multus ignored it, so would
// plugins.)
func survivor(f *os.File) *os.File {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil { // closed: then no write can succeed
		return f
	}
	return os.NewFile(uintptr(fd), f.Name())
}
