package spec

import (
	"fmt"
	"strings"
	"testing"
)

const head = "apiVersion: agentctl/v1\nkind: Node\n"

// TestHostileDocuments: what is made to use up memory or time is refused, with a
// position, before it does.
func TestHostileDocuments(t *testing.T) {
	bomb := head + "metadata:\n  labels: {}\nspec:\n  workers:\n    - &w0 {name: a, queues: [q, q, q, q, q, q, q, q, q]}\n"
	for i := 1; i < 9; i++ {
		bomb += fmt.Sprintf("    - &w%d [%s]\n", i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*w%d, ", i-1), 9), ", "))
	}
	wide := head + "spec:\n  gpus:\n    slots: &s [" + strings.Repeat("{device: 0}, ", 2000) + "]\n  workers: []\n  <<: {" // merge of many
	for i := range 60 {
		wide += fmt.Sprintf("k%d: *s, ", i)
	}
	wide += "}\n"
	queues := "&q [" + strings.Repeat("a, ", 5000) + "]"
	visits := head + "spec:\n  workers:\n    - {name: a, queues: " + queues + "}\n" + strings.Repeat("    - {name: b, queues: *q}\n", 90)
	merges := head + "spec: &m0 {workers: []}\n"
	for i := 1; i < 12; i++ {
		merges += fmt.Sprintf("x%d: &m%d {<<: [%s]}\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*m%d, ", i-1), 8), ", "))
	}
	merges += "<<: *m11\n"
	for name, c := range map[string]struct{ doc, want string }{
		"large":        {strings.Repeat("# much\n", MaxSize/7+1), "node.yaml:1:1: is larger than 1Mi (1048579 bytes); write a file for each node"},
		"aliases":      {head + "metadata: &m {}\nspec: [" + strings.Repeat("*m, ", 101) + "]\n", "node.yaml:4:408: has more than 100 aliases; write out what they stand for"},
		"deep":         {head + "spec: " + strings.Repeat("[", 40) + strings.Repeat("]", 40) + "\n", "node.yaml:3:37: is nested more than 30 deep; write less lists and mappings inside each other"},
		"very deep":    {head + "spec: " + strings.Repeat("{a: ", 20000), "exceeded"},
		"bomb":         {bomb, "spec.workers[1]: is a list, not a mapping"},
		"wide":         {wide, `unknown key "k0"`},
		"visits":       {visits, "the aliases before this make the document too large; write out less with anchors and aliases"},
		"merges":       {merges, "make the document too large"},
		"utf-16":       {"\xff\xfea\x00", "node.yaml:1:1: is text in UTF-16; save it in UTF-8"},
		"latin-1":      {head + "metadata: {name: m\xfcller}\n", "node.yaml:3:19: has the byte 0xfc, which is no text; save it as text in UTF-8"},
		"zero byte":    {head + "metadata:\x00\n", "node.yaml:3:10: has the byte 0x00, which is no text; save it as text in UTF-8"},
		"windows":      {strings.ReplaceAll(head+"spec:\n  workers: []\n  x: 1\n", "\n", "\r\n"), `node.yaml:5:3: spec.x: unknown key "x"; allowed here: server, gpus, workers, queueLimits, packageManager, git, cache, sandbox`},
		"byte order":   {"\ufeff" + head + "spec:\n  workers: []\n  x: 1\n", `node.yaml:5:3: spec.x: unknown key "x"`},
		"many faults":  {head + "spec:\n  workers: [" + strings.Repeat("1, ", 1000) + "]\n", "more than 200 faults; the rest is not shown; mend these first"},
		"wrong at end": {head + "spec:\n  workers: []\n" + strings.Repeat("# a comment\n", 20000) + " x: [\n", "node.yaml:20005:2: cannot be read as YAML"},
	} {
		t.Run(name, func(t *testing.T) {
			n, problems := Decode("node.yaml", []byte(c.doc))
			if n != nil || !strings.Contains(problems.String(), c.want) {
				t.Errorf("want %q, got\n%.2000s", c.want, problems)
			}
			if len(problems) > maxProblems+1 {
				t.Errorf("%d problems", len(problems))
			}
			if name != "large" && name != "utf-16" && name != "latin-1" {
				checkPositions(t, []byte(c.doc), problems)
			}
		})
	}
}
