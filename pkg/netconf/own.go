// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package netconf

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"multus-cni/pkg/rawjson"
)

// Own reports whether the text of a conf file makes a runtime run multus:
// alone, in a list of plugins, or as the delegate of another plugin. cniDirs
// are the directories where these instances of multus keep their records,
// without duplicates.
//
// It returns an error when that cannot be known, because the text is not JSON or
// a cniDir is not an absolute path. Such a file may be a conf of multus, which
// matters to a caller that removes multus.
func Own(text []byte) (cniDirs []string, ours bool, err error) {
	object, err := rawjson.ParseObject(text, 0)
	if err != nil {
		return nil, false, notObject(text, err)
	}
	if cniDirs, err = findOwn(nil, object); err != nil {
		return nil, false, err
	}
	return cniDirs, len(cniDirs) > 0, nil
}

// findOwn appends the directories of the multus that the object configures,
// and of those that the plugins in it start.
func findOwn(dirs []string, object rawjson.Object) ([]string, error) {
	for _, m := range object {
		switch {
		case strings.EqualFold(m.Key, "type"): // runtimes use encoding/json, which ignores case
			if m.String() != "multus" {
				continue
			}
			dir, err := ownDir(object)
			if err != nil {
				return nil, err
			}
			if !slices.Contains(dirs, dir) {
				dirs = append(dirs, dir)
			}
		case slices.Contains([]string{"plugins", "delegates", "delegate"}, m.Key):
			var err error
			if dirs, err = findOwnIn(dirs, m); err != nil {
				return nil, err
			}
		}
	}
	return dirs, nil
}

// findOwnIn does so for a list of objects, or for one object.
func findOwnIn(dirs []string, m rawjson.Member) ([]string, error) {
	elements, err := rawjson.Elements(m.Value, m.Pos)
	if err != nil {
		elements = []rawjson.Member{m}
	}
	for _, element := range elements {
		object, err := rawjson.ParseObject(element.Value, element.Pos)
		if err != nil {
			continue // no plugin
		}
		if dirs, err = findOwn(dirs, object); err != nil {
			return nil, err
		}
	}
	return dirs, nil
}

func ownDir(object rawjson.Object) (string, error) {
	m := optional(object, "cniDir")
	if m == nil {
		return DefaultCNIDir, nil
	}
	dir, ok := rawjson.String(m.Value)
	switch {
	case ok && dir == "":
		return DefaultCNIDir, nil
	case !ok || !filepath.IsAbs(dir):
		return "", fmt.Errorf("%q must be an absolute path, not %s", m.Key, kindOf(m.Value))
	}
	return filepath.Clean(dir), nil
}
