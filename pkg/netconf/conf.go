// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

// Package netconf reads the configuration of multus and plans from it what
// each delegate gets: its network name, its CNI version, its interface name
// and the request on its stdin.
//
// It only knows what multus itself must know of a delegate. Whether the rest
// of a delegate's configuration makes sense is for its plugin to say.
package netconf

import (
	"bytes"
	"encoding/json"
	"errors"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/utils"
	"github.com/containernetworking/cni/pkg/version"
)

// DefaultCNIDir is where the records are kept when the conf says nothing,
// the folder that 2017's multus used.
const DefaultCNIDir = "/var/lib/cni/multus"

// Conf is the configuration of multus: a network that is made of other
// networks.
type Conf struct {
	Name       string
	CNIVersion string // "0.1.0" where the conf has none, as in the CNI spec
	CNIDir     string // absolute
	Delegates  []Delegate

	LogFile  string // absolute; "" for no log
	LogLevel string // one of LogLevels, or "" for the default

	// What the runtime adds to the conf of one call.
	RuntimeConfig    Object
	PrevResult       json.RawMessage
	ValidAttachments []types.GCAttachment
}

// Delegate is one network of a pod: a plugin, or a list of plugins that work
// on one interface.
type Delegate struct {
	Index        int      `json:"index"` // its place in "delegates", counted from 0
	Name         string   `json:"name"`
	IfName       string   `json:"ifname"`
	Primary      bool     `json:"masterplugin,omitempty"`
	List         bool     `json:"list,omitempty"` // written with "plugins": they share name and version
	DisableCheck bool     `json:"disableCheck,omitempty"`
	DisableGC    bool     `json:"disableGC,omitempty"`
	Plugins      []Plugin `json:"plugins"` // one, unless List
}

// Plugin is one plugin of a delegate.
type Plugin struct {
	Type       string `json:"type"`
	CNIVersion string `json:"cniVersion"`
	// Inherited says that the delegate does not spell out a version of its
	// own, so that another one may be chosen if the plugin refuses this one.
	Inherited bool   `json:"inherited,omitempty"`
	Config    Object `json:"config"` // as written in the conf
}

// LogLevels are the values that "logLevel" may have.
func LogLevels() []string { return []string{"error", "info", "debug"} }

// Parse reads the conf and reports every problem that it has, as Problems.
// With the Problems comes the conf as far as it could be read, or nil when
// not even the name of the network or the folder of the records is known: a
// DEL that works from its record needs no more than these.
func Parse(data []byte) (*Conf, error) {
	r := &reader{delegate: -1}
	conf := r.conf(data)
	if len(r.problems) == 0 {
		return conf, nil
	}
	return conf, r.problems
}

// reader walks a conf and collects what is wrong with it.
type reader struct {
	delegate int    // the index of the delegate that is being read, or -1
	kind     string // its type, as far as it is known
	problems Problems
}

func (r *reader) conf(data []byte) *Conf {
	object, err := parseObject(data, 0)
	if err != nil {
		r.decodingProblem(data, err)
		return nil
	}
	r.noDuplicate(object)
	conf := &Conf{CNIDir: DefaultCNIDir}
	conf.Name = r.networkName(object)
	if conf.Name == "" {
		if isUnset(object.Get("name")) {
			r.report(types.ErrInvalidNetworkConfig, "name", 0, "is missing")
		}
		return nil
	}
	before := len(r.problems)
	if dir := r.path(object, "cniDir"); dir != "" {
		conf.CNIDir = dir
	}
	if len(r.problems) > before {
		return nil
	}
	conf.LogFile = r.path(object, "logFile")
	conf.LogLevel = r.logLevel(object)
	conf.CNIVersion = r.cniVersion(object)
	if conf.CNIVersion == "" {
		conf.CNIVersion = "0.1.0"
	}
	conf.RuntimeConfig = r.object(object, "runtimeConfig")
	if r.object(object, "prevResult") != nil {
		conf.PrevResult = object.Get("prevResult").Value
	}
	r.validAttachments(object, conf)
	r.delegates(object, conf)
	return conf
}

func (r *reader) validAttachments(object Object, conf *Conf) {
	m := object.Get("cni.dev/valid-attachments")
	if m == nil {
		return
	}
	var list []*types.GCAttachment
	if err := json.Unmarshal(m.Value, &list); err != nil {
		r.report(types.ErrDecodingFailure, m.Key, m.Pos, "must be a list of {containerID, ifname}: %v", err)
		return
	}
	for i, v := range list {
		switch { // GC takes away what is not listed: better nothing than a pod that was meant
		case v == nil:
			r.report(types.ErrDecodingFailure, m.Key, m.Pos, "must be a list of {containerID, ifname}: entry %d is null", i)
		case v.ContainerID == "" || v.IfName == "":
			r.report(types.ErrInvalidNetworkConfig, m.Key, m.Pos, "must name a containerID and an ifname in each entry: entry %d lacks one", i)
		default:
			conf.ValidAttachments = append(conf.ValidAttachments, *v)
		}
	}
}

func (r *reader) delegates(object Object, conf *Conf) {
	m := object.Get("delegates")
	if m == nil {
		r.report(types.ErrInvalidNetworkConfig, "delegates", 0, "is missing: list the networks of a pod there")
		return
	}
	elements, ok := r.elements(m)
	if !ok {
		return
	}
	if len(elements) == 0 {
		r.report(types.ErrInvalidNetworkConfig, "delegates", m.Pos, "is empty: list the networks of a pod there")
		return
	}
	primaries := 0
	for i, element := range elements {
		r.delegate, r.kind = i, ""
		d := r.readDelegate(element, conf)
		if d.Primary {
			if primaries++; primaries == 2 {
				r.report(types.ErrInvalidNetworkConfig, "masterplugin", element.Pos,
					"is true for a second delegate: only one can be the pod's primary network")
			}
		}
		conf.Delegates = append(conf.Delegates, d)
	}
	r.delegate, r.kind = -1, ""
	if primaries == 0 && !r.problems.about("masterplugin") {
		r.report(types.ErrInvalidNetworkConfig, "delegates", m.Pos,
			`has no delegate with "masterplugin": true: say which one is the pod's primary network`)
	}
}

func (r *reader) readDelegate(element Member, conf *Conf) Delegate {
	object, err := parseObject(element.Value, element.Pos)
	if err != nil {
		r.report(types.ErrDecodingFailure, "", element.Pos, "must be an object, not %s", kindOf(element.Value))
		return Delegate{}
	}
	if m := object.Get("type"); m != nil {
		_ = json.Unmarshal(m.Value, &r.kind) // a type that is no string is reported below
	}
	r.noDuplicate(object)
	d := Delegate{Index: r.delegate, Name: r.networkName(object), Primary: r.boolean(object, "masterplugin")}
	cniVersion, inherited := r.cniVersion(object), false
	if cniVersion == "" {
		cniVersion, inherited = conf.CNIVersion, true
	}
	plugins := object.Get("plugins")
	switch {
	case plugins == nil:
		d.Plugins = []Plugin{r.plugin(object, element.Pos)}
	case object.Get("type") != nil:
		r.report(types.ErrInvalidNetworkConfig, "plugins", plugins.Pos,
			`stands beside "type": a delegate is either one plugin or a list of plugins`)
	default:
		d.List = true
		d.DisableCheck = r.boolean(object, "disableCheck")
		d.DisableGC = r.boolean(object, "disableGC")
		d.Plugins = r.plugins(plugins)
	}
	for i := range d.Plugins {
		d.Plugins[i].CNIVersion, d.Plugins[i].Inherited = cniVersion, inherited
	}
	return d
}

func (r *reader) plugins(m *Member) []Plugin {
	elements, ok := r.elements(m)
	if !ok {
		return nil
	}
	if len(elements) == 0 {
		r.report(types.ErrInvalidNetworkConfig, "plugins", m.Pos, "is empty: a list delegate needs at least one plugin")
	}
	plugins := make([]Plugin, 0, len(elements))
	for _, element := range elements {
		object, err := parseObject(element.Value, element.Pos)
		if err != nil {
			r.report(types.ErrDecodingFailure, "plugins", element.Pos, "must hold objects only, not %s", kindOf(element.Value))
			continue
		}
		r.noDuplicate(object)
		if m := object.Get("masterplugin"); m != nil {
			r.report(types.ErrInvalidNetworkConfig, "masterplugin", m.Pos, `belongs beside "plugins", not inside of it`)
		}
		plugins = append(plugins, r.plugin(object, element.Pos))
	}
	return plugins
}

func (r *reader) plugin(object Object, pos int) Plugin {
	p := Plugin{Type: r.str(object, "type"), Config: object}
	switch m := object.Get("type"); {
	case m == nil:
		r.report(types.ErrInvalidNetworkConfig, "type", pos, "is missing: name the plugin's binary")
	case p.Type == "" && string(m.Value) == `""`, p.Type == ".", p.Type == "..":
		r.report(types.ErrInvalidNetworkConfig, "type", m.Pos, "must name the plugin's binary, not %q", p.Type)
	case strings.ContainsAny(p.Type, "/\\\x00"):
		r.report(types.ErrInvalidNetworkConfig, "type", m.Pos,
			"must be the name of a binary on CNI_PATH, not a path: %q", p.Type)
	}
	for _, c := range r.object(object, "capabilities") {
		if !isBoolean(c.Value) {
			r.report(types.ErrDecodingFailure, "capabilities", c.Pos, "must hold true or false for %q, not %s", c.Key, kindOf(c.Value))
		}
	}
	return p
}

// networkName reads a name, "" when there is none or it is no good.
func (r *reader) networkName(object Object) string {
	name := r.str(object, "name")
	if name == "" {
		return ""
	}
	if err := utils.ValidateNetworkName(name); err != nil {
		r.report(types.ErrInvalidNetworkConfig, "name", object.Get("name").Pos,
			"must be letters, digits, '_', '.' and '-', the first a letter or a digit, not %q", name)
		return ""
	}
	return name
}

// cniVersion reads a version, "" when there is none or it is no good.
func (r *reader) cniVersion(object Object) string {
	v := r.str(object, "cniVersion")
	if v != "" && !slices.Contains(version.All.SupportedVersions(), v) {
		r.report(types.ErrInvalidNetworkConfig, "cniVersion", object.Get("cniVersion").Pos,
			"must be one of %s, not %q", strings.Join(version.All.SupportedVersions(), ", "), v)
		return ""
	}
	return v
}

// path reads an absolute path, "" when there is none or it is no good.
func (r *reader) path(object Object, key string) string {
	path := r.str(object, key)
	if path == "" {
		return ""
	}
	if !filepath.IsAbs(path) {
		r.report(types.ErrInvalidNetworkConfig, key, object.Get(key).Pos, "must be an absolute path, not %q", path)
		return ""
	}
	return filepath.Clean(path)
}

func (r *reader) logLevel(object Object) string {
	level := r.str(object, "logLevel")
	if level != "" && !slices.Contains(LogLevels(), level) {
		r.report(types.ErrInvalidNetworkConfig, "logLevel", object.Get("logLevel").Pos,
			"must be one of %s, not %q", strings.Join(LogLevels(), ", "), level)
	}
	return level
}

func (r *reader) str(object Object, key string) string {
	m := object.Get(key)
	if m == nil {
		return ""
	}
	var s string
	if m.Value[0] != '"' || json.Unmarshal(m.Value, &s) != nil {
		r.report(types.ErrDecodingFailure, key, m.Pos, "must be a string, not %s", kindOf(m.Value))
	}
	return s
}

func (r *reader) boolean(object Object, key string) bool {
	m := object.Get(key)
	if m != nil && !isBoolean(m.Value) {
		r.report(types.ErrDecodingFailure, key, m.Pos, "must be true or false, not %s", kindOf(m.Value))
	}
	return m != nil && string(m.Value) == "true"
}

func (r *reader) object(object Object, key string) Object {
	m := object.Get(key)
	if m == nil {
		return nil
	}
	inner, err := parseObject(m.Value, m.Pos)
	if err != nil {
		r.report(types.ErrDecodingFailure, key, m.Pos, "must be an object, not %s", kindOf(m.Value))
	}
	return inner
}

// elements splits a JSON array. The elements are members without a key.
func (r *reader) elements(m *Member) ([]Member, bool) {
	dec := json.NewDecoder(bytes.NewReader(m.Value))
	if open, err := dec.Token(); err != nil || open != json.Delim('[') {
		r.report(types.ErrDecodingFailure, m.Key, m.Pos, "must be a list, not %s", kindOf(m.Value))
		return nil, false
	}
	var elements []Member
	for dec.More() {
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil { // not reachable: the whole document was decoded before
			r.report(types.ErrDecodingFailure, m.Key, m.Pos, "%v", err)
			return nil, false
		}
		elements = append(elements, Member{Value: value, Pos: m.Pos + int(dec.InputOffset()) - len(value)})
	}
	return elements, true
}

func (r *reader) noDuplicate(object Object) {
	if m := object.duplicate(); m != nil {
		r.report(types.ErrInvalidNetworkConfig, m.Key, m.Pos, "stands there twice")
	}
}

func (r *reader) decodingProblem(data []byte, err error) {
	msg := err.Error()
	if errors.Is(err, errNotObject) {
		msg = "the configuration must be an object, not " + kindOf(data)
	}
	r.report(types.ErrDecodingFailure, "", syntaxPos(data), "%s", msg)
}

// syntaxPos returns the offset of the first byte that is wrong in what is no
// JSON, the end where something is missing there, and 0 for what is JSON. (The
// offsets of a json.Decoder are those of the value that it reads.)
func syntaxPos(data []byte) int {
	var syntax *json.SyntaxError
	var raw json.RawMessage
	if !errors.As(json.Unmarshal(data, &raw), &syntax) {
		return 0
	}
	if strings.HasPrefix(syntax.Error(), "unexpected end") {
		return len(data)
	}
	return int(syntax.Offset) - 1 // it counts the byte that it stumbled over
}

func isBoolean(value json.RawMessage) bool {
	return string(value) == "true" || string(value) == "false"
}

// kindOf names a JSON value in an error text: scalars as they are, as far as
// they are short, and what holds others by its kind.
func kindOf(value json.RawMessage) string {
	value = bytes.TrimLeft(value, " \t\r\n")
	switch {
	case len(value) == 0:
		return "nothing"
	case value[0] == '{':
		return "an object"
	case value[0] == '[':
		return "a list"
	case len(value) > 40:
		return string(value[:40]) + "..."
	}
	return string(value)
}
