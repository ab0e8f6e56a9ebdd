package envcache

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A clone of a task asks for what the agent wrote back: the packages as they were
// installed. It must get the environment that the original task was given.
func TestInstalledListFindsTheSameEnvironment(t *testing.T) {
	t.Parallel()
	c, req := indexed(t, "cloned")
	first := acquire(t, c, req.with("cloned"))
	if first.Hit {
		t.Fatal("nothing was built before")
	}
	again := req
	again.Requirements = first.Frozen
	second := acquire(t, c, again)
	if !second.Hit || second.Key != first.Key {
		t.Fatalf("the installed list %q made another environment: %+v", first.Frozen, second)
	}
	// Without its environment the name leads nowhere and is removed.
	_, _ = first.Close(), second.Close()
	if err := c.Discard(t.Context(), first.Key); err != nil {
		t.Fatal(err)
	}
	if l := acquire(t, c, again); l.Hit || l.Key == first.Key {
		t.Fatalf("a thrown away environment was found by its other name: %+v", l)
	}
	if _, err := c.Collect(t.Context(), Limits{}); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(c.state, "envs", "*"+aliasSuffix))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if text, err := os.ReadFile(f); err != nil || strings.Contains(string(text), first.Key) {
			t.Errorf("%s leads to an environment that is gone (%v)", f, err)
		}
	}
}
