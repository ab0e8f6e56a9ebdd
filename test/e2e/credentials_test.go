package e2e_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"agentctl/clearml"
	"agentctl/test/e2e/harness"
)

// A private repository and a private index: the spec says where the credentials
// are, and which of them the task itself gets. Nobody sees them.
func TestCredentials(t *testing.T) {
	t.Parallel()
	index := harness.NewIndex(t)
	index.User, index.Password = "reader", "hunter2-index"
	index.Add("private", "1.0")
	index.Add("later", "1.0")
	n := harness.New(t)
	code := n.NewRepository(map[string]string{"run.py": `import os, stat, subprocess, sys, private
netrc = os.environ["NETRC"]
assert netrc == os.path.join(os.environ["HOME"], ".netrc"), netrc
info = os.stat(netrc)
print("netrc", oct(stat.S_IMODE(info.st_mode)), info.st_uid == os.getuid())
print(open(netrc).read())
subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "later"], check=True)
import later
print("private", private.version, "later", later.version)
`})
	host := httptest.NewServer(servedGit(t, code.Bare, "cloner", "hunter2-git"))
	t.Cleanup(host.Close)
	git := secretFile(t, n, "git.netrc", "machine 127.0.0.1 login cloner password hunter2-git\n")
	indexes := secretFile(t, n, "index.netrc", "machine 127.0.0.1 login reader password hunter2-index\n")
	n.StartAgent()
	n.Apply(strings.Replace(node("{name: p, queues: [plain], mode: venv}",
		fmt.Sprintf("{name: w, queues: [own], mode: venv, packageManager: {indexUrl: %q, indexCredentialsFile: %q, taskCredentials: [127.0.0.1]}}", index.Simple(), indexes),
	), "spec:\n", fmt.Sprintf("spec:\n  git: {credentialsFile: %q}\n", git), 1))
	// The index has no pip: the private one comes from where it usually does.
	n.WaitStatus(n.Submit(harness.Script{Name: "plain", Queue: "plain", Code: "print(1)"}), clearml.StatusCompleted)

	task := n.Submit(harness.Script{Name: "private", Queue: "own", Pip: []string{"private"}, Change: func(todo *clearml.NewTask) {
		todo.Script.Repository, todo.Script.Branch = host.URL+"/"+filepath.Base(code.Bare), "main"
		todo.Script.EntryPoint, todo.Script.Diff = "run.py", ""
	}})
	n.WaitStatus(task, clearml.StatusCompleted)
	n.WantConsole(t, task, "netrc 0o600 True")
	n.WantConsole(t, task, "machine 127.0.0.1 login reader password ********")
	n.WantConsole(t, task, "private 1.0 later 1.0")
	record, err := os.ReadFile(filepath.Join(n.State, "tasks", task, "record.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	said := strings.Join(n.Console(task), "\n") + n.AgentLog() + string(record) + fmt.Sprint(n.Task(task).Script)
	if strings.Contains(said, "hunter2") {
		t.Errorf("a password is shown:\n%s", said)
	}
	// The agent's own copy goes once the end is reported. The console is what the task
	// itself printed.
	harness.Eventually(t, harness.Patience, "no file to hold a password", func() string {
		out, err := exec.Command("grep", "-rlF", "--exclude=console", "hunter2", n.State).Output()
		if err != nil {
			return ""
		}
		return string(out)
	})
}

func secretFile(t *testing.T, n *harness.Node, name, text string) string {
	t.Helper()
	path := filepath.Join(n.Dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// servedGit serves the folder of a bare repository as plain files, which git can
// read, to who logs in.
func servedGit(t *testing.T, bare, user, password string) http.Handler {
	t.Helper()
	if out, err := exec.Command("git", "-C", bare, "update-server-info").CombinedOutput(); err != nil {
		t.Fatalf("git update-server-info: %v\n%s", err, out)
	}
	files := http.FileServer(http.Dir(filepath.Dir(bare)))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if u, p, _ := r.BasicAuth(); u != user || p != password {
			w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		files.ServeHTTP(w, r)
	})
}
