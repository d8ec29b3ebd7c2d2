// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package multus

import (
	"context"
	"errors"
	"maps"

	"github.com/containernetworking/cni/pkg/types"

	"multus-cni/pkg/cnierror"
	"multus-cni/pkg/defaultroute"
	"multus-cni/pkg/delegate"
	"multus-cni/pkg/record"
)

// check asks the delegates of the record whether the pod is still as their ADD
// left it, and verifies that the default routes are where ADD put them.
func (c *call) check(ctx context.Context) error {
	if c.conf == nil {
		return c.confErr
	}
	p, err := c.openPod()
	if err != nil {
		return err
	}
	defer p.close()
	a, err := c.lockAttachment(ctx, c.key(), c.Env)
	defer a.release()
	if err != nil {
		return ioError(err)
	}
	r, err := a.store.Load(a.key)
	if errors.Is(err, record.ErrNotExist) {
		return cnierror.New(types.ErrInternal, "container %s has no interface %s of network %q: there is no record in %s",
			a.key.ContainerID, a.key.IfName, a.key.Network, c.conf.CNIDir)
	}
	if err != nil {
		return err
	}
	if err := identity(r).Compare(p.netns.Identity); err != nil {
		return cnierror.New(types.ErrInvalidNetNS, "CNI_NETNS=%s is not the network namespace that the pod was attached in: %w", p.path, err)
	}
	targets, err := targetsOf(r)
	if err != nil {
		return err
	}
	for _, t := range targets {
		if t.delegate.Primary && a.conf.PrevResult != nil {
			t.inputs.PrevResult = a.conf.PrevResult // plugins behind multus in a list may have changed it
		}
		if err := a.callDelegate(ctx, a.runner, "CHECK", t.delegate, t.inputs); err != nil {
			return err
		}
	}
	return defaultroute.Verify(p.netns, a.expectedRoutes(r), r.TakenRoutes)
}

// expectedRoutes returns the interface through which the default route of each
// family must lead. It leaves out a family for which the runtime's prevResult has
// no default route: a plugin behind multus in the list has removed that.
func (a *attachment) expectedRoutes(r *record.Record) map[string]string {
	expected := maps.Clone(r.DefaultRoute)
	if a.conf.PrevResult == nil {
		return expected
	}
	result, err := delegate.DecodeResult(a.conf.PrevResult, a.conf.CNIVersion)
	if err != nil || result == nil {
		return expected
	}
	ipv4, ipv6, err := hasDefaults(result)
	if err != nil {
		return expected
	}
	maps.DeleteFunc(expected, func(family, _ string) bool { return family == "ipv4" && !ipv4 || family == "ipv6" && !ipv6 })
	return expected
}
