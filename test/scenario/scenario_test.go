// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"multus-cni/test/pod"
	"multus-cni/test/sandbox"
)

// TestMain is two programs: the tests, and the command cni of the scenarios.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "cni" {
		runMultus()
	}
	testscript.Main(sandbox.NewSuite(m), map[string]func(){"cni": runMultus})
}

func TestScenarios(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                "testdata",
		Setup:              setup,
		Cmds:               commands(),
		RequireUniqueNames: true,
	})
}

// scenario is the state of one script.
type scenario struct {
	*sandbox.Sandbox
	busy map[string]*os.File
}

type stateKey struct{}

func state(ts *testscript.TestScript) *scenario { return ts.Value(stateKey{}).(*scenario) }

// setup gives a scenario its sandbox and its pod.
func setup(env *testscript.Env) error {
	s, err := sandbox.New(env.WorkDir)
	if err != nil {
		return err
	}
	env.Values[stateKey{}] = &scenario{s, map[string]*os.File{}}
	env.Defer(func() {
		s.ReleaseAll()
		if log, _ := s.Log(); slices.ContainsFunc(log, func(line string) bool { return strings.HasPrefix(line, "never released") }) {
			env.T().Fatal("a delegate waited until it gave up:", log)
		}
	})
	env.Setenv("FAKE", s.Dir)
	env.Setenv("MULTUS", os.Getenv("MULTUS"))
	env.Setenv("CNI_CONTAINERID", "c1")
	env.Setenv("CNI_NETNS", pod.Path)
	env.Setenv("CNI_IFNAME", "eth0")
	env.Setenv("CNI_PATH", filepath.Join(env.WorkDir, "plugins"))
	env.Setenv("records", sandbox.RecordDir)
	return pod.Make("pod")
}
