// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package pluginexec

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/containernetworking/cni/pkg/types"
	"golang.org/x/sys/unix"

	"multus-cni/pkg/cnierror"
)

// failure makes the error of a plugin that did not end well: its own if it
// printed one on stdout (CNI spec, section 5, "Error"). A plugin that says
// nothing on stdout (a panic, a shell script) is quoted from stderr, whose end
// is in tail.
func failure(status unix.WaitStatus, stdout []byte, tail string) error {
	stdout = bytes.TrimSpace(stdout)
	if len(stdout) == 0 {
		return cnierror.WithDetails(cnierror.New(types.ErrInternal, "%s, with no error on stdout", ending(status)), tail)
	}
	var own types.Error
	if err := json.Unmarshal(stdout, &own); err != nil || stdout[0] != '{' {
		return cnierror.WithDetails(
			cnierror.New(types.ErrDecodingFailure, "%s, with something other than a CNI error on stdout", ending(status)),
			fmt.Sprintf("stdout: %.200q", stdout), tail)
	}
	if own.Code == types.ErrUnknown {
		own.Code = types.ErrInternal
	}
	if own.Msg == "" {
		own.Msg = ending(status) + ", with no message"
	}
	return &own
}

// ending says how a plugin ended.
func ending(status unix.WaitStatus) string {
	if status.Signaled() {
		return "killed by a signal: " + unix.SignalName(status.Signal())
	}
	return fmt.Sprintf("exit status %d", status.ExitStatus())
}
