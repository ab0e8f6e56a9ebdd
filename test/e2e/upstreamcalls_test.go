package e2e_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"agentctl/clearml"
	"agentctl/test/e2e/harness"
	"agentctl/test/front"

	"github.com/google/go-cmp/cmp"
)

// byClock are calls that come with time, not with the steps of a task.
var byClock = []string{"events.add_batch", "workers.status_report", "workers.register"}

// clearmlAgentCalls is how many calls, without those by the clock and those of the SDK,
// clearml-agent 3.0.3 makes at least for one such task: the pop, five tasks.started, the
// read and the edit of its runtime, the child's login, its read of the task, the dequeue,
// the read and the write of its requirements, a look at its status, and its end.
const clearmlAgentCalls = 15

// The calls for one task with an environment are those of the golden file, and fewer
// than clearml-agent's.
func TestCallsOfOneTask(t *testing.T) {
	t.Parallel()
	r := atUpstream(t, nil)
	task, err := r.up.User.CreateTask(t.Context(), clearml.NewTask{Name: "calls of one task", Type: "training", Script: clearml.Script{
		EntryPoint: "script.py", WorkingDir: ".", Diff: r.Code("import six\nopen_gate('runs')\nwait_gate('end')\n"), Binary: "python3",
		Requirements: clearml.Requirements{Pip: []string{"six==1.17.0"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	r.enqueue(task, "jobs")
	r.StartAgent()
	r.Apply(r.spec(time.Hour, "{name: w, queues: [jobs], mode: venv}")) // each look is asked for by a step
	r.WaitGate("runs")
	harness.Eventually(t, harness.Patience, "the packages to be reported", func() string {
		got, err := r.up.User.Task(context.Background(), task)
		if err != nil || len(got.Script.Requirements.OrgPip) == 0 {
			return "nothing"
		}
		return ""
	})
	r.Open("end")
	r.await(task, clearml.StatusCompleted)
	var lines []string
	begun := false // what comes before is the agent's own start
	for _, c := range r.up.Calls() {
		begun = begun || c.Body["task"] == task
		if begun && !slices.Contains(byClock, c.Action) {
			lines = append(lines, describe(c, task))
		}
	}
	// What is done beside each other while the task is prepared has no order.
	from, to := starting(lines, "tasks.started"), starting(lines, "tasks.set_requirements")
	if from < 0 || to < from {
		t.Fatalf("the calls:\n%s", strings.Join(lines, "\n"))
	}
	slices.Sort(lines[from+1 : to])
	if len(lines) >= clearmlAgentCalls {
		t.Errorf("%d calls, clearml-agent makes %d", len(lines), clearmlAgentCalls)
	}
	want, err := os.ReadFile("testdata/calls.txt")
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join(lines, "\n") + "\n"
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("the calls are not those of testdata/calls.txt (-want +got):\n%s\n%s", diff, got)
	}
}

func starting(lines []string, action string) int {
	return slices.IndexFunc(lines, func(line string) bool { return strings.HasPrefix(line, action+" ") })
}

// describe is one call without what differs from run to run.
func describe(c front.Call, task string) string {
	var parts []string
	for _, key := range []string{"id", "name", "task", "queue", "worker", "only_fields", "force", "status_reason", "status_message"} {
		v, ok := c.Body[key]
		if !ok {
			continue
		}
		text := strings.ReplaceAll(fmt.Sprint(v), task, "TASK")
		if key == "queue" || key == "id" && c.Action == "queues.get_all" {
			text = "QUEUE"
		}
		parts = append(parts, key+"="+text)
	}
	return strings.TrimSpace(c.Action + " " + strings.Join(parts, " "))
}

// An idle node asks one thing per interval, however many workers and queues it has.
func TestIdleCalls(t *testing.T) {
	t.Parallel()
	r := atUpstream(t, nil)
	r.StartAgent()
	r.Apply(r.spec(200*time.Millisecond, "{name: a, id: 'host.x:gpu0,1', queues: [one, two], mode: venv, count: 4, createQueues: true}", "{name: b, queues: [two, three], order: roundRobin, mode: venv, count: 3, createQueues: true, tags: [spare]}"))
	looks := func() (n int) {
		for _, c := range r.up.Calls() {
			if ids, ok := c.Body["id"].([]any); ok && c.Action == "queues.get_all" {
				if len(ids) != 3 {
					t.Fatalf("a look at %d queues", len(ids))
				}
				n++
			}
		}
		return n
	}
	registered := func() (n int) {
		for _, c := range r.up.Calls() {
			if c.Action == "workers.status_report" {
				n++
			}
		}
		return n
	}
	harness.Eventually(t, harness.Patience, "seven workers to have reported, and a look", func() string {
		if n := registered(); n < 7 || looks() == 0 { // the first look finds, or makes, the queues
			return fmt.Sprint(n)
		}
		return ""
	})
	from, seen := len(r.up.Calls()), looks()
	harness.Eventually(t, harness.Patience, "ten more looks", func() string {
		if n := looks() - seen; n < 10 {
			return fmt.Sprint(n)
		}
		return ""
	})
	for _, c := range r.up.Calls()[from:] {
		if c.Action != "queues.get_all" && c.Action != "workers.status_report" {
			t.Errorf("an idle node calls %s %v", c.Action, c.Body)
		}
	}
	workers, err := r.up.User.ListWorkers(t.Context())
	if err != nil || len(workers) != 7 {
		t.Fatal(len(workers), err)
	}
	for _, w := range workers {
		if !strings.HasPrefix(w.ID, "e2e:b:") && !strings.HasPrefix(w.ID, "host.x:gpu0,1:") {
			t.Errorf("worker %q", w.ID)
		}
		if spare := strings.HasPrefix(w.ID, "e2e:b:"); spare != slices.Equal(w.Tags, []string{"spare"}) || len(w.Queues) != 2 {
			t.Errorf("%+v", w)
		}
	}
}
