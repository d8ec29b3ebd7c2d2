// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package fuzz

import (
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"

	"multus-cni/test/sandbox"
)

// rightConfs are what mutations begin with.
var rightConfs = []string{
	`{
  "name": "demo", "type": "multus", "cniVersion": "1.0.0",
  "delegates": [
    {"type": "sriov", "fake": {"ADD": ["link", "addr 10.1.0.2/24"]}, "big": 9223372036854775807, "f": 1.10, "e": 1e400},
    {"type": "ptp", "masterplugin": true, "ipam": {"type": "host-local", "subnet": "10.2.0.0/24"},
     "fake": {"ADD": ["link", "addr 10.2.0.2/24", "default 10.2.0.1"]}},
    {"type": "flannel", "name": "own", "cniVersion": "0.4.0", "\u0061b": ["\u00e9<&>", {"z": -0, "a": null}]}
  ]
}`,
	`{"cniVersion":"1.1.0","name":"lists","runtimeConfig":{"mac":"02:00:00:00:00:01","big":9007199254740993},
  "delegates":[
    {"name":"chain","cniVersion":"1.0.0","masterplugin":true,"disableCheck":false,
     "plugins":[{"type":"ptp","capabilities":{"mac":true},"fake":{"ADD":"link","DEL":[]}},{"type":"tuning","sysctl":{"a.b":"1"},"capabilities":{"big":true,"no":false}}]},
    {"type":"flannel@0.4.0","fake":{"ADD":["link","addr 10.3.0.2/24","default 10.3.0.1"]}}
  ]}`,
	`{"name":"small","delegates":[{"type":"ptp","masterplugin":true,"fake":{"ADD":["link","addr 10.1.0.2/24"]}}]}`,
	`{"cniVersion":"0.3.1","name":"records","cniDir":"/run/records","type":"multus","cni.dev/valid-attachments":[{"containerID":"c2","ifname":"eth0"}],
  "delegates":[{"type":"ptp","fake":{"ADD":"link"}},{"type":"sriov","fake":{"CHECK":"error 11 later"}},{"type":"tuning","masterplugin":true,"fake":{"ADD":["dns 10.0.0.1"]}}]}`,
}

// failing makes a right conf one in which a late plugin fails.
var failing = strings.NewReplacer(
	`{"type": "flannel",`, `{"type": "flannel", "fake": {"ADD": "error 99 no"},`,
	`"sysctl":`, `"fake":{"ADD":"error 11 no"},"sysctl":`,
	`"dns 10.0.0.1"`, `"error 11 no"`)

// strange values take the place of others. Those of plugins are on CNI_PATH.
var strange = []string{
	`null`, `[]`, `{}`, `true`, `false`, `0`, `-1`, `1e999`, `18446744073709551616`, `""`, `"\u0000"`, `"\ud800"`, `"../../x"`, `"."`, `"/"`,
	`"masterplugin"`, `"type"`, `"name"`, `"plugins"`, `"cniVersion"`, `"delegates"`, `"capabilities"`, `"prevResult"`, `"0.2.0"`, `"1.1.0"`, `"9.9"`,
	`"ptp"`, `"sriov"`, `"tuning"`, `"flannel"`, `"eth0"`, `"net0"`, `"\u006eame"`, `[null]`, `[[[[]]]]`, `{"type":"ptp"}`, `{"":""}`, `,`, `:`, `{`, `}`, `[`, `]`,
}

var strangeEnv = map[string][]string{
	"CNI_COMMAND":        {"ADD", "DEL", "CHECK", "STATUS", "GC", "VERSION", "add", "ADD ", "UPDATE", ""},
	"CNI_CONTAINERID":    {"", "c2", "..", "a/b", "a:b", "-c", "\n", "\xff", strings.Repeat("c", 300)},
	"CNI_NETNS":          {"", "/nonexistent", "/run/netns", "/proc/self/ns/net", "/proc/1/ns/mnt", "/dev/null", "run/netns/pod", "/run/netns/../netns/pod"},
	"CNI_IFNAME":         {"", "net0", "net00", "lo", "..", "a/b", "a:b", "a b", "-f", "\xff\xfe", "sixteen-letters-", "e\u00e9"},
	"CNI_ARGS":           {"", ";", "=", "A", "IgnoreUnknown=1", "K8S_POD_NAME=\xff\x1b[0m", strings.Repeat("A=1;", 5000)},
	"CNI_PATH":           {"", ":", ".", "/nonexistent", "/dev/null", "/:/proc"},
	"CNI_NETNS_OVERRIDE": {"", "true", "0", "no"},
}

var tokens = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^{}\[\],:"\s]+`)

// mutator makes mistakes, always the same for one seed and number.
type mutator struct{ *rand.Rand }

func newMutator(seed, n uint64) *mutator { return &mutator{rand.New(rand.NewPCG(seed, n))} }

func pick[T any](m *mutator, from []T) T { return from[m.IntN(len(from))] }

func (m *mutator) attempt(env []string) attempt {
	a := attempt{env, pick(m, rightConfs)}
	if m.IntN(3) == 0 {
		a.stdin = failing.Replace(a.stdin)
	}
	if m.IntN(3) == 0 {
		a.env = m.environment(a.env)
	}
	for range m.IntN(4) {
		a.stdin = m.conf(a.stdin)
	}
	return a
}

// environment changes one or two variables.
func (m *mutator) environment(env []string) []string {
	keys := []string{"CNI_COMMAND", "CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS", "CNI_PATH", "CNI_NETNS_OVERRIDE"}
	for range 1 + m.IntN(2) {
		key := pick(m, keys)
		value := pick(m, strangeEnv[key])
		switch old := sandbox.Getenv(env, key); m.IntN(8) {
		case 0:
			env = slices.DeleteFunc(slices.Clone(env), func(kv string) bool { return strings.HasPrefix(kv, key+"=") })
			continue
		case 1:
			if key != "CNI_NETNS_OVERRIDE" {
				value = strings.ReplaceAll(m.flip(old), "\x00", "")
			}
		}
		env = sandbox.Setenv(slices.Clone(env), key+"="+value)
	}
	return env
}

// conf makes one mistake, in the bytes or, more often, in the tokens: then it
// may still be JSON.
func (m *mutator) conf(text string) string {
	if m.IntN(6) == 0 {
		return m.flip(text)
	}
	toks := tokens.FindAllString(text, -1)
	if len(toks) == 0 {
		return text
	}
	values := valuesOf(toks)
	i, j := m.IntN(len(toks)), m.IntN(len(toks))
	switch m.IntN(9) {
	case 0:
		toks[i], toks[j] = toks[j], toks[i]
	case 1:
		toks = slices.Insert(toks, i, toks[j])
	case 2:
		toks = slices.Delete(toks, i, i+1)
	case 3:
		toks[i] = pick(m, strange)
	case 4:
		return "{\"x\":" + text + "}"
	case 5, 6: // one value in the place of another
		a, b := pick(m, values), pick(m, values)
		toks = slices.Concat(toks[:a[0]], toks[b[0]:b[1]], toks[a[1]:])
	case 7: // deeper
		v := pick(m, values)
		open, end := pick(m, [][2]string{{`[`, `]`}, {`{"x":`, `}`}, {strings.Repeat(`[`, 20000), strings.Repeat(`]`, 20000)}}), v[1]
		toks = slices.Insert(slices.Insert(toks, end, open[1]), v[0], open[0])
	case 8: // a member twice, or one more element
		v := pick(m, values)
		from := v[0]
		if from >= 2 && toks[from-1] == ":" {
			from -= 2
		}
		toks = slices.Insert(toks, v[1], append([]string{","}, toks[from:v[1]]...)...)
	}
	return strings.Join(toks, " ")
}

// valuesOf returns where the values begin and end: single tokens, and
// whatever is between brackets.
func valuesOf(toks []string) (values [][2]int) {
	var open []int
	for i, tok := range toks {
		switch tok {
		case "{", "[":
			open = append(open, i)
		case "}", "]":
			if len(open) > 0 {
				values = append(values, [2]int{open[len(open)-1], i + 1})
				open = open[:len(open)-1]
			}
		case ",", ":":
		default:
			values = append(values, [2]int{i, i + 1})
		}
	}
	if len(values) == 0 {
		values = [][2]int{{0, 1}}
	}
	return values
}

// flip changes some bytes.
func (m *mutator) flip(text string) string {
	b := []byte(text)
	if len(b) == 0 {
		return "\xff"
	}
	i := m.IntN(len(b))
	end := min(len(b), i+1+m.IntN(8))
	switch m.IntN(5) {
	case 0:
		b[i] ^= 1 << m.IntN(8)
	case 1:
		b = slices.Insert(b, i, byte(m.IntN(256)))
	case 2:
		b = slices.Delete(b, i, end)
	case 3:
		b = slices.Insert(b, i, slices.Clone(b[i:end])...)
	case 4:
		b = b[:i]
	}
	return string(b)
}
