package e2e_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"agentctl/clearml"
	"agentctl/test/e2e/harness"
)

// failed wants a task to fail with all the words in its status or on its console,
// and a secret nowhere.
func failed(t *testing.T, n *harness.Node, s harness.Script, words ...string) {
	t.Helper()
	task := n.Submit(s)
	got := n.WaitStatus(task, clearml.StatusFailed)
	text := got.StatusReason + "\n" + got.StatusMessage + "\n" + strings.Join(n.Console(task), "\n")
	for _, word := range words {
		if !strings.Contains(text, word) {
			t.Errorf("%q is not in what the task says:\n%s", word, text)
		}
	}
	if strings.Contains(text, "hunter2") || strings.Contains(n.AgentLog(), "hunter2") {
		t.Errorf("a password is shown:\n%s\n%s", text, n.AgentLog())
	}
}

func TestTasksThatCanNotStartSayWhy(t *testing.T) {
	t.Parallel()
	n := started(t)
	repo := n.NewRepository(map[string]string{"run.py": "print(1)\n", "data.txt": "one\ntwo\nthree\n"})
	script := func(change func(*clearml.Script)) func(*clearml.NewTask) {
		return func(todo *clearml.NewTask) {
			todo.Script = clearml.Script{Repository: repo.Bare, Branch: "main", EntryPoint: "run.py", WorkingDir: ".", Binary: "python3"}
			change(&todo.Script)
		}
	}
	t.Run("a repository that can't be cloned", func(t *testing.T) {
		n.On(t)
		failed(t, n, harness.Script{Change: script(func(s *clearml.Script) {
			s.Repository = "https://somebody:hunter2@127.0.0.1:1/code.git"
		})}, "127.0.0.1", "unable to access")
	})
	t.Run("a branch that isn't there", func(t *testing.T) {
		n.On(t)
		failed(t, n, harness.Script{Change: script(func(s *clearml.Script) { s.Branch = "nosuchbranch" })}, "nosuchbranch")
	})
	t.Run("a diff that doesn't apply", func(t *testing.T) {
		n.On(t)
		failed(t, n, harness.Script{Change: script(func(s *clearml.Script) {
			s.Diff = "diff --git a/data.txt b/data.txt\n--- a/data.txt\n+++ b/data.txt\n@@ -1,3 +1,3 @@\n four\n-five\n+fünf\n six\n"
		})}, "data.txt", "patch failed")
	})
	t.Run("requirements that can't be had", func(t *testing.T) {
		n.On(t)
		failed(t, n, harness.Script{Pip: []string{"six==99.99"}, Code: "print(1)"}, "No matching distribution found for six==99.99")
	})
	t.Run("a Python that isn't there", func(t *testing.T) {
		n.On(t)
		failed(t, n, harness.Script{Code: "print(1)", Change: func(todo *clearml.NewTask) { todo.Script.Binary = "python3.99" }}, "3.99")
	})
	t.Run("an entry point that isn't there", func(t *testing.T) {
		n.On(t)
		failed(t, n, harness.Script{Change: script(func(s *clearml.Script) { s.EntryPoint = "nosuchfile.py" })}, "nosuchfile.py")
	})
	t.Run("and the next task runs", func(t *testing.T) {
		n.On(t)
		n.WaitStatus(n.Submit(harness.Script{Code: "print('fine')"}), clearml.StatusCompleted)
	})
}

// withServer is a node.yaml whose server is elsewhere.
func withServer(url, credentials string) string {
	return strings.Replace(node(oneWorker), "spec:\n", fmt.Sprintf("spec:\n  server: {url: %q, credentialsFile: %q}\n", url, credentials), 1)
}

// An agent whose server is away says so, stays, and goes on by itself.
func TestServerAway(t *testing.T) {
	t.Parallel()
	home := harness.New(t) // its embedded server is the other node's ClearML server
	home.StartAgent()
	home.Apply(node())
	keys := readKeys(t, home)

	n := harness.New(t)
	n.StartAgent()
	credentials := filepath.Join(n.Dir, "credentials")
	writeKeys(t, credentials, keys.AccessKey, keys.SecretKey)
	n.WriteFile(withServer("http://127.0.0.1:1", credentials))
	n.Run("apply", "--yes", "--timeout", "1s", n.File)
	n.WaitServer(false, "127.0.0.1:1")

	writeKeys(t, credentials, keys.AccessKey, "wrong")
	n.WriteFile(withServer(home.Endpoints().API, credentials))
	problem := n.WaitServer(false, "credential")
	if strings.Contains(problem, "wrong") && strings.Contains(problem, keys.AccessKey) {
		t.Errorf("the condition shows the keys: %s", problem)
	}

	writeKeys(t, credentials, keys.AccessKey, keys.SecretKey) // read when used: no restart
	n.WaitServer(true, "")
	home.WaitStatus(home.Submit(harness.Script{Code: "print('far away')"}), clearml.StatusCompleted)
}

func readKeys(t *testing.T, n *harness.Node) (keys clearml.Credentials) {
	t.Helper()
	n.Endpoints()
	data, err := os.ReadFile(filepath.Join(n.ServerDir(), "credentials.json"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		AccessKey string `json:"access_key"`
		SecretKey string `json:"secret_key"`
	}
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	return clearml.Credentials{AccessKey: file.AccessKey, SecretKey: file.SecretKey}
}

func writeKeys(t *testing.T, path, access, secret string) {
	t.Helper()
	data, err := json.Marshal(map[string]string{"access_key": access, "secret_key": secret})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// A disk that fills up while an environment is built fails the task in clear words
// and leaves nothing that a later task could take for whole.
func TestDiskFullWhileBuilding(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to mount a small file system")
	}
	t.Parallel()
	n := harness.New(t)
	if err := os.Mkdir(n.State, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("agentctl-test", n.State, "tmpfs", 0, "size=48m,mode=755"); err != nil {
		t.Skipf("needs to mount a small file system: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(n.State, syscall.MNT_DETACH) })
	n.StartAgent()
	n.Apply(strings.Replace(node(oneWorker), "spec:\n", "spec:\n  cache: {minFree: 1Mi}\n", 1))
	heavy := harness.Script{Pip: []string{"clearml==" + harness.SDKVersion}, Code: "import clearml; print('whole')"}
	failed(t, n, heavy, "No space left on device")
	var environments []json.RawMessage
	if out := n.Must("get", "environments", "-o", "json"); json.Unmarshal([]byte(out), &environments) == nil && len(environments) > 0 {
		t.Errorf("an environment that is not whole is shown: %s", out)
	}
	if err := syscall.Mount("agentctl-test", n.State, "tmpfs", syscall.MS_REMOUNT, "size=600m,mode=755"); err != nil {
		t.Fatal(err)
	}
	task := n.Submit(heavy)
	n.WaitStatusFor(10*time.Minute, task, clearml.StatusCompleted)
	n.WantConsole(t, task, "whole")
}

// What is wrong with a node.yaml is said all at once, with places, and changes nothing.
func TestInvalidSpecIsRefusedWhole(t *testing.T) {
	t.Parallel()
	n := started(t)
	n.WriteFile("apiVersion: agentctl/v1\nkind: Node\nspec:\n  workers:\n    - {name: w, queus: [default], count: many}\n")
	stdout, stderr, code := n.Run("apply", "--yes", n.File)
	if code != 2 {
		t.Errorf("exit code %d, want 2", code)
	}
	for _, want := range []string{"node.yaml:5:", "queues", "count"} {
		if !strings.Contains(stdout+stderr, want) {
			t.Errorf("%q is not in what apply says:\n%s%s", want, stdout, stderr)
		}
	}
	n.WaitWorkers("w/0")
}
