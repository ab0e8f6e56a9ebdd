package e2e_test

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"agentctl/clearml"
	"agentctl/reconcile"
	"agentctl/test/e2e/harness"
)

// again is a script that waits on its first run and ends by itself on its second.
const again = `
first = not os.path.exists(gate("once"))
open_gate("once")
print("run", 1 if first else 2)
if first:
    open_gate("up"); wait_gate("never")
`

// A worker that goes puts its task back, as its policy says; who wants it next runs it
// to its end, before what was enqueued after it.
func TestRemovedWorkerRequeues(t *testing.T) {
	t.Parallel()
	n := harness.New(t)
	n.StartAgent()
	worker := "{name: w, queues: [default], mode: venv, stopGrace: 5s, drain: {policy: requeue}}"
	n.Apply(node(worker))
	task := n.Submit(harness.Script{Code: n.Code(again)})
	n.WaitGate("up")
	later := n.Submit(harness.Script{Code: "print('later')"})
	plan, _, _ := n.RunIn(n.Dir, []byte(node()), "plan", "-")
	if !strings.Contains(plan, "policy requeue") || !strings.Contains(plan, "task "+task+", since ") {
		t.Errorf("the plan does not say what becomes of the task:\n%s", plan)
	}
	n.Apply(node())
	got := n.WaitStatus(task, clearml.StatusQueued)
	if !strings.HasPrefix(got.StatusReason, "requeued by agentctl") {
		t.Errorf("the reason is %q", got.StatusReason)
	}
	n.WaitWorkers()
	n.Apply(node(worker))
	n.WaitStatus(later, clearml.StatusCompleted)
	if got := n.Task(task).Status; got != clearml.StatusCompleted {
		t.Errorf("the task that was put back ran after the later one: it is %s", got)
	}
	n.WantConsole(t, task, "run 2")
}

// An operator's drain: each policy does to the task what it says, the order holds over
// a restart of the agent, and uncordon ends it.
func TestDrainPolicies(t *testing.T) {
	t.Parallel()
	n := started(t)
	for _, c := range []struct {
		flags  []string
		status string
	}{
		{[]string{"--policy", "stop", "-m", "a new disk"}, clearml.StatusStopped},
		{[]string{"--policy", "requeue", "-m", "a new disk"}, clearml.StatusQueued},
		{[]string{"--policy", "finish", "--deadline", "100ms", "-m", "a new disk"}, clearml.StatusQueued},
		{[]string{"--policy", "requeue", "--force", "-m", "a new disk"}, clearml.StatusQueued},
	} {
		t.Run(strings.Join(c.flags[:len(c.flags)-2], " "), func(t *testing.T) {
			n.On(t)
			n.Close("once")
			n.Close("up")
			task := n.Submit(harness.Script{Code: n.Code("import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + again)})
			n.WaitGate("up")
			if !strings.Contains(strings.Join(c.flags, " "), "--force") {
				n.WriteFile(node(strings.Replace(oneWorker, "5s", "200ms", 1))) // it minds no SIGTERM
			}
			if out := n.Must(append([]string{"drain", "w"}, c.flags...)...); !strings.Contains(out, "w/0 drained") {
				t.Errorf("drain says %q", out)
			}
			got := n.WaitStatus(task, c.status)
			if !strings.Contains(got.StatusMessage, "a new disk") {
				t.Errorf("the task does not say why: %q, %q", got.StatusReason, got.StatusMessage)
			}
			n.KillAgent()
			n.StartAgent()
			n.WaitWorkers("w/0")
			if w := n.Workers()[0]; w.Order == nil || w.Order.Reason != "a new disk" {
				t.Errorf("after a restart the order is %+v", w.Order)
			}
			n.Must("uncordon")
			if c.status == clearml.StatusQueued {
				n.WaitStatus(task, clearml.StatusCompleted)
			}
		})
	}
}

// A task that asked for it saves its state before it is put back, and goes on from it.
func TestCheckpointBeforeRequeue(t *testing.T) {
	t.Parallel()
	n := started(t)
	code := `
import signal, sys
state = gate("state")
done = int(open(state).read()) if os.path.exists(state) else 0
print("from", done)
if done: sys.exit(0)
def save(*_):
    open(state, "w").write("42"); print("saved"); sys.exit(0)
signal.signal(signal.SIGUSR1, save)
open_gate("up"); wait_gate("never")
`
	task := n.Submit(harness.Script{Code: n.Code(code), Change: func(c *clearml.NewTask) {
		c.Hyperparams = map[string]map[string]clearml.Param{"agentctl": {"checkpoint": {Section: "agentctl", Name: "checkpoint", Value: "true"}}}
	}})
	n.WaitGate("up")
	n.Must("drain", "--policy", "requeue")
	n.WaitStatus(task, clearml.StatusQueued)
	n.Must("uncordon")
	n.WaitStatus(task, clearml.StatusCompleted)
	n.WantConsole(t, task, "saved")
	n.WantConsole(t, task, "from 42")
}

// The agent that dies while it drains: the next one goes on, and the task runs once
// more and no more.
func TestCrashWhileRequeueing(t *testing.T) {
	t.Parallel()
	for _, point := range []string{"task.ended", "requeue.sent"} {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			n := harness.New(t)
			n.Program = harness.Program(t, "crashpoints")
			n.Env = []string{"AGENTCTL_CRASH_AT=" + point}
			n.StartAgent()
			n.Apply(node(oneWorker))
			task := n.Submit(harness.Script{Code: n.Code(again)})
			n.WaitGate("up")
			n.Run("drain", "--policy", "requeue", "--detach") // it may die before it answers
			n.WaitAgent()
			n.Env = nil
			n.StartAgent()
			n.WaitStatus(task, clearml.StatusQueued)
			n.Must("uncordon")
			n.WaitStatus(task, clearml.StatusCompleted)
			runs := 0
			for _, line := range n.Console(task) {
				if strings.Contains(line, "run ") {
					runs++
				}
			}
			if runs != 2 {
				t.Errorf("it ran %d times:\n%s", runs, strings.Join(n.Console(task), "\n"))
			}
		})
	}
}

// An agent with --once runs one task for each worker and ends; one with --drain-on-stop
// waits for its task.
func TestAgentThatEnds(t *testing.T) {
	t.Parallel()
	n := started(t)
	n.StopAgent()
	n.SpawnAgent("--once")
	first, second := n.Submit(harness.Script{Code: "print(1)"}), n.Submit(harness.Script{Code: "print(2)"})
	n.WaitAgentOr(func() bool { return false })
	n.WaitStatus(first, clearml.StatusCompleted)
	if got := n.Task(second).Status; got != clearml.StatusQueued {
		t.Errorf("the second task is %s", got)
	}
}

// An agent with --drain-on-stop waits for its task at SIGTERM; a second one ends it, and
// the task goes on under its shim.
func TestAgentThatDrainsAtItsEnd(t *testing.T) {
	t.Parallel()
	n := started(t)
	begin := func(name string) string {
		n.StopAgent()
		n.StartAgent("--drain-on-stop")
		task := n.Submit(harness.Script{Code: n.Code("open_gate('up " + name + "'); wait_gate('" + name + "')")})
		n.WaitGate("up " + name)
		n.Signal(syscall.SIGTERM)
		harness.Eventually(t, harness.Patience, "the worker to drain", func() string {
			if w := n.Workers()[0]; w.Order == nil || w.Task == nil {
				return fmt.Sprintf("%+v", w)
			}
			return ""
		})
		return task
	}
	task := begin("first")
	n.Open("first")
	n.WaitAgent()
	if got := n.Task(task).Status; got != clearml.StatusCompleted {
		t.Errorf("the agent ended, and its task is %s", got)
	}
	n.StartAgent()
	task = begin("second")
	n.Signal(syscall.SIGTERM)
	n.WaitAgent()
	n.StartAgent()
	n.Open("second")
	n.WaitStatus(task, clearml.StatusCompleted)
}

// Each state in which something does not run is told by its code.
func TestExplain(t *testing.T) {
	t.Parallel()
	n := started(t)
	want := func(code string, args ...string) {
		t.Helper()
		harness.Eventually(t, harness.Patience, code+" to be told", func() string {
			out, stderr, _ := n.Run(append([]string{"explain"}, args...)...)
			if strings.Contains(out, code) {
				return ""
			}
			return out + stderr
		})
	}
	want(reconcile.WhyEmpty, "queue", "default")
	want(reconcile.WhyReady, "worker", "w/0")
	want(reconcile.HeldByQueue, "queue", "nowhere")
	want(reconcile.WhyNoSuch, "worker", "x/0")
	want(reconcile.WhyNoTask, "task", "ffffffffffffffffffffffffffffffff")
	created := n.Create(harness.Script{Code: "print('never')"})
	want(reconcile.WhyNotQueued, "task", created)
	n.Enqueue(created, "unserved")
	want(reconcile.WhyNoWorker, "queue", "unserved")
	want(reconcile.WhyNoWorker, "task", created)

	task := n.Submit(harness.Script{Code: n.Code("open_gate('up'); wait_gate('end')")})
	n.WaitGate("up")
	next := n.Submit(harness.Script{Code: "print('next')"})
	want(reconcile.WhyRuns, "task", task)
	want(reconcile.WhyPosition, "task", next)
	want(reconcile.WhyBusy, "queue", "default")
	n.WriteFile(node())
	want(reconcile.WhyDraining, "worker", "w/0")
	n.WriteFile(node("{name: w, queues: [urgent, default], mode: venv, count: 2}") + "  queueLimits: [{name: default, maxRunning: 1}, {name: urgent, maxRunning: 1}]\n")
	n.WaitWorkers("w/0", "w/1")
	n.WriteFile(node("{name: w, queues: [default], mode: venv, count: 2}") + "  queueLimits: [{name: default, maxRunning: 1}]\n")
	want(reconcile.HeldByLimit, "worker", "w/1")
	n.WriteFile(node(oneWorker, `{name: n, queues: [night], mode: venv, windows: [{cron: "0 0 1 1 *", for: 1m}]}`,
		"{name: g, queues: [gpu], mode: venv, gpus: 2}") + "  gpus: {slots: [{device: 0}]}\n")
	want(reconcile.HeldByWindow, "worker", "n/0")
	want(reconcile.WhyStalled, "worker", "g/0")
	want(reconcile.WhyStalled, "queue", "gpu")
	n.WriteFile("nonsense")
	want(reconcile.WhyNotAccepted, "worker", "w/0")
	n.WriteFile(node(oneWorker))
	n.Must("cordon", "-m", "fan")
	want(reconcile.WhyCordoned, "worker", "w/0")
	n.Must("drain", "--detach", "--policy", "finish")
	want(reconcile.WhyDrained, "queue", "default")
	n.Must("uncordon")
	n.Open("end")
	n.WaitStatus(next, clearml.StatusCompleted)
	want(reconcile.WhyEnded, "task", task)
	n.Must("suspend", "-m", "audit")
	want(reconcile.WhySuspended, "worker", "w/0")
	n.Must("resume")
	n.WriteFile(node("{name: w, queues: [urgent, default], mode: venv}"))
	want(reconcile.WhyBehind, "queue", "default")
	n.WriteFile(node(oneWorker) + "  cache: {minFree: 1000000Gi}\n")
	n.Submit(harness.Script{Code: "print('no room')"})
	want(reconcile.HeldByDisk, "queue", "default")
}
