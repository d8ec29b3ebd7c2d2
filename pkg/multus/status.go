// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package multus

import (
	"context"

	"multus-cni/pkg/cnierror"
	"multus-cni/pkg/lock"
	"multus-cni/pkg/netconf"
	"multus-cni/pkg/record"
)

// status reports whether an ADD could succeed: the binaries are there, a record
// can be written and locked, and no delegate says otherwise.
func (c *call) status(ctx context.Context) error {
	if c.confErr != nil {
		return c.confErr
	}
	delegates, err := c.conf.Plan("")
	if err != nil {
		return err
	}
	a := c.attachment(record.Key{}, c.Env, nil)
	for _, d := range delegates {
		if err := a.runner.Find(d); err != nil {
			return cnierror.WithCode(cnierror.CodeUnavailable, err)
		}
	}
	if err := a.store.Probe(); err != nil {
		return cnierror.WithCode(cnierror.CodeUnavailable, err)
	}
	if err := lock.Probe(a.store.Dir); err != nil {
		return cnierror.WithCode(cnierror.CodeUnavailable, err)
	}
	for _, d := range delegates {
		if err := a.callDelegate(ctx, a.runner, "STATUS", d, netconf.Inputs{}); err != nil {
			return err
		}
	}
	return nil
}
