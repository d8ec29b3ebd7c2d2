// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package netns

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/containernetworking/plugins/pkg/ns"
	"golang.org/x/sys/unix"
)

var (
	// ErrNotExist says that there is no network namespace at a path.
	ErrNotExist = errors.New("there is no network namespace")
	// ErrRebooted says that the node was rebooted, which ended every network
	// namespace of the boot before.
	ErrRebooted = errors.New("the node was rebooted")
	// ErrReplaced says that a path leads to another network namespace.
	ErrReplaced = errors.New("there is another network namespace")
)

// own is the namespace of the thread that asks: threads can differ.
const own = "/proc/thread-self/ns/net"

// Identity is what distinguishes a network namespace from all others, those
// that had its path or its inode number before included.
type Identity struct {
	Boot string // see BootID
	// Namespace is "DEVICE:INODE" or "DEVICE:INODE:COOKIE", all in decimal. An
	// inode number is used again as soon as it is free; a cookie
	// (SO_NETNS_COOKIE, Linux 5.14) is not.
	Namespace string
}

// Identify returns the identity of the network namespace at path. It returns
// ErrNotExist when there is none.
func Identify(path string) (Identity, error) {
	n, err := Open(path, true)
	if err != nil {
		return Identity{}, err
	}
	defer n.Close()
	return n.Identity, nil
}

// Check returns nil when path leads to the network namespace of this
// identity. It returns ErrRebooted, ErrNotExist or ErrReplaced when that
// namespace is known not to be there, and any other error when it cannot be
// told. An empty field, as records of 2017 have it, matches everything.
//
// Where one side has no cookie, because the kernel has none or the caller may
// not enter the namespace, device and inode decide.
func (id Identity) Check(path string) error {
	if id.Boot != "" {
		boot, err := BootID()
		if err != nil {
			return err
		}
		if boot != id.Boot {
			return fmt.Errorf("%w since %s was in use", ErrRebooted, path)
		}
	}
	file, err := inodeAt(path)
	if err != nil {
		return err
	}
	inode, cookie := id.split()
	if inode != "" && inode != file.String() {
		return fmt.Errorf("%w at %s", ErrReplaced, path)
	}
	if cookie == "" {
		return nil
	}
	now, err := Identify(path)
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		return nil
	}
	if err != nil {
		return err
	}
	inodeNow, cookieNow := now.split()
	if inodeNow != inode || cookieNow != "" && cookieNow != cookie {
		return fmt.Errorf("%w at %s", ErrReplaced, path)
	}
	return nil
}

// split returns device and inode, and the cookie, "" when there is none.
func (id Identity) split() (inode, cookie string) {
	device, rest, _ := strings.Cut(id.Namespace, ":")
	number, cookie, _ := strings.Cut(rest, ":")
	if number == "" {
		return "", ""
	}
	return device + ":" + number, cookie
}

// BootID identifies the boot that the node is in, see random(4).
func BootID() (string, error) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("read the node's boot id: %w", err)
	}
	return strings.TrimSpace(string(id)), nil
}

// IsOwn reports whether the network namespace at path is the caller's.
func IsOwn(path string) (bool, error) {
	home, err := inodeAt(own)
	if err != nil {
		return false, err
	}
	other, err := inodeAt(path)
	if errors.Is(err, ErrNotExist) {
		return false, nil
	}
	return home == other, err
}

// inode is a file's device and inode number.
type inode struct{ device, number uint64 }

func (i inode) String() string { return fmt.Sprintf("%d:%d", i.device, i.number) }

func inodeAt(path string) (inode, error) {
	var st unix.Stat_t
	err := unix.Stat(path, &st)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return inode{}, fmt.Errorf("%w at %s", ErrNotExist, path)
	}
	if err != nil {
		return inode{}, fmt.Errorf("stat %s: %w", path, err)
	}
	return inode{uint64(st.Dev), st.Ino}, nil
}

func inodeOf(file ns.NetNS) (inode, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &st); err != nil {
		return inode{}, fmt.Errorf("stat a network namespace: %w", err)
	}
	return inode{uint64(st.Dev), st.Ino}, nil
}
