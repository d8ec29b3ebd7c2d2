// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package state

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"multus-cni/pkg/netconf"
	"multus-cni/pkg/rawjson"
)

func TestEntriesTellWhatLiesInTheFolder(t *testing.T) {
	s := Store{Dir: t.TempDir()}
	good := &Record{Network: "demo", ContainerID: "c1", IfName: "eth0", NetnsID: "4:1", Delegates: []Delegate{
		{Delegate: netconf.Delegate{IfName: "eth0", Plugins: []netconf.Plugin{{Type: "ptp", Config: rawjson.Object{}}}}},
	}}
	if err := s.Save(good); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"demo:c2:eth0.json":         `{"format":1`,
		"demo:c3:eth0.json.damaged": `{`,
		"demo:c4:eth0.json.lock":    ``,
		"demo:c5:eth0.json.tmp":     `{`,
		"c6":                        ` [{"type":"ptp"}]`,
		"README":                    `not a record`,
		".hidden":                   `[]`,
	} {
		if err := os.WriteFile(filepath.Join(s.Dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(s.Dir, "results"), 0o700); err != nil {
		t.Fatal(err)
	}
	entries, err := s.Entries()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, fmt.Sprintf("%s record=%t legacy=%t aside=%t err=%t dated=%t",
			e.Key.ContainerID, e.Record != nil, e.Legacy != nil, e.Aside, e.Err != nil, !e.Written.IsZero()))
	}
	want := []string{
		"c6 record=false legacy=true aside=false err=false dated=true",
		"c1 record=true legacy=false aside=false err=false dated=true",
		"c2 record=false legacy=false aside=false err=true dated=true",
		"c3 record=false legacy=false aside=true err=false dated=true",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
}

func TestEntriesOfNoFolder(t *testing.T) {
	entries, err := Store{Dir: filepath.Join(t.TempDir(), "none")}.Entries()
	if err != nil || len(entries) != 0 {
		t.Errorf("got %v, %v, want none", entries, err)
	}
}
