package e2e_test

import (
	"path/filepath"
	"testing"

	"agentctl/reconcile"
	"agentctl/test/e2e/harness"
)

// Every example of a node.yaml is taken by a running agent, one after the other,
// and makes workers. Whether its server can be reached is not the example's matter.
func TestExamplesAreApplied(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(harness.Root(t), "examples", "*.yaml"))
	if err != nil || len(files) < 3 {
		t.Fatalf("examples: %v, %v", files, err)
	}
	n := harness.New(t)
	n.StartAgent()
	for _, file := range files {
		n.Must("apply", "--yes", "--timeout", "0", file)
		s := n.Snapshot()
		if c, ok := s.Condition(reconcile.SpecAccepted); !ok || c.Status != "True" {
			t.Errorf("%s: %+v", filepath.Base(file), c)
		}
		if s.LastApplied.Origin.Path != file || len(s.Workers) == 0 {
			t.Errorf("%s: applied is %q, with %d workers", filepath.Base(file), s.LastApplied.Origin.Path, len(s.Workers))
		}
	}
}
