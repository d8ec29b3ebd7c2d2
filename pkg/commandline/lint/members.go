// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package lint

import (
	"bytes"
	"encoding/json"
	"strings"
	"unicode/utf8"
)

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
