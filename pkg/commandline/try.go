// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package commandline

import (
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/containernetworking/cni/pkg/types"

	"multus-cni/pkg/cnierror"
	"multus-cni/pkg/commandline/try"
)

// try attaches a temporary network namespace to the networks of a conf, shows
// the outcome, and detaches it.
func (p *program) try(flags *flag.FlagSet) func([]string) error {
	path := flags.String("cni-path", "", "")
	asJSON := flags.Bool("json", false, "")
	keep := flags.Bool("keep", false, "")
	skipGateways := flags.Bool("no-gateway", false, "")
	remove := flags.String("remove", "", "")
	return func(args []string) error {
		if len(args) == 1 == (*remove != "") || len(args) > 1 {
			return &usageError{"name one conf to try, or one try to --remove"}
		}
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
		defer stop()
		if *remove != "" {
			if err := try.Remove(ctx, *remove, p.stderr); err != nil {
				return err
			}
			return p.say("removed %s", *remove)
		}
		conf, err := os.ReadFile(args[0])
		if err != nil {
			return err
		}
		report, err := try.Run(ctx, try.Options{
			Conf: conf, CNIPath: p.pluginPath(*path), Keep: *keep, SkipGateways: *skipGateways, Stderr: p.stderr,
		})
		if report == nil {
			return fmt.Errorf("nothing was tried: %w", err)
		}
		if err := cmp.Or(p.printTrial(report, *asJSON), err); err != nil || report.OK() {
			return err
		}
		return errReported
	}
}

func (p *program) printTrial(r *try.Report, asJSON bool) error {
	if !asJSON {
		return p.write(describeTrial(r))
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the report: %w", err)
	}
	return p.write(string(text) + "\n")
}

// describeTrial writes a report for people.
func describeTrial(r *try.Report) string {
	var text strings.Builder
	for _, id := range r.Removed {
		fmt.Fprintf(&text, "removed %s, a try that was killed\n", id)
	}
	fmt.Fprintf(&text, "network %s, container %s\n", cnierror.OneLine(r.Network), r.Container)
	if len(r.Interfaces) > 0 {
		writeInterfaces(&text, r.Interfaces)
		for _, route := range r.DefaultRoutes {
			fmt.Fprintf(&text, "\n%s", route)
		}
		if len(r.DefaultRoutes) == 0 {
			text.WriteString("\nno default route")
		}
		fmt.Fprintf(&text, "\nDNS: %s\n", dnsOf(r.Result))
	}
	if r.Result != nil {
		result, _ := indent(r.Result) // it was encoded by multus
		fmt.Fprintf(&text, "\nthe runtime gets:\n%s", result)
	}
	fmt.Fprintf(&text, "\nADD %.0f ms", r.AddMS)
	if r.CheckMS > 0 {
		fmt.Fprintf(&text, ", CHECK %.0f ms", r.CheckMS)
	}
	if r.DelMS > 0 {
		fmt.Fprintf(&text, ", DEL %.0f ms", r.DelMS)
	}
	text.WriteByte('\n')
	for _, problem := range r.Problems {
		fmt.Fprintf(&text, "failed: %s\n", cnierror.OneLine(problem))
	}
	for _, i := range r.Interfaces {
		for _, g := range i.Gateways {
			if g.State == try.Silent {
				fmt.Fprintf(&text, "failed: the gateway %s of %s does not answer: correct \"gateway\" in its ipam or, "+
					"if the network has none, use --no-gateway\n", g.Address, i.Name)
			}
		}
	}
	writeEnd(&text, r)
	return text.String()
}

// writeEnd describes what a try has left behind.
func writeEnd(text *strings.Builder, r *try.Report) {
	if r.Kept {
		fmt.Fprintf(text, "\nEnter the network namespace:\n  nsenter --net=%s\nRemove everything:\n  multus try --remove %s\n", r.Netns, r.Container)
		return
	}
	if len(r.New) > 0 {
		fmt.Fprintf(text, "new interfaces on the node, shared or of another pod: %s\n", cnierror.OneLine(strings.Join(r.New, ", ")))
	}
	if len(r.Gone) > 0 {
		fmt.Fprintf(text, "interfaces gone from the node, kept by a plugin or moved to another pod: %s\n", cnierror.OneLine(strings.Join(r.Gone, ", ")))
	}
	for _, what := range r.Left {
		fmt.Fprintf(text, "left: %s\n", what)
	}
	if len(r.Left) == 0 {
		text.WriteString("nothing is left\n")
	}
}

// writeInterfaces writes a paragraph about each interface. Its lines are short: a
// table of all this would not fit a terminal of 80 columns.
func writeInterfaces(text *strings.Builder, interfaces []try.Interface) {
	text.WriteByte('\n')
	for _, i := range interfaces {
		fmt.Fprintf(text, "%s: %s, network %s\n", i.Name, strings.Join(i.Plugins, "+"), cnierror.OneLine(i.Network))
		if i.Missing {
			text.WriteString("  no interface\n")
		}
		for _, address := range i.Addresses {
			fmt.Fprintf(text, "  %s\n", address)
		}
		for _, g := range i.Gateways {
			fmt.Fprintf(text, "  gateway %s %s\n", g.Address, g.State)
		}
		if !i.Missing {
			fmt.Fprintf(text, "  MAC %s, MTU %d\n", cmp.Or(i.MAC, "none"), i.MTU)
		}
		fmt.Fprintf(text, "  ADD %.0f ms\n", i.Milliseconds)
	}
}

// dnsOf returns what a result says of DNS, in one line.
func dnsOf(result json.RawMessage) string {
	var r struct{ DNS types.DNS }
	_ = json.Unmarshal(result, &r) // an empty result says nothing
	var parts []string
	for _, part := range []struct {
		name   string
		values []string
	}{
		{"nameservers", r.DNS.Nameservers}, {"domain", strings.Fields(r.DNS.Domain)}, {"search", r.DNS.Search}, {"options", r.DNS.Options},
	} {
		if len(part.values) > 0 {
			parts = append(parts, part.name+" "+strings.Join(part.values, " "))
		}
	}
	return cnierror.OneLine(cmp.Or(strings.Join(parts, ", "), "none from the plugins"))
}
