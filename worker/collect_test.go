package worker

import (
	"testing"

	"agentctl/spec"
)

// What earlier agents left is held against the limits of the first spec, and all that is
// there against each new limit.
func TestLimitsHoldAtOnce(t *testing.T) {
	p := poolWith(t, t.TempDir())
	p.node = nil
	for _, c := range []struct {
		what   string
		change func(*spec.NodeSpec)
		want   int
	}{
		{"the first", func(*spec.NodeSpec) {}, 1},
		{"the same", func(*spec.NodeSpec) {}, 0},
		{"another worker", func(s *spec.NodeSpec) { s.Workers = []spec.WorkerSpec{{Name: "w"}} }, 0},
		{"fewer images", func(s *spec.NodeSpec) { s.Sandbox.Images.MaxSize = 1 << 30 }, 1},
		{"fewer environments", func(s *spec.NodeSpec) { s.Cache.MaxSize = 1 << 30 }, 1},
	} {
		next := &spec.Node{}
		if p.node != nil {
			*next = *p.node
		}
		c.change(&next.Spec)
		p.Apply(next, nil)
		if got := len(p.grown); got != c.want {
			t.Errorf("%s: %d to be collected, want %d", c.what, got, c.want)
		}
		for len(p.grown) > 0 {
			<-p.grown
		}
	}
}
