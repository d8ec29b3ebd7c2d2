// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package netconf

import (
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing that is wrong with a conf.
type Problem struct {
	Code     uint   // as in the CNI spec, section 5: 6 for what cannot be decoded, 7 for the rest
	Delegate int    // index in "delegates", -1 for what concerns the whole conf
	Type     string // the delegate's type, as far as it is known
	Field    string // the key at fault, "" for the whole object
	Pos      int    // offset in bytes from the start of the conf
	Msg      string // what is wrong with it and what is expected
}

// Error returns one line with the delegate, the key and the message.
func (p *Problem) Error() string {
	var text strings.Builder
	if p.Delegate >= 0 {
		fmt.Fprintf(&text, "delegate %d", p.Delegate)
		if p.Type != "" {
			fmt.Fprintf(&text, " %q", p.Type)
		}
		text.WriteString(": ")
	}
	if p.Field != "" {
		fmt.Fprintf(&text, "%q ", p.Field)
	}
	text.WriteString(p.Msg)
	return text.String()
}

// Problems is all that is wrong with a conf, in the order in which it was
// found. As an error it is never empty.
type Problems []*Problem

// Error joins the texts of all problems.
func (ps Problems) Error() string {
	texts := make([]string, len(ps))
	for i, p := range ps {
		texts[i] = p.Error()
	}
	return strings.Join(texts, "; ")
}

func (ps Problems) about(field string) bool {
	return slices.ContainsFunc(ps, func(p *Problem) bool { return p.Field == field })
}

func (r *reader) report(code uint, field string, pos int, format string, args ...any) {
	r.problems = append(r.problems, &Problem{
		Code: code, Delegate: r.delegate, Type: r.kind, Field: field, Pos: pos, Msg: fmt.Sprintf(format, args...),
	})
}

var (
	_ error = (*Problem)(nil)
	_ error = Problems(nil)
)
