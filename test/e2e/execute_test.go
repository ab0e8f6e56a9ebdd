package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"agentctl/clearml"
	"agentctl/test/e2e/harness"
)

// A task that waits in a queue, or in none, is run by its id: here, now, once, whatever
// the workers of the node do; and only if it is nobody else's.
func TestExecute(t *testing.T) {
	t.Parallel()
	n := harness.New(t)
	n.Program = harness.Program(t, "crashpoints")
	n.StartAgent()
	n.Apply(node(oneWorker))
	elsewhere := func(code string) string { return n.Submit(harness.Script{Queue: "elsewhere", Code: n.Code(code)}) }

	t.Run("out of the middle of a queue", func(t *testing.T) {
		n.On(t)
		first := elsewhere("print('first')\n")
		second := elsewhere("print('hello from the second'); raise SystemExit(7)\n")
		log := filepath.Join(n.Dir, "console.log")
		stdout, stderr, code := n.Run("execute", "--id", second, "--require-queue", "--log-file", log)
		if code != 7 || !strings.Contains(stdout, "hello from the second") {
			t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
		}
		if data, err := os.ReadFile(log); err != nil || !strings.Contains(string(data), "hello from the second") {
			t.Errorf("the file of the console holds %q, %v", data, err)
		}
		if got := n.Task(second); got.Status != clearml.StatusFailed || !strings.Contains(got.LastWorker, second) {
			t.Errorf("the task is %s, and was run by %q", got.Status, got.LastWorker)
		}
		if got := n.Task(first); got.Status != clearml.StatusQueued {
			t.Errorf("the first task is %s", got.Status)
		}
		if again, _, code := n.Run("execute", "--id", second); code != 7 || !strings.Contains(again, "hello from the second") {
			t.Errorf("a task that failed is not run again: exit code %d\n%s", code, again)
		}
	})
	t.Run("in no queue", func(t *testing.T) {
		n.On(t)
		task := n.Create(harness.Script{Code: "import os\nprint('level', os.environ['CLEARML_LOG_LEVEL'], __debug__)\n"})
		if _, stderr, code := n.Run("execute", "--id", task, "--require-queue"); code == 0 || !strings.Contains(stderr, "waits in no queue") {
			t.Errorf("exit code %d: %s", code, stderr)
		}
		if out := n.Must("execute", "--id", task, "--clone", "--log-level", "DEBUG", "-O"); !strings.Contains(out, "level DEBUG False") {
			t.Errorf("it says %s", out)
		}
		if got := n.Task(task); got.Status != clearml.StatusCreated {
			t.Errorf("the task that was cloned is %s", got.Status)
		}
		for args, want := range map[string]string{
			"--id nothing": "no task nothing", "--id " + task + " --gpus 0 --cpu-only": "exclude", "--id " + task + " --log-level LOUD": "logLevel",
		} {
			if _, stderr, code := n.Run(append([]string{"execute"}, strings.Fields(args)...)...); code == 0 || !strings.Contains(stderr, want) {
				t.Errorf("%s: exit code %d: %s", args, code, stderr)
			}
		}
	})
	t.Run("which runs elsewhere, and a signal", func(t *testing.T) {
		n.On(t)
		task := elsewhere("open_gate('runs'); time.sleep(600)\n")
		verb := exec.Command(n.Program, "execute", "--id", task)
		verb.Env = append(os.Environ(), "AGENTCTL_STATE="+n.State, "AGENTCTL_SOCKET="+n.Socket)
		if err := verb.Start(); err != nil {
			t.Fatal(err)
		}
		n.WaitGate("runs")
		if _, stderr, code := n.Run("execute", "--id", task); code == 0 || !strings.Contains(stderr, "runs on this node already") {
			t.Errorf("exit code %d: %s", code, stderr)
		}
		if err := verb.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		_ = verb.Wait()
		if got := n.Task(task); got.Status != clearml.StatusStopped {
			t.Errorf("the task is %s after the signal", got.Status)
		}
		foreign := n.Create(harness.Script{Code: "print(1)"})
		if err := n.Client().Started(t.Context(), foreign, "", "", false); err != nil {
			t.Fatal(err)
		}
		if _, stderr, code := n.Run("execute", "--id", foreign); code == 0 || !strings.Contains(stderr, "--force") {
			t.Errorf("exit code %d: %s", code, stderr)
		}
		n.Must("execute", "--id", foreign, "--force")
	})
	n.StopAgent()
	for _, point := range []string{"execute.intent", "lease.popped", "lease.started", "task.running"} {
		t.Run("killed at "+point, func(t *testing.T) {
			n.On(t)
			executeKilledAt(t, n, point)
		})
	}
}

// executeKilledAt wants a task that an agent died with to be in its queue again, or to be
// run by the next agent.
func executeKilledAt(t *testing.T, n *harness.Node, point string) {
	t.Helper()
	n.Env = []string{"AGENTCTL_CRASH_AT=" + point}
	n.StartAgent()
	ran := "ran " + strings.ReplaceAll(point, ".", " ")
	task := n.Submit(harness.Script{Queue: "elsewhere", Code: n.Code("open(gate('" + ran + "'), 'a').write('once')\n")})
	verb := exec.Command(n.Program, "execute", "--id", task)
	verb.Env = append(os.Environ(), "AGENTCTL_STATE="+n.State, "AGENTCTL_SOCKET="+n.Socket)
	if err := verb.Start(); err != nil {
		t.Fatal(err)
	}
	n.WaitAgent()
	n.Env = nil
	n.StartAgent()
	defer n.StopAgent()
	if point == "execute.intent" || point == "lease.popped" {
		_ = verb.Wait()
		harness.Eventually(t, harness.Patience, "the task to be in its queue", func() string {
			if out := n.Must("get", "queues", "-o", "json") + n.Must("get", "workers"); !strings.Contains(out, task) || strings.Contains(out, "execute/") {
				return out
			}
			return ""
		})
		n.Must("execute", "--id", task)
	}
	n.WaitStatus(task, clearml.StatusCompleted)
	_ = verb.Wait()
	if data, err := os.ReadFile(n.Gate(ran)); err != nil || string(data) != "once" {
		t.Errorf("it ran %q, %v", data, err)
	}
	harness.Eventually(t, harness.Patience, "its worker to be gone", func() string {
		if out := n.Must("get", "workers"); strings.Contains(out, "execute/") {
			return out
		}
		return ""
	})
}
