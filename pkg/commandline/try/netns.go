// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package try

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// makeNetns makes a network namespace at path, with lo up as runtimes have it.
func makeNetns(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL, 0o444)
	if err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	return onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("unshare: %w", err)
		}
		if err := unix.Mount("/proc/thread-self/ns/net", path, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount %s: %w", path, err)
		}
		if _, err := linkFlags(unix.SIOCSIFFLAGS, "lo", unix.IFF_UP); err != nil {
			return fmt.Errorf("set lo up: %w", err)
		}
		return nil
	})
}

// deleteNetns removes what makeNetns has made. What does not exist is no error.
func deleteNetns(path string) error {
	err := unix.Unmount(path, unix.MNT_DETACH)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) { // not mounted
		err = nil
	}
	if err == nil {
		err = ignoring(os.Remove(path), fs.ErrNotExist)
	}
	if err != nil {
		return fmt.Errorf("remove the network namespace %s: %w", path, err)
	}
	return nil
}

// inNetns calls f on a thread that is in the network namespace at path.
func inNetns(path string, f func() error) error {
	return onThread(func() error {
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		defer file.Close()
		if err := unix.Setns(int(file.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter %s: %w", path, err)
		}
		return f()
	})
}

// onThread calls f on a thread of its own, which ends with f: nothing else ever
// runs in the namespace in which f has left it.
func onThread(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		done <- f()
	}()
	return <-done
}

// linkFlags gets or sets the flags of an interface in this thread's namespace,
// with SIOCGIFFLAGS or SIOCSIFFLAGS: see netdevice(7).
func linkFlags(request uint, ifname string, flags uint16) (uint16, error) {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(socket)
	ifreq, err := unix.NewIfreq(ifname)
	if err != nil {
		return 0, err
	}
	ifreq.SetUint16(flags)
	err = unix.IoctlIfreq(socket, request, ifreq)
	return ifreq.Uint16(), err
}
