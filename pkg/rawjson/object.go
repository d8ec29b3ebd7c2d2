// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

// Package rawjson reads JSON objects and keeps what their author wrote: the
// members in their order, each value as text, with its offset in the document.
//
// A round trip through map[string]any would turn 9007199254740993 into
// 9007199254740992 and 1.10 into 1.1. This package keeps a value as text until a
// caller asks for its meaning.
//
// The package accepts the documents that encoding/json accepts, with one
// limit of its own: objects and lists can be nested 1000 deep.
package rawjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"unicode/utf8"
)

// Member is one key and value of a JSON object, or a value of a list, which
// has no key.
type Member struct {
	Key   string
	Value json.RawMessage // as written, without the white space around it
	Pos   int             // offset of the value, in bytes from the start of the document

	quoted []byte // the key as written, nil for a member that was not read
}

// Object is a JSON object whose members keep their order and their text. Its
// methods never change it.
type Object []Member

// ErrNotObject is the error for a JSON value that is not an object.
var ErrNotObject = errors.New("not a JSON object")

// ErrNotList is the error for a JSON value that is not a list.
var ErrNotList = errors.New("not a JSON list")

// ParseObject splits a JSON object into its members, which share the memory
// of text. pos is the offset of text in the document, for Member.Pos. The
// error is a *SyntaxError for invalid JSON and ErrNotObject for a value of
// another kind.
func ParseObject(text []byte, pos int) (Object, error) {
	members, err := parse(text, pos, '{', ErrNotObject)
	return Object(members), err
}

// Elements splits a JSON list into its values, which share its memory. pos is
// the offset of the list in the document. The error is a *SyntaxError for
// invalid JSON and ErrNotList for a value of another kind.
func Elements(list json.RawMessage, pos int) ([]Member, error) {
	return parse(list, pos, '[', ErrNotList)
}

func parse(text []byte, pos int, opener byte, wrongKind error) ([]Member, error) {
	s := scanner{text: text, base: pos}
	members := make([]Member, 0, 8)
	if err := s.document(&members); err != nil {
		return nil, err
	}
	if bytes.TrimSpace(text)[0] != opener {
		return nil, wrongKind
	}
	return members, nil
}

// Object returns the object that the member holds, nil when it holds none. Like
// the other methods, it can be called on a nil Member, which holds nothing.
func (m *Member) Object() Object {
	if m == nil {
		return nil
	}
	o, _ := ParseObject(m.Value, m.Pos) // nil with an error
	return o
}

// Elements returns the list that the member holds, nil when it holds none.
func (m *Member) Elements() []Member {
	if m == nil {
		return nil
	}
	list, _ := Elements(m.Value, m.Pos) // nil with an error
	return list
}

// String returns the string that the member holds, "" when it holds none.
func (m *Member) String() string {
	if m == nil {
		return ""
	}
	s, _ := String(m.Value)
	return s
}

// IsTrue reports whether the member holds true.
func (m *Member) IsTrue() bool { return m != nil && string(m.Value) == "true" }

// Get returns the first member of that name, nil when there is none.
func (o Object) Get(key string) *Member {
	for i := range o {
		if o[i].Key == key {
			return &o[i]
		}
	}
	return nil
}

// Duplicate returns the first member whose key an earlier member has, nil
// when there is none.
func (o Object) Duplicate() *Member {
	seen := make(map[string]bool, len(o))
	for i := range o {
		if seen[o[i].Key] {
			return &o[i]
		}
		seen[o[i].Key] = true
	}
	return nil
}

// Without returns a copy that lacks these keys.
func (o Object) Without(keys ...string) Object {
	kept := make(Object, 0, len(o))
	for _, m := range o {
		if !slices.Contains(keys, m.Key) {
			kept = append(kept, m)
		}
	}
	return kept
}

// Set returns a copy that has the value in place of the first member of that
// name, or as its last member.
func (o Object) Set(key string, value json.RawMessage) Object {
	changed := append(make(Object, 0, len(o)+1), o...)
	if m := changed.Get(key); m != nil {
		m.Value = value
		return changed
	}
	return append(changed, Member{Key: key, Value: value})
}

// Text returns the object as JSON, with its members as they were read.
func (o Object) Text() json.RawMessage {
	size := len("{}")
	for i := range o {
		size += len(o[i].Key) + len(o[i].quoted) + len(o[i].Value) + len(`"":,`)
	}
	text := append(make([]byte, 0, size), '{')
	for i := range o {
		if i > 0 {
			text = append(text, ',')
		}
		if o[i].quoted != nil {
			text = append(text, o[i].quoted...)
		} else {
			text = append(text, Quote(o[i].Key)...)
		}
		text = append(text, ':')
		text = append(text, o[i].Value...)
	}
	return append(text, '}')
}

// MarshalJSON returns Text and never an error.
func (o Object) MarshalJSON() ([]byte, error) { return o.Text(), nil }

// UnmarshalJSON reads an object. The errors are those of ParseObject.
func (o *Object) UnmarshalJSON(text []byte) (err error) {
	*o, err = ParseObject(bytes.Clone(text), 0) // text is the caller's, see json.Unmarshaler
	return err
}

// String returns the string that a JSON value holds, and reports whether it
// holds one. As in encoding/json, U+FFFD replaces what is invalid UTF-8 or
// half of a surrogate pair.
func String(value json.RawMessage) (s string, ok bool) {
	if len(value) < 2 || value[0] != '"' {
		return "", false
	}
	inner := value[1 : len(value)-1]
	if bytes.IndexByte(inner, '\\') < 0 && utf8.Valid(inner) {
		return string(inner), true
	}
	return s, json.Unmarshal(value, &s) == nil
}

// Quote writes a string as a JSON value.
func Quote(s string) json.RawMessage {
	if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' }) {
		quoted, _ := json.Marshal(s) // every Go string has a JSON form
		return quoted
	}
	return json.RawMessage(`"` + s + `"`)
}

var (
	_ json.Marshaler   = Object(nil)
	_ json.Unmarshaler = (*Object)(nil)
)
