// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package record

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A network name of 161 bytes, netconf.MaxNameLength, leaves room for every
// container id of 64 characters, every interface name and every suffix.
func TestLongestNetworkName(t *testing.T) {
	const longest = 161
	key := Key{ContainerID: strings.Repeat("c", 64), IfName: strings.Repeat("i", 15)}

	key.Network = strings.Repeat("n", longest)
	name, err := key.fileName()
	if err != nil {
		t.Fatal(err)
	}
	for _, suffix := range []string{quarantineSuffix, tempSuffix, lockSuffix} {
		if n := len(name + suffix); n > unix.NAME_MAX {
			t.Errorf("the file name with %q has %d bytes, want at most %d", suffix, n, unix.NAME_MAX)
		}
	}

	key.Network += "n"
	if _, err := key.fileName(); !errors.Is(err, ErrNoName) {
		t.Errorf("a network name of %d bytes: got error %v, want ErrNoName", longest+1, err)
	}
}
