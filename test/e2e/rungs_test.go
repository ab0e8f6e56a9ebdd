package e2e_test

import (
	"testing"

	"agentctl/clearml"
	"agentctl/runtime"
	"agentctl/test/e2e/harness"
)

// A host that has nothing: no cgroup, no namespace. Tasks get a thin environment
// and a copy of their checkout, and are held together by the shim alone.
func TestPoorestHost(t *testing.T) {
	t.Parallel()
	n := harness.New(t)
	n.StartAgent("--containment", runtime.Subreaper, "--mount-ns", runtime.MountNone)
	n.Apply(node(oneWorker))

	t.Run("repository", func(t *testing.T) {
		n.On(t)
		r := n.NewRepository(map[string]string{"pkg/run.py": "import os, data\nassert not os.path.exists('out.txt')\nprint('value', data.value)\nopen('out.txt', 'w').write('x')\n", "pkg/data.py": "value = 1\n", "pkg/go.ipynb": `{"cells": [{"cell_type": "code", "source": ["import run"]}]}`})
		for range 2 { // the second copy must not hold what the first task wrote
			task := n.Submit(harness.Script{Change: func(todo *clearml.NewTask) {
				todo.Script.Repository, todo.Script.Branch = "file://"+r.Bare, "main"
				todo.Script.EntryPoint, todo.Script.WorkingDir = "go.ipynb", "pkg"
				todo.Script.Diff = "diff --git a/pkg/data.py b/pkg/data.py\n--- a/pkg/data.py\n+++ b/pkg/data.py\n@@ -1 +1 @@\n-value = 1\n+value = 2\n"
			}})
			n.WaitStatus(task, clearml.StatusCompleted)
			n.WantConsole(t, task, "value 2")
			if status := n.TaskStatus(task); status.MountNS != runtime.MountNone || status.Containment != runtime.Subreaper {
				t.Errorf("the task had the rungs %q and %q", status.MountNS, status.Containment)
			}
		}
	})
	t.Run("leftovers", func(t *testing.T) {
		n.On(t)
		task := n.Submit(harness.Script{Code: n.Code(`import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        open_gate("poor-grandchild")
        time.sleep(600)
    os._exit(0)
wait_gate("poor-grandchild")
open_gate("poor-started")
time.sleep(600)
`)})
		n.WaitGate("poor-started")
		if err := n.Client().StopTask(t.Context(), task, "", ""); err != nil {
			t.Fatal(err)
		}
		n.WaitStatus(task, clearml.StatusStopped)
	})
}
