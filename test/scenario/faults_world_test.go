// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package scenario

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
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// hangs is after how long something hangs: no machine is busy enough to
	// make it take that.
	hangs        = 10 * time.Minute
	podNetns     = "/run/netns/pod"
	foreignNetns = "/run/netns/other"
	ourRecord    = "demo:c1:eth0.json"
	foreign      = "other0" // an interface of somebody else
)

// world is where cells run, one after the other: a node with the pod c1 that
// they are about, and with things that are none of their business.
type world struct {
	*scenario
	// What an environment changes.
	path, stdout string
	padding      int
	unread       string

	before      string            // the node, and what is foreign
	foreignPod  string            // snapshot of the pod before a cell
	cellRecords map[string]string // what is not ours in cniDir
}

func newWorld(t *testing.T) *world {
	t.Helper()
	s, err := newScenario(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	w := &world{scenario: s}
	t.Cleanup(w.releaseAll)
	err = errors.Join(
		makeNetns("pod"), makeNetns("other"), furnish(podNetns, foreign), furnish(ownNetns, "host0"),
		w.attachForeign("demo", "eth0", 3), w.attachForeign("other", "eth1", 1))
	if err == nil {
		w.before, err = w.foreigners()
	}
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// furnish makes an interface, an address and default routes that are
// somebody else's: of another table, and by router advertisement.
func furnish(netns, ifname string) error {
	// The one before it may still be on its way out, with its netns.
	err := waitFor(hangs, "the name of an interface", func() bool {
		taken, err := hasLink(ownNetns, peerName(ifname))
		return err != nil || !taken
	})
	for _, words := range []string{
		"link", "addr 172.16.0.2/24", "addr fd16::2/64",
		"default 172.16.0.1 table 100", "default fd16::1 metric 77 proto ra",
	} {
		err = errors.Join(err, change(netns, ifname, strings.Fields(words)))
	}
	return errors.Join(err, waitFor(hangs, "the address's own route", func() bool {
		text, err := snapshot(netns)
		return err != nil || strings.Contains(text, "Dst: fd16::2/128")
	}))
}

// attachForeign attaches another pod, c2, which stays.
func (w *world) attachForeign(network, ifname string, delegates int) error {
	c := cell{primary: 0, fault: &fault{ops: just()}}
	conf := c.conf(network, "", 0, delegates)
	r, err := w.call("ADD", conf, "CNI_CONTAINERID=c2", "CNI_NETNS="+foreignNetns, "CNI_IFNAME="+ifname)
	if err == nil && r.failure != nil {
		err = errors.New(r.failure.Msg)
	}
	return err
}

// startOver clears up after a cell that failed.
func (w *world) startOver(t *testing.T) {
	t.Helper()
	w.releaseAll()
	w.calm()
	_ = deleteNetns("pod")
	_ = os.Remove(podNetns)
	_ = os.Remove(filepath.Join(recordDir, ourRecord))
	_ = os.Remove(filepath.Join(recordDir, ourRecord+".lock"))
	w.removeCellDir()
	if err := errors.Join(makeNetns("pod"), furnish(podNetns, foreign)); err != nil {
		t.Fatal(err)
	}
}

// calm ends what an environment has changed in the world itself.
func (w *world) calm() {
	w.path, w.stdout, w.padding, w.unread = "", "", 0, ""
	_ = os.Remove(w.broken())
}

func (w *world) removeCellDir() {
	_ = unix.Unmount(cellDir, unix.MNT_DETACH)
	for _, suffix := range []string{"", "-real", "-away"} {
		_ = os.RemoveAll(cellDir + suffix)
	}
}

// broken is the file that switches the faults on.
func (w *world) broken() string { return filepath.Join(w.work, "broken") }

// conf makes a conf of the first delegates.
func (c cell) conf(network, cniDir string, padding, delegates int) map[string]any {
	conf := map[string]any{"cniVersion": "1.1.0", "name": network, "type": "multus"}
	if cniDir != "" {
		conf["cniDir"] = cniDir
	}
	if padding > 0 {
		conf["padding"] = strings.Repeat("x", padding)
	}
	var list []any
	for i, kind := range kinds[:delegates] {
		n := i + 1
		ops := map[string][]string{"ADD": {
			"link", fmt.Sprintf("addr 10.%d.0.2/24", n), fmt.Sprintf("addr fd0%d::2/64", n),
			fmt.Sprintf("default 10.%d.0.1", n), fmt.Sprintf("default fd0%d::1", n),
		}}
		delegate := map[string]any{"type": kind, "fake": ops}
		if i == c.primary {
			delegate["masterplugin"] = true
		}
		if c.verb == "ROLLBACK" && i == last {
			ops["ADD"] = append(ops["ADD"], "while broken error 11 no room")
		}
		if c.fault != nil && i == c.faulty {
			verb := c.delegateVerb()
			if c.fault.ends && verb == "DEL" {
				ops[verb] = append(ops[verb], "while broken unlink "+c.ifname(i))
			}
			for _, op := range c.fault.ops(c) {
				ops[verb] = append(ops[verb], "while broken "+op)
			}
			if c.fault.unread {
				delegate["padding"] = strings.Repeat("x", 200_000) // more than a pipe holds
			}
		}
		list = append(list, delegate)
	}
	conf["delegates"] = list
	return conf
}

// reply is what a call of multus came to.
type reply struct {
	failure *cniError // nil for success, or when it could not be printed
	exit    int
	stderr  int // bytes
}

// command makes a call of multus.
func (w *world) command(ctx context.Context, verb string, conf map[string]any, env ...string) *exec.Cmd {
	text, _ := json.Marshal(conf) // strings only
	cmd := exec.CommandContext(ctx, os.Getenv("MULTUS"))
	cmd.Dir, cmd.Stdin = w.work, bytes.NewReader(text)
	path := w.path
	if path == "" {
		path = filepath.Join(w.work, "plugins")
	}
	cmd.Env = []string{
		"CNI_COMMAND=" + verb, "CNI_PATH=" + path, "FAKE=" + w.dir, "WORK=" + w.work,
		"FAKE_UNREAD=" + w.unread, "GOCOVERDIR=" + os.Getenv("GOCOVERDIR"),
	}
	if verb != "STATUS" && verb != "GC" {
		cmd.Env = append(cmd.Env, "CNI_CONTAINERID=c1", "CNI_NETNS="+podNetns, "CNI_IFNAME=eth0")
	}
	for _, pair := range env {
		cmd.Env = setenv(cmd.Env, pair)
	}
	return cmd
}

// call runs multus and sees that it keeps to the protocol: one document or
// none on stdout.
func (w *world) call(verb string, conf map[string]any, env ...string) (*reply, error) {
	ctx, cancel := context.WithTimeout(context.Background(), hangs)
	defer cancel()
	cmd := w.command(ctx, verb, conf, env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if w.stdout != "" {
		file, err := sink(w.stdout)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		cmd.Stdout = file
	}
	err := cmd.Run()
	r := &reply{exit: cmd.ProcessState.ExitCode(), stderr: stderr.Len()}
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("%s: hangs", verb)
	case err != nil && r.exit != 1:
		return nil, fmt.Errorf("%s: %w: %.500s", verb, err, stderr.String())
	case w.stdout != "":
		return r, nil
	case err != nil:
		if r.failure, err = decodeError(stdout.String()); err != nil {
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

// aResult tells whether stdout is one result, and the primary's.
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
	ifname := getenv(env, "CNI_IFNAME")
	if result.CNIVersion != "1.1.0" || len(result.Interfaces) != 1 || result.Interfaces[0].Name != ifname {
		return fmt.Errorf("the result is not that of the primary, with the interface %s: %.500q", ifname, stdout)
	}
	return nil
}

// sink opens a stdout that takes nothing.
func sink(target string) (*os.File, error) {
	if target != "broken-pipe" {
		return os.OpenFile(target, os.O_WRONLY, 0)
	}
	reader, writer, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	return writer, reader.Close()
}

// run runs one cell, and leaves the world as it was.
func (w *world) run(c cell) error {
	if _, err := w.newCalls(); err != nil {
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
	if w.foreignPod, err = snapshot(podNetns); err != nil {
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
	text, err := os.ReadFile(filepath.Join(recordDir, others))
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
		if w.foreignPod, err = snapshot(podNetns); err != nil {
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

// realDir is the folder of the records, wherever it has gone.
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
	dir := recordDir
	if cniDir != "" {
		dir = realDir()
	}
	if _, err := os.Stat(filepath.Join(dir, ourRecord)); (err == nil) != want.record {
		return fmt.Errorf("there is a record: %v, want %v", err == nil, want.record)
	}
	return pod(c, want)
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

func (r *reply) check(want want) error {
	if r.exit != min(want.code, 1) {
		return fmt.Errorf("exit status %d (%v), want code %d", r.exit, r.failure, want.code)
	}
	if r.failure == nil {
		if want.code != 0 && !want.silent {
			return errors.New("the error is not on stdout")
		}
		return nil
	}
	if r.failure.Code != want.code {
		return fmt.Errorf("code %d, want %d: %s", r.failure.Code, want.code, r.failure.Msg)
	}
	return errors.Join(match(want.msg, r.failure.Msg), match(want.details, r.failure.Details))
}

// called compares the delegates' calls.
func (w *world) called(want []string) error {
	lines, err := w.newCalls()
	var got []string
	for _, line := range lines {
		if fields := strings.Fields(line); fields[0] != "over" {
			got = append(got, strings.Join(fields[:min(4, len(fields))], " "))
		}
	}
	if err == nil && !slices.Equal(got, want) {
		return fmt.Errorf("calls\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
	return err
}

// pod looks at the pod's interfaces and default routes, if it is still there.
func pod(c cell, want want) error {
	if held, err := isNetns(podNetns); !held {
		return err
	}
	links, err := namesOf(podNetns)
	if err != nil {
		return err
	}
	slices.Sort(want.links)
	if !slices.Equal(links, want.links) {
		return fmt.Errorf("the pod has the interfaces %q, want %q", links, want.links)
	}
	defaults, err := defaultLines(podNetns)
	if err != nil {
		return err
	}
	defaults = slices.DeleteFunc(defaults, func(line string) bool { return strings.Contains(line, foreign) })
	var expected []string
	if want.owner != nobody {
		n, ifname := want.owner+1, c.ifname(want.owner)
		expected = []string{fmt.Sprintf("via 10.%d.0.1 dev %s", n, ifname), fmt.Sprintf("via fd0%d::1 dev %s", n, ifname)}
	}
	if !slices.Equal(defaults, expected) {
		return fmt.Errorf("default routes %q, want %q", defaults, expected)
	}
	return nil
}

func isNetns(path string) (bool, error) {
	var st unix.Statfs_t
	err := unix.Statfs(path, &st)
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	return err == nil && st.Type == unix.NSFS_MAGIC, err
}

// namesOf returns the names of the interfaces that are not foreign.
func namesOf(netns string) ([]string, error) {
	lines, err := linkLines(netns)
	var names []string
	for _, line := range lines {
		if name := strings.Fields(line)[0]; !strings.Contains(name, foreign) {
			names = append(names, name)
		}
	}
	return names, err
}

// hang kills multus while a delegate hangs, and sends DEL at once.
func (w *world) hang(c cell, conf map[string]any) error {
	ctx, cancel := context.WithTimeout(context.Background(), hangs)
	defer cancel()
	cmd := w.command(ctx, c.multusVerb(), c.withValid(conf))
	if err := cmd.Start(); err != nil {
		return err
	}
	err := waitFor(hangs, "the delegate that hangs", func() bool { return len(w.held("hang")) > 0 })
	err = errors.Join(err, cmd.Process.Kill())
	_ = cmd.Wait()
	_, recordErr := os.Stat(filepath.Join(recordDir, ourRecord))
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
	err = errors.Join(err, os.Remove(w.broken()), w.letGo("hang"), del.Wait())
	if err != nil {
		return fmt.Errorf("DEL after the kill: %w", err)
	}
	return w.called(c.calls("DEL", 2, 1, 0))
}

// locks tells whether the verb concerns an attachment.
func (c cell) locks() bool { return c.verb != "STATUS" && c.verb != "GC" }

// waits sees that a multus waits for the attachment's lock. That it has it
// open is not enough: other processes come and go meanwhile, so that it has its
// chance to go wrong.
func (w *world) waits(pid int) error {
	err := waitFor(hangs, "DEL to look at the lock", func() bool {
		fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
		return !lives(pid) || slices.ContainsFunc(fds, func(fd string) bool {
			target, _ := os.Readlink(fd)
			return strings.HasSuffix(target, ourRecord+".lock")
		})
	})
	for range 3 {
		other := exec.Command(os.Getenv("MULTUS"))
		other.Env = []string{"CNI_COMMAND=VERSION", "GOCOVERDIR=" + os.Getenv("GOCOVERDIR")}
		err = errors.Join(err, other.Run())
	}
	if calls := w.called(nil); calls != nil || !lives(pid) {
		err = errors.Join(err, errors.New("it does not wait for the delegate"), calls)
	}
	return err
}

// letGo ends the children that are held.
func (w *world) letGo(name string) error {
	before, err := w.log()
	if err != nil {
		return err
	}
	if err := waitFor(hangs, name+" to be held", func() bool { return w.open(name) > 0 }); err != nil {
		return err
	}
	return waitFor(hangs, name+" to go on", func() bool {
		now, _ := w.log()
		return slices.Contains(now[min(len(before), len(now)):], "over "+name)
	})
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
	netns := podNetns
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
		err = w.letGo("hang")
	} else if c.fault != nil && c.fault.name == "child" {
		err = w.letGo("child")
	}
	if err != nil {
		return err
	}
	return errors.Join(w.nothingLeft(cniDir), w.nothingForeign())
}

// nothingLeft looks at the pod and at the records of the cell.
func (w *world) nothingLeft(cniDir string) error {
	held, err := isNetns(podNetns)
	if err != nil {
		return err
	}
	if held {
		now, err := snapshot(podNetns)
		if err != nil {
			return err
		}
		if now != w.foreignPod {
			return fmt.Errorf("the pod is\n%s\nand was\n%s", now, w.foreignPod)
		}
	}
	if cniDir != "" {
		got, err := files(cellDir)
		if err != nil {
			return err
		}
		if fmt.Sprint(got) != fmt.Sprint(w.cellRecords) {
			return fmt.Errorf("%s holds %q, want %q", cniDir, got, w.cellRecords)
		}
		w.removeCellDir()
	}
	if held && strings.Contains(w.foreignPod, foreign) {
		return nil
	}
	if held {
		if err := deleteNetns("pod"); err != nil {
			return err
		}
	}
	return errors.Join(makeNetns("pod"), furnish(podNetns, foreign))
}

// nothingForeign sees that the node and what is not ours are as they were. The
// kernel takes its time with a network namespace that has gone.
func (w *world) nothingForeign() error {
	var now string
	var err error
	waitErr := waitFor(hangs, "the node to be as it was", func() bool {
		now, err = w.foreigners()
		return err != nil || now == w.before
	})
	if waitErr != nil {
		return fmt.Errorf("%w: it is\n%s\nand was\n%s", waitErr, now, w.before)
	}
	return err
}

// foreigners describes the node, the other pod and all records.
func (w *world) foreigners() (string, error) {
	other, err := snapshot(foreignNetns)
	links, linksErr := namesOf(ownNetns)
	defaults, defaultsErr := defaultLines(ownNetns)
	all, filesErr := files(recordDir)
	return fmt.Sprint(other, links, "\n", defaults, "\n", all), errors.Join(err, linksErr, defaultsErr, filesErr)
}

// files returns what is in a folder, by name, but for what fills the disk. A
// folder that is not there is empty.
func files(dir string) (map[string]string, error) {
	texts := map[string]string{}
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return texts, nil
	}
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), "fill") {
			continue
		}
		text, readErr := os.ReadFile(filepath.Join(dir, entry.Name()))
		texts[entry.Name()] = string(text)
		err = errors.Join(err, readErr)
	}
	return texts, err
}
