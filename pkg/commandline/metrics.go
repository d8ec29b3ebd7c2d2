// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package commandline

import (
	"fmt"
	"strings"
)

// printMetrics writes how many attachments each network has in each state, in
// Prometheus's text format, version 0.0.4. A state without any is a 0 and not
// missing, so that an alert on it can end.
func (l *listing) printMetrics(attachments []attachment) error {
	type series struct{ network, state string }
	counts := map[series]int{}
	var networks []string
	for _, a := range attachments { // sorted by network
		if n := len(networks); n == 0 || networks[n-1] != a.Network {
			networks = append(networks, a.Network)
		}
		counts[series{a.Network, a.State}]++
	}
	var text strings.Builder
	text.WriteString("# HELP multus_attachments Records of attached pods on this node.\n# TYPE multus_attachments gauge\n")
	escape := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)
	for _, network := range networks {
		for _, state := range states() {
			fmt.Fprintf(&text, "multus_attachments{network=\"%s\",state=\"%s\"} %d\n",
				escape.Replace(strings.ToValidUTF8(network, "?")), state, counts[series{network, state}])
		}
	}
	return l.write(text.String())
}
