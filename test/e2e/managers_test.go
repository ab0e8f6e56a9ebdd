package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"agentctl/clearml"
	"agentctl/reconcile"
	"agentctl/test/e2e/harness"
	"agentctl/worker"
)

// Real tasks through every manager, on one node, which fetches each of them once.
func TestManagers(t *testing.T) {
	t.Parallel()
	n := harness.New(t)
	n.StartAgent()
	n.Apply(node("{name: w, queues: [default], mode: venv}", "{name: a, queues: [auto], mode: venv, packageManager: {type: auto}}"))

	t.Run("uv by the header of a script", func(t *testing.T) {
		n.On(t)
		was := ranBy(t, n, "uv", harness.Script{
			Name: "header", Queue: "auto",
			Code: "# /// script\n# dependencies = [\"six==1.17.0\"]\n# ///\nimport six\nprint('six', six.__version__)\n",
		}, "packages by uv from the header of the script", "six 1.17.0")
		clonedHits(t, n, was, "auto")
	})
	t.Run("uv by its lock", func(t *testing.T) {
		n.On(t)
		r := n.NewRepository(project)
		lock(t, n, r, "uv-*/bin/uv", "lock", "--quiet")
		was := ranBy(t, n, "uv", harness.Script{Name: "locked by uv", Queue: "auto", Change: of(r)},
			"packages by uv from uv.lock of the repository", "demo 1.5 extra False", "tool with six 1.17.0")
		clonedHits(t, n, was, "auto")
		more := ranBy(t, n, "uv", harness.Script{Name: "uv with a group", Queue: "auto", Change: of(r, worker.ChoiceGroups, "extra")}, "demo 1.5 extra True")
		clonedHits(t, n, more, "auto")
	})
	t.Run("poetry", func(t *testing.T) {
		n.On(t)
		r := n.NewRepository(project)
		first := ranBy(t, n, "poetry", harness.Script{Name: "poetry resolves", Change: of(r, worker.ChoiceManager, "poetry")},
			"packages by poetry from pyproject.toml of the repository", "demo 1.5 extra False", "tool with six 1.17.0")
		locked, err := worker.LockOf(n.Task(first.ID).Script.Requirements)
		if err != nil {
			t.Fatal(err)
		}
		_, digest, _ := strings.Cut(locked.Packages[0], "--hash=")
		lock(t, n, r, "poetry-*/bin/python", "-c", poetryLock, digest)
		was := ranBy(t, n, "poetry", harness.Script{Name: "poetry", Queue: "auto", Change: of(r)}, "packages by poetry from poetry.lock of the repository")
		if was.LockKey != first.LockKey || was.EnvKey != first.EnvKey {
			t.Errorf("environment %s of lock %s, want %s of %s", was.EnvKey, was.LockKey, first.EnvKey, first.LockKey)
		}
		clonedHits(t, n, was, "auto")
	})
	t.Run("uv by the task's choice", func(t *testing.T) {
		n.On(t)
		script, list := filepath.Join(n.Dir, "chosen.py"), filepath.Join(n.Dir, "chosen.txt")
		for path, text := range map[string]string{script: "import six\nprint('six', six.__version__)\nraise SystemExit(4)\n", list: "six==1.17.0\n"} {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		stdout, stderr, code := n.Run("submit", "--wait", "--literal", "--manager", "uv", "--requirements", list, script)
		if code != 4 || !strings.Contains(stdout, "packages by uv from the task's own list") || !strings.Contains(stdout, "six 1.17.0") {
			t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
		}
		if _, stderr, code := n.Run("submit", "--literal", "--manager", "apt", script); code != 2 || !strings.Contains(stderr, "pip, uv, conda, poetry, auto") {
			t.Errorf("exit code %d: %s", code, stderr)
		}
	})
}

// project is a repository whose code lies in src, and has a program of its own.
var project = map[string]string{
	"pyproject.toml": `[project]
name = "demo"
version = "1.5"
requires-python = ">=3.9"
dependencies = ["six==1.17.0"]
[project.scripts]
demo-tool = "demo:main"
[dependency-groups]
extra = ["iniconfig==2.1.0"]
`,
	"src/demo/__init__.py": "import six\n\ndef main():\n    print('tool with six', six.__version__)\n",
	"run.py": `import importlib.metadata, importlib.util, subprocess, demo
print("demo", importlib.metadata.version("demo"), "extra", importlib.util.find_spec("iniconfig") is not None)
subprocess.run(["demo-tool"], check=True)
`,
}

// of makes a script of the repository's newest commit.
func of(r *harness.Repository, choice ...string) func(*clearml.NewTask) {
	return func(todo *clearml.NewTask) {
		todo.Script.Repository, todo.Script.Branch, todo.Script.EntryPoint, todo.Script.Diff = r.Bare, "main", "run.py", ""
		if len(choice) == 2 {
			todo.Hyperparams = map[string]map[string]clearml.Param{worker.ChoiceSection: {choice[0]: {Value: clearml.Text(choice[1])}}}
		}
	}
}

// lock has a manager of the node write the lock of the repository, and pushes it.
func lock(t *testing.T, n *harness.Node, r *harness.Repository, tool string, args ...string) {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(n.State, "tools", tool))
	if err != nil || len(found) != 1 {
		t.Fatalf("the node has the tools %q, %v", found, err)
	}
	cmd := exec.Command(found[0], args...)
	cmd.Dir = r.Folder
	cmd.Env = append(os.Environ(), "HOME="+n.Dir, "VIRTUAL_ENV=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %q: %v\n%s", tool, args, err, out)
	}
	r.Push(nil)
}

// poetryLock writes the lock of a project that needs six alone. Poetry itself would
// ask an index that not every site has.
const poetryLock = `import pathlib, sys
from poetry.factory import Factory
locker = Factory().create_poetry(pathlib.Path(".")).locker
pathlib.Path("poetry.lock").write_text("""[[package]]
name = "six"
version = "1.17.0"
description = ""
optional = false
python-versions = "*"
groups = ["main"]
files = [{file = "six-1.17.0-py2.py3-none-any.whl", hash = "%s"}]

[metadata]
lock-version = "2.1"
python-versions = ">=3.9"
content-hash = "%s"
""" % (sys.argv[1], locker._get_content_hash()))
`

// ranBy runs a task, and wants it to have its environment by a manager, and the
// words on its console.
func ranBy(t *testing.T, n *harness.Node, manager string, s harness.Script, words ...string) reconcile.TaskStatus {
	t.Helper()
	task := n.Submit(s)
	n.WaitStatusFor(3*harness.Patience, task, clearml.StatusCompleted) // the manager is fetched and installed first
	for _, w := range words {
		n.WantConsole(t, task, w)
	}
	status := n.TaskStatus(task)
	if status.Manager != manager || status.LockKey == "" {
		t.Errorf("environment by %q, lock %q", status.Manager, status.LockKey)
	}
	return status
}

// clonedHits wants a clone to get the very environment of its task, by the lock.
func clonedHits(t *testing.T, n *harness.Node, was reconcile.TaskStatus, queue string) {
	t.Helper()
	clone, err := n.Client().CloneTask(t.Context(), was.ID, "clone of "+was.Name)
	if err != nil {
		t.Fatal(err)
	}
	n.Enqueue(clone, queue)
	n.WaitStatus(clone, clearml.StatusCompleted)
	n.WantConsole(t, clone, "from the lock of an earlier run")
	if now := n.TaskStatus(clone); now.Environment != "hit" || now.EnvKey != was.EnvKey {
		t.Errorf("environment %s %s, want a hit of %s", now.Environment, now.EnvKey, was.EnvKey)
	}
}
