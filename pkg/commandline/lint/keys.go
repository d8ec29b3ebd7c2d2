// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package lint

import (
	"slices"
	"strings"
	"unicode"

	"multus-cni/pkg/netconf"
	"multus-cni/pkg/rawjson"
)

// vocabulary is the keys that are known in one place.
type vocabulary struct {
	exact []string // read by multus and runtimes: letter by letter
	loose []string // read by the reference plugins: small and capital letters are the same
}

func confKeys() vocabulary {
	return vocabulary{exact: strings.Fields("name type cniVersion delegates cniDir logFile logLevel capabilities runtimeConfig prevResult " +
		"cni.dev/valid-attachments cni.dev/attachments args ipam dns")}
}

func listKeys() vocabulary {
	return vocabulary{exact: strings.Fields("name cniVersion cniVersions disableCheck disableGC loadOnlyInlinedPlugins plugins")}
}

func listDelegateKeys() vocabulary {
	return vocabulary{exact: strings.Fields("name cniVersion cniVersions disableCheck disableGC plugins masterplugin ifname")}
}

func pluginKeys() vocabulary {
	return vocabulary{
		exact: strings.Fields("name type cniVersion capabilities runtimeConfig prevResult args masterplugin ifname plugins"),
		loose: strings.Fields("ipam dns ipMasq"),
	}
}

// referenceKeys are those of the plugins by the CNI project and of flannel.
func referenceKeys() []string {
	return strings.Fields(`address addresses allmulti backend bandwidth bcqueuelen bridge conditionsV4 conditionsV6
		daemonSocketPath dataDir delegate device deviceID disableContainerInterface egressBurst egressRate enabledad
		endpointMacPrefix externalSetMarkChain firewalldZone forceAddress gateway group hairpinMode ingressBurst
		ingressPolicy ingressRate ipMasqBackend iptablesAdminChainName isDefaultGateway isGateway kernelpath
		linkInContainer mac macspoofchk markMasqBit masqAll master mode mtu multiQueue owner pciBusID portIsolation
		preserveDefaultVlan priority promisc promiscMode provide rangeEnd rangeStart ranges request resolvConf routes
		selinuxContext skipDefault snat subnet subnetFile sysctl table txQLen vlan vlanId vlanTrunk
		vrfname`)
}

// isReference reports whether a type is one of these plugins.
func isReference(kind string) bool {
	return slices.Contains(strings.Fields(`bandwidth bridge dhcp dummy firewall flannel host-device host-local ipvlan
		loopback macvlan portmap ptp sbr static tap tuning vlan vrf`), kind)
}

// keys warns of keys that are not known and look like one that is.
func (l *linter) keys(conf *netconf.Conf, units []*unit) {
	l.misspelt(conf.Members, -1, "", confKeys())
	for i, d := range conf.Delegates {
		if d.List {
			l.misspelt(d.Members, i, "", listDelegateKeys())
		}
	}
	for _, u := range units {
		known := pluginKeys()
		if isReference(u.kind) {
			known.loose = append(known.loose, referenceKeys()...)
		}
		l.misspelt(u.object, u.delegate, u.owner().kind, known)
	}
}

func (l *linter) misspelt(object rawjson.Object, delegate int, kind string, known vocabulary) {
	for _, m := range object {
		if word := known.meant(m.Key); word != "" && object.Get(word) == nil {
			l.report(netconf.Problem{
				Delegate: delegate, Type: kind, Field: m.Key, Pos: m.Pos, Msg: `is an unknown key; did you mean "` + word + `"?`,
			}, true)
		}
	}
}

// meant returns the known key that an unknown one looks like, "" for one that
// is known or looks like none.
func (v vocabulary) meant(key string) string {
	if slices.Contains(v.exact, key) {
		return ""
	}
	for _, word := range v.loose {
		if strings.EqualFold(word, key) {
			return ""
		}
	}
	for _, word := range slices.Concat(v.exact, v.loose) {
		if near(word, key) {
			return word
		}
	}
	return ""
}

// near reports whether two words differ so little that one may be the other
// misspelt: capital letters, hyphens and underscores, one letter that is
// wrong, missing, too many or swapped with the next, in long words two.
func near(a, b string) bool {
	if a, b = fold(a), fold(b); a == b {
		return true
	}
	allowed := 0
	switch shorter := min(len(a), len(b)); {
	case shorter >= 9:
		allowed = 2
	case shorter >= 4:
		allowed = 1
	}
	return distance(a, b) <= allowed
}

func fold(word string) string {
	return strings.Map(func(r rune) rune {
		if r == '-' || r == '_' {
			return -1
		}
		return unicode.ToLower(r)
	}, word)
}

// distance is the number of letters to change, insert, drop or swap with the
// next one to get from a to b (optimal string alignment).
func distance(a, b string) int {
	d := make([][]int, len(a)+1)
	for i := range d {
		d[i] = make([]int, len(b)+1)
		d[i][0] = i
	}
	for j := range d[0] {
		d[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			changed := d[i-1][j-1]
			if a[i-1] != b[j-1] {
				changed++
			}
			d[i][j] = min(changed, d[i-1][j]+1, d[i][j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d[i][j] = min(d[i][j], d[i-2][j-2]+1)
			}
		}
	}
	return d[len(a)][len(b)]
}
