// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package commandline

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"time"
)

// retryInterval is how long install --wait waits after an error.
const retryInterval = 30 * time.Second

// stamps change when one of these does: binary, conf, the conf's source, and
// why the runtime does not read the conf.
type stamps struct{ binary, conf, source, unread string }

// due is what must be installed again.
type due struct{ binary, all bool }

// watch keeps the installation up to date until ctx is cancelled: it installs
// the binary again when that was changed or removed, the conf when it was
// removed, and both when the conf's source has changed.
//
// It leaves a conf in place that somebody else has changed: service meshes insert
// their own plugin into the conf that the runtime reads, and would do so again.
func (i *installation) watch(ctx context.Context) error {
	if err := i.say("watching %s and %s", i.binary, i.conf); err != nil {
		return err
	}
	var todo due
	var failed time.Time
	tick := time.NewTicker(i.interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return i.say("stopped: the files are left in place")
		case <-tick.C:
		}
		if now := i.look(); now != i.known {
			more := i.react(now)
			todo.binary, todo.all = todo.binary || more.binary, todo.all || more.all
			failed = time.Time{}
		}
		if todo == (due{}) || time.Since(failed) < retryInterval {
			continue
		}
		if err := i.do(todo); err != nil {
			failed = time.Now()
			i.complain("%v; trying again in %v", err, retryInterval)
			continue
		}
		todo = due{}
	}
}

func (i *installation) look() stamps {
	s := stamps{binary: stampAt(i.binary), conf: stampAt(i.conf), source: stampAt(i.source)}
	s.unread, _ = i.unread() // run reports the error
	return s
}

// react reports what has changed, and returns what must be installed again.
func (i *installation) react(now stamps) (todo due) {
	was := i.known
	i.known = now
	if now.binary != was.binary {
		i.complain("%s %s", i.binary, fate(now.binary))
		todo.binary = true
	}
	if now.source != was.source {
		i.complain("%s %s", i.source, fate(now.source))
		todo.all = true
	}
	if now.unread != was.unread && now.unread != "" {
		i.complain("in %s, %s", filepath.Dir(i.conf), now.unread)
	}
	if now.conf != was.conf && !todo.all {
		todo.all = i.confChanged(now.conf != "")
	}
	return todo
}

// confChanged reports whether the conf must be put back, and says why if not.
func (i *installation) confChanged(there bool) bool {
	what := "was changed"
	if !there {
		names := slices.DeleteFunc(i.siblings(), func(name string) bool { return slices.Contains(i.beside, name) })
		if len(names) == 0 {
			i.complain("%s is gone", i.conf)
			return true
		}
		what = "was moved to " + names[0]
	}
	if !i.yielded {
		i.complain("%s %s by somebody else, and is left as it is until %s changes", i.conf, what, i.source)
		i.yielded = true
	}
	return false
}

func (i *installation) do(todo due) (err error) {
	if todo.binary {
		err = i.putBinary()
	}
	if todo.all {
		err = errors.Join(err, i.run())
	}
	return err
}

func fate(stamp string) string {
	if stamp == "" {
		return "is gone"
	}
	return "has changed"
}
