package e2e_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"agentctl/clearml"
	"agentctl/internal/fsx"
	"agentctl/runtime"
	"agentctl/test/e2e/harness"
)

const requeues = "{name: w, queues: [default], mode: venv, stopGrace: 5s, onInfrastructureFailure: {policy: requeue, attempts: 2}}"

// stays is a task that counts its runs at the gate of its name, and ends by itself only
// from the run on that is given.
func stays(n *harness.Node, name, until string) harness.Script {
	return harness.Script{Name: name, Code: n.Code(`
with open(gate("` + name + `"), "a") as f: f.write("run\n")
print("run", os.path.getsize(gate("` + name + `")) // 4)
if os.path.getsize(gate("` + name + `")) // 4 < ` + until + `: wait_gate("never")
`)}
}

func runs(t *testing.T, n *harness.Node, name string) int {
	t.Helper()
	data, err := os.ReadFile(n.Gate(name))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return strings.Count(string(data), "run")
}

func waitRuns(t *testing.T, n *harness.Node, name string, want int) {
	t.Helper()
	harness.Eventually(t, harness.Patience, "the task to run", func() string {
		if got := runs(t, n, name); got != want {
			return "it ran " + strings.Repeat("once ", got)
		}
		return ""
	})
}

// killShim kills the process that holds a task, and the task with it.
func killShim(t *testing.T, n *harness.Node, task string) {
	t.Helper()
	var h runtime.Handle
	if err := fsx.ReadJSON(filepath.Join(n.State, "tasks", task, "handle.json"), &h); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(h.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// A task whose shim was killed goes back to the head of its queue, once, wherever the
// agent dies meanwhile; what always kills its shim ends as lost.
func TestLostTasksAreRequeued(t *testing.T) {
	t.Parallel()
	n := harness.New(t)
	n.Program = harness.Program(t, "crashpoints")
	n.StartAgent()
	n.Apply(node(requeues))
	t.Run("again and again", func(t *testing.T) {
		n.On(t)
		task := n.Submit(stays(n, "poison", "9"))
		behind := n.Submit(harness.Script{Name: "behind", Code: n.Code("open_gate('behind')")})
		waitRuns(t, n, "poison", 1)
		killShim(t, n, task)
		waitRuns(t, n, "poison", 2)
		if _, err := os.Stat(n.Gate("behind")); err == nil {
			t.Error("a task that waited behind it ran before it")
		}
		n.WantConsole(t, task, "requeued after infrastructure failure 1")
		killShim(t, n, task)
		got := n.WaitStatus(task, clearml.StatusStopped)
		if got.StatusReason != "agent lost" || !strings.Contains(got.StatusMessage, "started 2 times") {
			t.Errorf("%s: %s", got.StatusReason, got.StatusMessage)
		}
		n.WaitStatus(behind, clearml.StatusCompleted)
	})
	n.StopAgent()
	for _, point := range []string{"task.ended", "requeue.looked", "requeue.sent", "task.reported"} {
		t.Run(point, func(t *testing.T) {
			n.On(t)
			requeuedAt(t, n, point)
		})
	}
}

func requeuedAt(t *testing.T, n *harness.Node, point string) {
	t.Helper()
	defer func() {
		if n.Env = nil; n.AgentRuns() {
			n.StopAgent()
		}
	}()
	n.Env = []string{"AGENTCTL_CRASH_AT=" + point}
	n.StartAgent()
	task := n.Submit(stays(n, point, "2"))
	waitRuns(t, n, point, 1)
	n.WaitConsole(task, regexp.MustCompile(`^run 1$`)) // what a shim has not read dies with it
	killShim(t, n, task)
	n.WaitAgent()
	n.Env = nil
	n.StartAgent()
	n.WaitStatus(task, clearml.StatusCompleted)
	n.TaskStatus(task)
	if got := runs(t, n, point); got != 2 {
		t.Errorf("it ran %d times", got)
	}
	n.WantConsole(t, task, "run 2")
}
