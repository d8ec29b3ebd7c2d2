// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Error is a CNI error as multus prints it.
type Error struct {
	CNIVersion string
	Code       int
	Msg        string
	Details    string
}

// DecodeError decodes stdout, which must be nothing but one CNI error.
func DecodeError(stdout string) (*Error, error) {
	e := &Error{}
	decoder := json.NewDecoder(strings.NewReader(stdout))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(e); err != nil {
		return nil, fmt.Errorf("stdout is no CNI error: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("stdout is more than one document")
	}
	if e.CNIVersion == "" || e.Code == 0 || e.Msg == "" {
		return nil, errors.New("stdout is an error that lacks cniVersion, code or msg")
	}
	return e, nil
}

// CheckError checks that stdout is one CNI error of a code, whose message matches
// a regular expression.
func CheckError(stdout, wantCode, pattern string) error {
	e, err := DecodeError(stdout)
	if err != nil {
		return err
	}
	if strconv.Itoa(e.Code) != wantCode {
		return fmt.Errorf("code %d, want %s: %s", e.Code, wantCode, e.Msg)
	}
	return Match(pattern, e.Msg)
}

// Match checks that a text matches a regular expression.
func Match(pattern, text string) error {
	ok, err := regexp.MatchString(pattern, text)
	if err == nil && !ok {
		err = fmt.Errorf("%q does not match %q", text, pattern)
	}
	return err
}

// Setenv returns an environment with KEY=VALUE in it.
func Setenv(env []string, pair string) []string {
	key, _, _ := strings.Cut(pair, "=")
	env = slices.DeleteFunc(env, func(kv string) bool { return strings.HasPrefix(kv, key+"=") })
	return append(env, pair)
}

// Getenv returns a variable of an environment, "" where it has none.
func Getenv(env []string, key string) string {
	for _, kv := range env {
		if value, ok := strings.CutPrefix(kv, key+"="); ok {
			return value
		}
	}
	return ""
}
