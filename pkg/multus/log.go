// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package multus

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"

	"multus-cni/pkg/calllog"
	"multus-cni/pkg/cniargs"
	"multus-cni/pkg/delegate"
	"multus-cni/pkg/netconf"
)

// withheld stands for the text of a plugin's error: plugins quote their
// configuration and CNI_ARGS in it. The runtime has been told it.
const withheld = "a delegate failed; the runtime has its message"

// Verb is one of the methods that serve a CNI verb.
type Verb func(context.Context, *skel.CmdArgs) error

// Logged runs a verb and notes in the log, if the conf names one, how it went.
func (m *Multus) Logged(ctx context.Context, name string, verb Verb, args *skel.CmdArgs) error {
	start := time.Now()
	err := safely(func() error { return verb(ctx, args) })
	if m.log == nil {
		return err
	}
	var attrs []slog.Attr
	for key, value := range map[string]string{"container": args.ContainerID, "ifname": args.IfName, "pod": cniargs.PodOf(args.Args).String()} {
		if value != "" {
			attrs = append(attrs, slog.String(key, value))
		}
	}
	switch {
	case err == nil:
		m.log.Ended(name, time.Since(start), 0, "", attrs...)
	case m.delegateFailed:
		m.log.Ended(name, time.Since(start), delegate.AsError(err).Code, withheld, attrs...)
	default:
		m.log.Ended(name, time.Since(start), delegate.AsError(err).Code, delegate.AsError(err).Msg, attrs...)
	}
	m.log.Close()
	return err
}

// safely makes an error of a panic: stdout must get a document all the same.
func safely(run func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("multus itself is broken: %v", p)
		}
	}()
	return run()
}

func (m *Multus) openLog(conf *netconf.Conf) {
	if conf.LogFile == "" || m.log != nil {
		return
	}
	log, err := calllog.Open(conf.LogFile, conf.LogLevel)
	if err != nil {
		m.warn("%v: this call is not logged", err)
		return
	}
	m.log = log.With(slog.String("network", conf.Name))
}

// logged runs one delegate and notes how it went, and which addresses the pod
// got from it: result is what an ADD fills in, nil for the other verbs.
func (a *attachment) logged(verb string, d *netconf.Delegate, result *types.Result, run func() error) error {
	if a.log == nil {
		return run()
	}
	attrs := []slog.Attr{
		slog.String("container", a.key.ContainerID), slog.Int("delegate", d.Index), slog.String("ifname", d.IfName),
	}
	for _, p := range d.Plugins {
		attrs = append(attrs, slog.String("type", p.Type))
	}
	a.log.Begins("delegate "+verb, attrs...)
	start := time.Now()
	err := run()
	if result != nil && *result != nil {
		attrs = append(attrs, slog.Any("addresses", addresses(*result)))
	}
	if err == nil {
		a.log.Ended("delegate "+verb, time.Since(start), 0, "", attrs...)
		return nil
	}
	a.delegateFailed = true
	a.log.Ended("delegate "+verb, time.Since(start), delegate.AsError(err).Code, withheld, attrs...)
	return err
}

func addresses(result types.Result) []string {
	list := []string{}
	current, err := types100.NewResultFromResult(result)
	if err != nil {
		return list
	}
	for _, ip := range current.IPs {
		list = append(list, ip.Address.String())
	}
	return list
}
