//go:build long

package e2e_test

import (
	"strings"
	"testing"
	"time"

	"agentctl/clearml"
	"agentctl/test/e2e/harness"
)

// The abort callback of the real SDK runs to its end before the task is stopped.
func TestAbortCallbackOfTheSDK(t *testing.T) {
	t.Parallel()
	r := atUpstream(t, nil)
	task, err := r.up.User.CreateTask(t.Context(), clearml.NewTask{Name: "callback of the SDK", Type: "training", Script: clearml.Script{
		EntryPoint: "script.py", WorkingDir: ".", Binary: "python3", Requirements: clearml.Requirements{Pip: []string{"clearml==" + harness.SDKVersion}},
		Diff: r.Code(`from clearml import Task
task = Task.init()
def callback():
    open_gate("callback")
    time.sleep(3)
    print("the callback is through", flush=True)
task.register_abort_callback(callback, 60)
open_gate("registered")
time.sleep(600)
`),
	}})
	if err != nil {
		t.Fatal(err)
	}
	r.enqueue(task, "jobs")
	r.StartAgent()
	r.Apply(r.spec(200*time.Millisecond, "{name: w, queues: [jobs], mode: venv, stopGrace: 1s}"))
	r.WaitGate("registered")
	if err := r.up.Stop(t.Context(), task); err != nil {
		t.Fatal(err)
	}
	r.WaitGate("callback")
	r.await(task, clearml.StatusStopped)
	harness.Eventually(t, harness.Patience, "the last line of the callback", func() string {
		if text := strings.Join(r.console(task), "\n"); !strings.Contains(text, "the callback is through") {
			return text
		}
		return ""
	})
}
