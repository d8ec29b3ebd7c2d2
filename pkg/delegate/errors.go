// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package delegate

import (
	"errors"
	"fmt"
	"strings"

	"github.com/containernetworking/cni/pkg/types"

	"multus-cni/pkg/netconf"
)

// AsError returns err as the CNI error that it is or wraps, and any other
// error as one of code 999.
func AsError(err error) *types.Error {
	var e *types.Error
	if errors.As(err, &e) {
		return e
	}
	return types.NewError(types.ErrInternal, err.Error(), "")
}

// Join makes one error of several, with the code of the first and the texts
// of all. It returns nil when there is none.
func Join(errs []error) error {
	if len(errs) == 0 {
		return nil
	}
	joined := *AsError(errs[0])
	for _, err := range errs[1:] {
		e := AsError(err)
		joined.Msg = joinText(joined.Msg, e.Msg)
		joined.Details = joinText(joined.Details, e.Details)
	}
	return &joined
}

func joinText(texts ...string) string {
	kept := texts[:0:0]
	for _, t := range texts {
		if t != "" {
			kept = append(kept, t)
		}
	}
	return strings.Join(kept, "; ")
}

// failed says which delegate it was that failed, and keeps the code.
func failed(d *netconf.Delegate, plugin int, verb string, err error) error {
	e := *AsError(err)
	e.Msg = fmt.Sprintf("%s: %s: %s", label(d, plugin), verb, e.Msg)
	return &e
}

// label names a delegate for the operator: its place in "delegates", its type
// and its interface.
func label(d *netconf.Delegate, plugin int) string {
	where := make([]string, 0, 2)
	if d.IfName != "" {
		where = append(where, d.IfName)
	}
	if d.List {
		where = append(where, fmt.Sprintf("plugin %d of %d", plugin, len(d.Plugins)))
	}
	text := fmt.Sprintf("delegate %d %q", d.Index, d.Plugins[plugin].Type)
	if len(where) > 0 {
		text += " (" + strings.Join(where, ", ") + ")"
	}
	return text
}
