// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"multus-cni/test/pod"
	"multus-cni/test/sandbox"
)

// run runs one cell, and leaves the world as it was.
func (w *world) run(c cell) error {
	if _, err := w.NewCalls(); err != nil {
		return err
	}
	cniDir, err := w.prepare(c)
	if err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	conf := func() map[string]any { return c.conf("demo", cniDir, w.padding, len(kinds)) }
	if !c.begins() || c.around != nil && c.around.again {
		if r, err := w.call("ADD", conf()); err != nil || r.failure != nil {
			return fmt.Errorf("the ADD before: %v, %w", r, err)
		}
		if err := w.called(cell{verb: "ADD", primary: c.primary}.calls("ADD", 0, 1, 2)); err != nil {
			return fmt.Errorf("the ADD before: %w", err)
		}
	}
	if err := w.spoil(c, cniDir); err != nil {
		return fmt.Errorf("spoil: %w", err)
	}
	if c.fault != nil && c.fault.name == "hang" {
		err = w.hang(c, conf())
	} else {
		err = w.once(c, conf(), cniDir)
	}
	if err != nil {
		return err
	}
	if err := w.clean(c, conf(), cniDir); err != nil {
		return fmt.Errorf("afterwards: %w", err)
	}
	return nil
}

// prepare makes what a cell needs. It returns cniDir, "" for the usual one.
func (w *world) prepare(c cell) (cniDir string, err error) {
	if w.foreignPod, err = pod.Snapshot(pod.Path); err != nil {
		return "", err
	}
	if c.around == nil && !c.fault.disk {
		return "", nil
	}
	prepare := smallDisk("size=64k")
	if c.around != nil {
		prepare = c.around.prepare
	}
	if err := os.Mkdir(cellDir, 0o700); err != nil {
		return "", err
	}
	if prepare != nil {
		if err := prepare(w); err != nil {
			return "", err
		}
	}
	const others = "other:c2:eth1.json"
	text, err := os.ReadFile(filepath.Join(sandbox.RecordDir, others))
	return cellDir, errors.Join(err, os.WriteFile(filepath.Join(cellDir, others), text, 0o600))
}

// spoil lets things go wrong.
func (w *world) spoil(c cell, cniDir string) (err error) {
	if c.around != nil && c.around.spoil != nil {
		if err := c.around.spoil(w); err != nil {
			return err
		}
	}
	if c.around != nil && c.around.replaces {
		if w.foreignPod, err = pod.Snapshot(pod.Path); err != nil {
			return err
		}
	}
	if c.fault != nil && c.fault.unread {
		w.unread = c.delegateVerb() + " " + kinds[c.faulty]
	}
	if cniDir != "" {
		if w.cellRecords, err = files(realDir()); err != nil {
			return err
		}
		delete(w.cellRecords, ourRecord)
	}
	return os.WriteFile(w.broken(), nil, 0o600)
}

// realDir is the directory of the records, wherever it has gone.
func realDir() string {
	if _, err := os.Stat(cellDir + "-away"); err == nil {
		return cellDir + "-away"
	}
	return cellDir
}

// once runs the verb and looks at what comes of it.
func (w *world) once(c cell, conf map[string]any, cniDir string) error {
	want := c.want()
	r, err := w.call(c.multusVerb(), c.withValid(conf))
	if err != nil {
		return err
	}
	if err := r.check(want); err != nil {
		return err
	}
	if c.fault != nil && c.fault.name == "stderr-4MB" && r.stderr < 4_000_000 {
		return fmt.Errorf("%d bytes of the delegate's stderr arrive", r.stderr)
	}
	if err := w.called(want.calls); err != nil {
		return err
	}
	dir := sandbox.RecordDir
	if cniDir != "" {
		dir = realDir()
	}
	if _, err := os.Stat(filepath.Join(dir, ourRecord)); (err == nil) != want.record {
		return fmt.Errorf("there is a record: %v, want %v", err == nil, want.record)
	}
	return c.checkPod(want)
}

// withValid adds the attachments that are valid, for a GC. That of c2 is.
func (c cell) withValid(conf map[string]any) map[string]any {
	valid := []map[string]string{{"containerID": "c2", "ifname": "eth0"}}
	if c.verb == "GC" {
		valid = append(valid, map[string]string{"containerID": "c1", "ifname": "eth0"})
	}
	if c.multusVerb() == "GC" {
		conf["cni.dev/valid-attachments"] = valid
	}
	return conf
}

// hang kills multus while a delegate hangs, and sends DEL at once.
func (w *world) hang(c cell, conf map[string]any) error {
	ctx, cancel := context.WithTimeout(context.Background(), sandbox.Patience)
	defer cancel()
	cmd := w.command(ctx, c.multusVerb(), c.withValid(conf))
	if err := cmd.Start(); err != nil {
		return err
	}
	err := errors.Join(w.Await("hang"), cmd.Process.Kill())
	_ = cmd.Wait()
	_, recordErr := os.Stat(filepath.Join(sandbox.RecordDir, ourRecord))
	if err := errors.Join(err, recordErr, w.called(c.want().calls)); err != nil {
		return err
	}
	if !c.locks() {
		return nil
	}
	del := w.command(ctx, "DEL", conf)
	if err := del.Start(); err != nil {
		return err
	}
	err = w.waits(del.Process.Pid)
	err = errors.Join(err, os.Remove(w.broken()), w.Release("hang"), del.Wait())
	if err != nil {
		return fmt.Errorf("DEL after the kill: %w", err)
	}
	return w.called(c.calls("DEL", 2, 1, 0))
}

// locks reports whether the verb concerns an attachment.
func (c cell) locks() bool { return c.verb != "STATUS" && c.verb != "GC" }

// waits checks that a multus waits for the attachment's lock. That it has it
// open is not enough: other processes come and go meanwhile, so that it has its
// chance to go wrong.
func (w *world) waits(pid int) error {
	err := sandbox.WaitFor("DEL to look at the lock", func() bool {
		fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
		return !sandbox.Lives(pid) || slices.ContainsFunc(fds, func(fd string) bool {
			target, _ := os.Readlink(fd)
			return strings.HasSuffix(target, ourRecord+".lock")
		})
	})
	return errors.Join(err, sandbox.LookOn(3, func() error {
		if !sandbox.Lives(pid) {
			return errors.New("it does not wait for the delegate")
		}
		return w.called(nil)
	}))
}

// clean sends the DEL that a runtime sends next, and sees that nothing is left
// and nothing foreign has changed.
func (w *world) clean(c cell, conf map[string]any, cniDir string) error {
	if c.around != nil && c.around.heal != nil {
		if err := c.around.heal(w); err != nil {
			return fmt.Errorf("heal: %w", err)
		}
	}
	w.calm()
	netns := pod.Path
	if c.around != nil && c.around.replaces && !c.begins() { // the runtime knows that its pod is gone
		netns = ""
	}
	r, err := w.call("DEL", conf, "CNI_NETNS="+netns)
	if err == nil && r.failure != nil {
		err = fmt.Errorf("%+v", *r.failure)
	}
	if err != nil {
		return fmt.Errorf("DEL: %w", err)
	}
	if err := w.called(c.calls("DEL", 2, 1, 0)); err != nil {
		return err
	}
	if c.fault != nil && c.fault.name == "hang" && !c.locks() {
		err = w.Release("hang")
	} else if c.fault != nil && c.fault.name == "child" {
		err = w.Release("child")
	}
	if err != nil {
		return err
	}
	return errors.Join(w.nothingLeft(cniDir), w.nothingForeign())
}
