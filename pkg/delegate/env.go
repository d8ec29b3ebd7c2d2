// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package delegate

import (
	"slices"
	"strings"

	"multus-cni/pkg/netconf"
)

// Env is the environment of a plugin, as os.Environ returns one.
type Env []string

// With returns a copy with these KEY=VALUE pairs, which replace existing ones
// with the same keys.
func (e Env) With(pairs ...string) Env {
	env := make(Env, 0, len(e)+len(pairs))
	for _, variable := range e {
		if !slices.ContainsFunc(pairs, func(pair string) bool {
			return strings.HasPrefix(variable, pair[:strings.IndexByte(pair, '=')+1])
		}) {
			env = append(env, variable)
		}
	}
	return append(env, pairs...)
}

func (e Env) get(key string) string {
	for _, variable := range e {
		if value, ok := strings.CutPrefix(variable, key+"="); ok {
			return value
		}
	}
	return ""
}

// forDelegate returns the environment for one verb of one delegate. STATUS and
// GC concern no attachment and so no interface.
func (e Env) forDelegate(verb string, d netconf.Delegate) Env {
	pairs := []string{"CNI_COMMAND=" + verb}
	if verb != "STATUS" && verb != "GC" {
		pairs = append(pairs, "CNI_IFNAME="+d.IfName)
	}
	if args := e.get("CNI_ARGS"); !d.Primary && args != "" {
		pairs = append(pairs, "CNI_ARGS="+withoutAddresses(args))
	}
	return e.With(pairs...)
}

// withoutAddresses takes IP, MAC and GATEWAY out of CNI_ARGS. Runtimes ask
// with them for the address of the interface CNI_IFNAME (podman and nerdctl
// --ip, ocicni), which is the primary's: a secondary would take the same one.
func withoutAddresses(args string) string {
	pairs := slices.DeleteFunc(strings.Split(args, ";"), func(pair string) bool {
		key, _, _ := strings.Cut(pair, "=")
		return key == "IP" || key == "MAC" || key == "GATEWAY"
	})
	return strings.Join(pairs, ";")
}
