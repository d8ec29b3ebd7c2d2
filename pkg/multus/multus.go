// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

// Package multus serves the CNI verbs for a pod of several networks by calling
// the plugins of these networks, its delegates. One verb, one file.
//
// It configures no network itself: which interfaces, addresses and routes a
// pod gets is up to the delegates. The one exception is the default route.
package multus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/version"

	"multus-cni/pkg/calllog"
	"multus-cni/pkg/cnierror"
	"multus-cni/pkg/delegate"
	"multus-cni/pkg/lock"
	"multus-cni/pkg/netconf"
	"multus-cni/pkg/pluginexec"
	"multus-cni/pkg/record"
)

// Multus is multus in the process that a runtime has started.
type Multus struct {
	Env    delegate.Env // what the runtime set
	Stdout io.Writer    // gets the one JSON document that the CNI spec asks for
	Stderr io.Writer    // gets warnings, and what plugins write there

	// Exec returns what starts plugins. guard is nil where no attachment is
	// locked. Nil stands for pluginexec.
	Exec func(guard pluginexec.Guard, guardOptional bool) invoke.Exec
}

// Serve handles the call that the environment and stdin of the process
// describe, and returns the exit code. An ADD whose ctx is cancelled half-way
// is rolled back. about is printed when there is no call to handle.
func (m *Multus) Serve(ctx context.Context, about string) int {
	cniVersion := version.Current() // of an error, until the conf has been read
	deleted := false
	serve := func(verb string, run func(*call, context.Context) error) func(*skel.CmdArgs) error {
		return func(args *skel.CmdArgs) error {
			c := m.newCall(args)
			if c.conf != nil && c.conf.CNIVersion != "" {
				cniVersion = c.conf.CNIVersion
			}
			err := c.serve(ctx, verb, run)
			deleted = verb == "DEL" && err == nil
			return err
		}
	}
	e := skel.PluginMainFuncsWithError(skel.CNIFuncs{
		Add:    serve("ADD", (*call).add),
		Del:    serve("DEL", (*call).del),
		Check:  serve("CHECK", (*call).check),
		GC:     serve("GC", (*call).gc),
		Status: serve("STATUS", (*call).status),
	}, version.All, about)
	// After a DEL, skel refuses a CNI_NETNS that is multus's own. By then the
	// path of a dead container leads there, since its pid was used again, and
	// the DEL has succeeded without it.
	if e == nil || deleted && e.Code == types.ErrInvalidNetNS {
		return 0
	}
	if err := m.printError(e, cniVersion); err != nil {
		_, _ = fmt.Fprintf(m.Stderr, "multus: print the error %q: %v\n", e.Msg, err)
	}
	return 1
}

// printError writes an error as the CNI spec has it, section 5, "Error".
func (m *Multus) printError(e *types.Error, cniVersion string) error {
	text, err := json.MarshalIndent(struct {
		CNIVersion string `json:"cniVersion"`
		types.Error
	}{cniVersion, *e}, "", "    ")
	if err != nil {
		return fmt.Errorf("encode the error: %w", err)
	}
	_, err = m.Stdout.Write(append(text, '\n'))
	return err
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
	// conf is nil when not even the network's name and cniDir could be read.
	// confErr says what is wrong with the conf; a DEL can do without the rest.
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

// attachment is what most verbs work on: one record, locked.
type attachment struct {
	*call
	key   record.Key
	store record.Store
	lock  *lock.Lock // nil where there is none to be had
	// runner runs delegates that the lock guards. undoer runs their DEL, which
	// nothing must prevent: it does without a guard where there is none.
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

// lockAttachment keeps other processes away from an attachment until what it
// returns is released. Should multus be killed, the plugins that it has started
// keep them away until they have ended. Together with an error it returns the
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
