package e2e_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"agentctl/clearml"
	"agentctl/test/e2e/harness"
	"agentctl/worker"
)

// cloneOnly clones a task and enqueues the clone.
const cloneOnly = `import sys
from clearml import Task
task = Task.clone(sys.argv[1], name="clone")
Task.enqueue(task, queue_name=sys.argv[2])
print("task=" + task.id)
`

// What a task ran with is on the server, and is had again: by a clone of the SDK
// as a hit, by a replay without environments and without the index.
func TestReplay(t *testing.T) {
	t.Parallel()
	index := harness.NewIndex(t)
	index.Add("above", "1.0", "below>=1")
	index.Add("below", "1.0")
	n := harness.New(t)
	n.StartAgent()
	n.Apply(node("{name: p, queues: [plain], mode: venv}",
		"{name: w, queues: [own], mode: venv, packageManager: {indexUrl: '"+index.Simple()+"'}}"))
	// The index has no pip: the private one comes from where it usually does.
	n.WaitStatus(n.Submit(harness.Script{Name: "plain", Queue: "plain", Code: "print(1)"}), clearml.StatusCompleted)

	code := n.NewRepository(map[string]string{"run.py": "import above, below\nprint('above', above.version, 'below', below.version)\nraise SystemExit(3)\n"})
	first := n.Submit(harness.Script{Name: "first", Queue: "own", Pip: []string{"above"}, Change: func(todo *clearml.NewTask) {
		todo.Script.Repository, todo.Script.Branch, todo.Script.EntryPoint, todo.Script.Diff = code.Bare, "main", "run.py", ""
	}})
	ran := n.WaitStatus(first, clearml.StatusFailed)
	n.WantConsole(t, first, "above 1.0 below 1.0")
	n.WantConsole(t, first, "packages by pip from the task's own list")
	was := n.TaskStatus(first)
	got := ran.Script.Requirements
	if !slices.Equal(got.Pip, []string{"above==1.0", "below==1.0"}) || !slices.Equal(got.OrgPip, []string{"above"}) || was.LockKey == "" || was.Manager != "pip" {
		t.Fatalf("requirements %+v, status %+v", got, was)
	}
	if lock, err := worker.LockOf(got); err != nil || len(lock.Packages) != 2 {
		t.Fatalf("lock %+v, %v", lock, err)
	}
	index.Add("below", "2.0") // what the list asked for would get it
	code.Push(map[string]string{"run.py": "print('another commit')\n"})

	t.Run("a clone hits", func(t *testing.T) {
		n.On(t)
		clone := say(t, n.SDK(n.Dir, cloneOnly, first, "own"))
		n.WaitStatus(clone, clearml.StatusFailed)
		if now := n.TaskStatus(clone); now.Environment != "hit" || now.EnvKey != was.EnvKey {
			t.Errorf("environment %s %s, want a hit of %s", now.Environment, now.EnvKey, was.EnvKey)
		}
		n.WantConsole(t, clone, "from the lock of an earlier run")
	})
	t.Run("a clone with an edited list does not", func(t *testing.T) {
		n.On(t)
		edited := got
		edited.Pip = []string{"above==1.0"}
		clone := n.Submit(harness.Script{Name: "edited", Queue: "own", Change: func(todo *clearml.NewTask) {
			todo.Script.Diff, todo.Script.Requirements = "import below; print('below', below.version)", edited
		}})
		n.WaitStatus(clone, clearml.StatusCompleted)
		n.WantConsole(t, clone, "the lock of an earlier run is not used: the task's list of packages was edited")
		n.WantConsole(t, clone, "below 2.0")
	})
	t.Run("a replay needs nothing but what was downloaded", func(t *testing.T) {
		n.On(t)
		n.StopAgent()
		forgetEnvironments(t, n)
		n.StartAgent()
		asked := index.Asked()
		index.Close()
		stdout, stderr, code := n.Run("execute", "--id", first, "--replay")
		if code != 3 || !strings.Contains(stdout, "above 1.0 below 1.0") {
			t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
		}
		again := n.Snapshot().Tasks[0]
		if again.Environment != "built" || again.LockKey != was.LockKey || again.Name != "replay of first" || index.Asked() != asked {
			t.Errorf("%+v\nwant the lock %s; %d requests", again, was.LockKey, index.Asked()-asked)
		}
		if now := n.Task(again.ID).Script.Requirements; now.Lock != got.Lock || !slices.Equal(now.Pip, got.Pip) {
			t.Errorf("the replay's requirements are %+v, want %+v", now, got)
		}
	})
	t.Run("without a lock there is no replay", func(t *testing.T) {
		n.On(t)
		task := n.Create(harness.Script{Name: "never ran", Pip: []string{"above"}, Code: "print(1)"})
		if _, stderr, code := n.Run("execute", "--id", task, "--replay"); code != 1 || !strings.Contains(stderr, "no lock of its packages") {
			t.Errorf("exit code %d: %s", code, stderr)
		}
	})
}

// forgetEnvironments removes all environments, as a disk that was lost.
func forgetEnvironments(t *testing.T, n *harness.Node) {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(n.State, "envs", "*"))
	if err != nil || len(left) == 0 {
		t.Fatalf("there are no environments: %v", err)
	}
	for _, path := range left {
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
	}
}

// What a task says of its own environment counts; what can't be meant fails it.
func TestTasksChoose(t *testing.T) {
	t.Parallel()
	n := started(t)
	choose := func(name, value string) func(*clearml.NewTask) {
		return func(todo *clearml.NewTask) {
			todo.Hyperparams = map[string]map[string]clearml.Param{worker.ChoiceSection: {name: {Value: clearml.Text(value)}}}
		}
	}
	for name, value := range map[string]string{worker.ChoiceManager: "apt", worker.ChoicePython: "three", worker.ChoiceGroups: "a;b", "packageManager.typ": "pip"} {
		failed(t, n, harness.Script{Name: "bad " + name, Code: "print(1)", Change: choose(name, value)}, "agentctl/"+name, "write")
	}
	failed(t, n, harness.Script{Code: "print(1)", Change: choose(worker.ChoicePython, "3.99")}, "3.99")
	failed(t, n, harness.Script{Code: "print(1)", Change: choose(worker.ChoiceReplay, "0123")}, "task 0123 again", "no lock")
}
