package main

import (
	"regexp"
	"strings"
	"testing"

	"agentctl/envcache"
	"agentctl/spec"
)

// Whatever the machine is like, what init writes is valid and warns of nothing.
func TestFirstSpecIsValid(t *testing.T) {
	for about, h := range map[string]host{
		"a bare machine": {Name: "x", CPUs: 1},
		"a full one": {
			Name: "GPU_07.example.com", Root: true, CPUs: 64, Memory: 512 << 30, Git: "2.39.5",
			GPUs:    []string{"NVIDIA A100-SXM4-80GB", "NVIDIA A100-SXM4-80GB"},
			Pythons: []envcache.Interpreter{{Version: "3.12.1"}, {Version: "3.9.0"}},
		},
	} {
		text, err := renderSpec(h)
		if err != nil {
			t.Fatal(err)
		}
		n, problems := spec.Decode("node.yaml", text)
		if len(problems) > 0 {
			t.Errorf("%s:\n%s\n%s", about, problems, text)
			continue
		}
		if n.Metadata.Name != spec.NodeName(h.Name) {
			t.Errorf("%s: the name is %q", about, n.Metadata.Name)
		}
		// The settings that are commented out are an offer: they must be right too.
		n, problems = spec.Decode("node.yaml", uncommented(text))
		if n == nil {
			t.Errorf("%s, with its comments:\n%s\n%s", about, problems, uncommented(text))
		}
	}
}

// setting is a key with its value, or one with more below it; indented, it belongs to
// the one above.
var setting = regexp.MustCompile(`^ *[a-zA-Z]+:( |\n)`)

// uncommented makes settings of the comments that hold one.
func uncommented(text []byte) []byte {
	var out []string
	for l := range strings.Lines(string(text)) {
		trimmed := strings.TrimLeft(l, " ")
		indent := l[:len(l)-len(trimmed)]
		if rest, ok := strings.CutPrefix(trimmed, "# "); ok && indent != "" && setting.MatchString(rest) {
			l = indent + rest
		}
		out = append(out, l)
	}
	return []byte(strings.Join(out, ""))
}
