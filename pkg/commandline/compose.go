// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package commandline

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containernetworking/cni/pkg/version"

	"multus-cni/pkg/cnierror"
	"multus-cni/pkg/commandline/lint"
	"multus-cni/pkg/netconf"
	"multus-cni/pkg/rawjson"
)

// composition is a conf of multus in the making.
type composition struct {
	*program
	name    string   // of its network, "" for a name made from the primary's
	ifnames []string // of the secondaries, in their order; "" and what is missing mean netN
	path    []string // where plugins are
}

// compose writes a conf of multus whose delegates are existing confs.
//
// Their text is copied as it is, the primary's name and version included: IPAM
// plugins keep addresses by network name, and with the same name the pods
// attached before and those attached by multus share one pool.
func (p *program) compose(flags *flag.FlagSet) func([]string) error {
	c := &composition{program: p}
	flags.StringVar(&c.name, "name", "", "")
	flags.Func("ifname", "", func(name string) error {
		c.ifnames = append(c.ifnames, name)
		return nil
	})
	path := flags.String("cni-path", "", "")
	return func(files []string) error {
		if len(files) == 0 {
			return &usageError{"say which conf is that of the primary"}
		}
		if len(c.ifnames) > len(files)-1 {
			return &usageError{fmt.Sprintf("more --ifname (%d) than secondaries (%d)", len(c.ifnames), len(files)-1)}
		}
		c.path = p.pluginPath(*path)
		text, err := c.build(files)
		if err != nil {
			return err
		}
		return p.write(string(text))
	}
}

// build returns the conf. The first file is that of the primary.
func (c *composition) build(files []string) ([]byte, error) {
	sources := make([]*source, len(files))
	for i, file := range files {
		var err error
		if sources[i], err = readSource(file); err != nil {
			return nil, err
		}
	}
	if sources[0].Name == "" {
		return nil, fmt.Errorf("%s has no name, and the primary must keep the one that its pods were attached with", files[0])
	}
	text, err := indent(c.conf(sources))
	if err != nil {
		return nil, fmt.Errorf("put the confs together: %w", err)
	}
	if _, err := netconf.Parse(text); err != nil {
		return nil, fmt.Errorf("multus would refuse the conf: %w", err)
	}
	return text, nil
}

// conf joins the texts of the delegates' confs.
func (c *composition) conf(sources []*source) []byte {
	var text bytes.Buffer
	fmt.Fprintf(&text, `{"cniVersion": %s, "name": %s, "type": "multus", `,
		quote(c.cniVersion(sources)), quote(cmp.Or(c.name, "multus-"+sources[0].Name)))
	if capabilities := capabilitiesOf(sources); len(capabilities) > 0 {
		fmt.Fprintf(&text, `"capabilities": {%s: true}, `, strings.Join(capabilities, ": true, "))
	}
	text.WriteString(`"delegates": [`)
	for i, s := range sources {
		switch {
		case i == 0:
			text.WriteString(s.with(`"masterplugin": true`))
		case i <= len(c.ifnames) && c.ifnames[i-1] != "":
			text.WriteString(", " + s.with(`"ifname": `+quote(c.ifnames[i-1])))
		default:
			text.WriteString(", " + s.text)
		}
	}
	text.WriteString("]}")
	return text.Bytes()
}

// cniVersion returns the highest version that all plugins support. Where that
// cannot be told it is that of the primary's conf, which the runtime supports.
func (c *composition) cniVersion(sources []*source) string {
	var asked []string
	common := slices.Clone(version.All.SupportedVersions())
	for _, s := range sources {
		for _, kind := range s.types() {
			if slices.Contains(asked, kind) {
				continue
			}
			asked = append(asked, kind)
			supported, err := lint.Versions(kind, c.path)
			if err != nil {
				c.complain("warning: cannot tell which CNI versions %s supports: %s", cnierror.OneLine(kind), cnierror.OneLine(err.Error()))
				asked = asked[:len(asked)-1]
				continue
			}
			common = slices.DeleteFunc(common, func(v string) bool { return !slices.Contains(supported, v) })
		}
	}
	if len(asked) > 0 && len(common) > 0 {
		return common[len(common)-1]
	}
	fallback := cmp.Or(sources[0].CNIVersion, "1.0.0")
	if len(common) == 0 {
		c.complain("warning: there is no CNI version that all plugins support: using %s", fallback)
	}
	return fallback
}

// plugin is what compose reads of a plugin's configuration.
type plugin struct {
	Type         string                     `json:"type"`
	Capabilities map[string]json.RawMessage `json:"capabilities"`
	IPAM         struct {
		Type string `json:"type"`
	} `json:"ipam"`
}

// source is a conf that becomes a delegate: of a plugin, or of a list of plugins.
type source struct {
	text string // one JSON object

	plugin
	Name       string   `json:"name"`
	CNIVersion string   `json:"cniVersion"`
	Plugins    []plugin `json:"plugins"`
}

func readSource(file string) (*source, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if _, ours, err := netconf.Own(text); err == nil && ours {
		return nil, fmt.Errorf("%s is a conf of multus: name the confs of the networks instead", file)
	}
	s := &source{text: string(bytes.TrimSpace(text))}
	members, err := rawjson.ParseObject(text, 0)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	var wrong *json.UnmarshalTypeError
	if err := json.Unmarshal(text, s); errors.As(err, &wrong) {
		key := wrong.Field[strings.LastIndex(wrong.Field, ".")+1:]
		return nil, fmt.Errorf("read %s: %q has the wrong type: %s", file, key, wrong.Value)
	} else if err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	for _, key := range []string{"masterplugin", "ifname"} {
		if members.Get(key) != nil {
			return nil, fmt.Errorf("%s has the key %q, which compose writes itself: remove it", file, key)
		}
	}
	if len(s.types()) == 0 {
		return nil, fmt.Errorf(`%s is not a conf: it has neither "type" nor "plugins"`, file)
	}
	if slices.Contains(s.types(), "multus-shim") {
		return nil, fmt.Errorf("%s is a conf of Kubernetes Multus: name the confs of the networks instead", file)
	}
	return s, nil
}

// with returns the text of the conf with one more member.
func (s *source) with(member string) string { return "{" + member + ", " + s.text[1:] }

// list returns the plugins of the conf.
func (s *source) list() []plugin {
	if len(s.Plugins) > 0 {
		return s.Plugins
	}
	return []plugin{s.plugin}
}

// types returns the types of the plugins and of their IPAM plugins.
func (s *source) types() (types []string) {
	for _, p := range s.list() {
		for _, kind := range []string{p.Type, p.IPAM.Type} {
			if kind != "" {
				types = append(types, kind)
			}
		}
	}
	return types
}

// capabilitiesOf returns, quoted and sorted, what any plugin declares. A runtime
// sends only what the conf itself declares.
func capabilitiesOf(sources []*source) (names []string) {
	for _, s := range sources {
		for _, p := range s.list() {
			for name, value := range p.Capabilities {
				if string(value) == "true" && !slices.Contains(names, quote(name)) {
					names = append(names, quote(name))
				}
			}
		}
	}
	slices.Sort(names)
	return names
}

// indent sets a text of JSON out in lines. It changes nothing but spaces.
func indent(text []byte) ([]byte, error) {
	var out bytes.Buffer
	if err := json.Indent(&out, text, "", "  "); err != nil {
		return nil, err
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}

// quote writes a string as JSON, which every string can be.
func quote(s string) string {
	text, _ := json.Marshal(s)
	return string(text)
}

// pluginPath returns the directories of the plugins: those that were named, or
// those of the environment, or the default one.
func (p *program) pluginPath(named string) []string {
	return filepath.SplitList(cmp.Or(named, p.env("CNI_PATH"), defaultCNIPath))
}
