// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

// Package netconf reads the configuration of multus and plans from it what
// each delegate gets: its network name, its CNI version, its interface name
// and the request on its stdin.
//
// It reads only what multus itself must know of a delegate. The rest of a
// delegate's configuration is checked by its plugin alone.
package netconf

import (
	"encoding/json"
	"errors"
	"slices"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/version"

	"multus-cni/pkg/rawjson"
)

// DefaultCNIDir is where the records are kept when the conf says nothing,
// the directory that 2017's multus used.
const DefaultCNIDir = "/var/lib/cni/multus"

// MaxNameLength is the longest network name, in bytes, with which every pod
// can be attached. The record's file name, at most 255 bytes long, holds it
// beside a container id of 64 characters, an interface name of 15 bytes, two
// separators and the longest suffix, ".json.damaged". Parse accepts
// longer names, because their pods must be deletable.
const MaxNameLength = 255 - 64 - 15 - len("::.json.damaged")

// Conf is the configuration of multus: a network that is made of other
// networks. It does not change after it has been read.
type Conf struct {
	Name       string
	CNIVersion string // "0.1.0" where the conf has none, as in the CNI spec
	CNIDir     string // absolute
	// Delegates are as written: Name and IfName are "" where the conf leaves
	// them out. See Plan.
	Delegates []Delegate

	LogFile  string // absolute; "" for no log
	LogLevel string // one of LogLevels, or "" for the default

	// What the runtime adds to the conf of one call.
	RuntimeConfig    rawjson.Object
	PrevResult       json.RawMessage
	ValidAttachments []types.GCAttachment

	Members rawjson.Object // the conf as written
}

// Delegate is one network of a pod: a plugin, or a list of plugins that work
// on one interface.
type Delegate struct {
	Index        int // its place in "delegates", counted from 0
	Name         string
	IfName       string
	Primary      bool
	List         bool // has "plugins", which share its name and version
	DisableCheck bool
	DisableGC    bool
	Plugins      []Plugin // one, unless List

	Members rawjson.Object // the delegate as written
}

// Plugin is one plugin of a delegate.
type Plugin struct {
	Type       string
	CNIVersion string
	// Inherited reports that the delegate sets no version of its own, so that
	// another one may be chosen if the plugin refuses this one.
	Inherited bool
	Config    rawjson.Object // as written in the conf
}

// Types returns the types of the delegate's plugins.
func (d Delegate) Types() []string {
	types := make([]string, len(d.Plugins))
	for i, p := range d.Plugins {
		types[i] = p.Type
	}
	return types
}

// LogLevels are the values that "logLevel" may have.
func LogLevels() []string { return []string{"error", "info", "debug"} }

// HighestVersion returns the latest of these versions of the CNI spec that
// multus supports, "" when it supports none of them.
func HighestVersion(versions []string) string {
	for _, v := range slices.Backward(version.All.SupportedVersions()) { // they are in ascending order
		if slices.Contains(versions, v) {
			return v
		}
	}
	return ""
}

// Parse reads the conf that the runtime sent. If the conf has mistakes, the
// error is of type Problems and lists all of them.
//
// With Problems, Parse returns the conf as far as it could be read, or nil when
// the name of the network or the directory of the records could not: these two
// are all that a DEL with a record needs.
func Parse(text []byte) (*Conf, error) {
	object, err := rawjson.ParseObject(text, 0)
	if err != nil {
		return nil, notObject(text, err)
	}
	conf, err := Read(object, 0)
	if conf.Name == "" || conf.CNIDir == "" {
		return nil, err
	}
	return conf, err
}

// Read reads a conf from the JSON object that rawjson has made of it. pos is the
// offset of the object in its document, for a Problem that concerns the whole
// object. The error is Problems; the conf is never nil, but lacks what the
// Problems are about.
func Read(object rawjson.Object, pos int) (*Conf, error) {
	r := &reader{delegate: -1}
	conf := r.conf(object, pos)
	if len(r.problems) == 0 {
		return conf, nil
	}
	return conf, r.problems
}

// notObject makes a problem of a text that holds no JSON object.
func notObject(text []byte, err error) Problems {
	p := &Problem{Code: types.ErrDecodingFailure, Delegate: -1, Msg: err.Error()}
	var syntax *rawjson.SyntaxError
	if errors.As(err, &syntax) {
		p.Pos, p.Msg = syntax.Pos, "not JSON: "+syntax.Msg
	} else if errors.Is(err, rawjson.ErrNotObject) {
		p.Msg = "the configuration must be an object, not " + kindOf(text)
	}
	return Problems{p}
}
