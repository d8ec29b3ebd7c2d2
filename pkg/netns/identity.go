// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package netns

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"golang.org/x/sys/unix"

	"multus-cni/pkg/safefile"
)

var (
	// ErrNotExist means that there is no network namespace at a path.
	ErrNotExist = errors.New("there is no network namespace")
	// ErrRebooted means that the node was rebooted, which ended every network
	// namespace of the boot before.
	ErrRebooted = errors.New("the node was rebooted")
	// ErrReplaced means that a path leads to another network namespace.
	ErrReplaced = errors.New("there is another network namespace")
)

// IsGone reports whether an error means that a network namespace no longer
// exists, as opposed to one that leaves this unknown.
func IsGone(err error) bool {
	return errors.Is(err, ErrNotExist) || errors.Is(err, ErrRebooted) || errors.Is(err, ErrReplaced)
}

// own is the namespace of the thread that asks: threads can differ.
const own = "/proc/thread-self/ns/net"

// Identity distinguishes a network namespace from all others, including earlier
// ones with the same path or inode number.
type Identity struct {
	Boot string // the node's boot ID, see random(4)
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

// Compare returns nil when now is the same network namespace as id, and
// ErrRebooted or ErrReplaced when it is not. An empty field of id, as in records
// of 2017, matches everything. Where one side has no cookie, because the kernel
// has none or the caller may not enter the namespace, device and inode decide.
func (id Identity) Compare(now Identity) error {
	switch {
	case id.Boot != "" && id.Boot != now.Boot:
		return ErrRebooted
	case id.Namespace == "", id.Namespace == now.Namespace,
		strings.HasPrefix(id.Namespace, now.Namespace+":"), strings.HasPrefix(now.Namespace, id.Namespace+":"):
		return nil
	}
	return ErrReplaced
}

// Check compares id with the network namespace at path. It returns ErrRebooted,
// ErrNotExist or ErrReplaced when the namespace of id is no longer there, and
// any other error when it cannot tell.
func (id Identity) Check(path string) error {
	if id.Boot != "" {
		boot, err := bootID()
		if err != nil {
			return err
		}
		if boot != id.Boot {
			return fmt.Errorf("%w since %s was in use", ErrRebooted, path)
		}
	}
	inode, err := inodeAt(path)
	if err != nil {
		return err
	}
	now := Identity{id.Boot, inode}
	if strings.HasPrefix(id.Namespace, inode+":") {
		now, err = Identify(path)
		if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	if err := id.Compare(now); err != nil {
		return fmt.Errorf("%w at %s", err, path)
	}
	return nil
}

// bootID identifies the boot that the node is in, see random(4). os.ReadFile
// would take twice as long.
func bootID() (string, error) {
	var id [64]byte // more than a UUID and its line break
	n := 0
	file, err := safefile.Open("/proc/sys/kernel/random/boot_id", unix.O_RDONLY, 0)
	if err == nil {
		n, err = file.Read(id[:])
		_ = file.Close()
	}
	if err != nil {
		return "", fmt.Errorf("read the node's boot id: %w", err)
	}
	return strings.TrimSpace(string(id[:n])), nil
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

// inodeAt returns the "DEVICE:INODE" of the file at path.
func inodeAt(path string) (string, error) {
	var st unix.Stat_t
	err := unix.Stat(path, &st)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return "", fmt.Errorf("%w at %s", ErrNotExist, path)
	}
	if err != nil {
		return "", fmt.Errorf("stat %s: %w", path, err)
	}
	return inodeOf(&st), nil
}

// inodeOf returns the "DEVICE:INODE" of a file, which distinguishes it from all
// others that exist.
func inodeOf(st *unix.Stat_t) string { return fmt.Sprintf("%d:%d", st.Dev, st.Ino) }
