// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package multus

import (
	"context"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
)

// errUnavailable is the code of a plugin that could not serve an ADD: see the
// CNI spec, section 2, "STATUS".
const errUnavailable = 50

// Status tells whether an ADD could succeed: the binaries are there, a record
// can be written, and no delegate says otherwise.
func (m *Multus) Status(ctx context.Context, args *skel.CmdArgs) error {
	conf, err := m.parse(args.StdinData)
	if err != nil {
		return err
	}
	if conf.Delegates, err = conf.Plan(""); err != nil {
		return err
	}
	a := m.attachment(conf, "", "", m.Env)
	for i := range conf.Delegates {
		if err := a.runner.Find(&conf.Delegates[i]); err != nil {
			return types.NewError(errUnavailable, err.Error(), "")
		}
	}
	if err := a.store.Probe(); err != nil {
		return types.NewError(errUnavailable, err.Error(), "")
	}
	for i := range conf.Delegates {
		d := &conf.Delegates[i]
		if err := a.logged("STATUS", d, nil, func() error { return a.runner.Status(ctx, d) }); err != nil {
			return err
		}
	}
	return nil
}
