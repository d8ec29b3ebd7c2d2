// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package multus

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"golang.org/x/sys/unix"

	"multus-cni/pkg/cnierror"
	"multus-cni/pkg/defaultroute"
	"multus-cni/pkg/delegate"
	"multus-cni/pkg/netconf"
	"multus-cni/pkg/record"
)

// complete writes the record of an ADD that has succeeded: which interfaces
// exist, and through which of them the default routes lead.
func (a *attachment) complete(r *record.Record, results []*delegate.Result, p *pod, keeper *defaultroute.Keeper) error {
	names := make([]string, len(r.Delegates))
	for i, d := range r.Delegates {
		names[i] = d.IfName
	}
	present, err := p.netns.Present(names)
	if err != nil {
		return err
	}
	r.DefaultRoute, r.TakenRoutes = keeper.Interfaces(), keeper.Taken()
	owners := keeper.Owners()
	for i := range r.Delegates {
		d := &r.Delegates[i]
		d.InterfaceSeen = slices.Contains(present, d.IfName)
		if !d.InterfaceSeen {
			a.warn("delegate %d %q succeeded but created no interface %s", d.Index, d.Plugins[0].Type, d.IfName)
		}
		if d.Primary || results[i] == nil {
			continue
		}
		lost := func(family string) bool { owner, owned := owners[family]; return owned && owner != i }
		stripped, err := withoutDefaults(results[i], lost("ipv4"), lost("ipv6"))
		if err != nil {
			return fmt.Errorf("take the default route out of the result of delegate %d: %w", i, err)
		}
		d.Result = stripped.Text
	}
	r.Complete = true
	if err := a.store.Save(r); err != nil {
		return ioError(err)
	}
	return nil
}

// withoutDefaults returns a result without its default routes of the families
// asked for: a plugin's CHECK would report that the pod lacks them.
func withoutDefaults(result *delegate.Result, ipv4, ipv6 bool) (*delegate.Result, error) {
	if !ipv4 && !ipv6 {
		return result, nil
	}
	current, err := types100.NewResultFromResult(result.Result)
	if err != nil {
		return nil, err
	}
	stripped := *current
	stripped.Routes = slices.DeleteFunc(slices.Clone(current.Routes), func(r *types.Route) bool {
		return isDefault(r, 32) && ipv4 || isDefault(r, 128) && ipv6
	})
	if len(stripped.Routes) == len(current.Routes) {
		return result, nil
	}
	converted, err := stripped.GetAsVersion(result.Version())
	if err != nil {
		return nil, err
	}
	return delegate.EncodeResult(converted)
}

// hasDefaults reports whether a result has a default route of each family.
func hasDefaults(result *delegate.Result) (ipv4, ipv6 bool, err error) {
	current, err := types100.NewResultFromResult(result.Result)
	if err != nil {
		return false, false, err
	}
	for _, r := range current.Routes {
		ipv4 = ipv4 || isDefault(r, 32)
		ipv6 = ipv6 || isDefault(r, 128)
	}
	return ipv4, ipv6, nil
}

// isDefault reports whether a route is a default route of the main table.
// bits is the length of the family's addresses.
func isDefault(r *types.Route, bits int) bool {
	ones, length := r.Dst.Mask.Size()
	return ones == 0 && length == bits && (r.Table == nil || *r.Table == unix.RT_TABLE_MAIN)
}

// print writes the primary's result in the conf's CNI version.
func (a *attachment) print(result *delegate.Result) error {
	converted, err := result.GetAsVersion(a.conf.CNIVersion)
	if err != nil {
		return fmt.Errorf("convert the primary's result to %s: %w", a.conf.CNIVersion, err)
	}
	if err := converted.PrintTo(a.Stdout); err != nil {
		return ioError(fmt.Errorf("print the result: %w", err))
	}
	return nil
}

// rollback undoes the delegates that were started. It returns the error that
// made it necessary, with what went wrong here in the details.
func (a *attachment) rollback(ctx context.Context, r *record.Record, started int, p *pod, keeper *defaultroute.Keeper, cause error) error {
	r.Complete = false
	targets, err := targetsOf(r)
	if err == nil {
		targets = targets[:started]
		a.markForeign(targets, identity(r))
		err = a.delete(ctx, targets, p)
	}
	if keeper != nil {
		err = cnierror.Join(err, keeper.Restore())
	}
	if err != nil {
		p.markSeen(r.Delegates[:started])
		err = cnierror.Join(err, a.store.Save(r)) // with what is known by now, for the DEL that the runtime sends
		return cnierror.WithDetails(cause, fmt.Sprintf("rollback: %v; %s", err, a.advice(a.store.Path(a.key))))
	}
	if err := a.store.Remove(a.key); err != nil {
		a.warn("%v", err)
	}
	return cause
}

// advice tells the operator what happens next when a DEL has not succeeded. The
// record at path can be gone: something may have removed its directory.
func (a *attachment) advice(path string) string {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return "there is no record: the next DEL uses the conf"
	}
	return fmt.Sprintf("the record is left in place: %s; the next DEL tries again, or: %s", path, a.forgetCommand())
}

// interfacesOf lists the interfaces that a delegate has made in the pod: the one
// that multus named, and those in its result.
func interfacesOf(d netconf.Delegate, result *delegate.Result) []string {
	names := []string{d.IfName}
	if result == nil {
		return names
	}
	current, err := types100.NewResultFromResult(result.Result)
	if err != nil {
		return names
	}
	for _, i := range current.Interfaces {
		if i.Sandbox != "" && i.Name != d.IfName {
			names = append(names, i.Name)
		}
	}
	return names
}
