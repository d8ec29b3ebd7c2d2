// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package cnierror

import (
	"errors"
	"fmt"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
)

func TestPlainErrorsAreInternal(t *testing.T) {
	want(t, From(errors.New("disk full")), 999, "disk full", "")
	if got := Code(errors.New("disk full")); got != 999 {
		t.Errorf("Code: %d, want 999", got)
	}
}

func TestWrappedErrorsKeepTheirCode(t *testing.T) {
	wrapped := fmt.Errorf("lost: %w", types.NewError(11, "busy", "try later"))
	want(t, From(wrapped), 11, "busy", "try later")
	want(t, Prefix(wrapped, "delegate %d", 1), 11, "delegate 1: busy", "try later")
	want(t, WithDetails(wrapped, "", "cleaned up"), 11, "busy", "try later; cleaned up")
	want(t, WithCode(5, errors.New("no space")), 5, "no space", "")
}

// What skel does with the error of a plugin: see its checkVersionAndCall.
func TestSkelFindsTheWholeText(t *testing.T) {
	cause := errors.New("no route to host")
	err := Prefix(WithDetails(New(11, "ask the daemon: %w", cause), "twice"), "delegate 1")
	var e *types.Error
	if !errors.As(err, &e) || e.Msg != "delegate 1: ask the daemon: no route to host" || e.Code != 11 || e.Details != "twice" {
		t.Errorf("skel finds %+v", e)
	}
	if !errors.Is(err, cause) {
		t.Error("the cause is lost")
	}
}

func TestTheOriginalIsNotChanged(t *testing.T) {
	original := types.NewError(7, "bad", "")
	_ = Prefix(original, "x")
	_ = WithDetails(original, "y")
	_ = Join(original, errors.New("z"))
	_ = WithCode(5, original)
	want(t, original, 7, "bad", "")
}

func TestJoinKeepsTheFirstCodeAndAllTexts(t *testing.T) {
	if err := Join(nil, nil); err != nil {
		t.Errorf("Join of nothing: %v", err)
	}
	joined := Join(nil, types.NewError(11, "one", "a"), errors.New("two"), types.NewError(50, "three", "c"))
	want(t, joined, 11, "one; two; three", "a; c")
}

func TestHasCode(t *testing.T) {
	later := Prefix(types.NewError(11, "busy", ""), "plugin 0")
	for _, test := range []struct {
		name string
		err  error
		want bool
	}{
		{"it has", later, true},
		{"a joined one has", Prefix(Join(errors.New("one"), later), "delegate 0"), true},
		{"none has", Join(errors.New("one"), types.NewError(7, "two", "")), false},
	} {
		if got := HasCode(test.err, 11); got != test.want {
			t.Errorf("%s: got %t, want %t", test.name, got, test.want)
		}
	}
}

func want(t *testing.T, err error, code uint, msg, details string) {
	t.Helper()
	var e *types.Error
	if !errors.As(err, &e) {
		t.Fatalf("%v is no CNI error", err)
	}
	if e.Code != code || e.Msg != msg || e.Details != details {
		t.Errorf("got %d %q %q, want %d %q %q", e.Code, e.Msg, e.Details, code, msg, details)
	}
}

func TestOneLine(t *testing.T) {
	if got, want := OneLine("a\nb\x1b[31m\u0085é\x7f"), "a b [31m é "; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
