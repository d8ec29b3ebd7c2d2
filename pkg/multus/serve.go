// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package multus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/version"
	"golang.org/x/sys/unix"

	"multus-cni/pkg/rawjson"
)

// Serve handles the call that the environment and stdin of the process
// describe, and returns the exit code. An ADD whose ctx is cancelled half-way
// is rolled back. about is printed when there is no call to handle.
func (m *Multus) Serve(ctx context.Context, about string) int {
	var stdin []byte // of a DEL
	if os.Getenv("CNI_COMMAND") == "DEL" {
		stdin = shieldStdin()
	}
	cniVersion := version.Current() // of an error, until the conf has been read
	deleted := false
	serve := func(verb string, run func(*call, context.Context) error) func(*skel.CmdArgs) error {
		return func(args *skel.CmdArgs) error {
			if stdin != nil {
				args.StdinData = stdin
			}
			c := m.newCall(args)
			if c.conf != nil && c.conf.CNIVersion != "" {
				cniVersion = c.conf.CNIVersion
			}
			err := c.serve(ctx, verb, run)
			deleted = verb == "DEL" && err == nil
			return err
		}
	}
	e := skel.PluginMainFuncsWithError(skel.CNIFuncs{
		Add:    serve("ADD", (*call).add),
		Del:    serve("DEL", (*call).del),
		Check:  serve("CHECK", (*call).check),
		GC:     serve("GC", (*call).gc),
		Status: serve("STATUS", (*call).status),
	}, version.All, about)
	// skel refuses a CNI_NETNS that is multus's own, for a DEL too, and does so
	// after the DEL. The path of a dead container can lead there when its pid was
	// used again; the DEL has succeeded without the path.
	if e == nil || deleted && e.Code == types.ErrInvalidNetNS {
		return 0
	}
	if err := m.printError(e, cniVersion); err != nil {
		_, _ = fmt.Fprintf(m.Stderr, "multus: print the error %q: %v\n", e.Msg, err)
	}
	return 1
}

// shieldStdin reads the conf of a DEL from os.Stdin and replaces os.Stdin, which
// skel reads, by a file that has the conf without its cniVersion. skel refuses an
// unknown version, and one that is not a string, but such a mistake must not
// prevent a pod from being deleted. shieldStdin returns the whole conf, or nil when
// it has left os.Stdin for skel to report what is wrong.
func shieldStdin() []byte {
	conf, err := io.ReadAll(os.Stdin)
	shielded := conf
	if object, parseErr := rawjson.ParseObject(conf, 0); parseErr == nil && err == nil {
		shielded = object.Without("cniVersion").Text()
	}
	fd, memErr := unix.MemfdCreate("stdin", unix.MFD_CLOEXEC)
	if err = errors.Join(err, memErr); err != nil {
		return nil // skel reports what is wrong with stdin
	}
	file := os.NewFile(uintptr(fd), "stdin")
	if _, err := file.WriteAt(shielded, 0); err != nil {
		return nil
	}
	os.Stdin = file
	return conf
}

// printError writes an error as the CNI spec has it, section 5, "Error".
func (m *Multus) printError(e *types.Error, cniVersion string) error {
	text, err := json.MarshalIndent(struct {
		CNIVersion string `json:"cniVersion"`
		types.Error
	}{cniVersion, *e}, "", "    ")
	if err != nil {
		return fmt.Errorf("encode the error: %w", err)
	}
	_, err = m.Stdout.Write(append(text, '\n'))
	return err
}
