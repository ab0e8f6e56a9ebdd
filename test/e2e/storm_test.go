package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"agentctl/clearml"
	"agentctl/test/e2e/harness"
)

// stormEdits is how many specs come one after another.
const stormEdits = 500

// Twenty tasks run through five hundred changes of the spec, valid ones and broken ones,
// as fast as the file can be written. Each task ends completed, and ran once.
func TestStormOfSpecs(t *testing.T) {
	t.Parallel()
	n := started(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	dice := rand.New(rand.NewPCG(seed, 1))
	var tasks []string
	for i := range 20 {
		tasks = append(tasks, n.Submit(harness.Script{Name: fmt.Sprint("storm ", i), Code: n.Code("print('begin', flush=True)\nfor i in range(10): time.sleep(0.05)\nprint('end')")}))
	}
	for range stormEdits {
		n.WriteFile(anySpec(dice))
	}
	n.WriteFile(node("{name: w, queues: [default], mode: venv, count: 3}"))
	for _, id := range tasks {
		n.WaitStatus(id, clearml.StatusCompleted)
		text := strings.Join(n.Console(id), "\n")
		if begins, ends := strings.Count(text, "begin"), strings.Count(text, "end"); begins != 1 || ends != 1 {
			t.Errorf("task %s began %d times and ended %d times:\n%s", id, begins, ends, text)
		}
	}
	n.WaitWorkers("w/0", "w/1", "w/2")
	n.WaitCondition("Ready", "True")
}

// anySpec draws a spec. None has a policy that touches a running task.
func anySpec(dice *rand.Rand) string {
	pick := func(list ...string) string { return list[dice.IntN(len(list))] }
	var groups []string
	for _, name := range []string{"w", "x"} {
		if dice.IntN(4) == 0 {
			continue
		}
		groups = append(groups, fmt.Sprintf("{name: %s, queues: %s, mode: venv, count: %d, order: %s, stopGrace: %ds, maxRuntime: %dh, drain: {policy: finish}%s}",
			name, pick("[default]", "[other, default]", "[default, other]"), dice.IntN(4), pick("priority", "roundRobin"), 1+dice.IntN(9), 1+dice.IntN(5), pick("", ", maxTasks: 1")))
	}
	text := node(groups...)
	switch dice.IntN(10) {
	case 0:
		return strings.Replace(text, "kind: Node", "kind: Nodes", 1)
	case 1:
		return text[:len(text)/2]
	case 2:
		return text + "  queueLimits: [{name: default, maxRunning: 2}]\n"
	case 3:
		return ""
	}
	return text
}
