package e2e_test

import (
	"context"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"agentctl/clearml"
	"agentctl/test/e2e/harness"
	"agentctl/test/front"
)

const forcedStop = "Forced stop (non-responsive)"

// What a ClearML Server does with tasks of users who do things at the wrong moment, and
// of agents that it has not heard of for long, is coped with.
func TestUpstreamHazards(t *testing.T) {
	t.Parallel()
	r := atUpstream(t, nil)
	r.StartAgent()
	r.enqueue(r.shell("true\n"), "jobs") // makes the queue
	r.Apply(r.spec(200*time.Millisecond, "{name: w, queues: [jobs], mode: venv, stopGrace: 5s, tags: [rack-2]}"))
	for name, test := range map[string]func(*testing.T, *remote){
		"a task stopped between its pop and its start": stoppedAfterPop,
		"a pop whose answer is lost":                   popLost,
		"a task that the server took for dead":         takenForDead,
		"a task that runs elsewhere by now":            runsElsewhere,
		"a task that was deleted":                      deletedWhileItRuns,
		"an abort callback":                            abortCallback,
		"an abort callback that takes too long":        slowCallback,
	} {
		t.Run(name, func(t *testing.T) {
			r.On(t)
			test(t, r)
			after := r.shell("true\n") // the worker is free, and goes on
			r.enqueue(after, "jobs")
			r.await(after, clearml.StatusCompleted)
		})
	}
}

// A user's stop between pop and start holds: a ClearML Server would start it all the same.
func stoppedAfterPop(t *testing.T, r *remote) {
	task := r.shell(r.open("never"))
	r.up.Hook("queues.get_next_task", func(c front.Call) {
		if c.Body["task"] == task {
			if err := r.up.Stop(context.Background(), task); err != nil {
				t.Error(err)
			}
		}
	})
	defer r.up.Hook("queues.get_next_task", nil)
	r.enqueue(task, "jobs")
	r.await(task, clearml.StatusStopped)
	next := r.shell("true\n")
	r.enqueue(next, "jobs")
	r.await(next, clearml.StatusCompleted)
	r.await(task, clearml.StatusStopped)
	if _, err := os.Stat(r.Gate("never")); err == nil {
		t.Error("a stopped task ran")
	}
}

// What a pop took out whose answer was lost is queued in no queue for ever, unless the
// agent puts it back.
func popLost(t *testing.T, r *remote) {
	task := r.shell("echo once\n")
	lost := false
	r.up.Hook("queues.get_next_task", func(c front.Call) {
		if c.Body["task"] == task && !lost {
			lost = true
			panic(http.ErrAbortHandler)
		}
	})
	defer r.up.Hook("queues.get_next_task", nil)
	r.enqueue(task, "jobs")
	r.await(task, clearml.StatusCompleted)
	if text := strings.Join(r.console(task), "\n"); !lost || strings.Count(text, "once") != 1 {
		t.Errorf("lost: %t, console:\n%s", lost, text)
	}
}

// seen waits until the agent has looked at the task while it runs.
func (r *remote) seen(task, gate string) {
	r.T.Helper()
	r.WaitGate(gate)
	from := len(r.up.Calls())
	harness.Eventually(r.T, harness.Patience, "the agent to look at the task twice", func() string {
		n := 0
		for _, c := range r.up.Calls()[from:] {
			if ids, _ := c.Body["id"].([]any); c.Action == "tasks.get_all" && len(ids) == 1 && ids[0] == task {
				n++
			}
		}
		if n < 2 {
			return "less"
		}
		return ""
	})
}

// A task that a server stopped by itself, since its agent could not reach it for hours,
// goes on: nobody wants its end.
func takenForDead(t *testing.T, r *remote) {
	task := r.shell(r.open("dead-runs") + r.waitFor("dead-end") + "echo to the end\n")
	r.enqueue(task, "jobs")
	r.seen(task, "dead-runs")
	r.faults.Down(true)
	if err := r.up.User.Stopped(t.Context(), task, forcedStop, forcedStop); err != nil {
		t.Error(err)
	}
	r.faults.Down(false)
	r.await(task, clearml.StatusInProgress)
	r.Open("dead-end")
	r.await(task, clearml.StatusCompleted)
	if text := strings.Join(r.console(task), "\n"); strings.Count(text, "to the end") != 1 {
		t.Errorf("console:\n%s", text)
	}
}

// A task that a user has reset while the agent could not see it, and that another runs
// by now, is ended here and left alone there.
func runsElsewhere(t *testing.T, r *remote) {
	task := r.shell("trap '" + strings.TrimSpace(r.open("other-ended")) + "; exit 0' TERM\n" + r.open("other-runs") + r.waitFor("never-comes"))
	r.enqueue(task, "jobs")
	r.seen(task, "other-runs")
	r.faults.Down(true)
	ctx, user := t.Context(), r.up.User
	if err := user.Call(ctx, "tasks.reset", map[string]any{"task": task, "force": true}, nil); err != nil {
		t.Error(err)
	}
	if err := user.Started(ctx, task, "", "launch by agent", false); err != nil {
		t.Error(err)
	}
	r.faults.Down(false)
	r.WaitGate("other-ended")
	next := r.shell("true\n")
	r.enqueue(next, "jobs")
	r.await(next, clearml.StatusCompleted)
	if got := r.await(task, clearml.StatusInProgress); got.StatusMessage != "launch by agent" {
		t.Errorf("the other's run was changed: %s, %s", got.StatusReason, got.StatusMessage)
	}
}

func deletedWhileItRuns(t *testing.T, r *remote) {
	task := r.shell("trap '" + strings.TrimSpace(r.open("gone-ended")) + "; exit 0' TERM\n" + r.open("gone-runs") + r.waitFor("never-comes"))
	r.enqueue(task, "jobs")
	r.WaitGate("gone-runs")
	if err := r.up.User.DeleteTask(t.Context(), task); err != nil {
		t.Fatal(err)
	}
	r.WaitGate("gone-ended")
}

// callback makes a task that says as the SDK does that it has an abort callback, and has
// a user abort it.
func (r *remote) callback(name string, seconds float64) (task string) {
	r.T.Helper()
	task = r.shell("trap '" + strings.TrimSpace(r.open(name+"-ended")) + "; exit 0' TERM\n" + r.open(name+"-runs") + r.waitFor("never-comes"))
	r.enqueue(task, "jobs")
	r.WaitGate(name + "-runs")
	r.setRuntime(task, map[string]any{"_abort_callback_timeout": seconds, "_abort_poll_freq": 0.1, "_abort_callback_completed": "", "mine": "kept"})
	harness.Eventually(r.T, harness.Patience, "the server to know who runs the task", func() string {
		got, err := r.up.User.Task(context.Background(), task)
		if err != nil || got.LastWorker == "" {
			return "nobody"
		}
		return ""
	})
	if err := r.up.Stop(context.Background(), task); err != nil {
		r.T.Fatal(err)
	}
	harness.Eventually(r.T, harness.Patience, "the agent to wait for the callback", func() string {
		text := strings.Join(r.console(task), "\n")
		if strings.Contains(text, "waiting up to") {
			return ""
		}
		return text
	})
	return task
}

func (r *remote) setRuntime(task string, runtime map[string]any) {
	r.T.Helper()
	if err := r.up.User.EditTask(context.Background(), task, map[string]any{"runtime": runtime}); err != nil {
		r.T.Fatal(err)
	}
}

// The task is stopped when its callback is through, not before, and not by a new agent.
func abortCallback(t *testing.T, r *remote) {
	task := r.callback("call", 600)
	r.KillAgent()
	r.StartAgent()
	harness.Eventually(t, harness.Patience, "the new agent to wait for the callback", func() string {
		text := strings.Join(r.console(task), "\n")
		if strings.Count(text, "waiting up to") == 2 {
			return ""
		}
		return text
	})
	if _, err := os.Stat(r.Gate("call-ended")); err == nil {
		t.Error("stopped while its callback ran")
	}
	r.setRuntime(task, map[string]any{"_abort_callback_timeout": 600, "_abort_callback_completed": 1, "mine": "kept"})
	r.await(task, clearml.StatusStopped)
	r.WaitGate("call-ended")
	if got := r.await(task, clearml.StatusStopped); got.Runtime["mine"] != "kept" {
		t.Errorf("runtime properties of others are gone: %v", got.Runtime)
	}
}

// A callback has the time that it asked for.
func slowCallback(t *testing.T, r *remote) {
	task := r.callback("slow", 0.5)
	r.await(task, clearml.StatusStopped)
	r.WaitGate("slow-ended")
}
