// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package netconf

import (
	"encoding/json"
	"errors"
	"fmt"

	"multus-cni/pkg/rawjson"
)

// ReadFile reads the text of a conf file, .conf or .conflist, as a delegate with
// the interface ifname, for callers that run the plugins of the file as a runtime
// does. The keys "masterplugin" and "ifname" are ignored at the top of the file;
// no plugin gets them.
func ReadFile(text []byte, ifname string) (Delegate, error) {
	object, err := rawjson.ParseObject(text, 0)
	if err != nil {
		return Delegate{}, notObject(text, err)
	}
	if isUnset(object.Get("name")) {
		return Delegate{}, errors.New(`"name" is missing`)
	}
	only := object.Without("ifname").Set("masterplugin", json.RawMessage("true")).Text()
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
