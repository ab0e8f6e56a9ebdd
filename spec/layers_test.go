package spec

import (
	"fmt"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// nodes makes one text of files that are given as name, content, name, content, ….
func nodes(files ...string) []byte {
	var list []File
	for i := 0; i < len(files); i += 2 {
		list = append(list, File{files[i], []byte(files[i+1])})
	}
	return Join(list)
}

func matching(match, spec string) string { return head + "match: " + match + "\nspec: " + spec + "\n" }

func patching(name, rest string) string {
	return "apiVersion: agentctl/v1\nkind: NodePatch\nmetadata: {name: " + name + "}\n" + rest + "\n"
}

const twoGroups = head + `spec:
  cache: {maxEntries: 5, maxAge: 1d}
  workers:
    - {name: train, queues: [a, b], count: 2, runAs: "0"}
    - {name: cpu, queues: [c]}
`

// TestChoose: which document a host gets, by its name and its labels.
func TestChoose(t *testing.T) {
	gpu := Host{Name: "gpu-07", Labels: map[string]string{"rack": "r2", "role": "train"}}
	for name, c := range map[string]struct {
		text     []byte
		want     string // the name of the first worker
		problems string
	}{
		"by a pattern":     {nodes("a", matching(`{hostname: "cpu-*"}`, "{workers: []}"), "b", matching(`{hostname: "gpu-*"}`, group("b"))), "b", ""},
		"by labels":        {nodes("a", matching(`{labels: {rack: r1}}`, "{workers: []}"), "b", matching(`{labels: {rack: r2, role: train}}`, group("b"))), "b", ""},
		"both must fit":    {nodes("a", matching(`{hostname: "gpu-*", labels: {rack: r9}}`, group("a")), "b", head+"spec: "+group("b")), "b", ""},
		"match over none":  {nodes("a", head+"spec: "+group("a"), "b", matching(`{hostname: "gpu-?7"}`, group("b"))), "b", ""},
		"two fit":          {nodes("x/a", matching(`{hostname: "gpu-*"}`, group("a")), "x/b", head+"metadata: {name: gpu-07}\nspec: "+group("b")), "", `x/b:1:1: there are 2 documents ("x/a":1: without a name, "x/b":1: "gpu-07") for one node; keep one of them`},
		"the only one not": {[]byte(matching(`{hostname: "cpu-*"}`, group("a"))), "", `node.yaml:1:1: none of the 1 documents (line 1: without a name) is for the node "gpu-07"; write this name as metadata.name of one of them, or a match that fits it`},
		"an empty match":   {[]byte(matching("{}", group("a"))), "", "node.yaml:3:8: match: is empty, so that it fits no machine; write a hostname or labels, or delete it"},
		"upper case":       {nodes("a", matching("{hostname: GPU-07}", group("a")), "b", head+"spec: "+group("b")), "", `a:3:19: match.hostname: "GPU-07" is not allowed here; ` + hostnameFix},
		"a kind misspelt":  {nodes("a", head+"spec: "+group("a"), "b", strings.Replace(patching("p", "spec: {}"), "NodePatch", "NodePatsh", 1)), "", `b:2:7: kind: "NodePatsh" is not a kind of agentctl; did you mean NodePatch?`},
		"patches alone":    {[]byte(patching("p", "spec: {}")), "", "node.yaml:1:1: there are patches, but no document of the kind Node; add one that they are laid over"},
		"a foreign one":    {nodes("a", head+"spec: "+group("a"), "b", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n"), "a", ""},
	} {
		t.Run(name, func(t *testing.T) {
			n, problems := DecodeFor("node.yaml", c.text, gpu)
			if problems.String() != c.problems {
				t.Errorf("want %q,\n got %q", c.problems, problems)
			}
			if n != nil && (len(n.Spec.Workers) != 1 || n.Spec.Workers[0].Name != c.want || n.Match != nil) || (n == nil) != (c.want == "") {
				t.Errorf("took %+v, want %q", n, c.want)
			}
		})
	}
}

func group(name string) string { return "{workers: [{name: " + name + ", queues: [q]}]}" }

// TestPatches: what patches make of a document, and where their faults are told.
func TestPatches(t *testing.T) {
	for name, c := range map[string]struct {
		patches  []string
		want     string // the spec without its workers | each worker; or problems
		problems string
	}{
		"none":            {nil, "cache.maxEntries: + 5, cache.maxAge: + 24h, train [a, b] 2 0, cpu [c]", ""},
		"a field":         {[]string{patching("p", "spec: {cache: {maxEntries: 7}}")}, "cache.maxEntries: + 7, cache.maxAge: + 24h, train [a, b] 2 0, cpu [c]", ""},
		"null":            {[]string{patching("p", "spec: {cache: {maxAge: null, minFree: null}, git: null}")}, "cache.maxEntries: + 5, train [a, b] 2 0, cpu [c]", ""},
		"a list":          {[]string{patching("p", "spec: {workers: [{name: train, queues: [z]}]}")}, "cache.maxEntries: + 5, cache.maxAge: + 24h, train [z] 2 0, cpu [c]", ""},
		"a field of one":  {[]string{patching("p", "spec: {workers: [{name: cpu, count: 4}, {name: train, runAs: null}]}")}, "cache.maxEntries: + 5, cache.maxAge: + 24h, train [a, b] 2, cpu [c] 4", ""},
		"a new one":       {[]string{patching("p", "spec: {workers: [{name: new, queues: [nn], runAs: null}]}")}, "cache.maxEntries: + 5, cache.maxAge: + 24h, train [a, b] 2 0, cpu [c], new [nn]", ""},
		"no workers":      {[]string{patching("p", "spec: {workers: []}")}, "cache.maxEntries: + 5, cache.maxAge: + 24h", ""},
		"not this host":   {[]string{patching("p", "match: {hostname: x}\nspec: {workers: []}")}, "cache.maxEntries: + 5, cache.maxAge: + 24h, train [a, b] 2 0, cpu [c]", ""},
		"by order":        {[]string{patching("p", "order: 2\nspec: {cache: {maxEntries: 8}}"), patching("q", "spec: {cache: {maxEntries: 9, maxAge: 2d}}")}, "cache.maxEntries: + 8, cache.maxAge: + 2d, train [a, b] 2 0, cpu [c]", ""},
		"later wins":      {[]string{patching("p", "spec: {cache: {maxEntries: 8}}"), patching("q", "spec: {cache: {maxEntries: 9}}")}, "cache.maxEntries: + 9, cache.maxAge: + 24h, train [a, b] 2 0, cpu [c]", ""},
		"anchors":         {[]string{patching("p", "spec: {cache: &c {maxEntries: 8}, workers: [{name: x, queues: &q [yy]}, {name: z, queues: *q}]}")}, "cache.maxEntries: + 8, cache.maxAge: + 24h, train [a, b] 2 0, cpu [c], x [yy], z [yy]", ""},
		"wrong key":       {[]string{patching("p", "spec:\n  cach: {}")}, "", "p0.yaml:5:3: spec.cach: unknown key \"cach\"; did you mean cache?"},
		"wrong value":     {[]string{patching("p", "spec: {workers: [{name: cpu, count: -1}]}")}, "", "p0.yaml:4:37: spec.workers[1].count: -1 is out of range; write 0 to 1000"},
		"nameless worker": {[]string{patching("p", "spec: {workers: [{count: 1}]}")}, "", "p0.yaml:4:18: spec.workers[0]: has no name; write the name of the group that is to be changed, or of a new one"},
		"taken away":      {[]string{patching("p", "spec: {workers: null}")}, "", "base.yaml:4:3: spec.workers: is missing; write `workers: []` to run none"},
		"no name":         {[]string{"apiVersion: agentctl/v1\nkind: NodePatch\nspec: {}\n"}, "", "p0.yaml:1:1: metadata: is missing; give the patch a name, as `metadata: {name: rack-r2}`"},
		"twice a key":     {[]string{patching("p", "spec: {cache: {}, cache: {}}")}, "", "p0.yaml:4:19: spec.cache: is given twice; delete this one or the one on line 4"},
		"in itself":       {[]string{patching("p", "spec: {cache: &c {maxAge: *c}}")}, "", `p0.yaml:4:27: spec.cache.maxAge: the anchor "c" contains itself; write out what is meant`},
		"a match wrong":   {[]string{patching("p", "match: {host: x}\nspec: {}")}, "", `p0.yaml:4:9: match.host: unknown key "host"; allowed here: hostname, labels`},
	} {
		t.Run(name, func(t *testing.T) {
			files := []string{"base.yaml", twoGroups}
			for i, p := range c.patches {
				files = append(files, fmt.Sprintf("p%d.yaml", i), p)
			}
			n, problems := DecodeFor("folder", nodes(files...), Host{Name: "gpu-07"})
			if problems.String() != c.problems {
				t.Fatalf("want %q,\n got %q", c.problems, problems)
			}
			if n != nil && brief(n) != c.want {
				t.Errorf("want %s,\n got %s", c.want, brief(n))
			}
		})
	}
}

// brief says the cache and the workers on one line.
func brief(n *Node) string {
	var out []string
	for _, c := range Diff(&Node{}, &Node{Spec: NodeSpec{Cache: n.Spec.Cache}}) {
		out = append(out, strings.TrimPrefix(c.String(), "spec."))
	}
	for _, w := range n.Spec.Workers {
		s := w.Name + " " + flow(w.Queues)
		if w.Count != nil {
			s += fmt.Sprint(" ", *w.Count)
		}
		out = append(out, strings.TrimSpace(s+" "+w.RunAs))
	}
	return strings.Join(out, ", ")
}

// TestDecodeAllPatches: a patch is checked alone, whatever machine it is for.
func TestDecodeAllPatches(t *testing.T) {
	text := nodes("base.yaml", strings.Replace(twoGroups, "workers:", "x: 1\n  workers:", 1), "all.yaml", patching("all", "spec: {x: null, cache: {maxAge: null}}"),
		"p.yaml", patching("p", "match: {hostname: x}\nspec: {workers: [{name: a, cont: 1, queues: null}]}"))
	_, problems := DecodeAll("folder", text)
	if want := `p.yaml:5:28: spec.workers[0].cont: unknown key "cont"; did you mean count?`; problems.String() != want {
		t.Errorf("want %q, got %q", want, problems)
	}
	found, problems := DecodeAll("folder", nodes("base.yaml", twoGroups, "p.yaml", patching("p", "spec: {cache: {maxEntries: 9}}")))
	if len(found) != 1 || found[0] == nil || *found[0].Spec.Cache.MaxEntries != 9 || problems.Err() != nil {
		t.Errorf("%v, %v", found, problems)
	}
}

func TestOrigins(t *testing.T) {
	text := nodes("nodes/base.yaml", twoGroups, "nodes/p.yaml", patching("rack-r2", "spec:\n  workers:\n    - {name: cpu, count: 4}"))
	got, problems := Origins("nodes", text, Host{Name: "gpu-07"})
	if problems.Err() != nil {
		t.Fatal(problems)
	}
	for path, want := range map[string]string{
		"spec.cache.maxAge":        "nodes/base.yaml:4 (Node)",
		"spec.workers[cpu].queues": "nodes/base.yaml:7 (Node)",
		"spec.workers[cpu].count":  "nodes/p.yaml:6 (NodePatch rack-r2)",
		"spec.workers[train]":      "nodes/base.yaml:6 (Node)",
	} {
		if got[path].String() != want {
			t.Errorf("%s: %s, want %s", path, got[path], want)
		}
	}
}

// TestLayersLimits: layers are no way around the limits of one document.
func TestLayersLimits(t *testing.T) {
	var long strings.Builder
	for i := range 9 {
		fmt.Fprintf(&long, "&x%d [%s", i, strings.Repeat(fmt.Sprintf("*x%d, ", max(0, i-1)), 9)+"0], ")
	}
	bomb := strings.Replace(long.String(), strings.Repeat("*x0, ", 9), "", 1)
	_, problems := DecodeFor("f", nodes("b", twoGroups, "p", patching("p", "spec: {git: {credentialsCommand: ["+bomb+"0]}}")), Host{})
	if problems.Err() == nil || !strings.Contains(problems.String(), "too large") {
		t.Errorf("a bomb: %.300s", problems)
	}
	_, problems = DecodeFor("f", nodes("b", twoGroups, "p", patching("p", "spec: {git: &g "+deep(20, "1")+", cache: "+deep(15, "*g")+"}")), Host{})
	if problems.Err() == nil || !strings.Contains(problems.String(), "deep") {
		t.Errorf("too deep: %.300s", problems)
	}
}

func deep(n int, text string) string {
	return strings.Repeat("{x: ", n) + text + strings.Repeat(" }", n)
}

func TestParseLabels(t *testing.T) {
	got, err := ParseLabels([]string{"rack=r2", "example.com/x=", "rack=r2"})
	if diff := cmp.Diff(map[string]string{"rack": "r2", "example.com/x": ""}, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
	for _, bad := range [][]string{{"rack"}, {"=x"}, {"a=b c"}, {"a=b", "a=c"}} {
		if _, err := ParseLabels(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

// TestPatchProperties: a patch that says what is there already changes nothing, one
// that says all makes anything the same, and twice is as once.
func TestPatchProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		base, over := valid.Draw(t, "base"), valid.Draw(t, "over")
		base.Metadata.Name = ""
		text, other := encoded(t, base), encoded(t, over)
		patch := strings.Replace(other, "kind: Node\n", "kind: NodePatch\n", 1)
		if at := strings.Index(patch, "metadata:"); at >= 0 {
			patch = patch[:at] + patch[strings.Index(patch, "\nspec:")+1:]
		}
		patch = strings.Replace(patch, "\nspec:", "\nmetadata: {name: p}\nspec:", 1)
		decode := func(files ...string) *Node {
			n, problems := DecodeFor("f", nodes(files...), Host{Name: "h"})
			if n == nil {
				t.Fatalf("not valid: %v\n%s\n%s", problems, text, patch)
			}
			return n
		}
		alone := decode("a", text)
		if diff := cmp.Diff(base, alone); diff != "" {
			t.Fatalf("without a patch: %s", diff)
		}
		_, problems := DecodeFor("f", nodes("a", text, "b", patch), Host{Name: "h"})
		if problems.Err() != nil {
			return // what is valid alone need not be so together
		}
		once, twice := decode("a", text, "b", patch), decode("a", text, "b", patch, "c", patch)
		if diff := cmp.Diff(once, twice); diff != "" {
			t.Fatalf("twice is not as once: %s", diff)
		}
	})
}

func encoded(t *rapid.T, n *Node) string {
	data, err := Encode(n)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// FuzzJoin: what was joined is parted into the same files, unless a file holds a
// marker itself; and no text of files is a panic.
func FuzzJoin(f *testing.F) {
	f.Add("a.yaml", doc("a"), "b\n\"\\.yaml", patching("p", "match: {hostname: \"*\"}\nspec: {workers: []}"))
	f.Add("a\x1b[31m.yaml\n", "kind: [", "b\u202e", "x: 1")
	f.Add("", "\n", "é\x00\xff", "--- # file \"x\"\nspec: 1")
	f.Add("a", twoGroups, "b", patching("p", "spec: {workers: [{name: train, count: null}]}"))
	f.Fuzz(func(t *testing.T, name1, text1, name2, text2 string) {
		joined := Join([]File{{name1, []byte(text1)}, {name2, []byte(text2)}})
		if !strings.Contains(text1+"\n"+text2, "--- # file") {
			got := parted("x", joined)
			if len(got) != 2 || got[0].Name != name1 || got[1].Name != name2 ||
				strings.TrimSuffix(string(got[0].Text), "\n") != strings.TrimSuffix(text1, "\n") || strings.TrimSuffix(string(got[1].Text), "\n") != strings.TrimSuffix(text2, "\n") {
				t.Fatalf("%q is parted into %q", joined, got)
			}
		}
		n, problems := DecodeFor("f", joined, Host{Name: "gpu-07"})
		if (n == nil) != (problems.Err() != nil) {
			t.Fatalf("a node: %v, problems: %v", n != nil, problems)
		}
		_, all := DecodeAll("f", joined)
		for _, p := range append(all, problems...) {
			if line := p.String(); strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Fatalf("a message that breaks a line: %q", line)
			}
		}
		if where, _ := Origins("f", joined, Host{Name: "gpu-07"}); n != nil && where[""].Line < 1 {
			t.Fatalf("no origin of the document: %v", where)
		}
	})
}
