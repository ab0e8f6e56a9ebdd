package e2e_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/samber/lo"

	"agentctl/clearml"
	"agentctl/test/e2e/harness"
)

// A change of the count must not touch a running task: 1 → 3 takes two more tasks
// at once, 3 → 1 lets all three end.
func TestCountChangesWhileTasksRun(t *testing.T) {
	t.Parallel()
	n := started(t)
	waits := func(name string) string {
		return n.Submit(harness.Script{Name: "waits " + name, Code: n.Code(fmt.Sprintf("open_gate(%q); wait_gate('end'); print('ended')", name))})
	}
	tasks := []string{waits("a")}
	n.WaitGate("a")
	pid := n.AgentPID()

	n.Apply(node("{name: w, queues: [default], mode: venv, count: 3}"))
	tasks = append(tasks, waits("b"), waits("c"))
	n.WaitGate("b")
	n.WaitGate("c")

	n.WriteFile(node("{name: w, queues: [default], mode: venv, count: 1}")) // the file is watched by now
	harness.Eventually(t, harness.Patience, "two workers to drain", func() string {
		draining := 0
		for _, w := range n.Workers() {
			if w.Draining {
				draining++
			}
		}
		if draining != 2 {
			return fmt.Sprintf("%+v", n.Workers())
		}
		return ""
	})
	late := n.Submit(harness.Script{Name: "late", Code: "print('late')"})
	if got := n.Task(late).Status; got != clearml.StatusQueued {
		t.Errorf("a task was taken while all workers were busy or draining: %s", got)
	}
	n.Open("end")
	for _, task := range append(tasks, late) {
		n.WaitStatus(task, clearml.StatusCompleted)
	}
	harness.Eventually(t, harness.Patience, "one worker to be left", func() string {
		if workers := n.Workers(); len(workers) != 1 {
			return fmt.Sprintf("%+v", workers)
		}
		return ""
	})
	if n.AgentPID() != pid {
		t.Error("the agent was restarted")
	}
}

// A worker takes the queues that are in force when it looks.
func TestQueuesChangeLive(t *testing.T) {
	t.Parallel()
	n := started(t)
	task := n.Submit(harness.Script{Code: "print('other')", Queue: "other"})
	n.WriteFile(node("{name: w, queues: [other, default], mode: venv}"))
	n.WaitStatus(task, clearml.StatusCompleted)
}

// A file that is broken, empty or gone changes nothing but SpecAccepted.
func TestBadFileChangesOnlySpecAccepted(t *testing.T) {
	t.Parallel()
	n := started(t)
	n.WaitCondition("SpecAccepted", "True")
	before := n.Workers()
	for name, spoil := range map[string]func(){
		"unknown key": func() { n.WriteFile(node("{name: w, queuse: [default], mode: venv}")) },
		"half a file": func() { n.WriteFile(node(oneWorker)[:60]) },
		"empty":       func() { n.WriteFile("") },
		"gone": func() {
			if err := os.Remove(n.File); err != nil {
				t.Fatal(err)
			}
		},
	} {
		spoil()
		n.WaitCondition("SpecAccepted", "False")
		if name == "unknown key" {
			// While it is being written it may be seen empty.
			harness.Eventually(t, harness.Patience, "the condition to tell the fix", func() string {
				c, _ := n.Snapshot().Condition("SpecAccepted")
				return lo.Ternary(strings.Contains(c.Message, "queues"), "", c.Message)
			})
		}
		if after := n.Workers(); len(after) != len(before) || after[0].Name != before[0].Name {
			t.Errorf("%s: workers are %+v, were %+v", name, after, before)
		}
		task := n.Submit(harness.Script{Code: "print('still at work')"})
		n.WaitStatus(task, clearml.StatusCompleted)
		n.WriteFile(node(oneWorker))
		n.WaitCondition("SpecAccepted", "True")
	}
}

// The last source wins, whatever came before it, and a restart keeps it.
func TestFileAndApplyInEveryOrder(t *testing.T) {
	t.Parallel()
	group := func(name string) string {
		return node("{name: " + name + ", queues: [default], mode: venv}")
	}
	n := harness.New(t)
	n.StartAgent()
	want := func(name string) {
		t.Helper()
		n.WaitWorkers(name + "/0")
		n.KillAgent()
		n.StartAgent()
		n.WaitWorkers(name + "/0")
	}
	n.Apply(group("applied"))
	want("applied")
	n.WriteFile(group("edited")) // apply made it the watched source
	want("edited")
	n.ApplyPinned(group("pinned"))
	want("pinned")
	n.WriteFile(group("unseen")) // pinned: the file has no say any more
	want("pinned")
	n.Apply(group("again"))
	want("again")
	n.WriteFile(group("last"))
	want("last")
	n.KillAgent()
	n.WriteFile(group("meanwhile")) // edited while no agent ran
	n.StartAgent()
	want("meanwhile")
	n.KillAgent()
	if err := os.Remove(n.File); err != nil {
		t.Fatal(err)
	}
	n.StartAgent() // the last good spec is on disk
	n.WaitWorkers("meanwhile/0")
	n.WaitCondition("SpecAccepted", "False")
}

// To stop everything one says so; by mistake it does not happen.
func TestNoWorkers(t *testing.T) {
	t.Parallel()
	n := started(t)
	n.Apply(node())
	n.WaitWorkers()
}
