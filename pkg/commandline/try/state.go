// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package try

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"multus-cni/pkg/cnierror"
	"multus-cni/pkg/netconf"
)

const (
	// prefix begins the container id of every trial, which is also the name of
	// its network namespace in netnsDir.
	prefix = "multus-try-"
	// stateDir holds a file for each trial that is running, was killed, or is
	// kept. It is gone after a reboot, as the namespaces are.
	stateDir = "/run/multus-try"
	netnsDir = "/run/netns"
)

func isTrial(id string) bool { return strings.HasPrefix(id, prefix) }

// state is on disk as long as a trial exists, with all that is needed to undo
// it. The process that works on the trial holds the file's lock (flock(2)),
// which a process that was killed does not.
type state struct {
	Conf    json.RawMessage `json:"conf"` // the file's text
	CNIPath string          `json:"cniPath"`
	Result  json.RawMessage `json:"result,omitempty"` // of the ADD
	// Kept reports that the trial has ended and was left in place on purpose.
	Kept bool `json:"kept,omitempty"`

	id     string
	file   *os.File
	stderr io.Writer
}

func (s *state) log() string   { return filepath.Join(stateDir, s.id+".log") }
func (s *state) netns() string { return filepath.Join(netnsDir, s.id) }

// begin makes the state of a trial and then its network namespace.
func begin(o Options) (*trial, error) {
	id := fmt.Sprintf("%s%08x", prefix, rand.Uint32())
	s := &state{Conf: o.Conf, CNIPath: strings.Join(o.CNIPath, ":"), id: id, stderr: o.Stderr}
	if err := os.MkdirAll(stateDir, 0o700); err != nil {
		return nil, err
	}
	var err error
	if s.file, err = os.OpenFile(filepath.Join(stateDir, id+".json"), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
		return nil, err
	}
	if err := errors.Join(unix.Flock(int(s.file.Fd()), unix.LOCK_EX|unix.LOCK_NB), s.write()); err != nil {
		return nil, errors.Join(err, s.remove())
	}
	if err := makeNetns(s.netns()); err != nil {
		return nil, errors.Join(fmt.Errorf("make a network namespace (this needs root): %w", err), s.remove())
	}
	t := &trial{id: id, netns: s.netns(), state: s}
	t.report = Report{
		Container: id, Netns: t.netns,
		Interfaces: []Interface{}, DefaultRoutes: []string{}, Problems: []string{}, Left: []string{},
	}
	return t, nil
}

// end removes the namespace and the state, or leaves them to Remove.
func (t *trial) end(kept bool) error {
	if !kept {
		return t.state.remove()
	}
	t.report.Kept, t.state.Kept = true, true
	return errors.Join(t.state.write(), t.state.file.Close())
}

func (s *state) write() error {
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if _, err := s.file.WriteAt(text, 0); err != nil { // it only ever grows
		return fmt.Errorf("write the state of the try: %w", err)
	}
	return nil
}

// remove removes the files of a trial.
func (s *state) remove() error {
	err := deleteNetns(s.netns())
	for _, path := range []string{s.log(), s.file.Name()} {
		err = errors.Join(err, ignoring(os.Remove(path), fs.ErrNotExist))
	}
	_ = s.file.Close()
	return err
}

// openState returns the state of a trial that is not running, and nil when it
// is running.
func openState(id string, stderr io.Writer) (*state, error) {
	file, err := os.OpenFile(filepath.Join(stateDir, id+".json"), os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no try %s", id)
	}
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = file.Close()
		return nil, ignoring(err, unix.EWOULDBLOCK)
	}
	s := &state{id: id, file: file, stderr: stderr}
	text, err := io.ReadAll(file)
	if err == nil && json.Unmarshal(text, s) != nil {
		s.Conf = nil // killed before it was written, and so before anything was attached
	}
	return s, err
}

func ignoring(err, harmless error) error {
	if errors.Is(err, harmless) {
		return nil
	}
	return err
}

// leftoverTime is how long the removal of a trial that was killed may take
// before the next one begins: its plugin may hang, and may have nothing to do
// with the next conf.
const leftoverTime = 30 * time.Second

// undo DELs a trial of another process and removes it. When ctx is cancelled, it
// leaves the trial in place.
func (s *state) undo(ctx context.Context) error {
	var err error
	if s.Conf != nil {
		var list netconf.Delegate
		if list, err = netconf.ReadFile(s.Conf, ifname); err == nil {
			t := &trial{id: s.id, netns: s.netns(), state: s, result: s.Result}
			t.setList(list)
			err = t.del(ctx)
			if ctx.Err() != nil {
				_ = s.file.Close()
				return fmt.Errorf("remove %s: %w", s.id, ctx.Err())
			}
			for _, problem := range slices.Concat(t.report.Problems, t.report.Left) {
				err = errors.Join(err, errors.New(problem))
			}
		}
	}
	if err = errors.Join(err, s.remove()); err != nil {
		return fmt.Errorf("remove %s: %w", s.id, err)
	}
	return nil
}

// undoInTime undoes the trial and prints what went wrong. It reports whether
// leftoverTime was enough; if not, the trial is left in place.
func (s *state) undoInTime(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, leftoverTime)
	defer cancel()
	err := s.undo(ctx)
	if err != nil {
		_, _ = fmt.Fprintf(s.stderr, "multus: warning: %s\n", cnierror.OneLine(err.Error()))
	}
	return ctx.Err() == nil
}

// removeLeftovers removes the trials that were killed, and returns their ids.
func removeLeftovers(ctx context.Context, stderr io.Writer) (removed []string, err error) {
	files, err := os.ReadDir(stateDir)
	if err := ignoring(err, fs.ErrNotExist); err != nil {
		return nil, err
	}
	for _, file := range files {
		id, found := strings.CutSuffix(file.Name(), ".json")
		if !found || !isTrial(id) {
			continue
		}
		s, err := openState(id, stderr)
		if s == nil || err != nil {
			continue // running, or gone by now
		}
		if s.Kept {
			_ = s.file.Close()
			continue
		}
		_, _ = fmt.Fprintf(stderr, "multus: removing %s, a try that was killed\n", id)
		if s.undoInTime(ctx) {
			removed = append(removed, id)
		}
		if ctx.Err() != nil {
			return nil, errors.New("interrupted")
		}
	}
	return removed, nil
}
