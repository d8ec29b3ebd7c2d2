// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package lint

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
)

// syntax returns the file as JSON. What people write although JSON does not
// have it (comments, a comma too many) is reported and blanked, so that the
// rest can be checked too, at the positions that it has.
func (l *linter) syntax() (text []byte, ok bool) {
	if len(bytes.TrimSpace(l.text)) == 0 {
		l.fault(0, "", "the file is empty")
		return nil, false
	}
	s := &scanner{linter: l, text: bytes.Clone(l.text)}
	s.scan()
	var raw json.RawMessage
	var syntax *json.SyntaxError
	if err := json.Unmarshal(s.text, &raw); errors.As(err, &syntax) {
		l.notJSON(syntax, s)
		return nil, false
	}
	return s.text, true
}

// scanner looks for what can be blanked, and for what is not closed.
type scanner struct {
	*linter
	text []byte
	open []int // the brackets and braces that are not closed yet
	last int   // the last byte that is no space, or -1
	// The first "}" that stands where a "]" is due, or the other way round,
	// and the bracket that it would close. 0 and 0 when there is none.
	wrong, opener int
}

func (s *scanner) scan() {
	s.last = -1
	if bytes.HasPrefix(s.text, []byte("\xef\xbb\xbf")) {
		s.fault(0, "", "the file begins with a byte order mark, which JSON does not have: save it as plain UTF-8")
		s.blank(0, 3)
	}
	for i := 0; i < len(s.text); {
		from := i
		switch c := s.text[i]; {
		case c == '"':
			i = s.stringEnd(i)
		case c == '#':
			i = s.comment(i, lineEnd(s.text, i), "#")
			continue
		case bytes.HasPrefix(s.text[i:], []byte("//")):
			i = s.comment(i, lineEnd(s.text, i), "//")
			continue
		case bytes.HasPrefix(s.text[i:], []byte("/*")):
			i = s.comment(i, blockEnd(s.text, i), "/*")
			continue
		case c == '{' || c == '[':
			s.open = append(s.open, i)
			i++
		case c == '}' || c == ']':
			s.close(i)
			i++
		default:
			i++
		}
		if !bytes.ContainsRune([]byte(" \t\r\n"), rune(s.text[from])) {
			s.last = from
		}
	}
}

func (s *scanner) close(i int) {
	if s.last >= 0 && s.text[s.last] == ',' {
		s.fault(s.last, "", "a comma too many: nothing follows it before the %q", s.text[i])
		s.blank(s.last, s.last+1)
	}
	if len(s.open) == 0 {
		return
	}
	opener := s.open[len(s.open)-1]
	s.open = s.open[:len(s.open)-1]
	if s.wrong == 0 && (s.text[opener] == '{') != (s.text[i] == '}') {
		s.wrong, s.opener = i, opener
	}
}

func (s *scanner) comment(from, to int, sign string) int {
	from2017 := ""
	if sign == "#" {
		from2017 = ", as in the example of the README of 2017"
	}
	s.fault(from, "", "a comment that begins with %s%s: JSON has none, take it out", sign, from2017)
	s.blank(from, to)
	return to
}

// blank makes spaces of bytes that are not line ends.
func (s *scanner) blank(from, to int) {
	for i := from; i < to; i++ {
		if s.text[i] != '\n' {
			s.text[i] = ' '
		}
	}
}

// stringEnd returns what follows the string at i. Without a closing quote it
// ends with the line: JSON strings go over no line end.
func (s *scanner) stringEnd(i int) int {
	for i++; i < len(s.text); i++ {
		switch s.text[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		case '\n':
			return i
		}
	}
	return len(s.text)
}

func lineEnd(text []byte, i int) int {
	if n := bytes.IndexByte(text[i:], '\n'); n >= 0 {
		return i + n
	}
	return len(text)
}

func blockEnd(text []byte, i int) int {
	if n := bytes.Index(text[i:], []byte("*/")); n >= 0 {
		return i + n + 2
	}
	return len(text)
}

// notJSON says in other words than a parser's what is wrong.
func (l *linter) notJSON(err *json.SyntaxError, s *scanner) {
	pos := int(err.Offset) - 1 // it counts the byte that it stumbled over
	text := err.Error()
	at := func(what string) bool { return strings.Contains(text, what) }
	found := byte(0)
	if pos >= 0 && pos < len(s.text) {
		found = s.text[pos]
	}
	switch {
	case s.wrong > 0 && pos == s.wrong:
		line, _ := position(s.text, s.opener)
		l.fault(pos, "", "%q cannot close the %q of line %d", found, s.text[s.opener], line)
	case at("unexpected end") && len(s.open) > 0:
		pos = s.open[len(s.open)-1]
		l.fault(pos, "", "this %q is never closed", s.text[pos])
	case at("in string literal") && (found == '\n' || found == '\r'):
		l.fault(pos, "", "the string is not closed on its line: a %q is missing", '"')
	case at("after top-level value"):
		l.fault(pos, "", "the conf has ended before this: there is a %q too many, or a second conf", found)
	case at("after object key:value pair") && found == '"', at("after array element") && found != '}' && found != ':':
		l.fault(pos, "", "a comma is missing before this %q", found)
	case at("after object key") && !at("pair"):
		l.fault(pos, "", "a colon is missing between key and value, before this %q", found)
	case at("in literal"), at("looking for beginning of value") && strings.IndexByte("TFN", found) >= 0:
		l.fault(pos, "", "what stands without quotes must be a number, true, false or null, in small letters")
	case at("looking for beginning") && strings.IndexByte("}],:", found) >= 0:
		l.fault(pos, "", "a key or a value is missing before this %q", found)
	case at("looking for beginning"):
		l.fault(pos, "", "keys and values that are text stand in double quotes, not %q", found)
	default:
		l.fault(pos, "", "not JSON: %s", text)
	}
}
