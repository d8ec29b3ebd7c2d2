// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package lint

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/containernetworking/cni/pkg/version"

	"multus-cni/pkg/netconf"
)

// document is the conf that multus would read from its stdin. The runtime
// makes it from the file: in a list it takes name and version from above. So
// it is text of its own, and each value remembers where it came from.
type document struct {
	text   []byte
	start  int // of the object in the file
	pieces []piece
}

// piece is one value: offsets in the document and in the file, and length.
type piece struct{ at, from, size int }

// extract makes a document of members whose positions are those in the file.
func extract(members netconf.Object, start int) *document {
	d := &document{start: start, text: []byte("{")}
	for i, m := range members {
		if i > 0 {
			d.text = append(d.text, ',')
		}
		key, _ := json.Marshal(m.Key)
		d.text = append(append(d.text, key...), ':')
		d.pieces = append(d.pieces, piece{len(d.text), m.Pos, len(m.Value)})
		d.text = append(d.text, m.Value...)
	}
	d.text = append(d.text, '}')
	return d
}

// amend gives the document another name and no folder for the records. The
// members are its own.
func (d *document) amend(members netconf.Object, name string) {
	for i := range members {
		members[i].Pos = d.origin(members[i].Pos)
	}
	members = without(members, "name", "cniDir")
	members = append(members, netconf.Member{Key: "name", Value: json.RawMessage(name), Pos: d.start})
	*d = *extract(members, d.start)
}

// origin returns where in the file something is.
func (d *document) origin(pos int) int {
	for _, p := range d.pieces {
		if pos >= p.at && pos < p.at+p.size {
			return p.from + pos - p.at
		}
	}
	return d.start
}

// fromList makes the conf of multus in a list of plugins, and returns nil when
// there is none. It looks at the list and the other plugins too.
func (l *linter) fromList(top netconf.Object) *document {
	for _, key := range []string{"name", "cniVersion"} {
		if m := top.Get(key); m != nil && m.Value[0] != '"' {
			l.fault(m.Pos, key, "must be a string, not %s", short(m.Value))
		}
	}
	if top.Get("name") == nil {
		l.fault(0, "name", "is missing: give the network one")
	}
	l.misspelt(top, -1, "", listKeys())
	plugins, ok := elements(top.Get("plugins"))
	if !ok {
		l.fault(top.Get("plugins").Pos, "plugins", "must be a list of objects")
		return nil
	}
	inherited := inheritance(top)
	var own *document
	for i, m := range plugins {
		plugin := object(&m)
		if plugin == nil {
			l.fault(m.Pos, "plugins", "must hold objects only")
			continue
		}
		switch kind := plugin.Get("type"); {
		case kind == nil:
			l.fault(m.Pos, "plugins", `has no "type" at index %d: name the plugin's binary`, i)
		case str(kind) != "multus":
			l.find(&unit{delegate: -1, kind: str(kind), pos: kind.Pos, field: "type", version: str(inherited.Get("cniVersion"))})
		case own != nil:
			l.fault(kind.Pos, "plugins", "holds multus twice: it can attach a pod once; put all networks into one list of delegates")
		default:
			own = extract(append(without(plugin, "name", "cniVersion"), inherited...), m.Pos)
		}
	}
	if own == nil {
		l.fault(top.Get("plugins").Pos, "plugins", `has no plugin of type "multus"`)
	}
	return own
}

// inheritance returns what the plugins of a list get from it.
func inheritance(top netconf.Object) netconf.Object {
	name := netconf.Member{Key: "name", Value: json.RawMessage(`"unnamed"`)} // reported by then
	if m := top.Get("name"); m != nil && m.Value[0] == '"' {
		name = *m
	}
	inherited := netconf.Object{name}
	var versions []string
	if m := top.Get("cniVersions"); m != nil {
		_ = json.Unmarshal(m.Value, &versions)
	}
	m := top.Get("cniVersion")
	if m != nil && m.Value[0] == '"' {
		versions = append(versions, str(m))
		inherited = append(inherited, *m)
	}
	if highest := highestOf(versions); highest != "" && highest != str(m) {
		value, _ := json.Marshal(highest)
		inherited = append(without(inherited, "cniVersion"), netconf.Member{Key: "cniVersion", Value: value})
	}
	return inherited
}

// highestOf returns the latest version of the CNI spec that is known to
// multus among these, "" when none is.
func highestOf(versions []string) string {
	known := version.All.SupportedVersions()
	for i := len(known) - 1; i >= 0; i-- {
		if slices.Contains(versions, known[i]) {
			return known[i]
		}
	}
	return ""
}

// elements splits the JSON array that a member holds into members without a
// key. It returns false when it holds none.
func elements(m *netconf.Member) ([]netconf.Member, bool) {
	if m == nil {
		return nil, false
	}
	dec := json.NewDecoder(bytes.NewReader(m.Value))
	if open, err := dec.Token(); err != nil || open != json.Delim('[') {
		return nil, false
	}
	var list []netconf.Member
	for dec.More() {
		var value json.RawMessage
		if dec.Decode(&value) != nil { // not reachable: the whole file was decoded before
			return nil, false
		}
		list = append(list, netconf.Member{Value: value, Pos: m.Pos + int(dec.InputOffset()) - len(value)})
	}
	return list, true
}

func without(members netconf.Object, keys ...string) netconf.Object {
	return slices.DeleteFunc(slices.Clone(members), func(m netconf.Member) bool { return slices.Contains(keys, m.Key) })
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
