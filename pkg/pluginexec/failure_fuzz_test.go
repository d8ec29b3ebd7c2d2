// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package pluginexec

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
)

// Whatever a plugin that fails prints makes one CNI error, with the plugin's
// own code and message where there are such.
func FuzzError(f *testing.F) {
	for _, text := range []string{
		`{"cniVersion":"1.0.0","code":11,"msg":"try again","details":"later"}`, `{"code":0}`, `{"code":-1,"msg":"x"}`,
		`{"code":99999999999999999999,"msg":"x"}`, `{"msg":"\u0000\n"}`, `null`, `[]`, `0`, ``, ` `, `panic: x`, "{\"code\":7,\"msg\":\"\xff\"}",
	} {
		f.Add([]byte(text), []byte("on stderr"))
	}
	f.Fuzz(func(t *testing.T, stdout, stderr []byte) {
		const exitStatus1 = 1 << 8
		var e *types.Error
		if err := failure(exitStatus1, stdout, string(stderr)); !errors.As(err, &e) || e.Code == 0 || e.Msg == "" {
			t.Fatalf("got %#v, want a CNI error", err)
		}
		var own struct {
			Code uint
			Msg  string
		}
		text := bytes.TrimSpace(stdout)
		switch {
		case len(text) > 0 && text[0] == '{' && json.Unmarshal(text, &own) == nil:
			if own.Code != 0 && e.Code != own.Code || own.Msg != "" && e.Msg != own.Msg {
				t.Errorf("got %d %q, want %d %q", e.Code, e.Msg, own.Code, own.Msg)
			}
		case e.Code != types.ErrDecodingFailure && e.Code != types.ErrInternal:
			t.Errorf("got code %d for no CNI error at all", e.Code)
		}
	})
}
