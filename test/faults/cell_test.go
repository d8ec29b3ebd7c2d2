// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"

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
	if !c.begins() {
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
	if err := w.once(c, conf(), cniDir); err != nil {
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
	if c.fault != nil && c.fault.unread {
		w.unread = c.delegateVerb() + " " + kinds[c.faulty]
	}
	if cniDir != "" {
		if w.cellRecords, err = files(cniDir); err != nil {
			return err
		}
		delete(w.cellRecords, ourRecord)
	}
	return os.WriteFile(w.broken(), nil, 0o600)
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
	if _, err := os.Stat(filepath.Join(cmp.Or(cniDir, sandbox.RecordDir), ourRecord)); (err == nil) != want.record {
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

// clean sends the DEL that a runtime sends next, and checks that nothing is left
// and nothing foreign has changed.
func (w *world) clean(c cell, conf map[string]any, cniDir string) error {
	if c.around != nil && c.around.heal != nil {
		if err := c.around.heal(w); err != nil {
			return fmt.Errorf("heal: %w", err)
		}
	}
	w.calm()
	r, err := w.call("DEL", conf)
	if err == nil && r.failure != nil {
		err = fmt.Errorf("%+v", *r.failure)
	}
	if err != nil {
		return fmt.Errorf("DEL: %w", err)
	}
	if err := w.called(c.calls("DEL", 2, 1, 0)); err != nil {
		return err
	}
	if c.fault != nil && c.fault.name == "child" {
		if err := w.Release("child"); err != nil {
			return err
		}
	}
	return errors.Join(w.nothingLeft(cniDir), w.nothingForeign())
}
