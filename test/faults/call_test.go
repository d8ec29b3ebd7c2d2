// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"multus-cni/test/sandbox"
)

// reply is what a call of multus came to.
type reply struct {
	failure *sandbox.Error // nil for success, or when it could not be printed
	exit    int
	stderr  int // bytes
}

// command makes a call of multus.
func (w *world) command(ctx context.Context, verb string, conf map[string]any, env ...string) *exec.Cmd {
	text, _ := json.Marshal(conf) // strings only
	cmd := exec.CommandContext(ctx, os.Getenv("MULTUS"))
	cmd.Dir, cmd.Stdin = w.Work, bytes.NewReader(text)
	path := w.path
	if path == "" {
		path = filepath.Join(w.Work, "plugins")
	}
	cmd.Env = w.Env(verb, append([]string{"CNI_PATH=" + path, "FAKE_UNREAD=" + w.unread}, env...)...)
	return cmd
}

// call runs multus and checks that it keeps to the protocol: one document or
// none on stdout.
func (w *world) call(verb string, conf map[string]any, env ...string) (*reply, error) {
	ctx, cancel := context.WithTimeout(context.Background(), sandbox.Patience)
	defer cancel()
	cmd := w.command(ctx, verb, conf, env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	r := &reply{exit: cmd.ProcessState.ExitCode(), stderr: stderr.Len()}
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("%s: hangs", verb)
	case err != nil && r.exit != 1:
		return nil, fmt.Errorf("%s: %w: %.500s", verb, err, stderr.String())
	case err != nil:
		if r.failure, err = sandbox.DecodeError(stdout.String()); err != nil {
			return nil, fmt.Errorf("%s: %w: %.500q", verb, err, stdout.String())
		}
		return r, nil
	case verb == "ADD":
		return r, aResult(stdout.Bytes(), cmd.Env)
	case stdout.Len() > 0:
		return nil, fmt.Errorf("%s succeeds and prints %.500q", verb, stdout.String())
	}
	return r, nil
}

// aResult checks that stdout is one result, and the primary's.
func aResult(stdout []byte, env []string) error {
	var result struct {
		CNIVersion string
		Interfaces []struct{ Name string }
	}
	decoder := json.NewDecoder(bytes.NewReader(stdout))
	if err := decoder.Decode(&result); err != nil {
		return fmt.Errorf("stdout is no result: %w: %.500q", err, stdout)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("stdout is more than one document: %.500q", stdout)
	}
	ifname := sandbox.Getenv(env, "CNI_IFNAME")
	if result.CNIVersion != "1.1.0" || len(result.Interfaces) != 1 || result.Interfaces[0].Name != ifname {
		return fmt.Errorf("the result is not that of the primary, with the interface %s: %.500q", ifname, stdout)
	}
	return nil
}

func (r *reply) check(want want) error {
	if r.exit != min(want.code, 1) {
		return fmt.Errorf("exit status %d (%v), want code %d", r.exit, r.failure, want.code)
	}
	if r.failure == nil {
		return nil
	}
	if r.failure.Code != want.code {
		return fmt.Errorf("code %d, want %d: %s", r.failure.Code, want.code, r.failure.Msg)
	}
	return errors.Join(sandbox.Match(want.msg, r.failure.Msg), sandbox.Match(want.details, r.failure.Details))
}
