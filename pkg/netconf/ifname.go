// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package netconf

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/utils"

	"multus-cni/pkg/rawjson"
)

// ifName reads the interface name that a secondary asks for, "" when it asks
// for none or for an invalid one.
func (r *reader) ifName(object rawjson.Object, primary bool) string {
	m := optional(object, "ifname")
	name := r.str(object, "ifname")
	switch {
	case m == nil || m.Value[0] != '"':
		return ""
	case primary:
		r.report(types.ErrInvalidNetworkConfig, "ifname", m.Pos, "is for secondaries: the runtime names the interface of the primary")
		return ""
	case !isIfName(name):
		r.report(types.ErrInvalidNetworkConfig, "ifname", m.Pos,
			"must be a name that Linux allows and does not use itself, 1 to 15 bytes without spaces, '/', ':' and '%%', not %q", name)
		return ""
	case utils.ValidateNetworkName("n-"+name) != nil && isUnset(object.Get("name")):
		r.report(types.ErrInvalidNetworkConfig, "name", m.Pos,
			"is missing: the interface name %q cannot be part of a network name, so that none can be derived", name)
	}
	return name
}

// isIfName reports whether an interface can have that name: see dev_valid_name
// in the kernel's net/core/dev.c, which takes the byte 0xa0 for a space.
// A '%' would make the kernel choose a number. "all" and "default" mean every
// interface under /proc/sys/net, and every namespace has its "lo". Control
// characters are refused since nobody wants them in a name.
func isIfName(name string) bool {
	if name == "all" || name == "default" || name == "lo" || !utf8.ValidString(name) {
		return false
	}
	return utils.ValidateInterfaceName(name) == nil &&
		!strings.Contains(name, "\xa0") && !strings.Contains(name, "%") && !strings.ContainsFunc(name, unicode.IsControl)
}

// noSharedIfName checks that no two secondaries get one interface name.
func (r *reader) noSharedIfName(delegates []Delegate) {
	owner := map[string]int{}
	for i, d := range planned(delegates, "") {
		if !d.Primary && delegates[i].IfName == "" {
			owner[d.IfName] = i
		}
	}
	for i, d := range delegates {
		if d.IfName == "" {
			continue
		}
		other, taken := owner[d.IfName]
		if !taken {
			owner[d.IfName] = i
			continue
		}
		r.delegate, r.kind = i, ""
		if !d.List && len(d.Plugins) > 0 {
			r.kind = d.Plugins[0].Type
		}
		r.report(types.ErrInvalidNetworkConfig, "ifname", d.Members.Get("ifname").Pos,
			"%q is the interface of delegate %d too: give each its own", d.IfName, other)
	}
}
