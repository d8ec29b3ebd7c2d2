// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// recordDir is where multus keeps its records unless a conf says otherwise.
const recordDir = "/var/lib/cni/multus"

// usual are the fakes that every scenario has on CNI_PATH.
var usual = []string{"sriov", "ptp", "flannel", "tuning", "flannel@0.4.0"}

// TestMain is many programs: the tests, the command cni of the scenarios, and
// the fakes, which multus starts under the name of their type.
func TestMain(m *testing.M) {
	isCommand := filepath.Base(os.Args[0]) == "cni"
	switch {
	case os.Getenv("FAKE_HOLD") != "":
		hold(os.Getenv("FAKE_HOLD"))
	case os.Getenv("FAKE") != "" && !isCommand:
		fake()
	case os.Geteuid() != 0 && !isCommand:
		os.Exit(asRoot())
	case isCommand:
		runMultus()
	default:
		testscript.Main(suite{m, tempDir()}, map[string]func(){"cni": runMultus})
	}
}

// tempDir makes a folder for all temporary files, which goes on Ctrl-C too.
func tempDir() string {
	dir, err := os.MkdirTemp("", "scenario")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Setenv("TMPDIR", dir)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM)
	go func() {
		<-signals // and become something that makes no more files
		err := unix.Exec("/bin/sh", []string{"sh", "-c", `rm -rf "$0"; exit 1`, dir}, os.Environ())
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}()
	return dir
}

// asRoot runs the tests again as root of a user namespace.
func asRoot() int {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}},
	}
	if err := cmd.Run(); cmd.ProcessState == nil {
		fmt.Fprintf(os.Stderr, "the scenarios need root, or a user who may create user namespaces: %v\n", err)
		return 1
	}
	return cmd.ProcessState.ExitCode()
}

// suite are the tests, a multus to test (the one that $MULTUS names, as ./build
// test does, or one built for them), and the fakes: this program without the
// model, whose library takes longer to start than a fake.
type suite struct {
	*testing.M
	dir string
}

func (s suite) Run() int {
	defer os.RemoveAll(s.dir)
	// The scenarios wait more than they compute. (-parallel still counts.)
	if err := flag.Set("test.parallel", "4"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	err := s.program("FAKES", ".", "-mod=readonly", "test", "-c", "-tags", "fakes")
	if os.Getenv("MULTUS") == "" {
		err = errors.Join(err, s.program("MULTUS", filepath.Join("..", ".."), "-mod=vendor", "build", "./cmd/multus"))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return s.M.Run()
}

// program builds something in a folder, and makes the variable name it.
func (s suite) program(variable, dir, flags, verb string, args ...string) error {
	path := filepath.Join(s.dir, strings.ToLower(variable))
	build := exec.Command("go", append([]string{verb, "-o", path}, args...)...)
	build.Dir = dir
	build.Env = append(os.Environ(), "GOFLAGS="+flags, "GOWORK=off", "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", path, err, out)
	}
	return os.Setenv(variable, path)
}

func TestScenarios(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                "testdata",
		Setup:              setup,
		Cmds:               commands,
		RequireUniqueNames: true,
	})
}

// setup gives a scenario its namespaces, its pod and its fakes.
func setup(env *testscript.Env) error {
	s, err := newScenario(env.WorkDir)
	if err != nil {
		return err
	}
	env.Values[stateKey{}] = s
	env.Defer(s.releaseAll)
	env.Setenv("FAKE", s.dir)
	env.Setenv("MULTUS", os.Getenv("MULTUS"))
	env.Setenv("CNI_CONTAINERID", "c1")
	env.Setenv("CNI_NETNS", "/run/netns/pod")
	env.Setenv("CNI_IFNAME", "eth0")
	env.Setenv("CNI_PATH", filepath.Join(env.WorkDir, "plugins"))
	env.Setenv("records", recordDir)
	return makeNetns("pod")
}

// newScenario runs on the goroutine of the scenario, which stays on this
// thread from here on; so whatever the scenario starts is in the namespaces
// too. They go with the thread, which Go ends with the goroutine, since it is
// never unlocked.
func newScenario(work string) (*scenario, error) {
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET | unix.CLONE_NEWNS); err != nil {
		return nil, fmt.Errorf("make namespaces for the scenario: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return nil, fmt.Errorf("make mounts private: %w", err)
	}
	if err := coverFolders(); err != nil {
		return nil, err
	}
	s := &scenario{dir: filepath.Join(work, ".fake"), work: work, busy: map[string]*os.File{}}
	for _, dir := range []string{s.dir, filepath.Join(work, "plugins"), filepath.Join(work, "got")} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return nil, err
		}
	}
	return s, s.install(usual)
}

// coverFolders puts empty folders in the place of /run and /var/lib/cni, which
// is not on every machine.
func coverFolders() error {
	const records = "/var/lib/cni"
	covered := records
	if _, err := os.Stat(covered); err != nil {
		covered = filepath.Dir(covered)
	}
	for _, dir := range []string{"/run", covered} {
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=755"); err != nil {
			return fmt.Errorf("mount an empty %s: %w", dir, err)
		}
	}
	return os.MkdirAll(records, 0o755)
}
