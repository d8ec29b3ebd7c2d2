// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package netconf

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Member is one key and value of a JSON object, both as they were written.
type Member struct {
	Key   string
	Value json.RawMessage
	Pos   int // offset of the value, in bytes from the start of the document

	quoted []byte // the key as written: quotes and escapes included
}

// Object is a JSON object whose members keep their order and their text. A
// round trip through map[string]any would turn 9007199254740993 into
// 9007199254740992 and 1.10 into 1.1; a delegate must get what its author
// wrote.
//
// It is meant for reading and for adding or dropping whole members: values
// stay unparsed text.
type Object []Member

// errNotObject says that a document is JSON, but no object.
var errNotObject = errors.New("not a JSON object")

// parseObject splits one JSON object into its members. pos is the offset of
// raw in the document, for Member.Pos. It returns errNotObject for any other
// JSON value, and the decoder's error for what is no JSON at all.
func parseObject(raw []byte, pos int) (Object, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	switch open, err := dec.Token(); {
	case err != nil:
		return nil, err
	case open != json.Delim('{'):
		return nil, errNotObject
	}
	object := Object{}
	for dec.More() {
		from := int(dec.InputOffset())
		key, err := dec.Token()
		if err != nil {
			return nil, err
		}
		quoted := bytes.TrimLeft(raw[from:dec.InputOffset()], " \t\r\n,")
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, err
		}
		object = append(object, Member{
			Key:    key.(string),
			Value:  value,
			Pos:    pos + int(dec.InputOffset()) - len(value),
			quoted: quoted,
		})
	}
	if _, err := dec.Token(); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("more than one JSON value, the second at byte %d", dec.InputOffset())
	}
	return object, nil
}

// Get returns the member of that name, nil when there is none.
func (o Object) Get(key string) *Member {
	for i := range o {
		if o[i].Key == key {
			return &o[i]
		}
	}
	return nil
}

// duplicate returns the first member whose key already stood before it.
func (o Object) duplicate() *Member {
	seen := make(map[string]bool, len(o))
	for i := range o {
		if seen[o[i].Key] {
			return &o[i]
		}
		seen[o[i].Key] = true
	}
	return nil
}

// without returns a copy that lacks these keys.
func (o Object) without(keys ...string) Object {
	kept := make(Object, 0, len(o)+4)
next:
	for _, m := range o {
		for _, key := range keys {
			if m.Key == key {
				continue next
			}
		}
		kept = append(kept, m)
	}
	return kept
}

// set puts a value in the place of the member of that name, or at the end.
func (o Object) set(key string, value json.RawMessage) Object {
	if m := o.Get(key); m != nil {
		m.Value = value
		return o
	}
	return append(o, Member{Key: key, Value: value, quoted: quote(key)})
}

// MarshalJSON writes the members as they were read.
func (o Object) MarshalJSON() ([]byte, error) {
	size := 2
	for i := range o {
		size += len(o[i].quoted) + len(o[i].Value) + 2
	}
	out := append(make([]byte, 0, size), '{')
	for i := range o {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, o[i].quoted...)
		out = append(out, ':')
		out = append(out, o[i].Value...)
	}
	return append(out, '}'), nil
}

// UnmarshalJSON reads an object that MarshalJSON wrote.
func (o *Object) UnmarshalJSON(raw []byte) (err error) {
	*o, err = parseObject(raw, 0)
	return err
}

// quote writes a string as JSON. Every Go string has a JSON form, so there is
// no error to return.
func quote(s string) []byte {
	quoted, _ := json.Marshal(s)
	return quoted
}

var (
	_ json.Marshaler   = Object(nil)
	_ json.Unmarshaler = (*Object)(nil)
)
