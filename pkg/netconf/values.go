// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package netconf

import (
	"bytes"
	"cmp"
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/utils"
	"github.com/containernetworking/cni/pkg/version"

	"multus-cni/pkg/rawjson"
)

// networkName reads the name that a member holds, "" when there is none or it
// is invalid.
func (r *reader) networkName(m *rawjson.Member) string {
	name := r.text(m)
	if name == "" {
		return ""
	}
	if err := utils.ValidateNetworkName(name); err != nil {
		r.report(types.ErrInvalidNetworkConfig, "name", m.Pos,
			"must be letters, digits, '_', '.' and '-', the first a letter or a digit, not %q", name)
		return ""
	}
	return name
}

// confVersion reads the version of the conf itself. Where it is invalid, what
// is DELed all the same is DELed at the latest version.
func (r *reader) confVersion(object rawjson.Object) string {
	if isUnset(object.Get("cniVersion")) {
		return "0.1.0"
	}
	return cmp.Or(r.cniVersion(object), version.Current())
}

// cniVersion reads a version, "" when there is none or it is not supported.
func (r *reader) cniVersion(object rawjson.Object) string {
	v := r.str(object, "cniVersion")
	if v == "" {
		return ""
	}
	if HighestVersion([]string{v}) == "" {
		r.report(types.ErrInvalidNetworkConfig, "cniVersion", object.Get("cniVersion").Pos,
			"must be one of %s, not %q", strings.Join(version.All.SupportedVersions(), ", "), v)
		return ""
	}
	return v
}

// listVersion reads the version of a list, which can name several of them: as
// in libcni, the highest that is supported counts.
func (r *reader) listVersion(object rawjson.Object) string {
	m := optional(object, "cniVersions")
	if m == nil {
		return r.cniVersion(object)
	}
	elements, _ := r.elements(m)
	versions := []string{r.str(object, "cniVersion")}
	for _, element := range elements {
		v, ok := rawjson.String(element.Value)
		if !ok {
			r.report(types.ErrDecodingFailure, m.Key, element.Pos, "must hold strings only, not %s", kindOf(element.Value))
		}
		versions = append(versions, v)
	}
	highest := HighestVersion(versions)
	if highest == "" && len(elements) > 0 {
		r.report(types.ErrInvalidNetworkConfig, m.Key, m.Pos,
			"must hold one of %s", strings.Join(version.All.SupportedVersions(), ", "))
	}
	return highest
}

// elements splits a list.
func (r *reader) elements(m *rawjson.Member) ([]rawjson.Member, bool) {
	elements, err := rawjson.Elements(m.Value, m.Pos)
	if err != nil {
		r.report(types.ErrDecodingFailure, m.Key, m.Pos, "must be a list, not %s", kindOf(m.Value))
		return nil, false
	}
	return elements, true
}

func (r *reader) noDuplicate(object rawjson.Object) {
	if m := object.Duplicate(); m != nil {
		r.report(types.ErrInvalidNetworkConfig, m.Key, m.Pos, "is a duplicate key")
	}
}

// path reads an absolute path, "" when there is none or it is invalid.
func (r *reader) path(object rawjson.Object, key string) string {
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

func (r *reader) logLevel(object rawjson.Object) string {
	level := r.str(object, "logLevel")
	if level != "" && !slices.Contains(LogLevels(), level) {
		r.report(types.ErrInvalidNetworkConfig, "logLevel", object.Get("logLevel").Pos,
			"must be one of %s, not %q", strings.Join(LogLevels(), ", "), level)
	}
	return level
}

// str reads a string that may be left out, "" when there is none.
func (r *reader) str(object rawjson.Object, key string) string {
	return r.text(optional(object, key))
}

// text reads the string that a member holds, "" when it holds none.
func (r *reader) text(m *rawjson.Member) string {
	if m == nil {
		return ""
	}
	s, ok := rawjson.String(m.Value)
	if !ok {
		r.report(types.ErrDecodingFailure, m.Key, m.Pos, "must be a string, not %s", kindOf(m.Value))
	}
	return s
}

func (r *reader) boolean(object rawjson.Object, key string) bool {
	m := optional(object, key)
	if m != nil && !isBoolean(m.Value) {
		r.report(types.ErrDecodingFailure, key, m.Pos, "must be true or false, not %s", kindOf(m.Value))
	}
	return m.IsTrue()
}

// listBoolean reads a boolean of a list, which can be a string: libcni accepts
// "true" and "false" in upper and lower case.
func (r *reader) listBoolean(object rawjson.Object, key string) bool {
	switch strings.ToLower(object.Get(key).String()) {
	case "true":
		return true
	case "false":
		return false
	}
	return r.boolean(object, key)
}

func (r *reader) object(object rawjson.Object, key string) rawjson.Object {
	m := optional(object, key)
	if m == nil {
		return nil
	}
	inner, err := rawjson.ParseObject(m.Value, m.Pos)
	if err != nil {
		r.report(types.ErrDecodingFailure, key, m.Pos, "must be an object, not %s", kindOf(m.Value))
	}
	return inner
}

// optional returns a member that may be left out, nil when it is. A member that
// is null counts as left out.
func optional(object rawjson.Object, key string) *rawjson.Member {
	if m := object.Get(key); m != nil && !isNull(m) {
		return m
	}
	return nil
}

func isNull(m *rawjson.Member) bool { return string(m.Value) == "null" }

// isUnset reports whether a string is left out or empty.
func isUnset(m *rawjson.Member) bool {
	return m == nil || isNull(m) || string(m.Value) == `""`
}

func isBoolean(value json.RawMessage) bool {
	return string(value) == "true" || string(value) == "false"
}

// kindOf names a JSON value in an error text: a scalar as it is, cut if it is
// long, and an object or a list by its kind.
func kindOf(value json.RawMessage) string {
	value = bytes.TrimSpace(value)
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
