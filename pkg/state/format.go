// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package state

import (
	"bytes"
	"encoding/json"

	"multus-cni/pkg/netconf"
	"multus-cni/pkg/rawjson"
)

// delegateFormat is how a delegate is written to disk.
type delegateFormat struct {
	Index        int             `json:"index"`
	Name         string          `json:"name"`
	IfName       string          `json:"ifname"`
	Primary      bool            `json:"masterplugin,omitempty"`
	List         bool            `json:"list,omitempty"`
	DisableCheck bool            `json:"disableCheck,omitempty"`
	DisableGC    bool            `json:"disableGC,omitempty"`
	Plugins      []pluginFormat  `json:"plugins"`
	Result       json.RawMessage `json:"result,omitempty"`
}

type pluginFormat struct {
	Type       string         `json:"type"`
	CNIVersion string         `json:"cniVersion"`
	Inherited  bool           `json:"inherited,omitempty"`
	Config     rawjson.Object `json:"config"`
}

// MarshalJSON writes the delegate in the format of the record.
func (d Delegate) MarshalJSON() ([]byte, error) {
	f := delegateFormat{
		Index: d.Index, Name: d.Name, IfName: d.IfName, Primary: d.Primary, List: d.List,
		DisableCheck: d.DisableCheck, DisableGC: d.DisableGC, Result: d.Result,
	}
	for _, p := range d.Plugins {
		f.Plugins = append(f.Plugins, pluginFormat(p))
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false) // a configuration keeps its text
	err := encoder.Encode(f)
	return text.Bytes(), err
}

// UnmarshalJSON reads a delegate in the format of the record.
func (d *Delegate) UnmarshalJSON(text []byte) error {
	var f delegateFormat
	if err := json.Unmarshal(text, &f); err != nil {
		return err
	}
	*d = Delegate{Delegate: netconf.Delegate{
		Index: f.Index, Name: f.Name, IfName: f.IfName, Primary: f.Primary, List: f.List,
		DisableCheck: f.DisableCheck, DisableGC: f.DisableGC,
	}, Result: f.Result}
	for _, p := range f.Plugins {
		d.Plugins = append(d.Plugins, netconf.Plugin(p))
	}
	return nil
}
