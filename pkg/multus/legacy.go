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

// fromLegacy makes a record of what another Multus has left of a container.
// Such a record does not say which network it is of, nor in which namespace
// the pod is: the first is left to the conf, the second to the runtime.
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
	r := &record.Record{Network: key.Network, ContainerID: key.ContainerID, IfName: key.IfName, Complete: true}
	if conf.RuntimeConfig != nil {
		if r.RuntimeConfig, err = conf.RuntimeConfig.MarshalJSON(); err != nil {
			return nil, err
		}
	}
	for _, d := range delegates {
		rd, err := toRecord(d)
		if err != nil {
			return nil, err
		}
		r.Delegates = append(r.Delegates, rd)
	}
	return r, nil
}

// isLegacy reports whether fromLegacy has made a record: it is not saved then,
// and the file that it was read from is not a record of multus's format.
func isLegacy(r *record.Record) bool { return r.NetnsID == "" }

// legacyConf writes the conf of multus with which the delegates get the
// interfaces that they have.
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
		text, err := object.MarshalJSON()
		if err != nil {
			return nil, err
		}
		delegates = append(delegates, text)
	}
	list := append(append([]byte{'['}, bytes.Join(delegates, []byte{','})...), ']')
	return rawjson.Object{}.Set("name", rawjson.Quote(conf.Name)).Set("cniVersion", rawjson.Quote(conf.CNIVersion)).
		Set("delegates", list).MarshalJSON()
}
