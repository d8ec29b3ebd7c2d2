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
		if *remove != "" && (*asJSON || *keep || *skipGateways || *path != "") {
			return &usageError{"--remove goes with no other option"}
		}
		var conf []byte
		if *remove == "" {
			var err error
			if conf, err = os.ReadFile(args[0]); err != nil {
				return err
			}
		}
		ctx, stop := p.interruptible()
		defer stop()
		if *remove != "" {
			if err := try.Remove(ctx, *remove, p.stderr); err != nil {
				return err
			}
			return p.say("removed %s", *remove)
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

// interruptible returns a context that the first signal cancels. The second one
// ends the process, since a plugin may hang.
func (p *program) interruptible() (ctx context.Context, stop context.CancelFunc) {
	ctx, ignore := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	ended := context.AfterFunc(ctx, func() {
		ignore()
		p.complain("interrupted: detaching; a second signal ends this at once, and the next try removes what is left")
	})
	return ctx, func() {
		ended()
		ignore()
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

// lines collects lines of a terminal. What plugins return may hold control
// characters, which would reach the terminal.
type lines struct{ strings.Builder }

func (l *lines) add(format string, args ...any) {
	l.WriteString(cnierror.OneLine(fmt.Sprintf(format, args...)) + "\n")
}

// describeTrial writes a report for people.
func describeTrial(r *try.Report) string {
	var text lines
	for _, id := range r.Removed {
		text.add("removed %s, a try that was killed", id)
	}
	text.add("network %s, container %s", r.Network, r.Container)
	if len(r.Interfaces) > 0 {
		text.interfaces(r.Interfaces)
		text.add("")
		for _, route := range r.DefaultRoutes {
			text.add("%s", route)
		}
		if len(r.DefaultRoutes) == 0 {
			text.add("no default route")
		}
		text.add("DNS: %s", dnsOf(r.Result))
	}
	if r.Result != nil {
		result, _ := indent(r.Result) // it was encoded by multus
		text.add("")
		text.add("the runtime gets:")
		for line := range strings.Lines(string(result)) {
			text.add("%s", strings.TrimSuffix(line, "\n"))
		}
	}
	times := fmt.Sprintf("ADD %.0f ms", r.AddMS)
	if r.CheckMS > 0 {
		times += fmt.Sprintf(", CHECK %.0f ms", r.CheckMS)
	}
	if r.DelMS > 0 {
		times += fmt.Sprintf(", DEL %.0f ms", r.DelMS)
	}
	text.add("")
	text.add("%s", times)
	text.problems(r)
	text.end(r)
	return text.String()
}

// interfaces writes a paragraph about each interface. Its lines are short: a
// table of all this would not fit a terminal of 80 columns.
func (l *lines) interfaces(interfaces []try.Interface) {
	l.add("")
	for _, i := range interfaces {
		l.add("%s: %s, network %s", i.Name, strings.Join(i.Plugins, "+"), i.Network)
		if i.Missing {
			l.add("  no interface")
		}
		for _, address := range i.Addresses {
			l.add("  %s", address)
		}
		for _, g := range i.Gateways {
			l.add("  gateway %s %s", g.Address, g.State)
		}
		if !i.Missing {
			l.add("  MAC %s, MTU %d", cmp.Or(i.MAC, "none"), i.MTU)
		}
		l.add("  ADD %.0f ms", i.Milliseconds)
	}
}

// problems writes what failed.
func (l *lines) problems(r *try.Report) {
	for _, problem := range r.Problems {
		l.add("failed: %s", problem)
	}
	for _, i := range r.Interfaces {
		for _, g := range i.Gateways {
			if g.State == try.Silent {
				l.add(`failed: the gateway %s of %s does not answer: correct "gateway" in its ipam or, if the network has none, use --no-gateway`,
					g.Address, i.Name)
			}
		}
	}
}

// end writes what a try has left behind.
func (l *lines) end(r *try.Report) {
	if r.Kept {
		l.add("")
		l.add("Enter the network namespace:")
		l.add("  nsenter --net=%s", r.Netns)
		l.add("Remove everything:")
		l.add("  multus try --remove %s", r.Container)
		return
	}
	if len(r.New) > 0 {
		l.add("new interfaces on the node, shared or of another pod: %s", strings.Join(r.New, ", "))
	}
	if len(r.Gone) > 0 {
		l.add("interfaces gone from the node, kept by a plugin or moved to another pod: %s", strings.Join(r.Gone, ", "))
	}
	for _, what := range r.Left {
		l.add("left: %s", what)
	}
	if len(r.Left) == 0 {
		l.add("nothing is left")
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
	return cmp.Or(strings.Join(parts, ", "), "none from the plugins")
}
