// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

// Package calllog writes one line of JSON for each call of multus and for each
// delegate that it runs, to a file that many processes share.
//
// It is for finding out what happened, not for counting on it: a log that
// cannot be written says so once, and the call goes on. It never holds a
// delegate's configuration, nor anything of CNI_ARGS but the pod's name: both
// can hold secrets.
package calllog

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// maxSize is the size, in bytes, at which the file makes way for a new one. It
// is kept once, as <file>.1, so that the two never take more than twice that.
const maxSize = 10 << 20

// Log is open for one call of multus. A nil Log does nothing.
type Log struct {
	logger *slog.Logger
	file   *os.File
}

// Open opens the log, mode 0600, for lines of at least that level: of what
// failed ("error"), of all calls and delegates ("info", and ""), and of
// delegates that begin, too ("debug").
func Open(path, level string) (*Log, error) {
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
	return &Log{slog.New(handler), file}, nil
}

// open opens the file for appending. A line is one write, and the kernel does
// not let two writes to such a file overlap: no line is torn. A link is not
// followed: in a folder like /tmp anybody could make it lead to a file of
// root's.
func open(path string) (*os.File, error) {
	const flags = os.O_WRONLY | os.O_APPEND | os.O_CREATE | unix.O_NONBLOCK | unix.O_NOFOLLOW
	file, err := os.OpenFile(path, flags, 0o600)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() { // stdout belongs to the protocol, and a fifo may have no reader
		err = fmt.Errorf("%s is no regular file", path)
	}
	if err == nil && info.Size() < maxSize {
		return file, nil
	}
	defer file.Close()
	if err != nil {
		return nil, err
	}
	if err := rotate(file, path); err != nil {
		return nil, err
	}
	return os.OpenFile(path, flags, 0o600)
}

// rotate renames the file, unless another process has done so already.
func rotate(file *os.File, path string) error {
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", path, err)
	}
	ours, err := file.Stat()
	if err != nil {
		return err
	}
	if there, err := os.Stat(path); err != nil || !os.SameFile(ours, there) {
		return nil // another process has renamed it
	}
	return os.Rename(path, path+".1")
}

// Close closes the file.
func (l *Log) Close() {
	if l != nil {
		_ = l.file.Close()
	}
}

// With returns a log whose lines all say this.
func (l *Log) With(attrs ...slog.Attr) *Log {
	if l == nil {
		return nil
	}
	return &Log{slog.New(l.logger.Handler().WithAttrs(attrs)), l.file}
}

// Begins notes that something begins.
func (l *Log) Begins(what string, attrs ...slog.Attr) {
	if l != nil {
		l.logger.LogAttrs(context.Background(), slog.LevelDebug, what+" begins", attrs...)
	}
}

// Ended notes how something that took that long has ended. Of an error it
// takes code and text.
func (l *Log) Ended(what string, took time.Duration, code uint, failure string, attrs ...slog.Attr) {
	if l == nil {
		return
	}
	level, outcome := slog.LevelInfo, "ok"
	if failure != "" {
		level, outcome = slog.LevelError, "failed"
		attrs = append(attrs, slog.Uint64("code", uint64(code)), slog.String("error", failure))
	}
	attrs = append(attrs, slog.String("outcome", outcome), slog.Float64("ms", float64(took.Microseconds())/1000))
	l.logger.LogAttrs(context.Background(), level, what, attrs...)
}
