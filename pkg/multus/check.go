// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package multus

import (
	"context"
	"errors"
	"fmt"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"

	"multus-cni/pkg/netconf"
	"multus-cni/pkg/state"
)

// Check asks the delegates of the record whether the pod is still as their
// ADD left it, and sees that its default route still leads where it did.
func (m *Multus) Check(ctx context.Context, args *skel.CmdArgs) error {
	conf, err := m.parse(args.StdinData)
	if conf == nil {
		return err
	}
	netns, err := openNetns(args)
	if err != nil {
		return err
	}
	defer netns.Close()
	a := m.attachment(conf, args.ContainerID, args.IfName, m.Env)
	unlock, err := a.lock(ctx)
	if err != nil {
		return ioError(err)
	}
	defer unlock()
	record, err := a.store.Load(a.key)
	if errors.Is(err, state.ErrNotExist) {
		return types.NewError(types.ErrInternal, fmt.Sprintf("container %s has no interface %s of network %q: there is no record in %s",
			args.ContainerID, args.IfName, conf.Name, conf.CNIDir), "")
	}
	if err != nil {
		return err
	}
	if !isOf(record, args.Netns) {
		return types.NewError(types.ErrInvalidNetNS, fmt.Sprintf("CNI_NETNS=%s is another network namespace than the one the pod was attached in", args.Netns), "")
	}
	var secondaries []string
	for i := range record.Delegates {
		d := &record.Delegates[i]
		in := netconf.Inputs{RuntimeConfig: record.RuntimeConfig, PrevResult: d.Result}
		if err := a.logged("CHECK", &d.Delegate, nil, func() error { return a.runner.Check(ctx, &d.Delegate, in) }); err != nil {
			return err
		}
		if !d.Primary {
			secondaries = append(secondaries, d.IfName)
		}
	}
	return netns.Verify(record.DefaultRoute, secondaries)
}
