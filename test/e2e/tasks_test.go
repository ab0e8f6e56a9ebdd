package e2e_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"agentctl/clearml"
	"agentctl/test/e2e/harness"
)

// What a task writes into its environment is seen by no other, and a task without
// a package does not find the one of the task before.
func TestNoPackagesOfAnotherTask(t *testing.T) {
	t.Parallel()
	n := started(t)
	plants := n.Submit(harness.Script{Name: "plants", Pip: []string{"six==1.17.0"}, Code: `import pathlib, six
try:
    pathlib.Path(six.__file__).with_name("planted.py").write_text("x = 1")
    import planted
    print("planted")
except OSError as e:
    print("refused", e)
`})
	n.WaitStatus(plants, clearml.StatusCompleted)
	same := n.Submit(harness.Script{Name: "same", Pip: []string{"six==1.17.0"}, Code: `import importlib.util, six
assert importlib.util.find_spec("planted") is None, "found what another task planted"
print("six", six.__version__)
`})
	n.WaitStatus(same, clearml.StatusCompleted)
	if env := n.TaskStatus(same).Environment; env != "hit" {
		t.Errorf("environment %q, want a hit", env)
	}
	none := n.Submit(harness.Script{Name: "none", Code: `import importlib.util
assert importlib.util.find_spec("six") is None, "found a package of another task"
`})
	n.WaitStatus(none, clearml.StatusCompleted)
}

// An abort is SIGTERM and a grace; what the task says in it still arrives.
func TestAbort(t *testing.T) {
	t.Parallel()
	n := started(t)
	task := n.Submit(harness.Script{Code: n.Code(`import signal, sys
def end(*_):
    print("saving a checkpoint")
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
open_gate("started")
time.sleep(600)
`)})
	n.WaitGate("started")
	if err := n.Client().StopTask(t.Context(), task, "", ""); err != nil {
		t.Fatal(err)
	}
	n.WaitStatus(task, clearml.StatusStopped)
	// A server that has not heard of the task's worker yet sets the status at once.
	n.WaitConsole(task, regexp.MustCompile("saving a checkpoint"))
}

// A task that ignores SIGTERM and forks away is gone with all it started.
func TestAbortOfAStubbornTask(t *testing.T) {
	t.Parallel()
	n := started(t)
	task := n.Submit(harness.Script{Code: n.Code(`import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        open_gate("grandchild")
        time.sleep(600)
    os._exit(0)
wait_gate("grandchild")
open_gate("started")
time.sleep(600)
`)})
	n.WaitGate("started")
	if err := n.Client().StopTask(t.Context(), task, "", ""); err != nil {
		t.Fatal(err)
	}
	n.WaitStatus(task, clearml.StatusStopped)
	harness.Eventually(t, harness.Patience, "no process of the task to be left", func() string {
		if left := harness.Processes("CLEARML_TASK_ID=" + task); len(left) > 0 {
			return "some"
		}
		return ""
	})
}

// How a task ended is told apart, by status and in words.
func TestEndsAreToldApart(t *testing.T) {
	t.Parallel()
	n := harness.New(t)
	n.StartAgent()
	n.Apply(node(oneWorker, "{name: short, queues: [short], mode: venv, maxRuntime: 1s, stopGrace: 1s}"))
	for name, end := range map[string]struct{ code, queue, want string }{
		"exit code":  {"raise SystemExit(7)", "", "7"},
		"signal":     {"import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "", "SEGV"},
		"time limit": {"import time; time.sleep(600)", "short", "maxRuntime"},
	} {
		task := n.Submit(harness.Script{Name: "ends by " + name, Code: end.code, Queue: end.queue})
		got := n.WaitStatus(task, clearml.StatusFailed)
		if text := got.StatusReason + " " + got.StatusMessage; !strings.Contains(strings.ToLower(text), strings.ToLower(end.want)) {
			t.Errorf("%s: the status says %q, want %q in it", name, text, end.want)
		}
	}
}

// The ways to say what is run.
func TestEntryPoints(t *testing.T) {
	t.Parallel()
	n := started(t)
	repo := n.NewRepository(map[string]string{
		"pkg/__init__.py": "", "pkg/job.py": "import sys; print('module', sys.argv[1:])",
		"deep/run.py":    "import os, sys, helper; print('file', sys.argv[1:], os.path.basename(os.getcwd()), helper.NAME)",
		"deep/helper.py": "NAME = 'beside'", "requirements.txt": "six==1.17.0\n",
	})
	for want, script := range map[string]clearml.Script{
		"module ['--lr', '0.1']":        {EntryPoint: "-m pkg.job --lr 0.1", WorkingDir: "."},
		"file ['x y'] deep beside":      {EntryPoint: "run.py 'x y'", WorkingDir: "deep"},
		"file [] " + "code" + " beside": {EntryPoint: "deep/run.py", WorkingDir: "."},
	} {
		task := n.Submit(harness.Script{Name: "entry " + want, Change: func(todo *clearml.NewTask) {
			script.Repository, script.Branch, script.Binary = repo.Bare, "main", "python3"
			todo.Script = script
		}})
		n.WaitStatus(task, clearml.StatusCompleted)
		if strings.HasPrefix(want, "file []") {
			want = "file [] " // the name of the checkout's folder is not promised
		}
		n.WantConsole(t, task, want)
	}
}

// A task gets a clean environment and a login of its own, never the operator's.
func TestTaskGetsNoSecrets(t *testing.T) {
	t.Parallel()
	n := harness.New(t)
	n.Env = []string{"OPERATORS_SECRET=hunter2"}
	n.StartAgent()
	n.Apply(node(oneWorker))
	task := n.Submit(harness.Script{Code: "import os\nfor k, v in os.environ.items(): print(k + '=' + v)\n"})
	n.WaitStatus(task, clearml.StatusCompleted)
	keys, err := os.ReadFile(n.ServerDir() + "/credentials.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range n.Console(task) {
		name, value, _ := strings.Cut(line, "=")
		if value == "hunter2" || len(value) > 8 && strings.Contains(string(keys), `"`+value+`"`) {
			t.Errorf("the task sees %s", name)
		}
	}
	n.WantConsole(t, task, "CLEARML_TASK_ID="+task)
}

// The second task of the same requirements gets the environment of the first.
func TestSecondTaskIsAHit(t *testing.T) {
	t.Parallel()
	n := started(t)
	for i, want := range []string{"built", "hit"} {
		task := n.Submit(harness.Script{Pip: []string{"six==1.17.0"}, Code: "import six; print(six.__version__)"})
		n.WaitStatusFor(5*time.Minute, task, clearml.StatusCompleted)
		if got := n.TaskStatus(task).Environment; got != want {
			t.Errorf("task %d: environment %q, want %q", i+1, got, want)
		}
	}
}
