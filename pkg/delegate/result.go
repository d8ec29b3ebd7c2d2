// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package delegate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/types/create"

	"multus-cni/pkg/cnierror"
	"multus-cni/pkg/rawjson"
)

// Result is what the ADD of a plugin returned.
type Result struct {
	types.Result
	Text json.RawMessage // the same, encoded: for the record and for prevResult
}

// EncodeResult returns a result together with its JSON text.
func EncodeResult(result types.Result) (*Result, error) {
	text, err := json.Marshal(result)
	if err != nil {
		return nil, fmt.Errorf("encode a result: %w", err)
	}
	return &Result{result, text}, nil
}

// DecodeResult decodes what a plugin printed on ADD. asked is the CNI version
// that it was run at. It returns nil for an empty result. The error has code 6.
//
// A result without cniVersion has the version that was asked for, unless it has
// "ip4" or "ip6": then it is of 0.2.0, whatever was asked for. Plugins built
// with cni v0.5 and older print such results.
func DecodeResult(stdout []byte, asked string) (*Result, error) {
	if text := bytes.TrimSpace(stdout); len(text) == 0 || string(text) == "null" {
		return nil, nil
	}
	members, err := rawjson.ParseObject(stdout, 0)
	if err != nil {
		return nil, unusable(err, stdout)
	}
	if len(members) == 0 {
		return nil, nil
	}
	if v := members.Get("cniVersion"); v == nil || string(v.Value) == `""` || string(v.Value) == "null" {
		if hasMember(members, "ip4", "ip6") {
			asked = "0.2.0"
		}
		members = members.Set("cniVersion", rawjson.Quote(asked))
	}
	typed, err := decodeMembers(members)
	if err != nil {
		return nil, unusable(err, stdout)
	}
	result, err := EncodeResult(typed)
	if err == nil { // cni reads an address that is missing, but writes "<nil>", which nobody can read
		_, err = create.Create(typed.Version(), result.Text)
	}
	if err != nil {
		return nil, unusable(err, stdout)
	}
	return result, nil
}

func unusable(err error, stdout []byte) error {
	return cnierror.WithDetails(cnierror.New(types.ErrDecodingFailure, "unusable result: %w", err), fmt.Sprintf("%.200q", stdout))
}

// decodeMembers decodes a result that has a cniVersion.
func decodeMembers(members rawjson.Object) (types.Result, error) {
	if err := refuseNulls(members); err != nil {
		return nil, err
	}
	return create.CreateFromBytes(members.Text())
}

// refuseNulls returns an error for a result that has null in the place of an
// interface, an address or a route: cni's converters would follow it. It looks
// at each member of such a name, however written: cni takes one of "ips" and
// "IPs", and which one depends on the way that the result has gone.
func refuseNulls(members rawjson.Object) error {
	for _, m := range members {
		switch strings.ToLower(m.Key) {
		case "ip4", "ip6":
			if err := refuseNulls(m.Object()); err != nil {
				return err
			}
		case "interfaces", "ips", "routes":
			for _, element := range m.Elements() { // none for null, and for a type that decoding refuses
				if string(element.Value) == "null" {
					return errors.New("null in a list of interfaces, ips or routes")
				}
			}
		}
	}
	return nil
}

func hasMember(members rawjson.Object, names ...string) bool {
	return slices.ContainsFunc(members, func(m rawjson.Member) bool {
		return slices.ContainsFunc(names, func(name string) bool { return strings.EqualFold(m.Key, name) })
	})
}

// convertResult converts a result to another version of the CNI spec. One that
// has that version, or none, is returned as it is written.
func convertResult(result json.RawMessage, cniVersion string) (json.RawMessage, error) {
	if result == nil {
		return nil, nil
	}
	members, err := rawjson.ParseObject(result, 0)
	if err != nil {
		return nil, fmt.Errorf("decode prevResult: %w", err)
	}
	has := members.Get("cniVersion").String() // what is no string is for the plugin to refuse
	if has == "" || has == cniVersion {
		return result, nil
	}
	typed, err := decodeMembers(members)
	if err != nil {
		return nil, fmt.Errorf("decode prevResult: %w", err)
	}
	converted, err := typed.GetAsVersion(cniVersion)
	if err != nil {
		return nil, fmt.Errorf("convert prevResult to %s: %w", cniVersion, err)
	}
	return json.Marshal(converted)
}
