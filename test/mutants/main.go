// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

// Mutants makes the mutations of a list to a copy of the product code, one at a
// time, and runs for each the test that must notice it.
//
// An entry of the list says why the mutation matters, which lines of which file
// it replaces by which, and which test must fail then:
//
//	# The lock is released before the record is removed.
//	file pkg/multus/del.go
//	-	defer unlock()
//	+	unlock()
//	test pkg/multus TestDelHoldsLock
//
// The lines after - and + are whole lines, with their indentation, and those
// to replace must occur exactly once in the file. After test comes a directory
// and what go test -run takes; in a module below test/, the tests find the
// mutated multus through MULTUS, as in ./build test.
//
// A mutation is caught when its test fails, by time too, and has survived when
// the test passes. An entry is broken when its lines are not found, when the
// mutated code does not compile, or when the test fails without the mutation:
// such an entry proves nothing and counts as a failure of the list.
package main

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"time"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

func run() error {
	list := flag.String("list", "", "the `FILE` with the mutations")
	root := flag.String("root", "", "the project's `DIRECTORY`, which is copied")
	work := flag.String("work", "", "an empty `DIRECTORY` for the copy")
	only := flag.String("only", "", "those whose file, comment or test matches this `REGEXP`")
	flag.Parse()
	mutations, err := load(*list, *only)
	if err != nil {
		return err
	}
	t := &tree{root: *work, plugins: *root + "/bin/plugins", green: map[string]error{}, built: map[string]bool{}}
	if err := t.copy(*root); err != nil {
		return err
	}
	return t.all(mutations)
}

func load(list, only string) ([]mutation, error) {
	match, err := regexp.Compile(only)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(list)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	mutations, err := parse(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", list, err)
	}
	return slices.DeleteFunc(mutations, func(m mutation) bool {
		return !match.MatchString(m.String() + " " + m.dir + " " + m.test)
	}), nil
}

// all tries one mutation after the other and prints what became of each that
// was not caught. It returns an error unless all were caught.
func (t *tree) all(mutations []mutation) error {
	counts := map[verdict]int{}
	for i, m := range mutations {
		report(i, len(mutations), counts[survived]+counts[broken])
		v, details := t.try(m)
		counts[v]++
		if v != caught {
			fmt.Printf("%s: %s: %s: go test ./%s -run '%s'\n", v, m.file, m.why, m.dir, m.test)
			fmt.Print(details)
		}
	}
	report(len(mutations), len(mutations), counts[survived]+counts[broken])
	summary := fmt.Sprintf("%d mutations, %d caught, %d survived, %d broken",
		len(mutations), counts[caught], counts[survived], counts[broken])
	if counts[caught] != len(mutations) {
		return fmt.Errorf("%s", summary)
	}
	fmt.Println("mutants:", summary)
	return nil
}

// report appends a line to the file that PROGRESS names, for ./build mutants
// to show; test/lib.sh has its format. Nothing fails because nobody can watch.
func report(done, of, failures int) {
	f, err := os.OpenFile(os.Getenv("PROGRESS"), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return
	}
	defer f.Close()
	_, _ = fmt.Fprintf(f, "%d %d %d %d mutations\n", time.Now().Unix(), done, of, failures)
}
