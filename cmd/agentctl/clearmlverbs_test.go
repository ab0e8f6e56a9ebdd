package main

import (
	"strings"
	"testing"

	"agentctl/spec"
)

// Wherever a spec can hold a variable, one that may be secret is not shown.
func TestMasked(t *testing.T) {
	variables := func() map[string]string { return map[string]string{"MY_TOKEN": "hidden", "LANG": "shown"} }
	n := &spec.Node{}
	n.Spec.Sandbox.Arguments.Env = variables()
	n.Spec.Sandbox.Rules = []spec.SandboxRule{{Arguments: spec.Arguments{Env: variables()}}}
	w := spec.WorkerSpec{Name: "w", Environment: variables()}
	w.Sandbox.Arguments.Env = variables()
	n.Spec.Workers = []spec.WorkerSpec{w}
	text, err := spec.Encode(masked(n))
	if err != nil || strings.Contains(string(text), "hidden") || strings.Count(string(text), "shown") != 4 || strings.Count(string(text), "***") != 4 {
		t.Errorf("%v\n%s", err, text)
	}
	if w.Environment["MY_TOKEN"] != "hidden" {
		t.Error("the spec itself was changed")
	}
}
