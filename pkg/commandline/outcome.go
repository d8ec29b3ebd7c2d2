// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package commandline

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"multus-cni/pkg/cnierror"
	"multus-cni/pkg/multus"
	"multus-cni/pkg/record"
)

// planned describes what forget would do with a record.
func planned(r remembered) string {
	var text strings.Builder
	for _, i := range slices.Backward(r.shown.Interfaces) {
		fmt.Fprintf(&text, "  would delete %s\n", label(i.Delegate, i.Plugins, i.IfName))
	}
	switch r.Kind {
	case record.KindNewer:
		text.WriteString("  would leave it in place: " + cnierror.OneLine(r.shown.Reason) + "\n")
	case record.KindLegacy:
		text.WriteString("  would remove the record, if --conf names the conf of multus\n")
	case record.KindLockOnly:
		text.WriteString("  would wait for the lock, and remove it\n")
	default:
		text.WriteString("  would remove the record\n")
	}
	return text.String()
}

// outcome describes what forget did with a record.
func outcome(f multus.Forgotten) string {
	var text strings.Builder
	for _, d := range f.Delegates {
		what := label(d.Index, d.Types, d.IfName)
		addresses := strings.Join(d.Addresses, ", ")
		switch {
		case d.Err == nil:
			fmt.Fprintf(&text, "  deleted %s\n", what)
			continue
		case d.AddressesReleased:
			fmt.Fprintf(&text, "  released the addresses of %s through its IPAM plugin: %s\n", what, cmp.Or(addresses, "unknown which"))
			addresses = ""
		}
		left := "interface " + d.IfName
		if addresses != "" {
			left += ", addresses " + addresses
		}
		fmt.Fprintf(&text, "  %s may have left behind: %s\n    %s\n", what, cnierror.OneLine(left), cnierror.OneLine(d.Err.Error()))
	}
	if f.Lost != nil {
		hint := ""
		if errors.Is(f.Lost, multus.ErrNoConf) {
			hint = ": nothing was deleted, since no --conf of its network was given"
		}
		fmt.Fprintf(&text, "  everything may have been left behind: %s%s\n", cnierror.OneLine(f.Lost.Error()), hint)
	}
	switch {
	case errors.Is(f.Err, multus.ErrNoConf):
		text.WriteString("  not removed: the record does not name its network: name the conf of multus with --conf\n")
	case f.Err != nil:
		fmt.Fprintf(&text, "  not removed: %s\n", cnierror.OneLine(f.Err.Error()))
	default:
		text.WriteString("  removed\n")
	}
	return text.String()
}

// label names a delegate.
func label(index int, types []string, ifname string) string {
	return cnierror.OneLine(fmt.Sprintf("delegate %d %s (%s)", index, strings.Join(types, "+"), ifname))
}
