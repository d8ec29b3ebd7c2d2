// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package pluginexec

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// groupGrace is how long to wait for the processes of a plugin that was
	// killed. An IPAM plugin needs milliseconds.
	groupGrace = 10 * time.Second
	// groupPause is how often to look whether they have ended: there is
	// nothing to poll for the end of a group.
	groupPause = 5 * time.Millisecond
)

// wait serves a plugin's stdio until the plugin has ended, and reports how it
// ended and whether ctx was cancelled before. It reaps the process only when
// nothing will signal it any more: from then on another process, or group, can
// get its id.
func (e *Exec) wait(ctx context.Context, pid int, s *stdio) (status unix.WaitStatus, cancelled bool, err error) {
	signalled := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		terminate(pid)
		close(signalled)
	})
	pidfd := e.openPidfd(pid)
	s.serve(pid, pidfd)
	if pidfd >= 0 {
		_ = unix.Close(pidfd)
	}
	if cancelled = !stop(); cancelled {
		<-signalled
	}
	err = retry(func() error {
		_, err := unix.Wait4(pid, &status, 0, nil)
		return err
	})
	return status, cancelled, err
}

// openPidfd returns a descriptor that can be polled for the end of a process,
// and -1 where there is none: before Linux 5.3, and in a container whose
// seccomp profile is older than that.
func (e *Exec) openPidfd(pid int) int {
	open := e.pidfdOpen
	if open == nil {
		open = unix.PidfdOpen
	}
	pidfd, err := open(pid, 0)
	if err != nil {
		return -1
	}
	return pidfd
}

// hasEnded reports whether a child has ended. It leaves the zombie in place.
func hasEnded(pid int) bool {
	var info unix.Siginfo // Signo is 0 if the process is running
	err := unix.Waitid(unix.P_PID, pid, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
	return info.Signo != 0 || errors.Is(err, unix.ECHILD)
}

// terminate asks a plugin and what it has started to end. The plugin may be a
// script that dies of the signal while the real plugin, its child, goes on.
func terminate(pid int) {
	// The child of a plugin that has died becomes a child of this process, not
	// of the container's init: there are some that reap nothing, and awaitGroup
	// would take the zombie for a process that is still running.
	_ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
	_ = unix.Kill(-pid, unix.SIGTERM)
}

// awaitGroup waits until the process group of a plugin that has ended has no
// process left, at most for the grace: a process that is still running then was
// left behind on purpose.
func awaitGroup(pgid int, grace time.Duration) {
	for deadline := time.Now().Add(grace); time.Now().Before(deadline); time.Sleep(groupPause) {
		for reaped := 1; reaped > 0; {
			reaped, _ = unix.Wait4(-pgid, nil, unix.WNOHANG, nil)
		}
		if errors.Is(unix.Kill(-pgid, 0), unix.ESRCH) {
			return
		}
	}
}

func retry(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
