// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

// Package cnierror makes and combines the errors that a CNI plugin returns: a
// code, a message and details, as in the CNI spec, section 5, "Error".
//
// Wrapping with fmt.Errorf and %w is not enough for them. skel unwraps what a
// plugin returns down to the innermost *types.Error and prints only that, so
// the text that was wrapped around it would be lost. skel finds the errors of
// this package before those that they wrap, and they have both the code and the
// whole text. What they wrap can still be found with errors.Is and errors.As.
package cnierror

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/containernetworking/cni/pkg/types"
)

// CodeUnavailable is the code with which STATUS says that the plugin cannot
// serve an ADD: CNI spec, section 2, "STATUS".
const CodeUnavailable uint = 50

// cniError is a CNI error that remembers what caused it.
type cniError struct {
	cni    types.Error
	causes []error
}

func (e *cniError) Error() string { return e.cni.Error() }

// As makes errors.As find this error's own *types.Error before those of its
// causes.
func (e *cniError) As(target any) bool {
	found, ok := target.(**types.Error)
	if ok {
		*found = &e.cni
	}
	return ok
}

func (e *cniError) Unwrap() []error { return e.causes }

// New makes an error with a code of the CNI spec. errors.Is and errors.As find
// an error that is formatted with %w.
func New(code uint, format string, args ...any) error {
	return WithCode(code, fmt.Errorf(format, args...))
}

// From returns the CNI error that err is or wraps. Any other error becomes a
// CNI error with code 999, types.ErrInternal.
func From(err error) *types.Error {
	var e *types.Error
	if errors.As(err, &e) {
		return e
	}
	return types.NewError(types.ErrInternal, err.Error(), "")
}

// Code returns the code of the CNI error that err is or wraps, and 999 for
// every other error.
func Code(err error) uint { return From(err).Code }

// HasCode reports whether err is, wraps or joins a CNI error with that code.
func HasCode(err error, code uint) bool {
	if Code(err) == code {
		return true
	}
	var e *cniError
	return errors.As(err, &e) && slices.ContainsFunc(e.causes, func(cause error) bool { return HasCode(cause, code) })
}

// WithCode returns err with another code. Its text becomes the message.
func WithCode(code uint, err error) error {
	return &cniError{types.Error{Code: code, Msg: err.Error()}, []error{err}}
}

// Prefix puts the formatted text and a colon before the message. It keeps code
// and details.
func Prefix(err error, format string, args ...any) error {
	e := *From(err)
	e.Msg = fmt.Sprintf(format, args...) + ": " + e.Msg
	return &cniError{e, []error{err}}
}

// WithDetails appends details to those that err has. It keeps code and message.
func WithDetails(err error, details ...string) error {
	e := *From(err)
	e.Details = joinText(append([]string{e.Details}, details...)...)
	return &cniError{e, []error{err}}
}

// Join makes one error of several: the code of the first, the messages and the
// details of all. Nil errors are left out; if all are nil, Join returns nil.
func Join(errs ...error) error {
	var joined *cniError
	for _, err := range errs {
		switch {
		case err == nil:
		case joined == nil:
			joined = &cniError{*From(err), []error{err}}
		default:
			e := From(err)
			joined.cni.Msg = joinText(joined.cni.Msg, e.Msg)
			joined.cni.Details = joinText(joined.cni.Details, e.Details)
			joined.causes = append(joined.causes, err)
		}
	}
	if joined == nil {
		return nil
	}
	return joined
}

func joinText(texts ...string) string {
	kept := make([]string, 0, len(texts))
	for _, text := range texts {
		if text != "" {
			kept = append(kept, text)
		}
	}
	return strings.Join(kept, "; ")
}
