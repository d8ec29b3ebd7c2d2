// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package netconf

import (
	"encoding/json"
	"errors"
	"fmt"

	"multus-cni/pkg/rawjson"
)

// ReadFile reads the text of a conf file, .conf and .conflist alike, for who
// runs its plugins as a runtime does: for the interface ifname, each plugin
// with the name and the version of the list.
//
// A runtime does with a conf what multus does with a delegate, so that is what
// the text is read as. The keys "masterplugin" and "ifname" are not refused at
// its top; no plugin is handed them.
func ReadFile(text []byte, ifname string) (Delegate, error) {
	object, err := rawjson.ParseObject(text, 0)
	if err != nil {
		return Delegate{}, notObject(text, err)
	}
	if isUnset(object.Get("name")) {
		return Delegate{}, errors.New(`"name" is missing`)
	}
	only, err := object.Without("ifname").Set("masterplugin", json.RawMessage("true")).MarshalJSON()
	if err != nil {
		return Delegate{}, err
	}
	conf, err := Parse(fmt.Appendf(nil, `{"name": "file", "type": "multus", "delegates": [%s]}`, only))
	if err != nil {
		return Delegate{}, err
	}
	plan, err := conf.Plan(ifname)
	if err != nil {
		return Delegate{}, err
	}
	return plan[0], nil
}
