// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package netconf

import (
	"encoding/json"
	"strconv"

	"github.com/containernetworking/cni/pkg/types"
)

// Plan gives every delegate its interface name and, where it has none, its
// network name.
//
// The primary gets ifname, which is CNI_IFNAME, and the conf's own name. The
// secondaries get net0, net1, ... in list order, and <name>-<ifname>:
// host-local's round robin and the ipMasq chains of ptp and bridge are keyed
// by network name and container id, so that delegates of one name would share
// an address cursor and tear down each other's rules. (2017 handed them no
// name.)
//
// It returns an error when ifname is the name of a secondary's interface.
func (c *Conf) Plan(ifname string) error {
	secondaries := 0
	for i := range c.Delegates {
		d := &c.Delegates[i]
		name := c.Name
		if d.Primary {
			d.IfName = ifname
		} else {
			d.IfName = "net" + strconv.Itoa(secondaries)
			name += "-" + d.IfName
			secondaries++
		}
		if d.Name == "" {
			d.Name = name
		}
	}
	for i, d := range c.Delegates {
		if !d.Primary && d.IfName == ifname {
			return types.NewError(types.ErrInvalidEnvironmentVariables,
				"CNI_IFNAME="+ifname+" is the name that delegate "+strconv.Itoa(i)+" gets: choose another one for the primary", "")
		}
	}
	return nil
}

// Inputs is what the request of one call holds beside the configuration.
// Zero fields are left out.
type Inputs struct {
	RuntimeConfig    Object          // of the whole attachment; the plugin gets its share
	PrevResult       json.RawMessage // in the plugin's own CNI version
	ValidAttachments json.RawMessage // for GC only
}

// Request returns what the i-th plugin of the delegate reads from stdin: its
// own configuration with what the CNI spec derives (section 3, "Deriving
// request configuration from plugin configuration").
func (d *Delegate) Request(i int, in Inputs) []byte {
	p := &d.Plugins[i]
	request := p.Config.without("masterplugin", "capabilities")
	if d.List || isUnset(request.Get("name")) {
		request = request.set("name", quote(d.Name))
	}
	if d.List || p.Inherited || isUnset(request.Get("cniVersion")) {
		request = request.set("cniVersion", quote(p.CNIVersion))
	}
	if share := p.runtimeConfig(in.RuntimeConfig); len(share) > 0 {
		text, _ := share.MarshalJSON() // never fails: it only joins text
		request = request.set("runtimeConfig", text)
	}
	if in.PrevResult != nil {
		request = request.set("prevResult", in.PrevResult)
	}
	if in.ValidAttachments != nil {
		request = request.set("cni.dev/valid-attachments", in.ValidAttachments)
	}
	text, _ := request.MarshalJSON()
	return text
}

// runtimeConfig picks what the plugin declares itself capable of. No key is
// known by name: conventions grow without us.
func (p *Plugin) runtimeConfig(all Object) Object {
	m := p.Config.Get("capabilities")
	if m == nil || len(all) == 0 {
		return nil
	}
	capabilities, err := parseObject(m.Value, 0)
	if err != nil { // not reachable: Parse refuses it
		return nil
	}
	var share Object
	for _, entry := range all {
		if c := capabilities.Get(entry.Key); c != nil && string(c.Value) == "true" {
			share = append(share, entry)
		}
	}
	return share
}

func isUnset(m *Member) bool {
	return m == nil || string(m.Value) == `""`
}
