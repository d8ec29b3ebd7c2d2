// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

// Package multus serves the CNI verbs for a pod of several networks by calling
// the plugins of these networks, its delegates. One verb, one file.
//
// It has no network configuration of its own: which interfaces, addresses and
// routes a pod gets is up to the delegates. Only the default route is its
// business.
package multus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/version"

	"multus-cni/pkg/calllog"
	"multus-cni/pkg/delegate"
	"multus-cni/pkg/netconf"
	"multus-cni/pkg/route"
	"multus-cni/pkg/state"
)

// Multus serves one call.
type Multus struct {
	Env    delegate.Env // what the runtime set
	Stdout io.Writer    // gets the one JSON document that the CNI spec asks for
	Stderr io.Writer    // gets warnings, and what plugins write there

	cniVersion string       // of the conf, once it has been read
	log        *calllog.Log // nil unless the conf names a file

	delegateFailed bool // so that the log must not quote the error
}

// PrintError writes the error of a verb in the form of the CNI spec, section
// 5, "Error".
func (m *Multus) PrintError(e *types.Error) error {
	document := struct {
		CNIVersion string `json:"cniVersion"`
		types.Error
	}{m.cniVersion, *e}
	if document.CNIVersion == "" {
		document.CNIVersion = version.Current()
	}
	text, err := json.MarshalIndent(document, "", "    ")
	if err != nil {
		return fmt.Errorf("encode the error: %w", err)
	}
	_, err = m.Stdout.Write(append(text, '\n'))
	return err
}

// warn prints one line. Control characters, which an error may quote, would
// play with the terminal that shows it.
func (m *Multus) warn(format string, args ...any) {
	line := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, fmt.Sprintf(format, args...))
	_, _ = fmt.Fprintln(m.Stderr, "multus: warning: "+line)
}

// parse reads the conf. With the error, which has code 6 or 7, it may return
// what is known of the conf all the same: see netconf.Parse.
func (m *Multus) parse(stdin []byte) (*netconf.Conf, error) {
	conf, err := netconf.Parse(stdin)
	if conf != nil {
		m.cniVersion = conf.CNIVersion
		m.openLog(conf)
	}
	var problems netconf.Problems
	if !errors.As(err, &problems) {
		return conf, err
	}
	e := types.NewError(problems[0].Code, problems[0].Error(), "")
	if len(problems) > 1 {
		e.Details = "and also: " + problems[1:].Error()
	}
	return conf, e
}

// attachment is what a verb works on: one record and its lock.
type attachment struct {
	*Multus
	key    state.Key
	store  state.Store
	runner delegate.Runner
}

func (m *Multus) attachment(conf *netconf.Conf, containerID, ifname string, env delegate.Env) *attachment {
	return &attachment{
		Multus: m,
		key:    state.Key{Network: conf.Name, ContainerID: containerID, IfName: ifname},
		store:  state.Store{Dir: conf.CNIDir},
		runner: delegate.Runner{Exec: &delegate.Exec{Stderr: m.Stderr}, Env: env},
	}
}

// lock keeps others away from the attachment until unlock is called. From
// then on the plugins that a runner starts guard it too, should multus be
// killed.
func (a *attachment) lock(ctx context.Context) (unlock func(), err error) {
	if err := a.store.Prepare(); err != nil {
		return nil, err
	}
	lock, err := a.store.Lock(ctx, a.key)
	if err != nil {
		return nil, err
	}
	a.runner.Exec = &delegate.Exec{Stderr: a.Stderr, Guard: lock}
	return lock.Unlock, nil
}

// openNetns opens the pod's network namespace, and refuses multus's own one
// (code 8) unless the runtime insists (CNI_NETNS_OVERRIDE, see skel).
func openNetns(args *skel.CmdArgs) (*route.Netns, error) {
	netns, err := route.Open(args.Netns, overridesNetns(args))
	switch {
	case errors.Is(err, route.ErrOwn):
		return nil, types.NewError(types.ErrInvalidNetNS,
			fmt.Sprintf("CNI_NETNS=%s: %v: an ADD there would change the node's own interfaces", args.Netns, err), "")
	case errors.Is(err, route.ErrNotExist):
		return nil, types.NewError(types.ErrInvalidEnvironmentVariables, fmt.Sprintf("CNI_NETNS: %v", err), "")
	}
	return netns, err
}

func overridesNetns(args *skel.CmdArgs) bool {
	return strings.EqualFold(args.NetnsOverride, "true") || args.NetnsOverride == "1"
}

func ioError(err error) error {
	return types.NewError(types.ErrIOFailure, err.Error(), "")
}
