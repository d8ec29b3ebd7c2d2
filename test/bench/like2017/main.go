// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

// Like2017 does what the Multus of February 2017 did, with today's CNI library:
// it notes the delegates in one file, names the interface in its own
// environment, and runs one delegate after the other. There is no lock, no
// network namespace, no default route, no rollback of what a signal interrupts.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/version"
)

type netConf struct {
	types.NetConf
	CNIDir    string           `json:"cniDir"`
	Delegates []map[string]any `json:"delegates"`
}

func main() {
	skel.PluginMainFuncs(skel.CNIFuncs{Add: add, Del: del}, version.All, "like2017")
}

func add(args *skel.CmdArgs) error {
	conf, err := parse(args.StdinData)
	if err != nil {
		return err
	}
	if err := save(conf, args.ContainerID); err != nil {
		return err
	}
	var primary types.Result
	number := 0
	for i, d := range conf.Delegates {
		text, err := prepare(d, args.IfName, &number)
		if err != nil {
			return err
		}
		result, err := invoke.DelegateAdd(context.Background(), d["type"].(string), text, nil)
		if err != nil {
			_ = delAll(conf.Delegates[:i+1], args.IfName)
			return err
		}
		if d["masterplugin"] == true {
			primary = result
		}
	}
	if primary == nil {
		return fmt.Errorf("no delegate is the master plugin")
	}
	return types.PrintResult(primary, conf.CNIVersion)
}

func del(args *skel.CmdArgs) error {
	conf, err := parse(args.StdinData)
	if err != nil {
		return err
	}
	file := filepath.Join(conf.CNIDir, args.ContainerID)
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	defer os.Remove(file)
	var delegates []map[string]any
	if err := json.Unmarshal(text, &delegates); err != nil {
		return err
	}
	return delAll(delegates, args.IfName)
}

func delAll(delegates []map[string]any, ifname string) error {
	var first error
	number := 0
	for _, d := range delegates {
		text, err := prepare(d, ifname, &number)
		if err == nil {
			err = invoke.DelegateDel(context.Background(), d["type"].(string), text, nil)
		}
		if err != nil && first == nil {
			first = err
		}
	}
	return first
}

// prepare returns what a delegate gets on stdin, and puts the name of its
// interface, of which number counts, into the environment.
func prepare(d map[string]any, ifname string, number *int) ([]byte, error) {
	if d["masterplugin"] != true {
		ifname = fmt.Sprintf("net%d", *number)
		*number++
	}
	if err := os.Setenv("CNI_IFNAME", ifname); err != nil {
		return nil, err
	}
	return json.Marshal(d)
}

func parse(text []byte) (*netConf, error) {
	conf := &netConf{}
	if err := json.Unmarshal(text, conf); err != nil {
		return nil, fmt.Errorf("read the conf: %w", err)
	}
	if !slices.ContainsFunc(conf.Delegates, func(d map[string]any) bool { return d["masterplugin"] == true }) {
		return nil, fmt.Errorf("no delegate is the master plugin")
	}
	return conf, nil
}

func save(conf *netConf, containerID string) error {
	text, err := json.Marshal(conf.Delegates)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(conf.CNIDir, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(conf.CNIDir, containerID), text, 0o600)
}
