// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package rawjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestParseObject(t *testing.T) {
	const text = ` { "b" : 9007199254740993 , "\u0061":[ 1, {"z":-0} ],"b":"\ud83d\ude00","":null} `
	const offset = 100
	object, err := ParseObject([]byte(text), offset)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range object {
		if at := text[m.Pos-offset:]; !strings.HasPrefix(at, string(m.Value)) {
			t.Errorf("%q: position %d is that of %q, want of %q", m.Key, m.Pos, at, m.Value)
		}
		got = append(got, m.Key+"="+string(m.Value))
	}
	want := []string{`b=9007199254740993`, `a=[ 1, {"z":-0} ]`, `b="\ud83d\ude00"`, `=null`}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if m := object.Get("b"); m != &object[0] {
		t.Errorf("Get: got %v, want the first member", m)
	}
	if m := object.Duplicate(); m != &object[2] {
		t.Errorf("Duplicate: got %v, want the third member", m)
	}
	if m := object.Get("z"); m != nil {
		t.Errorf("Get: got %v, want nil for a key of another object", m)
	}
}

func TestElements(t *testing.T) {
	elements, err := Elements(json.RawMessage(`[ 1 , {"a":[]},[] ]`), 10)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprintf("%s", describe(elements)), `[12:1 16:{"a":[]} 25:[]]`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if elements, err := Elements(json.RawMessage(`[ ]`), 0); err != nil || len(elements) != 0 {
		t.Errorf("an empty list: got %v, %v", elements, err)
	}
}

func describe(members []Member) []string {
	list := make([]string, len(members))
	for i, m := range members {
		list[i] = fmt.Sprintf("%d:%s", m.Pos, m.Value)
	}
	return list
}

func TestOtherKinds(t *testing.T) {
	for _, text := range []string{`null`, `[]`, ` 1.5e-3`, `"{}"`, `true`} {
		if _, err := ParseObject([]byte(text), 0); !errors.Is(err, ErrNotObject) {
			t.Errorf("ParseObject(%s): got error %v, want ErrNotObject", text, err)
		}
	}
	for _, text := range []string{`null`, `{}`, `false`} {
		if _, err := Elements([]byte(text), 0); !errors.Is(err, ErrNotList) {
			t.Errorf("Elements(%s): got error %v, want ErrNotList", text, err)
		}
	}
}

// A changed copy shares nothing that a second change could overwrite.
func TestObjectIsNeverChanged(t *testing.T) {
	const text = `{"a":1,"b\u0062":{ "c":1.10},"d":3}`
	var object Object
	if err := json.Unmarshal([]byte(text), &object); err != nil {
		t.Fatal(err)
	}
	less := object.Without("d", "none")
	for _, test := range []struct {
		got  Object
		want string
	}{
		{less.Set("x", Quote(`"`)), `{"a":1,"b\u0062":{ "c":1.10},"x":"\""}`},
		{less.Set("a", json.RawMessage("2")), `{"a":2,"b\u0062":{ "c":1.10}}`},
		{less.Set("bb", json.RawMessage("2")).Set("y\n", json.RawMessage("3")), `{"a":1,"b\u0062":2,"y\n":3}`},
		{less, `{"a":1,"b\u0062":{ "c":1.10}}`},
		{object, text},
		{nil, `{}`},
	} {
		if got, _ := test.got.MarshalJSON(); string(got) != test.want {
			t.Errorf("got %s, want %s", got, test.want)
		}
	}
}

func TestUnmarshalJSONKeepsItsOwnCopy(t *testing.T) {
	text := []byte(`{"a":1}`)
	var object Object
	if err := object.UnmarshalJSON(text); err != nil {
		t.Fatal(err)
	}
	text[5] = '2'
	if got := string(object.Get("a").Value); got != "1" {
		t.Errorf("got %s, want 1", got)
	}
}

func TestSyntaxErrors(t *testing.T) {
	for _, test := range []struct{ text, rest, want string }{
		{``, ``, `the document is empty`},
		{" \n", " \n", `the document is empty`},
		{"\xef\xbb\xbf{}", "\xef\xbb\xbf{}", `a byte order mark, which JSON does not have: save the text as plain UTF-8`},
		{"\xec\x920", "\xec\x920", `keys and values that are text must be in double quotes, not byte 0xec`},
		{`{“a”: 1}`, `“a”: 1}`, `keys and values that are text must be in double quotes, not '“'`},
		{`{"a": multus}`, `multus}`, `keys and values that are text must be in double quotes, not 'm'`},
		{`{"a": True}`, `True}`, `a value without quotes must be a number, true, false or null, in lower case`},
		{`{"a": nil}`, `il}`, `a value without quotes must be a number, true, false or null, in lower case`},
		{`{"a": }`, `}`, `a key or a value is missing before this '}'`},
		{`{, "a": 1}`, `, "a": 1}`, `a key or a value is missing before this ','`},
		{`{"a" 1}`, `1}`, `a colon is missing between key and value, before this '1'`},
		{`{"a": 1 "b": 2}`, `"b": 2}`, `a comma is missing before this '"'`},
		{`[1 2]`, `2]`, `a comma is missing before this '2'`},
		{`{"a": 1, }`, `, }`, `a trailing comma: nothing follows it before the '}'`},
		{`{"a": 1`, `{"a": 1`, `this '{' is never closed`},
		{`{"a": [`, `[`, `this '[' is never closed`},
		{`{"a"`, `{"a"`, `this '{' is never closed`},
		{`{"a":`, `{"a":`, `this '{' is never closed`},
		{"{\n\"a\": [\n1}", "}", `'}' cannot close the '[' of line 2`},
		{`[1, }`, `}`, `'}' cannot close the '[' of line 1`},
		{`{"a": 1}}`, `}`, `the document has ended before this: there is a '}' too many, or a second document`},
		{"{\"a\": \"x\n\"}", "\n\"}", `the string is not closed on its line: a '"' is missing`},
		{`{"a": "x`, ``, `the string is not closed: a '"' is missing`},
		{`{"a": "x\`, ``, `the string is not closed: a '"' is missing`},
		{`{"a": "x\u12`, ``, `the string is not closed: a '"' is missing`},
		{"{\"a\": \"x\ty\"}", "\ty\"}", `a control character in a string: write it as \u0009`},
		{`{"a": "C:\x"}`, `x"}`, `'x' cannot follow a backslash: write \\ for a backslash itself`},
		{`{"a": "\u12g4"}`, `g4"}`, `four hexadecimal digits must follow \u, not 'g'`},
		{`{"a": 01}`, `1}`, `a number must not begin with a zero that other digits follow`},
		{`{"a": 1.}`, `}`, `a number needs a digit here, not '}'`},
		{`-`, ``, `the number is not complete: a digit is missing`},
		{"{\n# why\n}", "# why\n}", `a comment that begins with #: JSON has none, remove it`},
		{`{} // why`, `// why`, `a comment that begins with //: JSON has none, remove it`},
		{`{"a": /* why */ 1}`, `/* why */ 1}`, `a comment that begins with /*: JSON has none, remove it`},
		{strings.Repeat("[", 1001), "[", `more than 1000 objects and lists inside each other`},
	} {
		const offset = 10
		_, err := ParseObject([]byte(test.text), offset)
		var syntax *SyntaxError
		if !errors.As(err, &syntax) {
			t.Errorf("%.40s: got error %v, want a SyntaxError", test.text, err)
			continue
		}
		if got := test.text[syntax.Pos-offset:]; got != test.rest || syntax.Error() != test.want {
			t.Errorf("%.40s: got %q at %q\nwant %q at %q", test.text, syntax, got, test.want, test.rest)
		}
	}
	if deep := strings.Repeat("[", 1000) + strings.Repeat("]", 1000); !errors.Is(second(ParseObject([]byte(deep), 0)), ErrNotObject) {
		t.Error("refused 1000 lists inside each other")
	}
}

func second[T any](_ T, err error) error { return err }

func TestRepair(t *testing.T) {
	const text = "\xef\xbb\xbf{ # why\n\"a//\": [1, 2 /* \n */, ],\n} // end"
	repaired, mistakes, err := Repair([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if want := "   {      \n\"a//\": [1, 2    \n     ] \n}       "; string(repaired) != want {
		t.Errorf("got  %q\nwant %q", repaired, want)
	}
	var got []string
	for _, m := range mistakes {
		got = append(got, text[m.Pos:][:2])
	}
	if want := []string{"\xef\xbb", "# ", "/*", ", ", ",\n", "//"}; !slices.Equal(got, want) {
		t.Errorf("got mistakes at %q, want at %q", got, want)
	}
	if _, mistakes, err := Repair([]byte("# why\n{\"a\" 1}")); len(mistakes) != 1 || !errors.As(err, new(*SyntaxError)) {
		t.Errorf("got %v and error %v, want one mistake and a SyntaxError", mistakes, err)
	}
}

func TestString(t *testing.T) {
	for _, text := range []string{`""`, `"a"`, `"\u00e9é\ud83d\ude00\n\/"`, `"\ud800"`, "\"\xff\"", `"\""`, `1`, `null`, `["a"]`, `"`} {
		var want string
		wantOK := json.Valid([]byte(text)) && text[0] == '"'
		if wantOK && json.Unmarshal([]byte(text), &want) != nil {
			t.Fatal(text)
		}
		if got, ok := String(json.RawMessage(text)); got != want || ok != wantOK {
			t.Errorf("%s: got %q, %t, want %q, %t", text, got, ok, want, wantOK)
		}
	}
}

func TestQuote(t *testing.T) {
	for _, s := range []string{"", "plain-1.0", `"\`, "é\x00\n", "\x7f", "\xff"} {
		var got string
		if err := json.Unmarshal(Quote(s), &got); err != nil || got != strings.ToValidUTF8(s, "\ufffd") {
			t.Errorf("%q: got %s", s, Quote(s))
		}
	}
}

// The same documents are JSON as for encoding/json, but for very deep ones,
// and what is read is the same.
func FuzzParseObject(f *testing.F) {
	for _, text := range []string{
		`{"a":[1,-0.5e+3,{"b":"\u00e9\ud800\\"}],"a":null,"":true}`, `{ "a" : false }`, "\xec\x920", `[]`, `null`, `{"a":1} {}`, `{"a":1,}`,
		`{"a":01}`, `{"a":1.}`, `{"a":-}`, `{"a":1e}`, `{"a":"\x"}`, `{"a":"\u12"}`, "{\"\xff\":\"\xfe\"}", "{\"a\":\"\t\"}", `{"a"`, `[1 2]`, "\xef\xbb\xbf{}",
		`{"a":tru}`, `# {}`, `{}//`, ``, "\v{}", "\u00a0{}",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		object, err := ParseObject(text, 0)
		var syntax *SyntaxError
		isSyntax := errors.As(err, &syntax)
		if isSyntax && (syntax.Pos < 0 || syntax.Pos > len(text) || syntax.Msg == "") {
			t.Errorf("got %+v", syntax)
		}
		deep := isSyntax && strings.HasPrefix(syntax.Msg, "more than 1000 ")
		if valid := json.Valid(text); valid == isSyntax && !deep {
			t.Fatalf("json.Valid: %t, got error %v", valid, err)
		}
		repaired, mistakes, repairErr := Repair(text)
		if len(repaired) != len(text) || repairErr == nil && !json.Valid(repaired) || err == nil && (repairErr != nil || len(mistakes) > 0) {
			t.Errorf("repaired to %q with %v, %v", repaired, mistakes, repairErr)
		}
		if err == nil {
			compare(t, text, object)
		}
	})
}

// compare checks an object against what encoding/json reads.
func compare(t *testing.T, text []byte, object Object) {
	t.Helper()
	var want map[string]json.RawMessage // the last of equal keys counts
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	got := map[string]json.RawMessage{}
	for _, m := range object {
		got[m.Key] = m.Value
		if !bytes.HasPrefix(text[m.Pos:], m.Value) {
			t.Errorf("%q is not at %d", m.Value, m.Pos)
		}
	}
	if len(got) != len(want) {
		t.Errorf("got %d keys, want %d", len(got), len(want))
	}
	for key, value := range want {
		if !bytes.Equal(got[key], value) {
			t.Errorf("%q: got %s, want %s", key, got[key], value)
		}
	}
	var compact bytes.Buffer
	written, _ := object.MarshalJSON()
	if err := json.Compact(&compact, written); err != nil {
		t.Errorf("wrote %s: %v", written, err)
	}
}
