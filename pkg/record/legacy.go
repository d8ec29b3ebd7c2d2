// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"multus-cni/pkg/safefile"
)

// Origin is who has written a legacy record.
type Origin string

// The programs whose records are recognized.
const (
	Origin2017     Origin = "2017"     // the Multus of 2017
	OriginUpstream Origin = "upstream" // the Multus of k8snetworkplumbingwg
)

// Legacy is the record that another Multus has left for a container: an array
// of delegates in a file that has the container's id as its name. It does not
// name the network, the interface or the network namespace of the attachment.
type Legacy struct {
	Origin    Origin
	Path      string
	Delegates []LegacyDelegate // in the order of their ADDs
}

// LegacyDelegate is one delegate of a legacy record.
type LegacyDelegate struct {
	// Conf is the delegate's configuration, an object: a plugin, or a list if it
	// has the member "plugins". One of 2017 may hold "masterplugin".
	Conf    json.RawMessage
	Primary bool
	// IfName is the interface that the delegate was given. It is "" for the
	// primary without a name of its own, which got CNI_IFNAME.
	IfName string
}

// LoadLegacy reads the legacy record of a container. It returns ErrNotExist
// when there is none (a directory of that name does not count), ErrNoName
// when the id makes no file name, and a *DamagedError for a record that cannot
// be read.
func (s Store) LoadLegacy(containerID string) (*Legacy, error) {
	path, err := s.legacyPath(containerID)
	if err != nil {
		return nil, err
	}
	text, err := safefile.Read(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, safefile.ErrIrregular) {
		return nil, ErrNotExist
	}
	if err != nil {
		return nil, unreadable(path, err)
	}
	legacy, err := decodeLegacy(text)
	if err != nil {
		return nil, &DamagedError{path, err}
	}
	legacy.Path = path
	return legacy, nil
}

// RemoveLegacy deletes the legacy record of a container. It is not an error if
// there is none.
func (s Store) RemoveLegacy(containerID string) error {
	path, err := s.legacyPath(containerID)
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the legacy record: %w", err)
	}
	return nil
}

func (s Store) legacyPath(containerID string) (string, error) {
	if !isNamePart(containerID) {
		return "", fmt.Errorf("%w: %q cannot be one", ErrNoName, containerID)
	}
	return filepath.Join(s.Dir, containerID), nil
}

// decodeLegacy reads the array. The first element shows who wrote it.
func decodeLegacy(text []byte) (*Legacy, error) {
	var elements []json.RawMessage
	if err := json.Unmarshal(text, &elements); err != nil {
		return nil, err
	}
	if len(elements) == 0 {
		return nil, errors.New("no delegates")
	}
	read, legacy := read2017, &Legacy{Origin: Origin2017}
	if hasMember(elements[0], "Bytes") {
		read, legacy.Origin = readUpstream, OriginUpstream
	}
	secondaries := 0
	for i, element := range elements {
		d, err := read(i, secondaries, element)
		if err == nil && !isObject(d.Conf) {
			err = errors.New("its configuration is not an object")
		}
		if err != nil {
			return nil, fmt.Errorf("delegate %d: %w", i, err)
		}
		if !d.Primary {
			secondaries++
		}
		legacy.Delegates = append(legacy.Delegates, d)
	}
	return legacy, nil
}

// hasMember reports whether a JSON value is an object with that member.
func hasMember(value json.RawMessage, key string) bool {
	var members map[string]json.RawMessage
	return json.Unmarshal(value, &members) == nil && members[key] != nil
}

// read2017 reads an element that is the delegate's configuration itself. The
// interfaces of the secondaries were net0, net1, ...
func read2017(_, secondaries int, element json.RawMessage) (LegacyDelegate, error) {
	var conf struct {
		Primary bool `json:"masterplugin"`
	}
	d := LegacyDelegate{Conf: element}
	if err := json.Unmarshal(element, &conf); err != nil {
		return d, err
	}
	if d.Primary = conf.Primary; !d.Primary {
		d.IfName = "net" + strconv.Itoa(secondaries)
	}
	return d, nil
}

// readUpstream reads an element whose member Bytes is the configuration in
// base64. The first element is the primary; without a name that the pod asked
// for, the interfaces of the others were net1, net2, ...
func readUpstream(i, _ int, element json.RawMessage) (LegacyDelegate, error) {
	var delegate struct {
		Bytes         []byte
		IfNameRequest string `json:"ifnameRequest"`
	}
	if err := json.Unmarshal(element, &delegate); err != nil {
		return LegacyDelegate{}, err
	}
	if !json.Valid(delegate.Bytes) {
		return LegacyDelegate{}, errors.New("its configuration is not JSON")
	}
	d := LegacyDelegate{Conf: bytes.TrimSpace(delegate.Bytes), Primary: i == 0, IfName: delegate.IfNameRequest}
	if !d.Primary && d.IfName == "" {
		d.IfName = "net" + strconv.Itoa(i)
	}
	return d, nil
}
