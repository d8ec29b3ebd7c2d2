// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package netconf

import (
	"cmp"
	"encoding/json"
	"slices"
	"strconv"

	"github.com/containernetworking/cni/pkg/types"

	"multus-cni/pkg/cnierror"
	"multus-cni/pkg/rawjson"
)

// Plan returns the delegates with the interface name and the network name that
// each of them gets.
//
// A delegate keeps the network name that it has. The primary gets ifname, which
// is CNI_IFNAME, and by default the conf's own name. The secondaries get net0,
// net1, ... in list order, unless they name their interface themselves, and by
// default the network name <name>-<interface>: host-local's round robin is
// keyed by network name, and the ipMasq chains of ptp and bridge by network
// name and container id, so that delegates with the same name would share an
// address cursor and remove each other's rules. (The multus of 2017 gave them
// no name.)
//
// It returns an error when a secondary would get the interface name ifname too:
// with code 7 when the conf sets that name, and with code 4 otherwise.
func (c *Conf) Plan(ifname string) ([]Delegate, error) {
	delegates := planned(c.Delegates, ifname)
	for i := range delegates {
		d := &delegates[i]
		switch {
		case d.Primary:
			d.Name = cmp.Or(d.Name, c.Name)
			continue
		case d.IfName == ifname && c.Delegates[i].IfName != "":
			return nil, cnierror.New(types.ErrInvalidNetworkConfig,
				"delegate %d: \"ifname\" %q is the interface of the primary, CNI_IFNAME: choose another one", i, ifname)
		case d.IfName == ifname:
			return nil, cnierror.New(types.ErrInvalidEnvironmentVariables,
				"CNI_IFNAME=%s is the name that delegate %d gets: choose another one for the primary", ifname, i)
		}
		d.Name = cmp.Or(d.Name, c.Name+"-"+d.IfName)
	}
	return delegates, nil
}

// planned returns the delegates with their interface names.
func planned(delegates []Delegate, ifname string) []Delegate {
	plan := slices.Clone(delegates)
	secondaries := 0
	for i := range plan {
		d := &plan[i]
		if d.Primary {
			d.IfName = ifname
			continue
		}
		if d.IfName == "" {
			d.IfName = "net" + strconv.Itoa(secondaries)
		}
		secondaries++
	}
	return plan
}

// Inputs is what the request of one call holds in addition to the
// configuration. Zero fields are left out.
type Inputs struct {
	RuntimeConfig    rawjson.Object  // of the whole attachment; the plugin gets its share
	PrevResult       json.RawMessage // in the plugin's own CNI version
	ValidAttachments json.RawMessage // for GC only
}

// Request returns what the i-th plugin of the delegate reads from stdin: its
// own configuration with what the CNI spec derives (section 3, "Deriving
// request configuration from plugin configuration"), less the keys that are
// for multus. A delegate's "ifname" is one of these, as "masterplugin" is: the
// plugin gets that name as CNI_IFNAME.
func (d Delegate) Request(i int, in Inputs) []byte {
	p := d.Plugins[i]
	request := p.Config.Without("masterplugin", "ifname", "capabilities")
	if d.List || isUnset(request.Get("name")) {
		request = request.Set("name", rawjson.Quote(d.Name))
	}
	if d.List || p.Inherited || isUnset(request.Get("cniVersion")) {
		request = request.Set("cniVersion", rawjson.Quote(p.CNIVersion))
	}
	if share := p.runtimeConfig(in.RuntimeConfig); len(share) > 0 {
		request = request.Set("runtimeConfig", share.Text())
	}
	if in.PrevResult != nil {
		request = request.Set("prevResult", in.PrevResult)
	}
	if in.ValidAttachments != nil { // both keys, as from libcni: plugins of 2024 know the second one
		request = request.Set("cni.dev/valid-attachments", in.ValidAttachments)
		request = request.Set("cni.dev/attachments", in.ValidAttachments)
	}
	return request.Text()
}

// runtimeConfig returns the entries for which the plugin declares a capability.
// It knows no key by name, since the conventions for them grow.
func (p Plugin) runtimeConfig(all rawjson.Object) rawjson.Object {
	capabilities := p.Config.Get("capabilities").Object()
	var share rawjson.Object
	for _, entry := range all {
		if capabilities.Get(entry.Key).IsTrue() {
			share = append(share, entry)
		}
	}
	return share
}
