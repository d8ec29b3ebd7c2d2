// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package netns

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	vishnetns "github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// newNetns makes a network namespace and returns a path to it that is good
// until the test ends. The thread that made it is never used again: it is in
// there for good.
func newNetns(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test makes network namespaces: run it as root, or under unshare -r")
	}
	type result struct {
		file int
		err  error
	}
	made := make(chan result)
	go func() {
		runtime.LockOSThread() // without an unlock the thread ends with the goroutine
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			made <- result{err: err}
			return
		}
		file, err := unix.Open(own, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		made <- result{file, err}
	}()
	r := <-made
	if r.err != nil {
		t.Fatal(r.err)
	}
	t.Cleanup(func() { _ = unix.Close(r.file) })
	return filepath.Join("/proc/self/fd", strconv.Itoa(r.file))
}

func mustOpen(t *testing.T, path string) *Netns {
	t.Helper()
	n, err := Open(path, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	return n
}

func addLink(t *testing.T, path, name string, altNames ...string) int {
	t.Helper()
	file, err := vishnetns.GetFromPath(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	handle, err := netlink.NewHandleAt(file, unix.NETLINK_ROUTE)
	if err != nil {
		t.Fatal(err)
	}
	defer handle.Close()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	if err := handle.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}); err != nil {
		t.Fatal(err)
	}
	link, err := handle.LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, alt := range altNames {
		if err := handle.LinkAddAltName(link, alt); err != nil {
			t.Fatal(err)
		}
	}
	return link.Attrs().Index
}

func TestOpenRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	fifo := file + "-fifo"
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]error{
		file:                ErrNotExist,
		file + "-not":       ErrNotExist,
		file + "/below":     ErrNotExist,
		fifo:                ErrNotExist,
		own:                 ErrOwn,
		"/proc/self/ns/mnt": unix.EINVAL,
	} {
		if n, err := Open(path, false); !errors.Is(err, want) || n != nil {
			t.Errorf("Open(%s): got error %v, want %v", path, err, want)
		}
	}
	n, err := Open(own, true)
	if err != nil {
		t.Fatalf("Open of the own namespace when that is allowed: %v", err)
	}
	n.Close()
}

// What Open leaves behind: the thread in its own namespace, and no descriptor.
func TestOpenLeavesNothing(t *testing.T) {
	path := newNetns(t)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home, err := inodeAt(own)
	if err != nil {
		t.Fatal(err)
	}
	before := descriptors(t)
	n, err := Open(path, false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Identify(path); err != nil {
		t.Fatal(err)
	}
	n.Close()
	if now, err := inodeAt(own); err != nil || now != home {
		t.Errorf("the thread is in namespace %v (%v), want %v", now, err, home)
	}
	if after := descriptors(t); after != before {
		t.Errorf("%d descriptors are open, want %d", after, before)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// A thread that cannot return must not go on: the plugins that it starts would
// work in the pod.
func TestVisitPanicsWhenItCannotReturn(t *testing.T) {
	path := newNetns(t)
	file, err := open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	recovered := make(chan any)
	go func() { // its thread stays locked, and ends with the goroutine
		defer func() { recovered <- recover() }()
		calls := 0
		_ = visit(file, func(fd, nstype int) error {
			if calls++; calls == 2 {
				return unix.EPERM
			}
			return unix.Setns(fd, nstype)
		}, func() error { return nil })
	}()
	got := <-recovered
	if err, ok := got.(error); !ok || !errors.Is(err, unix.EPERM) {
		t.Errorf("got panic %v, want one with %v", got, unix.EPERM)
	}
}

func TestVisitStaysOutsideWhenItCannotEnter(t *testing.T) {
	file, err := open(newNetns(t))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	refuse := func(int, int) error { return unix.EPERM }
	inside := func() error { t.Error("called outside"); return nil }
	if err := visit(file, refuse, inside); !errors.Is(err, unix.EPERM) {
		t.Errorf("got error %v, want %v", err, unix.EPERM)
	}
}

func TestIdentity(t *testing.T) {
	path, other := newNetns(t), newNetns(t)
	id, err := Identify(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := mustOpen(t, path); n.Identity != id {
		t.Errorf("Open says %+v, Identify %+v", n.Identity, id)
	}
	inode, err := inodeAt(path)
	if err != nil {
		t.Fatal(err)
	}
	if id.Namespace == inode {
		t.Skip("this kernel gives out no cookies")
	}
	notThere := filepath.Join(t.TempDir(), "not")
	tests := []struct {
		name string
		id   Identity
		path string
		want error
	}{
		{"the same", id, path, nil},
		{"another one", id, other, ErrReplaced},
		{"none", id, notThere, ErrNotExist},
		{"another boot", Identity{"x", id.Namespace}, path, ErrRebooted},
		{"another boot and none", Identity{"x", id.Namespace}, notThere, ErrRebooted},
		{"the inode number was used again", Identity{id.Boot, inode + ":1"}, path, ErrReplaced},
		{"recorded without a cookie", Identity{id.Boot, inode}, path, nil},
		{"recorded without a cookie, another one", Identity{id.Boot, inode}, other, ErrReplaced},
		{"a record without identity", Identity{}, path, nil},
		{"a record without identity, none there", Identity{}, notThere, ErrNotExist},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.id.Check(tt.path)
			if !errors.Is(err, tt.want) || tt.want == nil && err != nil {
				t.Fatalf("got error %v, want %v", err, tt.want)
			}
			if err != nil && !strings.Contains(err.Error(), tt.path) {
				t.Errorf("error %q does not name %s", err, tt.path)
			}
		})
	}
}

func TestCompare(t *testing.T) {
	now := Identity{"boot", "4:1:5"}
	tests := []struct {
		name    string
		id, now Identity
		want    error
	}{
		{"the same", now, now, nil},
		{"another boot", Identity{"other", "4:1:5"}, now, ErrRebooted},
		{"another cookie", Identity{"boot", "4:1:55"}, now, ErrReplaced},
		{"another inode", Identity{"boot", "4:11"}, now, ErrReplaced},
		{"recorded without a cookie", Identity{"boot", "4:1"}, now, nil},
		{"no cookie to be had now", now, Identity{"boot", "4:1"}, nil},
		{"no boot recorded", Identity{"", "4:1:5"}, now, nil},
		{"no namespace recorded", Identity{"boot", ""}, now, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.id.Compare(tt.now); !errors.Is(err, tt.want) || tt.want == nil && err != nil {
				t.Errorf("got error %v, want %v", err, tt.want)
			}
		})
	}
}

// A caller that may not enter the namespace cannot read its cookie: device and
// inode decide then.
func TestCheckWithoutPrivileges(t *testing.T) {
	path, other := newNetns(t), newNetns(t)
	id, err := Identify(path)
	if err != nil {
		t.Fatal(err)
	}
	results := make(chan error)
	go func() {
		runtime.LockOSThread() // the thread stays without its capability, and ends
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var data [2]unix.CapUserData
		err := unix.Capget(&header, &data[0])
		if err == nil {
			data[0].Effective &^= 1 << unix.CAP_SYS_ADMIN
			err = unix.Capset(&header, &data[0])
		}
		results <- err
		_, err = Identify(path)
		results <- err
		results <- id.Check(path)
		results <- id.Check(other)
	}()
	if err := <-results; err != nil {
		t.Fatal(err)
	}
	for _, want := range []error{unix.EPERM, nil, ErrReplaced} {
		if err := <-results; !errors.Is(err, want) {
			t.Errorf("got error %v, want %v", err, want)
		}
	}
}

func TestAt(t *testing.T) {
	path, other := newNetns(t), newNetns(t)
	n := mustOpen(t, path)
	link := filepath.Join(t.TempDir(), "netns")
	for _, tt := range []struct {
		target string
		want   bool
	}{{path, true}, {other, false}, {path, true}, {"/nowhere", false}} {
		_ = os.Remove(link)
		if err := os.Symlink(tt.target, link); err != nil {
			t.Fatal(err)
		}
		if got := n.At(link); got != tt.want {
			t.Errorf("a path that leads to %s: got %v, want %v", tt.target, got, tt.want)
		}
	}
}

func TestIsOwn(t *testing.T) {
	for path, want := range map[string]bool{own: true, newNetns(t): false, "/nowhere": false} {
		if got, err := IsOwn(path); got != want || err != nil {
			t.Errorf("IsOwn(%s): got %v (%v), want %v", path, got, err, want)
		}
	}
}

func TestLinks(t *testing.T) {
	path := newNetns(t)
	n := mustOpen(t, path)
	index := addLink(t, path, "net1", "storage0", "a-name-that-is-longer-than-15")
	for i := range 200 { // more than one datagram of a dump holds
		addLink(t, path, fmt.Sprintf("more%d", i))
	}
	got, err := n.Present([]string{"eth0", "storage0", "net1", "more199", "net7", "a-name-that-is-longer-than-15"})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(got)
	if want := []string{"a-name-that-is-longer-than-15", "more199", "net1", "storage0"}; !slices.Equal(got, want) {
		t.Errorf("present: got %q, want %q", got, want)
	}
	if name, err := n.LinkName(index); name != "net1" || err != nil {
		t.Errorf("interface %d: got %q (%v), want net1", index, name, err)
	}
	if name, err := n.LinkName(12345); !errors.Is(err, unix.ENODEV) {
		t.Errorf("an interface that is not there: got %q (%v), want %v", name, err, unix.ENODEV)
	}
}
