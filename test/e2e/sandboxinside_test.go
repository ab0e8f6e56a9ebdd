package e2e_test

import (
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"agentctl/clearml"
	"agentctl/test/condakit"
	"agentctl/test/e2e/harness"
	"agentctl/test/imagekit"
	"agentctl/worker"
)

// poetry builds in the image with the image's Python, and conda, which brings its own,
// for what C library the image has; an image without that gets told so. Both have hits.
func TestSandboxBuildsByPoetryAndConda(t *testing.T) {
	t.Parallel()
	r, settings := registry(t)
	n := boxed(t, r.Push(t, "kit/debian:1", imagekit.Debian(t)), settings)
	t.Run("poetry", func(t *testing.T) {
		n.On(t)
		repository := n.NewRepository(project)
		script := harness.Script{Change: of(repository, worker.ChoiceManager, "poetry")}
		builtThenHit(t, n, script, "packages by poetry from pyproject.toml", "demo 1.5 extra False", "tool with six 1.17.0")
	})
	t.Run("conda", func(t *testing.T) {
		n.On(t)
		kit := condakit.Build(t)
		server := kit.Serve(t, &condakit.Server{User: "me", Password: "s3same-open"})
		repository := n.NewRepository(map[string]string{
			"environment.yml": "channels: [" + strings.Replace(server.Main(), "://", "://me:s3same-open@", 1) + "]\n" +
				"dependencies: [hello, activates, {pip: [iniconfig==2.1.0]}]\nvariables: {MINE: \"7\"}\n",
			"run.py": `import os, subprocess, sys, iniconfig, six
print("python", sys.version.split()[0], "in", open("/etc/debian_chroot").read().strip(), "mine", os.environ["MINE"])
print("tools", subprocess.check_output("hello; kit-tool", shell=True, text=True).split(), "under", os.environ["CONDA_PREFIX"] in (sys.prefix, sys.base_prefix))
`,
		})
		script := harness.Script{Change: of(repository, worker.ChoiceManager, "conda")}
		builtThenHit(t, n, script, "packages by conda from environment.yml", "python "+kit.Python+" in kit mine 7", "tools ['hello', '1.0', 'kit-tool'] under True")
		musl := r.Push(t, "kit/busybox:1", imagekit.Busybox(t))
		script.Change = func(todo *clearml.NewTask) {
			of(repository, worker.ChoiceManager, "conda")(todo)
			todo.Container = map[string]string{"image": musl}
		}
		refused := n.Submit(script)
		n.WaitStatus(refused, clearml.StatusFailed)
		n.WantConsole(t, refused, "packages of conda need the GNU C library")
	})
	if left, _ := filepath.Glob(filepath.Join(n.State, "tasks", "*", "box-*")); left != nil {
		t.Errorf("sandboxes of builds are left: %q", left)
	}
}

// builtThenHit runs a script twice: its environment is built, then found.
func builtThenHit(t *testing.T, n *harness.Node, script harness.Script, lines ...string) {
	t.Helper()
	for _, want := range []string{"built", "hit"} {
		task := n.Submit(script)
		n.WaitStatusFor(3*harness.Patience, task, clearml.StatusCompleted)
		for _, line := range lines {
			n.WantConsole(t, task, line)
		}
		if env := n.TaskStatus(task).Environment; env != want {
			t.Errorf("environment %q, want %q", env, want)
		}
	}
}

// The git of a task's checkout runs in a sandbox of the host's programs: what it
// writes belongs to that one's users, and the agent's own git never reads it. A
// credential gets there, and nowhere else; the next task needs no git, and an image
// never does.
func TestSandboxGit(t *testing.T) {
	t.Parallel()
	images, settings := registry(t)
	n := boxed(t, "host", settings)
	r := n.NewRepository(map[string]string{"run.py": "print('from a file')\n", "run.sh": "echo shell of $KIT; ls run.py; command -v git python3 || echo neither\n"})
	served := httptest.NewServer(servedGit(t, r.Bare, "cloner", "hunter2-git"))
	t.Cleanup(served.Close)
	address := strings.Replace(served.URL, "http://", "http://cloner:hunter2-git@", 1) + "/" + filepath.Base(r.Bare)
	script := harness.Script{Change: func(todo *clearml.NewTask) {
		todo.Script = clearml.Script{Repository: address, VersionNum: r.Head(), EntryPoint: "run.py", WorkingDir: "."}
		todo.Script.Diff = "diff --git a/run.py b/run.py\n--- a/run.py\n+++ b/run.py\n@@ -1 +1,2 @@\n+import subprocess; print(subprocess.run(['git', 'status', '--short'], capture_output=True, text=True))\n print('from a file')\n"
	}}
	for _, want := range []string{"in a sandbox", ""} {
		task := n.Submit(script)
		n.WaitStatus(task, clearml.StatusCompleted)
		n.WantConsole(t, task, "from a file")
		n.WantConsole(t, task, "stdout=' M run.py")
		if text := strings.Join(n.Console(task), "\n"); want != "" && !strings.Contains(text, "repository http") {
			t.Errorf("no word of the checkout:\n%s", text)
		}
	}
	bare := n.Submit(harness.Script{Change: func(todo *clearml.NewTask) {
		todo.Script = clearml.Script{Repository: address, VersionNum: r.Head(), EntryPoint: "run.sh", WorkingDir: ".", Binary: "/bin/sh"}
		todo.Container = map[string]string{"image": images.Push(t, "kit/busybox:1", imagekit.Busybox(t))}
	}})
	n.WaitStatus(bare, clearml.StatusCompleted)
	for _, line := range []string{"shell of busybox", "run.py", "neither"} {
		n.WantConsole(t, bare, line)
	}
	mirrors, err := filepath.Glob(filepath.Join(n.State, "repos", "mirrors", "*", "box", "repo.git", "HEAD"))
	if err != nil || len(mirrors) != 1 {
		t.Fatalf("mirrors %q, %v", mirrors, err)
	}
	if info, err := os.Stat(mirrors[0]); err != nil || info.Sys().(*syscall.Stat_t).Uid == 0 {
		t.Errorf("a mirror of root's: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(n.State, "tasks", "*", "box-*")); left != nil {
		t.Errorf("left %q", left)
	}
	if out, err := exec.Command("grep", "-rl", "hunter2-git", filepath.Join(n.State, "repos"), filepath.Join(n.State, "tasks")).Output(); err == nil {
		t.Errorf("files hold the password: %s", out)
	}
}
