// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"multus-cni/test/sandbox"
)

// cmdStuck looks on while several other multus come and go.
func cmdStuck(ts *testscript.TestScript, _ []string) {
	last := ts.BackgroundCmds()[len(ts.BackgroundCmds())-1]
	before, err := state(ts).Log()
	ts.Check(err)
	multus, err := os.Stat(ts.Getenv("MULTUS"))
	ts.Check(err)
	ts.Check(sandbox.WaitFor("multus to start", func() bool {
		exe, err := os.Stat(fmt.Sprintf("/proc/%d/exe", last.Process.Pid))
		return err != nil || os.SameFile(exe, multus)
	}))
	ts.Check(sandbox.LookOn(20, func() error {
		now, err := state(ts).Log()
		if len(now) > len(before) {
			return fmt.Errorf("it did not wait: %s", now[len(before)])
		}
		if !sandbox.Lives(last.Process.Pid) {
			return fmt.Errorf("it did not wait: %v has ended", last.Args)
		}
		return err
	}))
}

func cmdSignal(ts *testscript.TestScript, args []string) {
	for _, cmd := range ts.BackgroundCmds() {
		ts.Check(cmd.Process.Signal(unix.SignalNum("SIG" + args[0])))
	}
}

// cmdBusy puts a copy in the place of a fake, since all are one file, and
// opens it for writing.
func cmdBusy(ts *testscript.TestScript, args []string) {
	path := filepath.Join(state(ts).Work, "plugins", args[0])
	program, err := os.ReadFile(path)
	ts.Check(err)
	ts.Check(os.Remove(path))
	ts.Check(os.WriteFile(path, program, 0o755))
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	ts.Check(err)
	state(ts).busy[args[0]] = f
	ts.Defer(func() { f.Close() })
}

func cmdIdle(ts *testscript.TestScript, args []string) {
	ts.Check(state(ts).busy[args[0]].Close())
}
