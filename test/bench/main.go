// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

// Bench measures what multus costs beside its delegates, and prints it as
// ratios.
//
// Seconds differ from machine to machine and from minute to minute. So every
// figure is a ratio of two programs that were run in turn, many times: the
// median of the pairs' ratios, and the middle half of them as its spread.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// bench is one run of the benchmark.
type bench struct {
	bin, multus, plugins string
	rounds               int
	rows                 []row
}

// row is one line of the table.
type row struct {
	Name   string  `json:"name"`
	Value  float64 `json:"value"`
	Low    float64 `json:"low,omitempty"`  // lower quartile
	High   float64 `json:"high,omitempty"` // upper quartile
	Unit   string  `json:"unit"`           // "x" for a ratio
	Figure string  `json:"figure,omitempty"`
}

func main() {
	b := &bench{}
	quick := flag.Bool("quick", false, "fewer runs")
	jsonFile := flag.String("json", "", "write the table to this `FILE`, too")
	flag.StringVar(&b.bin, "bin", "", "directory of floor, like2017, noop and spawn")
	flag.StringVar(&b.multus, "multus", "", "the multus to measure")
	flag.StringVar(&b.plugins, "plugins", "", "directory of the reference plugins")
	flag.Parse()
	b.rounds = 160
	if *quick {
		b.rounds = 10
	}
	if err := b.all(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	b.print()
	if *jsonFile != "" {
		text, err := json.MarshalIndent(b.rows, "", "  ")
		if err == nil {
			err = os.WriteFile(*jsonFile, append(text, '\n'), 0o644)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
	}
}

func (b *bench) all() error {
	if err := prepare(); err != nil {
		return err
	}
	for _, part := range []func() error{b.verbs, b.shape, b.growth, b.variants, b.records, b.concurrency, b.realPod} {
		if err := part(); err != nil {
			return err
		}
	}
	return nil
}

// prepare makes the namespaces that the benchmark was started in a node with
// one pod: nothing of it is seen outside.
func prepare() error {
	for _, dir := range []string{"/run", "/var/lib"} {
		if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
			return fmt.Errorf("mount a tmpfs on %s: %w", dir, err)
		}
	}
	if err := os.MkdirAll("/run/netns", 0o755); err != nil {
		return err
	}
	return ip("netns add pod", "link set lo up", "link add up0 type veth peer name up1", "link set up0 up", "link set up1 up")
}

func ip(commands ...string) error {
	for _, c := range commands {
		if out, err := exec.Command("sh", "-c", "ip "+c).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %w: %s", c, err, out)
		}
	}
	return nil
}

func (b *bench) print() {
	fmt.Printf("%-58s %9s   %-15s %s\n", "", "", "middle half", "to reach")
	for _, r := range b.rows {
		spread := ""
		if r.High > 0 {
			spread = fmt.Sprintf("%.2f - %.2f", r.Low, r.High)
		}
		fmt.Printf("%-58s %9.2f %-1s %-15s %s\n", r.Name, r.Value, r.Unit, spread, r.Figure)
	}
	fmt.Printf("\n%d rounds, %d processors\n", b.rounds, processors())
}

func processors() int {
	cpus, _ := filepath.Glob("/sys/devices/system/cpu/cpu[0-9]*")
	return len(cpus)
}
