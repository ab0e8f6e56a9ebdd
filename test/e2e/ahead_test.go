package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"agentctl/clearml"
	"agentctl/test/e2e/harness"
)

// environments are the whole environments of a node, and what else is in their
// folder that should not stay there.
func environments(t *testing.T, n *harness.Node) (whole int, litter []string) {
	t.Helper()
	files, err := os.ReadDir(filepath.Join(n.State, "envs"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		switch name := f.Name(); {
		case strings.HasSuffix(name, ".json"):
			whole++
		case strings.HasSuffix(name, ".partial"), strings.HasPrefix(name, ".work-"), strings.HasPrefix(name, ".trash-"), strings.HasPrefix(name, ".settle-"):
			litter = append(litter, name)
		}
	}
	return whole, litter
}

// waits is a task that runs until the gate end is opened.
func waits(t *testing.T, n *harness.Node) (task string) {
	t.Helper()
	task = n.Submit(harness.Script{Name: "waits", Code: n.Code("open_gate('runs'); wait_gate('end')")})
	n.WaitGate("runs")
	return task
}

// While a task runs, what the next one needs is made; the next one finds it, and
// nothing was said of it before the task was taken.
func TestLookAhead(t *testing.T) {
	t.Parallel()
	n := started(t)
	first := waits(t, n)
	repo := n.NewRepository(map[string]string{"run.py": "import six; print('six', six.__version__)", "requirements.txt": "six==1.17.0\n"})
	next := n.Submit(harness.Script{Name: "next", Change: func(todo *clearml.NewTask) {
		todo.Script = clearml.Script{Repository: repo.Bare, Branch: "main", EntryPoint: "run.py", WorkingDir: ".", Binary: "python3"}
	}})
	before := n.Task(next)
	harness.Eventually(t, harness.IdlePatience, "the next task's environment", func() string {
		if whole, litter := environments(t, n); whole != 2 || litter != nil || n.Workers()[0].Ahead != "" {
			return fmt.Sprintf("%d environments, %q, %+v", whole, litter, n.Workers())
		}
		return ""
	})
	after := n.Task(next)
	if after.Status != clearml.StatusQueued || after.StatusMessage != before.StatusMessage || len(n.Console(next)) > 0 {
		t.Errorf("the task was touched: %+v, was %+v; %q", after, before, n.Console(next))
	}
	if got := n.Task(first).Status; got != clearml.StatusInProgress {
		t.Errorf("the first task is %s", got)
	}
	n.Open("end")
	n.WaitStatus(next, clearml.StatusCompleted)
	n.WantConsole(t, next, "six 1.17.0")
	if got := n.TaskStatus(next).Environment; got != "hit" {
		t.Errorf("environment %q, want a hit", got)
	}
}

// hangs is a task whose package opens the gate building when it is built, and
// never comes to an end of it.
func hangs(n *harness.Node) harness.Script {
	repo := n.NewRepository(map[string]string{
		"run.py": "print('ran')", "requirements.txt": "./\n",
		"pyproject.toml": "[build-system]\nrequires = []\nbuild-backend = \"backend\"\nbackend-path = [\".\"]\n",
		"backend.py":     n.Code("def build_wheel(*_, **__):\n    open_gate('building')\n    time.sleep(600)\n"),
	})
	return harness.Script{Name: "hangs", Change: func(todo *clearml.NewTask) {
		todo.Script = clearml.Script{Repository: repo.Bare, Branch: "main", EntryPoint: "run.py", WorkingDir: ".", Binary: "python3"}
	}}
}

// builtUnderALock names an unfinished environment whose lock is held: what was killed
// at low priority may take its time to die.
func builtUnderALock(t *testing.T, n *harness.Node) string {
	t.Helper()
	partial, err := filepath.Glob(filepath.Join(n.State, "envs", "*.partial"))
	if err != nil {
		t.Fatal(err)
	}
	for _, mark := range partial {
		f, err := os.Open(strings.TrimSuffix(mark, ".partial") + ".lock")
		if err != nil {
			continue // just removed
		}
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		_ = f.Close()
		if err != nil {
			return mark
		}
	}
	return ""
}

// What is prepared is given up with all its processes and files when the task
// leaves its queue, when node.yaml says so, and when the agent dies.
func TestLookAheadIsGivenUp(t *testing.T) {
	t.Parallel()
	n := started(t)
	waits(t, n)
	next := n.Submit(hangs(n))
	begun := func() {
		t.Helper()
		n.WaitGateFor(harness.IdlePatience, "building")
		harness.Eventually(t, harness.Patience, "what is prepared to be shown", func() string {
			if got := n.Workers()[0]; got.Ahead != next || len(harness.Processes(filepath.Join(n.State, "envs"))) == 0 {
				return fmt.Sprintf("%+v", got)
			}
			return ""
		})
	}
	noProcess := func() {
		t.Helper()
		harness.Eventually(t, harness.IdlePatience, "the builder to be gone", func() string {
			if left := harness.Processes(filepath.Join(n.State, "envs", ".work-")); len(left) > 0 {
				return fmt.Sprint(left)
			}
			return builtUnderALock(t, n)
		})
	}
	nothing := func() {
		t.Helper()
		noProcess()
		harness.Eventually(t, harness.IdlePatience, "nothing to be left", func() string {
			if whole, litter := environments(t, n); whole != 1 || litter != nil || n.Workers()[0].Ahead != "" {
				return fmt.Sprintf("%d environments, %q, %+v", whole, litter, n.Workers())
			}
			return ""
		})
		n.Close("building")
	}
	dequeue := func() {
		t.Helper()
		if err := n.Client().Dequeue(t.Context(), next, "", ""); err != nil {
			t.Fatal(err)
		}
	}
	begun()
	dequeue()
	nothing()

	n.Enqueue(next, "")
	begun()
	n.Apply(node(oneWorker) + "  cache: {prebuild: false}\n")
	nothing()

	n.Apply(node(oneWorker))
	begun()
	n.KillAgent()
	noProcess()
	dequeue()
	n.StartAgent()
	nothing()
}
