// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

// Package calllog writes one line of JSON for each call of multus and for each
// delegate that it runs, to a file that many processes share.
//
// The log is for troubleshooting. It is not an audit trail: when it cannot be
// opened, that is reported and the call goes on; failed writes are ignored. The
// package never waits for another process. The log never holds a delegate's
// configuration, nor anything of CNI_ARGS but the pod's name: both can hold
// secrets.
package calllog

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// maxSize is the size, in bytes, at which the file is renamed to <file>.1, so
// that the two never take more than about twice that.
const maxSize = 10 << 20

// Log is open for one call of multus. A nil Log does nothing.
type Log struct {
	logger *slog.Logger
	file   *os.File
}

// Open opens the log, mode 0600, for the calls of a network. Level is "error"
// for lines about what failed, "info" or "" for all calls and delegates, and
// "debug" for the beginning of each delegate's call as well.
func Open(path, level, network string) (*Log, error) {
	file, err := open(path)
	if err != nil {
		return nil, fmt.Errorf("open the log: %w", err)
	}
	least := slog.LevelInfo
	switch level {
	case "error":
		least = slog.LevelError
	case "debug":
		least = slog.LevelDebug
	}
	handler := slog.NewJSONHandler(file, &slog.HandlerOptions{Level: least})
	return &Log{slog.New(handler).With(slog.String("network", network)), file}, nil
}

// open opens the file for appending. A line is one write, and the kernel does
// not let two writes to such a file overlap: no line is torn. A symbolic link
// is not followed: in a directory like /tmp anybody could make one that leads
// to a file of root's.
func open(path string) (*os.File, error) {
	const flags = os.O_WRONLY | os.O_APPEND | os.O_CREATE | unix.O_NONBLOCK | unix.O_NOFOLLOW
	file, err := os.OpenFile(path, flags, 0o600)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() { // stdout belongs to the protocol, and a fifo may have no reader
		err = fmt.Errorf("%s is not a regular file", path)
	}
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	if info.Size() < maxSize || !rotate(file, path) {
		return file, nil
	}
	_ = file.Close()
	return os.OpenFile(path, flags, 0o600)
}

// rotate renames the file, and reports whether a new one is to be opened. While
// somebody else has locked the file, another multus or a log shipper, it is
// left as it is: the next call tries again.
func rotate(file *os.File, path string) bool {
	if unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		return false
	}
	ours, err := file.Stat()
	if err != nil {
		return false
	}
	if there, err := os.Stat(path); err != nil || !os.SameFile(ours, there) {
		return true // another process has renamed it
	}
	return os.Rename(path, path+".1") == nil
}

// Close closes the file.
func (l *Log) Close() {
	if l != nil {
		_ = l.file.Close()
	}
}

// Begins logs the beginning of a call.
func (l *Log) Begins(what string, attrs ...slog.Attr) {
	if l != nil {
		l.logger.LogAttrs(context.Background(), slog.LevelDebug, what+" begins", attrs...)
	}
}

// Succeeded logs a call that has succeeded, and how long it took.
func (l *Log) Succeeded(what string, took time.Duration, attrs ...slog.Attr) {
	l.ended(slog.LevelInfo, what, took, append(attrs, slog.String("outcome", "ok")))
}

// Failed logs a call that has failed, with the code and the message of its
// error, and how long it took.
func (l *Log) Failed(what string, took time.Duration, code uint, message string, attrs ...slog.Attr) {
	l.ended(slog.LevelError, what, took,
		append(attrs, slog.Uint64("code", uint64(code)), slog.String("error", message), slog.String("outcome", "failed")))
}

func (l *Log) ended(level slog.Level, what string, took time.Duration, attrs []slog.Attr) {
	if l == nil {
		return
	}
	attrs = append(attrs, slog.Float64("ms", float64(took.Microseconds())/1000))
	l.logger.LogAttrs(context.Background(), level, what, attrs...)
}
