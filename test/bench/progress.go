// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"iter"
	"os"
	"time"
)

// rounds counts to n. Before the first round and after each it appends a line
// to the file that PROGRESS names, if it names one: ./build bench shows it.
// The format is that of test/lib.sh.
func rounds(what string, n int) iter.Seq[int] {
	return func(yield func(int) bool) {
		report(what, 0, n)
		for i := range n {
			if !yield(i) {
				return
			}
			report(what, i+1, n)
		}
	}
}

// report ignores errors: a measurement does not fail because nobody can watch.
func report(what string, done, of int) {
	f, err := os.OpenFile(os.Getenv("PROGRESS"), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return
	}
	defer f.Close()
	_, _ = fmt.Fprintf(f, "%d %d %d 0 %s\n", time.Now().Unix(), done, of, what)
}
