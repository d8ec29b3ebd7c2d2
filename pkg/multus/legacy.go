// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package multus

import (
	"bytes"
	"encoding/json"

	"multus-cni/pkg/netconf"
	"multus-cni/pkg/rawjson"
	"multus-cni/pkg/record"
)

// fromLegacy makes a record from the one that another Multus left for a
// container. A legacy record names neither the network, which the conf does,
// nor the network namespace, which the runtime does.
func fromLegacy(old *record.Legacy, conf *netconf.Conf, key record.Key) (*record.Record, error) {
	text, err := legacyConf(old, conf)
	if err != nil {
		return nil, err
	}
	parsed, err := netconf.Parse(text)
	if err != nil {
		return nil, err
	}
	delegates, err := parsed.Plan(key.IfName)
	if err != nil {
		return nil, err
	}
	r := newRecord(key, delegates, conf.RuntimeConfig)
	r.Complete = true
	return r, nil
}

// isLegacy reports whether fromLegacy has made the record. Such a record is never
// saved.
func isLegacy(r *record.Record) bool { return r.NetnsID == "" }

// legacyConf builds a multus conf under which the delegates get the interface
// names that they have in the legacy record.
func legacyConf(old *record.Legacy, conf *netconf.Conf) ([]byte, error) {
	var delegates [][]byte
	for _, d := range old.Delegates {
		object, err := rawjson.ParseObject(d.Conf, 0)
		if err != nil {
			return nil, err
		}
		object = object.Without("masterplugin", "ifname")
		if d.Primary {
			object = object.Set("masterplugin", json.RawMessage("true"))
		} else if d.IfName != "" {
			object = object.Set("ifname", rawjson.Quote(d.IfName))
		}
		delegates = append(delegates, object.Text())
	}
	list := append(append([]byte{'['}, bytes.Join(delegates, []byte{','})...), ']')
	return rawjson.Object{}.Set("name", rawjson.Quote(conf.Name)).Set("cniVersion", rawjson.Quote(conf.CNIVersion)).
		Set("delegates", list).Text(), nil
}
