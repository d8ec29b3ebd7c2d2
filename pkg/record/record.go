// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Package record keeps one file for each attachment: what multus must know to
// check it, and to undo it long after its configuration has changed.
//
// The package owns the format of these files. Its types and JSON keys are used
// for nothing else, so that a change elsewhere cannot make the records of
// running pods unreadable. Every format that was ever released can be read:
// testdata/golden holds a record of each.
//
// # Formats
//
// A file is one JSON object with the member "format". A new optional member
// does not change the format: an older multus ignores it. Changing the meaning
// of a member, or adding one without which an attachment cannot be undone,
// requires a new format number. Load returns a *NewerError for a newer format.
// Then every verb refuses to work on the attachment, and the file is left in
// place for the multus that wrote it.
//
// While an ADD runs, lines follow the object. Each is one JSON object: what a
// plugin of a list delegate has returned. Save at the end of the ADD writes the
// record whole again. After an ADD that was killed, the record still has these
// lines; a multus from before they were introduced treats it as damaged.
//
// # Limitation
//
// Nothing is synced to disk. A record matters as long as the pod's network
// namespace exists, and that does not survive a power cut. After a power cut a
// record may be incomplete: Load returns a *DamagedError.
package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// formatVersion is the format that this multus writes, and the newest that it
// reads.
const formatVersion = 1

// Record is one attachment.
type Record struct {
	Format      int    `json:"format"` // set by Save
	Network     string `json:"network"`
	ContainerID string `json:"containerID"`
	IfName      string `json:"ifname"` // CNI_IFNAME, the interface of the primary

	Netns   string `json:"netns"`   // path, as CNI_NETNS gave it
	NetnsID string `json:"netnsID"` // distinguishes it from the others of this boot; never empty
	BootID  string `json:"bootID"`  // of the boot in which the pod was attached, see random(4)

	CNIVersion    string          `json:"cniVersion"` // of the conf
	CNIArgs       string          `json:"cniArgs,omitempty"`
	RuntimeConfig json.RawMessage `json:"runtimeConfig,omitempty"` // an object, or nil

	Delegates []Delegate `json:"delegates"` // all of them, in list order
	// Complete reports that ADD has succeeded. Until then, and when ADD failed
	// and could not be undone, some delegates may be attached and others not.
	Complete bool `json:"complete,omitempty"`

	// DefaultRoute maps a family, "ipv4" or "ipv6", to the interface through
	// which the pod's default route leads. A family without one has no entry.
	DefaultRoute map[string]string `json:"defaultRoute,omitempty"`
	// TakenRoutes are default routes that delegates installed and multus removed
	// for good, as returned by defaultroute.Keeper.Taken.
	TakenRoutes []string `json:"takenRoutes,omitempty"`
}

// Delegate is one delegate of an attachment and what its ADD returned.
type Delegate struct {
	Index        int      `json:"index"` // its place in the conf's "delegates", from 0
	Name         string   `json:"name"`  // of its network
	IfName       string   `json:"ifname"`
	Primary      bool     `json:"masterplugin,omitempty"`
	List         bool     `json:"list,omitempty"` // configured with "plugins"
	DisableCheck bool     `json:"disableCheck,omitempty"`
	DisableGC    bool     `json:"disableGC,omitempty"`
	Plugins      []Plugin `json:"plugins"` // exactly one, unless List

	// Result is what the last plugin that has run returned, an object, less the
	// default routes that multus removed for good. It is nil before that, and
	// for an empty result.
	Result json.RawMessage `json:"result,omitempty"`
	// InterfaceSeen reports that IfName was in the pod's network namespace after
	// the last delegate's ADD, or before a DEL that failed. False may also mean
	// that the record was written by a multus that did not look.
	InterfaceSeen bool `json:"interfaceSeen,omitempty"`
}

// Plugin is one plugin of a delegate.
type Plugin struct {
	Type       string `json:"type"`
	CNIVersion string `json:"cniVersion"` // the one it was run with
	// Inherited reports that the configuration has no version of its own, so
	// that another one may be chosen if the plugin refuses this one.
	Inherited bool            `json:"inherited,omitempty"`
	Config    json.RawMessage `json:"config"` // an object, as written in the conf
}

// Key returns the attachment of the record.
func (r *Record) Key() Key { return Key{r.Network, r.ContainerID, r.IfName} }

// Types returns the types of the delegate's plugins.
func (d *Delegate) Types() []string {
	types := make([]string, len(d.Plugins))
	for i, p := range d.Plugins {
		types[i] = p.Type
	}
	return types
}

// check returns an error for a record from which DEL could not work.
func (r *Record) check() error {
	switch {
	case len(r.Delegates) == 0:
		return errors.New("no delegates")
	case r.NetnsID == "":
		return errors.New("no network namespace")
	case r.RuntimeConfig != nil && !isObject(r.RuntimeConfig):
		return errors.New("runtimeConfig is not an object")
	}
	for i := range r.Delegates {
		if err := r.Delegates[i].check(); err != nil {
			return fmt.Errorf("delegate %d: %w", i, err)
		}
	}
	return nil
}

func (d *Delegate) check() error {
	if d.Result != nil && !isObject(d.Result) {
		return errors.New("result is not an object")
	}
	if len(d.Plugins) == 0 {
		return errors.New("no plugins")
	}
	for _, p := range d.Plugins {
		if p.Type == "" || p.Type == "." || p.Type == ".." || strings.ContainsAny(p.Type, "/\\\x00") {
			return fmt.Errorf("invalid plugin type %q: it must be the name of a binary", p.Type)
		}
		if !isObject(p.Config) {
			return fmt.Errorf("plugin %q: config is not an object", p.Type)
		}
	}
	return nil
}

// isObject reports whether a valid JSON value is an object. The JSON decoder
// leaves no space before a raw value.
func isObject(value json.RawMessage) bool { return len(value) > 0 && value[0] == '{' }
