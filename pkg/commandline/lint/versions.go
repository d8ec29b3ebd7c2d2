// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package lint

// Versions returns the versions of the CNI spec that a plugin supports, found by
// its type in the directories of path. It runs the plugin's VERSION, and kills it
// when it takes longer than a few seconds.
func Versions(kind string, path []string) ([]string, error) {
	file, err := find(kind, path)
	if err != nil {
		return nil, err
	}
	return versionsOf(file, answerTime)
}
