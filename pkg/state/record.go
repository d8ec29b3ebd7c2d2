// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"multus-cni/pkg/netconf"
	"multus-cni/pkg/rawjson"
)

// formatVersion is the version of the record's format that this multus writes
// and reads.
const formatVersion = 1

// Key names one attachment.
type Key struct {
	Network     string // the name of the multus network
	ContainerID string
	IfName      string // CNI_IFNAME, the interface of the primary
}

// Record is what multus must know of an attachment to check it, and to undo
// it long after its configuration has changed.
type Record struct {
	Format      int    `json:"format"`
	Network     string `json:"network"`
	ContainerID string `json:"containerID"`
	IfName      string `json:"ifname"`

	Netns   string `json:"netns"`   // path, as CNI_NETNS gave it
	NetnsID string `json:"netnsID"` // what tells it from others of this boot, see route.ID
	BootID  string `json:"bootID"`  // of the boot in which the pod was attached, see random(4)

	CNIVersion    string         `json:"cniVersion"` // of the conf
	CNIArgs       string         `json:"cniArgs,omitempty"`
	RuntimeConfig rawjson.Object `json:"runtimeConfig,omitempty"`

	Delegates []Delegate `json:"delegates"` // all of them, in list order
	// Complete says that ADD has succeeded. Until then, and when ADD failed and
	// could not be undone, some delegates may be attached and others not.
	Complete bool `json:"complete,omitempty"`

	// DefaultRoute tells through which interface the pod's default route of a
	// family, "ipv4" or "ipv6", leads. It has no entry for a family without one.
	DefaultRoute map[string]string `json:"defaultRoute,omitempty"`
}

// Delegate is one delegate of an attachment and what its ADD returned.
type Delegate struct {
	netconf.Delegate
	Result json.RawMessage `json:"result,omitempty"` // absent until ADD has ended
}

// Key returns the attachment that the record is of.
func (r *Record) Key() Key { return Key{r.Network, r.ContainerID, r.IfName} }

// decode reads a record and sees that it is the one of that attachment.
func decode(text []byte, key Key) (*Record, error) {
	r := &Record{}
	if err := json.Unmarshal(text, r); err != nil {
		return nil, err
	}
	if r.Format != formatVersion {
		return nil, fmt.Errorf("its format is %d, this multus reads %d", r.Format, formatVersion)
	}
	if r.Key() != key {
		return nil, fmt.Errorf("it is the record of %v", r.Key())
	}
	if len(r.Delegates) == 0 {
		return nil, errors.New("it lists no delegates")
	}
	if r.NetnsID == "" {
		return nil, errors.New("it does not tell the network namespace")
	}
	for i, d := range r.Delegates {
		if d.Result != nil && d.Result[0] != '{' {
			return nil, fmt.Errorf("the result of delegate %d is no object", i)
		}
		for _, p := range d.Plugins {
			if p.Type == "" || strings.ContainsAny(p.Type, "/\\\x00") {
				return nil, fmt.Errorf("delegate %d has no type that is a plugin's name: %q", i, p.Type)
			}
		}
		if len(d.Plugins) == 0 {
			return nil, fmt.Errorf("delegate %d lists no plugins", i)
		}
	}
	return r, nil
}

// BootID identifies the boot that the node is in. Nothing that was in a
// network namespace outlives it.
func BootID() (string, error) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("read the node's boot id: %w", err)
	}
	return strings.TrimSpace(string(id)), nil
}
