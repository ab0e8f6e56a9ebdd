package spec

import (
	"strings"
	"testing"
)

func doc(name string) string {
	if name == "" {
		return head + "spec: {workers: []}\n"
	}
	return head + "metadata: {name: " + name + "}\nspec: {workers: []}\n"
}

// TestDecodeFor: which document a machine takes out of a file of several.
func TestDecodeFor(t *testing.T) {
	const broken = head + "metadata: {name: broken}\nspec: {}\n"
	for name, c := range map[string]struct {
		docs     []string
		node     string
		want     string // the name that was taken
		problems string
	}{
		"the only one":        {[]string{doc("a")}, "z", "a", ""},
		"by name":             {[]string{doc("a"), doc("b"), doc("")}, "b", "b", ""},
		"by host name":        {[]string{doc("a"), doc("gpu-7.lan")}, "GPU_7.lan", "gpu-7.lan", ""},
		"the nameless":        {[]string{doc("a"), doc(""), doc("b")}, "z", "", ""},
		"empty ones between":  {[]string{"# empty\n", doc("a"), "", doc("b")}, "a", "a", ""},
		"fault of another":    {[]string{broken, doc("b")}, "b", "b", ""},
		"fault of its own":    {[]string{broken, doc("b")}, "broken", "", "node.yaml:4:7: spec.workers: is missing; write `workers: []` to run none"},
		"none fits":           {[]string{doc("a"), doc("b")}, "z", "", `node.yaml:1:1: none of the 2 documents (line 1: "a", line 6: "b") is for the node "z"; write this name as metadata.name of one of them, or a match that fits it`},
		"two fit":             {[]string{doc("a"), doc("a")}, "a", "", `node.yaml:6:1: the file holds 2 documents (line 1: "a", line 6: "a") for one node; keep one of them`},
		"two nameless":        {[]string{doc(""), doc("")}, "a", "", "node.yaml:5:1: the file holds 2 documents (line 1: without a name, line 5: without a name) for one node; keep one of them"},
		"syntax of another":   {[]string{"a: [\n", doc("b")}, "b", "", "node.yaml:1:1: cannot be read as YAML: did not find expected node content; close each [ with ] and each { with }"},
		"a name that is none": {[]string{head + "metadata: {name: [x]}\nspec: {workers: []}\n", doc("b")}, "b", "b", ""},
	} {
		t.Run(name, func(t *testing.T) {
			n, problems := DecodeFor("node.yaml", []byte(strings.Join(c.docs, "---\n")), Host{Name: c.node})
			if problems.String() != c.problems {
				t.Errorf("want %q, got %q", c.problems, problems)
			}
			if (n == nil) != (c.problems != "") || n != nil && n.Metadata.Name != c.want {
				t.Errorf("took %+v, want %q", n, c.want)
			}
		})
	}
}

// TestDecodeAll: every document is checked, and two for one node are an error.
func TestDecodeAll(t *testing.T) {
	text := strings.Join([]string{doc("a"), head + "spec: {}\n", doc("b"), doc("a")}, "---\n")
	nodes, problems := DecodeAll("node.yaml", []byte(text))
	want := "node.yaml:8:7: spec.workers: is missing; write `workers: []` to run none\n" +
		`node.yaml:15:1: the file holds 2 documents (line 1: "a", line 15: "a") for one node; keep one of them`
	if problems.String() != want {
		t.Errorf("want\n%s\ngot\n%s", want, problems)
	}
	if len(nodes) != 4 || nodes[0] == nil || nodes[1] != nil || nodes[2] == nil {
		t.Errorf("nodes: %v", nodes)
	}
}

func TestProblems(t *testing.T) {
	_, problems := Decode("node.yaml", []byte(head+"spec:\n  x: 1\n  workers: [{name: a, queues: [q], image: python}]\n"))
	if e, w := problems.Errors(), problems.Warnings(); len(e) != 1 || len(w) != 1 || problems[0] != e[0] {
		t.Errorf("errors %v, warnings %v", e, w)
	}
	if problems.Warnings().Err() != nil {
		t.Error("warnings refuse the document")
	}
	if got, want := problems.Err().Error(), problems.Errors().String(); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	n := &Node{APIVersion: APIVersion, Kind: KindNode, Spec: NodeSpec{Workers: []WorkerSpec{{Name: "A", Queues: []string{"q"}}}}}
	if got, want := Validate(n).String(), `spec.workers[0].name: "A" is not allowed here; `+nameFix; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
