package runtime

import (
	"testing"
)

// What began with the least share has the usual one afterwards.
func TestPromote(t *testing.T) {
	needLimits(t)
	if h := must2(probed())(t); !find(h.Sandbox, SandboxCPU).Works {
		t.Skip("this user has no cgroup of its own to limit")
	}
	task := staying(t, func(c *Config) { c.Sandbox.Resources.CPUShares = LeastShare })
	shares := func() (n int64) {
		for _, s := range usualShares {
			if found, err := readNumber(task.Handle().Groups[s.controller], s.file); err == nil {
				n = found
			}
		}
		return n
	}
	if n := shares(); n < 1 || n > 2 {
		t.Errorf("it began with %d", n)
	}
	must(t, task.Promote())
	if n := shares(); n != 1024 && n != 100 {
		t.Errorf("it has %d", n)
	}
	must(t, task.Kill())
	wait(t, task)
	must(t, task.Promote())
}
