// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package lint

import (
	"bytes"
	"errors"
	"regexp"
	"strings"

	"multus-cni/pkg/rawjson"
)

// repaired returns the file as JSON. Comments and the like are reported and
// left out, so that the rest can be checked too, at the positions that it has.
func (l *linter) repaired() (text []byte, ok bool) {
	if other := otherFormat(l.text); other != "" {
		l.fault(0, "", "%s", other)
		return nil, false
	}
	text, mistakes, err := rawjson.Repair(l.text)
	var fatal *rawjson.SyntaxError
	if errors.As(err, &fatal) {
		mistakes = append(mistakes, typographic(l.text, fatal))
	}
	for _, m := range mistakes {
		l.fault(m.Pos, "", "%s", m.Msg)
	}
	return text, fatal == nil
}

// otherFormat recognizes a text that is not JSON but another format. It says
// which, and what to do, and returns "" for a text that may be JSON.
func otherFormat(text []byte) string {
	switch {
	case bytes.HasPrefix(text, []byte("\xff\xfe")), bytes.HasPrefix(text, []byte("\xfe\xff")):
		return "this is UTF-16 text, and JSON is UTF-8: convert it (iconv -f utf-16 -t utf-8)"
	case bytes.IndexByte(text, 0) >= 0:
		return "this is not a text file: a conf is JSON"
	case !isYAML(text):
		return ""
	case bytes.Contains(text, []byte("NetworkAttachmentDefinition")):
		return "this is a Kubernetes object in YAML: the conf of a delegate is what its spec.config holds"
	}
	return "this is YAML: a conf is JSON, convert it (yq -o json)"
}

// isYAML reports whether the first line that is neither empty nor a comment can
// be YAML and cannot be JSON.
func isYAML(text []byte) bool {
	line := regexp.MustCompile(`^(---|%YAML\b|- |["']?[A-Za-z][\w./-]*["']?:(\s|$))`)
	for first := range strings.Lines(string(text)) {
		if first = strings.TrimSpace(first); first != "" && first[0] != '#' {
			return line.MatchString(first)
		}
	}
	return false
}

// typographic returns a mistake for the first typographic quote in the line of
// a mistake, if there is one: word processors and web pages make them.
func typographic(text []byte, mistake *rawjson.SyntaxError) *rawjson.SyntaxError {
	at := min(mistake.Pos, len(text))
	start := bytes.LastIndexByte(text[:at], '\n') + 1
	line, _, _ := bytes.Cut(text[start:], []byte("\n"))
	if i := bytes.IndexAny(line, "“”„‟«»‘’‚‛″"); i >= 0 {
		return &rawjson.SyntaxError{Pos: start + i, Msg: `this is a typographic quote: write a plain " in its place`}
	}
	return mistake
}
