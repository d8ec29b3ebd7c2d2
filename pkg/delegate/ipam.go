// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package delegate

import (
	"context"
	"errors"

	"multus-cni/pkg/cnierror"
	"multus-cni/pkg/netconf"
)

// ErrNoIPAM means that no plugin of a delegate has an IPAM plugin.
var ErrNoIPAM = errors.New("no IPAM plugin is configured")

// ReleaseAddresses runs the DEL of a delegate's IPAM plugins alone, as their
// plugins would: for a delegate whose own DEL cannot succeed.
func (r *Runner) ReleaseAddresses(ctx context.Context, d netconf.Delegate, in netconf.Inputs) error {
	var errs []error
	found := false
	for i, p := range d.Plugins {
		plugin := p.Config.Get("ipam").Object().Get("type").String()
		if plugin == "" {
			continue
		}
		found = true
		path, err := r.find(plugin)
		if err == nil {
			in.PrevResult, _ = convertResult(in.PrevResult, p.CNIVersion)
			_, err = r.exec.ExecPlugin(ctx, path, d.Request(i, in), r.env.forDelegate("DEL", d))
		}
		if err != nil {
			errs = append(errs, cnierror.Prefix(&Failure{err}, "%s: IPAM plugin %q: DEL", label(d, i), plugin))
		}
	}
	if !found {
		return ErrNoIPAM
	}
	return cnierror.Join(errs...)
}
