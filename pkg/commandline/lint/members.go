// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package lint

import (
	"bytes"
	"encoding/json"
	"strings"
	"unicode/utf8"

	"multus-cni/pkg/rawjson"
)

// object returns the object that a member holds, nil when it holds none.
func object(m *rawjson.Member) rawjson.Object {
	if m == nil {
		return nil
	}
	o, _ := rawjson.ParseObject(m.Value, m.Pos) // nil with an error
	return o
}

// elements returns the list that a member holds, nil when it holds none.
func elements(m *rawjson.Member) []rawjson.Member {
	if m == nil {
		return nil
	}
	list, _ := rawjson.Elements(m.Value, m.Pos) // nil with an error
	return list
}

// str returns the string that a member holds, "" when it holds none.
func str(m *rawjson.Member) string {
	if m == nil {
		return ""
	}
	s, _ := rawjson.String(m.Value)
	return s
}

// short writes a value in one short line.
func short(value json.RawMessage) string {
	text := []rune(strings.Join(strings.Fields(string(value)), " "))
	if len(text) > 40 {
		return string(text[:40]) + "..."
	}
	return string(text)
}

// position turns an offset into line and column.
func position(text []byte, offset int) (line, column int) {
	before := text[:min(offset, len(text))]
	line = 1 + bytes.Count(before, []byte("\n"))
	return line, 1 + utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:])
}
