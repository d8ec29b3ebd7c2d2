// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package real

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/types/create"
)

// command returns a call of multus that concerns a pod, as a runtime makes it.
func (n *node) command(verb string, p *pod, conf string) *exec.Cmd {
	cmd := exec.Command(n.multus)
	cmd.Env = append(os.Environ(),
		"CNI_COMMAND="+verb,
		"CNI_CONTAINERID="+p.id,
		"CNI_NETNS="+p.netns,
		"CNI_IFNAME=eth0",
		"CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME="+p.id,
		"CNI_PATH="+n.path)
	cmd.Stdin = strings.NewReader(conf)
	return cmd
}

// call runs multus and returns the document that it prints: a result, or with
// the error its own text. There must be exactly one with an ADD and with an
// error, and none otherwise.
func (n *node) call(t *testing.T, verb string, p *pod, conf string) ([]byte, *types.Error) {
	t.Helper()
	cmd := n.command(verb, p, conf)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.Output()
	if stderr.Len() > 0 {
		t.Logf("%s: stderr: %s", verb, stderr.Bytes())
	}
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1) {
		t.Fatalf("%s: %v, want exit status 0 or 1; stdout %q", verb, err, stdout)
	}
	want := 1
	if err == nil && verb != "ADD" {
		want = 0
	}
	if got := documents(stdout); got != want {
		t.Fatalf("%s (%v): %d JSON documents on stdout, want %d: %q", verb, err, got, want, stdout)
	}
	if err == nil {
		return stdout, nil
	}
	var failure struct {
		CNIVersion string
		types.Error
	}
	if err := json.Unmarshal(stdout, &failure); err != nil {
		t.Fatalf("%s: the error on stdout: %v: %q", verb, err, stdout)
	}
	if failure.Code == 0 || failure.Msg == "" || failure.CNIVersion == "" {
		t.Errorf("%s: the error lacks code, msg or cniVersion: %s", verb, stdout)
	}
	return stdout, &failure.Error
}

// running is a multus that has been started.
type running struct {
	cmd            *exec.Cmd
	stdout, stderr bytes.Buffer
	killed         bool // known after wait
}

func (n *node) start(t *testing.T, cmd *exec.Cmd) *running {
	t.Helper()
	r := &running{cmd: cmd}
	cmd.Stdout, cmd.Stderr = &r.stdout, &r.stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return r
}

// wait waits for the end. Unless multus was killed it must have said in one
// document how it ended, which wait returns.
func (r *running) wait(t *testing.T, verb string) error {
	t.Helper()
	err := r.cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() < 0 {
		r.killed = true
		return err
	}
	want := 1
	if err == nil && !strings.HasPrefix(verb, "ADD") {
		want = 0
	}
	if got := documents(r.stdout.Bytes()); got != want || err != nil && exit.ExitCode() != 1 {
		t.Errorf("%s: %v, %d JSON documents on stdout, want %d; stdout %q, stderr %q", verb, err, got, want, r.stdout.String(), r.stderr.String())
	}
	if err != nil {
		return fmt.Errorf("%w: %s", err, r.stdout.String())
	}
	return nil
}

// documents counts the JSON documents in a text that must consist of them. It
// returns -1 when the text does not.
func documents(text []byte) int {
	decoder := json.NewDecoder(bytes.NewReader(text))
	for n := 0; ; n++ {
		var document any
		switch err := decoder.Decode(&document); {
		case errors.Is(err, io.EOF):
			return n
		case err != nil:
			return -1
		}
	}
}

// must runs multus, which must succeed, and returns what it prints.
func (n *node) must(t *testing.T, verb string, p *pod, conf string) []byte {
	t.Helper()
	stdout, err := n.call(t, verb, p, conf)
	if err != nil {
		t.Fatalf("%s: %s (details: %s)", verb, err.Msg, err.Details)
	}
	return stdout
}

// mustFail runs multus, which must fail with that code.
func (n *node) mustFail(t *testing.T, verb string, p *pod, conf string, code uint) *types.Error {
	t.Helper()
	stdout, err := n.call(t, verb, p, conf)
	switch {
	case err == nil:
		t.Fatalf("%s succeeded, want an error of code %d: %s", verb, code, stdout)
	case err.Code != code:
		t.Errorf("%s: code %d, want %d: %s", verb, err.Code, code, stdout)
	}
	return err
}

// mustAdd attaches a pod and returns the result as text: see resultText.
func (n *node) mustAdd(t *testing.T, p *pod, conf string) string {
	t.Helper()
	return resultText(t, n.must(t, "ADD", p, conf), conf)
}

// resultText says what a result says, a line each: the interfaces, the
// addresses and the routes. The result must be of the version of the conf.
func resultText(t *testing.T, result []byte, conf string) string {
	t.Helper()
	var want, got struct{ CNIVersion string }
	if err := errors.Join(json.Unmarshal([]byte(conf), &want), json.Unmarshal(result, &got)); err != nil {
		t.Fatalf("conf or result: %v: %s", err, result)
	}
	if want.CNIVersion == "" {
		want.CNIVersion = "0.1.0" // see the CNI spec, section 1
	}
	if got.CNIVersion != want.CNIVersion {
		t.Errorf("the result has version %q, want %q", got.CNIVersion, want.CNIVersion)
	}
	parsed, err := create.Create(got.CNIVersion, result)
	if err != nil {
		t.Fatalf("the result: %v: %s", err, result)
	}
	r, err := types100.NewResultFromResult(parsed)
	if err != nil {
		t.Fatalf("the result: %v: %s", err, result)
	}
	var lines []string
	for _, i := range r.Interfaces {
		if i.Sandbox != "" {
			lines = append(lines, i.Name)
		} else if strings.HasPrefix(i.Name, "veth") {
			lines = append(lines, "veth on the node") // its name is random
		} else {
			lines = append(lines, i.Name+" on the node")
		}
	}
	for _, ip := range r.IPs {
		lines = append(lines, fmt.Sprintf("%s via %v", ip.Address.String(), ip.Gateway))
	}
	for _, route := range r.Routes {
		lines = append(lines, "route "+route.Dst.String())
	}
	return strings.Join(lines, "\n")
}

// equal compares texts of several lines, without regard to the indentation
// that want has in the test's source.
func equal(t *testing.T, what, got, want string) {
	t.Helper()
	if want = unindent(want); got != want {
		t.Errorf("%s:\n%s\nwant:\n%s", what, indent(got), indent(want))
	}
}

func unindent(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return strings.Join(lines, "\n")
}

func indent(text string) string {
	return "\t" + strings.ReplaceAll(text, "\n", "\n\t")
}

// conf makes a multus conf of that version ("" for none) and these delegates.
func conf(cniVersion string, delegates ...string) string {
	head := `"name": "net", "type": "multus"`
	if cniVersion != "" {
		head += `, "cniVersion": "` + cniVersion + `"`
	}
	return "{" + head + `, "delegates": [` + strings.Join(delegates, ",\n") + "]}"
}

// primary makes a delegate the primary.
func primary(delegate string) string {
	return with(delegate, `"masterplugin": true`)
}

// with adds members to a JSON object.
func with(object, members string) string {
	return "{" + members + ", " + strings.TrimPrefix(strings.TrimSpace(object), "{")
}
