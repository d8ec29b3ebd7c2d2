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

func confKeys() []string {
	return strings.Fields("name type cniVersion delegates cniDir logFile logLevel capabilities runtimeConfig prevResult " +
		"cni.dev/valid-attachments cni.dev/attachments args")
}

func listKeys() []string {
	return strings.Fields("name cniVersion cniVersions disableCheck disableGC loadOnlyInlinedPlugins plugins")
}

func listDelegateKeys() []string {
	return strings.Fields("name cniVersion cniVersions disableCheck disableGC loadOnlyInlinedPlugins plugins masterplugin ifname")
}

// pluginKeys are the keys of a plugin that multus reads or writes. The other
// keys of the CNI spec are not among them: plugins may read these whatever the
// case of their letters.
func pluginKeys() []string {
	return strings.Fields("name type cniVersion capabilities runtimeConfig prevResult args masterplugin ifname plugins")
}

// upstreamAdvice returns what to do with a key of Kubernetes Multus, "" for any
// other key.
func upstreamAdvice(key string) string {
	for _, upstream := range []struct{ keys, advice string }{
		{
			"clusternetwork defaultnetworks multusmastercni auxiliarycnichainname",
			`write the confs of these networks into "delegates", the cluster's with "masterplugin": true`,
		},
		{
			"kubeconfig systemnamespaces multusnamespace namespaceisolation globalnamespaces confdir pernodecertificate",
			"every pod gets all delegates, and no API server is asked: remove it",
		},
		{"readinessindicatorfile", "remove it, and install the conf when the primary's plugin is ready"},
		{"logtostderr logoptions", "warnings go to stderr, and logFile and logLevel say what else is logged: remove it"},
		{"bindir", "plugins are found where the runtime looks for them: remove it"},
		{"retrydeleteonerror", "a DEL that fails says so, and runtimes try it again: remove it"},
		{
			"cniconfigdir multusautoconfigdir multusconfigfile forcecniversion overridenetworkname chrootdir daemonsocketdir socketdir metricsport",
			"there is no daemon to configure: remove it",
		},
	} {
		if slices.Contains(strings.Fields(upstream.keys), strings.ToLower(key)) { // upstream ignores the case of its keys
			return upstream.advice
		}
	}
	return ""
}

// keys warns of keys that nobody reads: of every unknown key in an object that
// only multus reads, and of misspelt keys in one that a plugin reads too.
func (l *linter) keys(conf *netconf.Conf, units []*unit) {
	l.unknown(l.upstream(conf.Members), -1, confKeys(), "is an unknown key: multus ignores it; what is for a plugin belongs in its delegate")
	for i, d := range conf.Delegates {
		if d.List {
			l.unknown(d.Members, i, listDelegateKeys(), "is an unknown key of a list: multus ignores it; what is for a plugin belongs in \"plugins\"")
		}
	}
	for _, u := range units {
		for _, m := range u.object {
			if word := suggest(u.object, m.Key, pluginKeys()); word != "" {
				l.warn(u.problem(m.Key, m.Pos, "is an unknown key; did you mean %q?", word))
			}
		}
	}
}

// upstream warns of the keys of Kubernetes Multus, and returns the others.
func (l *linter) upstream(members rawjson.Object) (others rawjson.Object) {
	found := false
	for _, m := range members {
		advice := upstreamAdvice(m.Key)
		if advice == "" {
			others = append(others, m)
			continue
		}
		if !found {
			l.warn(netconf.Problem{Delegate: -1, Pos: m.Pos, Msg: "this is a conf of Kubernetes Multus: here every pod gets all delegates, " +
				`the primary is the delegate with "masterplugin": true, and the others get net0, net1, ...; see doc/migration.md`})
			found = true
		}
		l.warn(netconf.Problem{Delegate: -1, Field: m.Key, Pos: m.Pos, Msg: "has no effect: " + advice})
	}
	return others
}

// unknown warns of all keys that are not known.
func (l *linter) unknown(object rawjson.Object, delegate int, known []string, msg string) {
	for _, m := range object {
		if slices.Contains(known, m.Key) {
			continue
		}
		p := netconf.Problem{Delegate: delegate, Field: m.Key, Pos: m.Pos, Msg: msg}
		if word := suggest(object, m.Key, known); word != "" {
			p.Msg = `is an unknown key; did you mean "` + word + `"?`
		}
		l.warn(p)
	}
}

// suggest returns the known key of which an unknown one may be a misspelling,
// and "" when there is none. A key that the object has is not suggested.
func suggest(object rawjson.Object, key string, known []string) string {
	if slices.Contains(known, key) {
		return ""
	}
	for _, word := range known {
		if near(word, key) && object.Get(word) == nil {
			return word
		}
	}
	return ""
}

// near reports whether two words differ so little that one may be the other
// misspelt: in capital letters, hyphens and underscores, and in one letter that
// is wrong, missing, too many or swapped with the next.
func near(a, b string) bool {
	a, b = fold(a), fold(b)
	shorter := min(len(a), len(b))
	for a != "" && b != "" && a[0] == b[0] {
		a, b = a[1:], b[1:]
	}
	for a != "" && b != "" && a[len(a)-1] == b[len(b)-1] {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	swapped := len(a) == 2 && len(b) == 2 && a[0] == b[1] && a[1] == b[0]
	return a == b || shorter >= 4 && (swapped || len(a) <= 1 && len(b) <= 1)
}

func fold(word string) string {
	return strings.Map(func(r rune) rune {
		if r == '-' || r == '_' {
			return -1
		}
		return unicode.ToLower(r)
	}, word)
}
