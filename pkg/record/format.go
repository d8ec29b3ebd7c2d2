// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package record

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// line follows the record while ADD runs: what the plugins of a delegate that
// have run so far have returned.
type line struct {
	Delegate      int             `json:"delegate"`    // index in Record.Delegates
	CNIVersions   []string        `json:"cniVersions"` // of its plugins, in their order
	Result        json.RawMessage `json:"result,omitempty"`
	InterfaceSeen bool            `json:"interfaceSeen,omitempty"`
}

// newLine returns the line of the i-th delegate.
func newLine(i int, d *Delegate) line {
	l := line{Delegate: i, Result: d.Result, InterfaceSeen: d.InterfaceSeen}
	for _, p := range d.Plugins {
		l.CNIVersions = append(l.CNIVersions, p.CNIVersion)
	}
	return l
}

// encode writes a value as JSON with a line break at the end. Raw values keep
// their literals: 1.10 is written as 1.10, and "<" is not escaped.
func encode(value any, indent string) ([]byte, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", indent)
	err := encoder.Encode(value)
	return text.Bytes(), err
}

// decode reads a record and the lines that follow it, and checks that it is
// the record of that attachment.
func decode(text []byte, key Key) (*Record, error) {
	r := &Record{}
	decoder := json.NewDecoder(bytes.NewReader(text))
	err := decoder.Decode(r)
	if err != nil || r.Format != formatVersion {
		return nil, otherFormat(text, err)
	}
	if r.Key() != key {
		return nil, fmt.Errorf("it is the record of network %q, container %q, %q", r.Network, r.ContainerID, r.IfName)
	}
	if err := r.apply(text[decoder.InputOffset():]); err != nil {
		return nil, err
	}
	return r, r.check()
}

// newerFormat is the error for a record of a newer format.
type newerFormat int

func (f newerFormat) Error() string {
	return fmt.Sprintf("format %d is newer than %d, the newest that this multus reads", int(f), formatVersion)
}

// otherFormat returns the error for a record that could not be decoded, or
// whose format is not the current one. In a newer format any member but
// "format" may have another type, so that decoding the record fails.
func otherFormat(text []byte, err error) error {
	var record struct {
		Format int `json:"format"`
	}
	formatErr := json.NewDecoder(bytes.NewReader(text)).Decode(&record)
	switch {
	case formatErr == nil && record.Format > formatVersion:
		return newerFormat(record.Format)
	case err != nil:
		return err
	}
	return fmt.Errorf("unknown format %d", record.Format)
}

// apply updates the delegates from the lines. A last line without its line break
// was torn and is ignored: the delegate's previous line counts.
func (r *Record) apply(lines []byte) error {
	for {
		text, rest, whole := bytes.Cut(lines, []byte{'\n'})
		if !whole {
			return nil
		}
		lines = rest
		if len(bytes.TrimSpace(text)) == 0 {
			continue // between the record and the first line
		}
		var l line
		if err := json.Unmarshal(text, &l); err != nil {
			return fmt.Errorf("line after the record: %w", err)
		}
		if l.Delegate < 0 || l.Delegate >= len(r.Delegates) || len(l.CNIVersions) != len(r.Delegates[l.Delegate].Plugins) {
			return fmt.Errorf("line after the record: it does not match delegate %d", l.Delegate)
		}
		d := &r.Delegates[l.Delegate]
		d.Result, d.InterfaceSeen = l.Result, l.InterfaceSeen
		for i, version := range l.CNIVersions {
			d.Plugins[i].CNIVersion = version
		}
	}
}
