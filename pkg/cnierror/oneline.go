// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package cnierror

import (
	"strings"
	"unicode"
)

// OneLine replaces control characters by spaces, for a text that is printed as
// one line of a terminal or a log. Errors quote keys of a conf and what plugins
// write, and these may hold any character.
func OneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
}
