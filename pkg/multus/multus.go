// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

// Package multus serves the CNI verbs for a pod with several networks by
// calling the plugins of these networks, the delegates. Each verb has a file of
// its own.
//
// It configures no network itself: which interfaces, addresses and routes a
// pod gets is up to the delegates. The one exception is the default route.
package multus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"

	"multus-cni/pkg/calllog"
	"multus-cni/pkg/cnierror"
	"multus-cni/pkg/delegate"
	"multus-cni/pkg/lock"
	"multus-cni/pkg/netconf"
	"multus-cni/pkg/pluginexec"
	"multus-cni/pkg/record"
)

// Multus serves the one call for which a runtime has started this process.
type Multus struct {
	Env    delegate.Env // what the runtime set
	Stdout io.Writer    // gets the one JSON document that the CNI spec asks for
	Stderr io.Writer    // gets warnings, and what plugins write there

	// Exec returns the executor that starts plugins; nil means pluginexec.Exec.
	// guard is nil where no attachment is locked; guardOptional is as in
	// pluginexec.Exec.
	Exec func(guard pluginexec.Guard, guardOptional bool) invoke.Exec
}

// warn prints one line to stderr.
func (m *Multus) warn(format string, args ...any) {
	_, _ = fmt.Fprintln(m.Stderr, "multus: warning: "+cnierror.OneLine(fmt.Sprintf(format, args...)))
}

// exec returns what starts plugins.
func (m *Multus) exec(guard pluginexec.Guard, guardOptional bool) invoke.Exec {
	if m.Exec != nil {
		return m.Exec(guard, guardOptional)
	}
	return &pluginexec.Exec{Stderr: m.Stderr, Guard: guard, GuardOptional: guardOptional}
}

// call is one call of multus: the arguments, and the conf that came with them.
type call struct {
	*Multus
	args *skel.CmdArgs
	// conf is nil when the network's name or cniDir could not be read, which is
	// all that a DEL needs of it. confErr is what is wrong with the conf.
	conf    *netconf.Conf
	confErr error
	log     *calllog.Log // nil unless the conf names a file
}

func (m *Multus) newCall(args *skel.CmdArgs) *call {
	c := &call{Multus: m, args: args}
	c.conf, c.confErr = netconf.Parse(args.StdinData)
	var problems netconf.Problems
	if errors.As(c.confErr, &problems) {
		c.confErr = cnierror.New(problems[0].Code, "%w", problems[0])
		if len(problems) > 1 {
			c.confErr = cnierror.WithDetails(c.confErr, "and also: "+problems[1:].Error())
		}
	}
	if c.conf != nil && c.conf.LogFile != "" {
		log, err := calllog.Open(c.conf.LogFile, c.conf.LogLevel, c.conf.Name)
		if err != nil {
			m.warn("%v: this call is not logged", err)
		}
		c.log = log
	}
	return c
}

// ownNetnsAllowed reports whether the runtime insists on multus's own network
// namespace as the pod's: see skel, CNI_NETNS_OVERRIDE.
func (c *call) ownNetnsAllowed() bool {
	return strings.EqualFold(c.args.NetnsOverride, "true") || c.args.NetnsOverride == "1"
}

// attachment is what most verbs work on: one attachment, locked.
type attachment struct {
	*call
	key   record.Key
	store record.Store
	lock  *lock.Lock // nil when it could not be acquired
	// runner runs plugins under the lock's guard. undoer runs their DELs, which a
	// missing guard must not prevent.
	runner, undoer *delegate.Runner
}

func (c *call) attachment(key record.Key, env delegate.Env, l *lock.Lock) *attachment {
	var guard pluginexec.Guard
	if l != nil {
		guard = l.Guard()
	}
	return &attachment{
		call: c, key: key, store: record.Store{Dir: c.conf.CNIDir}, lock: l,
		runner: delegate.NewRunner(c.exec(guard, false), env),
		undoer: delegate.NewRunner(c.exec(guard, true), env),
	}
}

// lockAttachment locks an attachment against other processes until it is
// released. If multus is killed, the attachment is locked until the plugins that
// multus has started have ended. With an error, lockAttachment returns the
// attachment without a lock.
func (c *call) lockAttachment(ctx context.Context, key record.Key, env delegate.Env) (*attachment, error) {
	l, err := c.acquire(ctx, key)
	return c.attachment(key, env, l), err
}

func (c *call) acquire(ctx context.Context, key record.Key) (*lock.Lock, error) {
	store := record.Store{Dir: c.conf.CNIDir}
	if err := store.Prepare(); err != nil {
		return nil, err
	}
	path, err := store.LockPath(key)
	if err != nil {
		return nil, err
	}
	l, err := lock.Acquire(ctx, path)
	switch {
	case errors.Is(err, lock.ErrInherited):
		return nil, fmt.Errorf("multus is its own delegate, for the same network and interface: %w", err)
	case err != nil:
		return nil, err
	}
	if l.Abandoned() {
		_ = store.RemoveTemp(key) // a Save removes it as well
	}
	return l, nil
}

func (a *attachment) release() {
	if a.lock != nil {
		a.lock.Release()
	}
}

func ioError(err error) error { return cnierror.WithCode(types.ErrIOFailure, err) }
