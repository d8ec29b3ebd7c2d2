// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package multus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"multus-cni/pkg/cniargs"
	"multus-cni/pkg/cnierror"
	"multus-cni/pkg/delegate"
	"multus-cni/pkg/netconf"
)

// withheld replaces the text of a plugin's error in the log, since plugins quote
// their configuration and CNI_ARGS in it. The runtime gets the whole text.
const withheld = "a delegate failed; the runtime has its message"

// serve runs a verb and logs its outcome.
func (c *call) serve(ctx context.Context, verb string, run func(*call, context.Context) error) error {
	defer c.log.Close()
	start := time.Now()
	err := withoutPanic(func() error { return run(c, ctx) })
	var attrs []slog.Attr
	for _, field := range [][2]string{
		{"container", c.args.ContainerID}, {"ifname", c.args.IfName}, {"pod", cniargs.PodOf(c.args.Args).String()},
	} {
		if field[1] != "" {
			attrs = append(attrs, slog.String(field[0], field[1]))
		}
	}
	c.logEnd(verb, start, err, attrs)
	return err
}

// withoutPanic turns a panic into an error: the runtime must get a JSON
// document all the same.
func withoutPanic(run func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = panicked(p)
		}
	}()
	return run()
}

// onAnotherThread calls run on another thread, after a panic on this one: this
// thread may be unable to leave the pod's network namespace, and plugins that it
// started would run in there.
func onAnotherThread(run func() error) error {
	done := make(chan error)
	go func() { done <- withoutPanic(run) }()
	return <-done
}

func panicked(p any) error { return fmt.Errorf("internal error: panic: %v", p) }

func (c *call) logEnd(what string, start time.Time, err error, attrs []slog.Attr) {
	switch {
	case c.log == nil:
	case err == nil:
		c.log.Succeeded(what, time.Since(start), attrs...)
	case errors.As(err, new(*delegate.Failure)):
		c.log.Failed(what, time.Since(start), cnierror.Code(err), withheld, attrs...)
	default:
		c.log.Failed(what, time.Since(start), cnierror.Code(err), cnierror.From(err).Msg, attrs...)
	}
}

// addDelegate runs the ADD of one delegate and logs it, with the addresses
// that the pod got.
func (a *attachment) addDelegate(ctx context.Context, d netconf.Delegate, in netconf.Inputs,
	step func(netconf.Delegate, *delegate.Result) error,
) (*delegate.Result, error) {
	attrs, start := a.logBegin("delegate ADD", d), time.Now()
	_, result, err := a.runner.Add(ctx, d, in, step)
	if a.log != nil && result != nil {
		attrs = append(attrs, slog.Any("addresses", delegate.Addresses(result.Text)))
	}
	a.logEnd("delegate ADD", start, err, attrs)
	return result, err
}

// callDelegate runs another verb of one delegate and logs it. A panic is an
// error of this delegate: the others must be DELed all the same.
func (a *attachment) callDelegate(ctx context.Context, runner *delegate.Runner, verb string, d netconf.Delegate, in netconf.Inputs) error {
	attrs, start := a.logBegin("delegate "+verb, d), time.Now()
	err := withoutPanic(func() error { return runner.Run(ctx, verb, d, in) })
	a.logEnd("delegate "+verb, start, err, attrs)
	return err
}

func (a *attachment) logBegin(what string, d netconf.Delegate) []slog.Attr {
	if a.log == nil {
		return nil
	}
	attrs := []slog.Attr{
		slog.String("container", a.key.ContainerID), slog.Int("delegate", d.Index),
		slog.String("ifname", d.IfName), slog.Any("types", d.Types()),
	}
	a.log.Begins(what, attrs...)
	return attrs
}
