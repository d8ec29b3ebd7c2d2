// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package record

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestEntriesSayWhatIsInTheDirectory(t *testing.T) {
	s := newStore(t)
	save(t, s, newRecord())
	place(t, s, "2017.json", "c6")
	place(t, s, "upstream.json", "c7")
	place(t, s, "newer.json", "demo:c8:eth0.json")
	place(t, s, "2017.json", "c9.damaged")
	for name, text := range map[string]string{
		"net:c1:eth0.json.lock":       ``,
		"demo:c2:eth0.json":           `{"format":1`,
		"demo:c3:eth0.json.damaged":   `{`,
		"demo:c4:eth0.json.lock":      ``,
		"demo:c5:eth0.json.tmp":       `{`,
		"demo:c8:eth0.json.lock.lock": ``,
		"d1":                          `[{"type":"ptp"`,
		"README":                      `not a record`,
		"probe":                       `{}`,
		".hidden":                     `[]`,
	} {
		if err := os.WriteFile(filepath.Join(s.Dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{"results", "demo:d2:eth0.json"} {
		if err := os.Mkdir(filepath.Join(s.Dir, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := s.Entries()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		if e.Written.IsZero() || filepath.Dir(e.Path) != s.Dir {
			t.Errorf("got %+v, want a date and a path", e)
		}
		origin := Origin("-")
		if e.Legacy != nil {
			origin = e.Legacy.Origin
		}
		got = append(got, fmt.Sprintf("%s %s/%s record=%t legacy=%s err=%t",
			e.Kind, e.Key.Network, e.Key.ContainerID, e.Record != nil, origin, e.Err != nil))
	}
	want := []string{
		"legacy /c6 record=false legacy=2017 err=false",
		"legacy /c7 record=false legacy=upstream err=false",
		"quarantined /c9 record=false legacy=- err=false",
		"damaged /d1 record=false legacy=- err=true",
		"damaged demo/c2 record=false legacy=- err=true",
		"quarantined demo/c3 record=false legacy=- err=false",
		"lock demo/c4 record=false legacy=- err=false",
		"newer demo/c8 record=false legacy=- err=true",
		"damaged demo/d2 record=false legacy=- err=true",
		"readable net/c1 record=true legacy=- err=false",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
}

func TestEntriesOfNoDirectory(t *testing.T) {
	s := Store{filepath.Join(t.TempDir(), "none")}
	entries, err := s.Entries()
	if err != nil || len(entries) != 0 {
		t.Errorf("got %v, %v, want none", entries, err)
	}
}

func TestLegacy(t *testing.T) {
	s := newStore(t)
	if _, err := s.LoadLegacy("c1"); !errors.Is(err, ErrNotExist) {
		t.Errorf("got error %v, want ErrNotExist", err)
	}
	place(t, s, "2017.json", "c1")
	if _, err := s.LoadLegacy("c1"); err != nil {
		t.Error(err)
	}
	if err := errors.Join(s.RemoveLegacy("c1"), s.RemoveLegacy("c1")); err != nil {
		t.Error(err)
	}
	if err := os.Mkdir(filepath.Join(s.Dir, "c1"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := s.LoadLegacy("c1"); !errors.Is(err, ErrNotExist) {
		t.Errorf("a directory: got error %v, want ErrNotExist", err)
	}
	for _, id := range []string{"", "../c1", ".c1", "a:b"} {
		if _, err := s.LoadLegacy(id); !errors.Is(err, ErrNoName) {
			t.Errorf("%q: got error %v, want ErrNoName", id, err)
		}
	}
}

// A legacy record that says nothing useful is quarantined once, and is no
// attachment after that.
func TestDamagedLegacy(t *testing.T) {
	for _, text := range []string{
		``, `null`, `{}`, `[]`, `[null]`, `[1]`, `[{"masterplugin":"yes"}]`, `[{"type":"x"}`, `[{"type":"x"}] x`,
		`[{"Bytes":"e30="},{"type":"x"}]`, `[{"Bytes":"!"}]`, `[{"Bytes":"W10="}]`, `[{"Bytes":"e30gWA=="}]`, `[{"Bytes":5}]`,
	} {
		t.Run(text, func(t *testing.T) {
			s := newStore(t)
			if err := os.WriteFile(filepath.Join(s.Dir, "c1"), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			legacy, err := s.LoadLegacy("c1")
			var damaged *DamagedError
			if !errors.As(err, &damaged) || damaged.Path != filepath.Join(s.Dir, "c1") {
				t.Fatalf("got %+v, %v, want a *DamagedError", legacy, err)
			}
			if err := damaged.Quarantine(); err != nil {
				t.Fatal(err)
			}
			if _, err := s.LoadLegacy("c1"); !errors.Is(err, ErrNotExist) {
				t.Errorf("after that: got error %v, want ErrNotExist", err)
			}
			entries, err := s.Entries()
			if err != nil || len(entries) != 1 || entries[0].Kind != KindQuarantined {
				t.Errorf("got entries %+v, %v, want a quarantined one", entries, err)
			}
		})
	}
}
