// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package rawjson

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"
)

// maxDepth bounds the recursion of the scanner.
const maxDepth = 1000

const byteOrderMark = "\xef\xbb\xbf"

// SyntaxError is a place where a document is not JSON.
type SyntaxError struct {
	Pos int    // offset in bytes from the start of the document
	Msg string // what is wrong there, in words for the author of the document
}

func (e *SyntaxError) Error() string { return e.Msg }

// Repair checks a document and returns a copy in which comments, trailing commas
// and a byte order mark are replaced by spaces, so that the rest keeps its
// offsets. It returns these mistakes, and a *SyntaxError for the first mistake of
// another kind.
func Repair(text []byte) (repaired []byte, mistakes []*SyntaxError, err error) {
	s := scanner{text: bytes.Clone(text), repair: true}
	err = s.document(nil)
	return s.text, s.mistakes, err
}

// scanner goes once through a document. Its methods begin at the offset s.at
// and leave it behind what they are named for.
type scanner struct {
	text     []byte
	at       int
	base     int  // offset of text in the document
	repair   bool // see Repair; text is a copy then
	mistakes []*SyntaxError
}

// document scans one value and the white space and comments around it. It
// appends the members of the value to members, unless that is nil.
func (s *scanner) document(members *[]Member) error {
	if bytes.HasPrefix(s.text, []byte(byteOrderMark)) {
		if err := s.mistake(0, len(byteOrderMark), "a byte order mark, which JSON does not have: save the text as plain UTF-8"); err != nil {
			return err
		}
	}
	if err := s.space(); err != nil {
		return err
	}
	if s.atEnd() {
		return s.failAt(0, "the document is empty")
	}
	if err := s.value(members, 0); err != nil {
		return err
	}
	if err := s.space(); err != nil {
		return err
	}
	if !s.atEnd() {
		return s.fail("the document has ended before this: there is a %s too many, or a second document", s.found())
	}
	return nil
}

// value scans a value, which must not begin at the end of the text.
func (s *scanner) value(members *[]Member, depth int) error {
	switch c := s.text[s.at]; {
	case c == '{' || c == '[':
		return s.container(members, depth+1)
	case c == '"':
		return s.str()
	case c == '-' || isDigit(c):
		return s.number()
	case c == 't':
		return s.literal("true")
	case c == 'f':
		return s.literal("false")
	case c == 'n':
		return s.literal("null")
	}
	return s.noValue()
}

// container scans an object or a list.
func (s *scanner) container(members *[]Member, depth int) error {
	if depth > maxDepth {
		return s.fail("more than %d objects and lists inside each other", maxDepth)
	}
	opener, comma := s.at, -1
	for s.at++; ; s.at++ { // past the opener, then past each comma
		if err := s.space(); err != nil {
			return err
		}
		if s.atCloser(opener) {
			if comma < 0 {
				break
			}
			if err := s.mistake(comma, comma+1, "a trailing comma: nothing follows it before the "+s.found()); err != nil {
				return err
			}
			break
		}
		if err := s.member(opener, members, depth); err != nil {
			return err
		}
		if s.atCloser(opener) {
			break
		}
		if comma = s.at; s.text[comma] != ',' {
			return s.fail("a comma is missing before this %s", s.found())
		}
	}
	s.at++
	return nil
}

// member scans one value of a container, with its key in an object, and the
// space behind it. It ends at a byte that is there.
func (s *scanner) member(opener int, members *[]Member, depth int) error {
	if err := s.inside(opener); err != nil {
		return err
	}
	var m Member
	if s.text[opener] == '{' {
		quoted, err := s.key(opener)
		if err != nil {
			return err
		}
		if members != nil {
			m.quoted = quoted
			m.Key, _ = String(quoted)
		}
	}
	start := s.at
	if err := s.value(nil, depth); err != nil {
		return err
	}
	if members != nil {
		m.Value, m.Pos = s.text[start:s.at:s.at], s.base+start
		*members = append(*members, m)
	}
	if err := s.space(); err != nil {
		return err
	}
	return s.inside(opener)
}

// key scans a key, the colon and the space around it, and returns the key as
// written.
func (s *scanner) key(opener int) (quoted []byte, err error) {
	if s.text[s.at] != '"' {
		return nil, s.noValue()
	}
	start := s.at
	if err := s.str(); err != nil {
		return nil, err
	}
	quoted = s.text[start:s.at:s.at]
	if err := s.space(); err != nil {
		return nil, err
	}
	if err := s.inside(opener); err != nil {
		return nil, err
	}
	if s.text[s.at] != ':' {
		return nil, s.fail("a colon is missing between key and value, before this %s", s.found())
	}
	s.at++
	if err := s.space(); err != nil {
		return nil, err
	}
	return quoted, s.inside(opener)
}

// atCloser reports whether the bracket that belongs to the opener is next.
func (s *scanner) atCloser(opener int) bool {
	return !s.atEnd() && s.text[s.at] == s.text[opener]+2 // '{' and '}', '[' and ']' in ASCII
}

// inside returns an error unless the container that begins at opener can go
// on here.
func (s *scanner) inside(opener int) error {
	if s.atEnd() {
		return s.failAt(opener, "this %q is never closed", s.text[opener])
	}
	if c := s.text[s.at]; (c == '}' || c == ']') && !s.atCloser(opener) {
		line := 1 + bytes.Count(s.text[:opener], []byte("\n"))
		return s.fail("%q cannot close the %q of line %d", c, s.text[opener], line)
	}
	return nil
}

func (s *scanner) str() error {
	for s.at++; !s.atEnd(); s.at++ {
		switch c := s.text[s.at]; {
		case c == '"':
			s.at++
			return nil
		case c == '\n' || c == '\r':
			return s.fail("the string is not closed on its line: a %q is missing", '"')
		case c < ' ':
			return s.fail("a control character in a string: write it as \\u%04x", c)
		case c == '\\':
			if err := s.escape(); err != nil {
				return err
			}
		}
	}
	return s.failAt(len(s.text), "the string is not closed: a %q is missing", '"')
}

// escape ends at the last byte of the escape sequence.
func (s *scanner) escape() error {
	s.at++
	digits := 0
	switch {
	case s.atEnd():
		return nil // which the string reports
	case s.text[s.at] == 'u':
		digits = 4
	case strings.IndexByte(`"\/bfnrt`, s.text[s.at]) < 0:
		return s.fail("%s cannot follow a backslash: write \\\\ for a backslash itself", s.found())
	}
	for ; digits > 0; digits-- {
		if s.at++; s.atEnd() {
			return nil
		}
		if strings.IndexByte("0123456789abcdefABCDEF", s.text[s.at]) < 0 {
			return s.fail("four hexadecimal digits must follow \\u, not %s", s.found())
		}
	}
	return nil
}

func (s *scanner) number() error {
	if s.text[s.at] == '-' {
		s.at++
	}
	if !s.atEnd() && s.text[s.at] == '0' {
		s.at++
		if s.isNext("0123456789") {
			return s.fail("a number must not begin with a zero that other digits follow")
		}
	} else if err := s.digits(); err != nil {
		return err
	}
	if s.isNext(".") {
		s.at++
		if err := s.digits(); err != nil {
			return err
		}
	}
	if !s.isNext("eE") {
		return nil
	}
	s.at++
	if s.isNext("+-") {
		s.at++
	}
	return s.digits()
}

// digits scans one digit or more.
func (s *scanner) digits() error {
	if s.atEnd() {
		return s.fail("the number is not complete: a digit is missing")
	}
	if !isDigit(s.text[s.at]) {
		return s.fail("a number needs a digit here, not %s", s.found())
	}
	for !s.atEnd() && isDigit(s.text[s.at]) {
		s.at++
	}
	return nil
}

func (s *scanner) literal(word string) error {
	for i := range len(word) {
		if s.atEnd() || s.text[s.at] != word[i] {
			return s.unquoted()
		}
		s.at++
	}
	return nil
}

// noValue explains a byte with which no key and no value begins.
func (s *scanner) noValue() error {
	switch c := s.text[s.at]; {
	case strings.IndexByte("}],:", c) >= 0:
		return s.fail("a key or a value is missing before this %q", c)
	case strings.IndexByte("TFN", c) >= 0:
		return s.unquoted()
	}
	return s.fail("keys and values that are text must be in double quotes, not %s", s.found())
}

func (s *scanner) unquoted() error {
	return s.fail("a value without quotes must be a number, true, false or null, in lower case")
}

// space scans white space, and comments as a mistake.
func (s *scanner) space() error {
	for !s.atEnd() {
		switch s.text[s.at] {
		case ' ', '\t', '\r', '\n':
			s.at++
			continue
		case '#', '/':
		default:
			return nil
		}
		sign, end := s.comment()
		if sign == "" {
			return nil
		}
		if err := s.mistake(s.at, end, "a comment that begins with "+sign+": JSON has none, remove it"); err != nil {
			return err
		}
	}
	return nil
}

// comment returns how a comment that is next begins, and where it ends.
func (s *scanner) comment() (sign string, end int) {
	rest := s.text[s.at:]
	for _, c := range []struct{ sign, end string }{{"#", "\n"}, {"//", "\n"}, {"/*", "*/"}} {
		if !bytes.HasPrefix(rest, []byte(c.sign)) {
			continue
		}
		if n := bytes.Index(rest[len(c.sign):], []byte(c.end)); n >= 0 {
			return c.sign, s.at + len(c.sign) + n + len(c.end)
		}
		return c.sign, len(s.text)
	}
	return "", 0
}

// mistake returns an error for these bytes or, for Repair, replaces them by spaces
// and goes on after them, unless it is farther already.
func (s *scanner) mistake(from, to int, msg string) error {
	if !s.repair {
		return s.failAt(from, "%s", msg)
	}
	s.mistakes = append(s.mistakes, &SyntaxError{Pos: s.base + from, Msg: msg})
	for i := from; i < to; i++ {
		if s.text[i] != '\n' { // the lines keep their numbers
			s.text[i] = ' '
		}
	}
	s.at = max(s.at, to)
	return nil
}

func (s *scanner) atEnd() bool { return s.at >= len(s.text) }

// isNext reports whether the next byte is one of these.
func (s *scanner) isNext(set string) bool {
	return !s.atEnd() && strings.IndexByte(set, s.text[s.at]) >= 0
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// found quotes the next character for a message.
func (s *scanner) found() string {
	r, size := utf8.DecodeRune(s.text[s.at:])
	if r == utf8.RuneError && size == 1 {
		return fmt.Sprintf("byte 0x%02x", s.text[s.at])
	}
	return fmt.Sprintf("%q", r)
}

func (s *scanner) fail(format string, args ...any) error { return s.failAt(s.at, format, args...) }

func (s *scanner) failAt(at int, format string, args ...any) error {
	return &SyntaxError{Pos: s.base + at, Msg: fmt.Sprintf(format, args...)}
}

var _ error = (*SyntaxError)(nil)
