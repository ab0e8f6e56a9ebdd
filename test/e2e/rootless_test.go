package e2e_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"agentctl/clearml"
	"agentctl/internal/fsx"
	"agentctl/runtime"
	"agentctl/test/e2e/harness"
	"agentctl/test/imagekit"
)

const subordinate = 400_000

// boxedNode is a node whose one worker runs sandboxes of an image, and more of its
// settings.
const boxedNode = `apiVersion: agentctl/v1
kind: Node
metadata: {name: e2e}
spec:
  workers:
    - {name: box, queues: [default], mode: sandbox, image: %q, stopGrace: 5s, resources: {memory: 512Mi}}
  packageManager: {python: {onMissing: nearest}}
  cache: {minFree: 100Mi}
  sandbox:
%s`

// ordinary has a node of a user who is not root and has subordinate ids, whose one
// worker runs sandboxes.
func ordinary(t *testing.T, image, more string) *harness.Node {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can become a user with subordinate ids")
	}
	n := harness.New(t)
	n.User, n.Subordinate = 65534, subordinate
	n.StartAgent()
	n.Apply(fmt.Sprintf(boxedNode, image, more))
	return n
}

// gone waits until no file matches a pattern.
func gone(t *testing.T, pattern string) {
	t.Helper()
	harness.Eventually(t, harness.Patience, pattern+" to be removed", func() string {
		left, _ := filepath.Glob(pattern)
		return strings.Join(left, " ")
	})
}

// owned checks whose the files are that match a pattern.
func owned(t *testing.T, pattern string, uid uint32) {
	t.Helper()
	found, _ := filepath.Glob(pattern)
	if len(found) == 0 {
		t.Errorf("there is no %s", pattern)
	}
	for _, path := range found {
		if info, err := os.Lstat(path); err != nil || info.Sys().(*syscall.Stat_t).Uid != uid {
			t.Errorf("%s: %+v, %v", path, info, err)
		}
	}
}

// An agent that is not root runs tasks in sandboxes: they survive its death, and users
// of the range are nobody on the host, the agent's user among them.
func TestSandboxOfAnOrdinaryUser(t *testing.T) {
	t.Parallel()
	n := ordinary(t, "host", "    network: host\n    allow: {network: [private, none]}\n")
	script := shellTask("echo uid=$(id -u); echo x > \"$HOME/mine\"; sleep 600\n", nil)
	task := n.Submit(script)
	n.WaitConsole(task, regexp.MustCompile("^uid=0"))
	n.WantConsole(t, task, "limits of memory")
	n.WantConsole(t, task, "metadata addresses")
	home := filepath.Join(n.State, "tasks", task, "home", "mine")
	if info, err := os.Stat(home); err != nil || info.Sys().(*syscall.Stat_t).Uid != subordinate {
		t.Errorf("%+v, %v", info, err)
	}
	n.KillAgent()
	n.StartAgent()
	out, err := n.AsUser(exec.Command(n.Program, "exec", task[:12], "--", "sh", "-c", "id -u; cat $HOME/mine")).CombinedOutput()
	if err != nil || string(out) != "0\nx\n" {
		t.Errorf("%v, %q", err, out)
	}
	n.Must("stop", task)
	n.WaitStatus(task, clearml.StatusStopped)
	gone(t, home)
	private := n.Submit(shellTask("echo never\n", map[string]string{"arguments": "--network=private"}))
	n.WaitStatus(private, clearml.StatusFailed)
	n.WantConsole(t, private, "use the network none or host")
	none := n.Submit(shellTask("ls /sys/class/net\n", map[string]string{"arguments": "--network=none"}))
	n.WaitStatus(none, clearml.StatusCompleted)
	lost := n.Submit(script)
	n.WaitConsole(lost, regexp.MustCompile("^uid=0"))
	var shim runtime.Handle
	if err := fsx.ReadJSON(filepath.Join(n.State, "tasks", lost, "handle.json"), &shim); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(shim.PID, syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	n.WaitStatus(lost, clearml.StatusStopped)
	n.WantConsole(t, lost, "agent lost")
}

// In an image of a registry the environment is built by the ids of the range, and the
// checkout is theirs as well; what is kept can be removed by the agent and its user.
func TestImageOfAnOrdinaryUser(t *testing.T) {
	t.Parallel()
	r := imagekit.Serve(t, &imagekit.Registry{})
	ref := r.Push(t, "kit/debian:1", imagekit.Debian(t))
	// A sandbox that waits for the next task would hold the image.
	n := ordinary(t, ref, fmt.Sprintf("    registries: [{name: %q, insecure: true}]\n    createAhead: false\n    setupScript: export SAID=so\n", r.Host()))
	repository := n.NewRepository(map[string]string{
		"requirements.txt": "six==1.17.0\n",
		"run.ipynb":        `{"cells": [{"cell_type": "code", "source": ["!ls\n", "import main"]}]}`,
		"main.py": `import os, six, sys
print("six", six.__version__, "uid", os.getuid(), os.environ["SAID"])
for path in six.__file__, __file__, sys.prefix + "/mine", "/usr/mine", os.environ["HOME"] + "/mine":
    open(path, "a").write("#\n")
print("all is mine")
`,
	})
	var keys []string
	for _, want := range []string{"built", "hit"} {
		task := n.Submit(harness.Script{Change: func(t *clearml.NewTask) {
			t.Script = clearml.Script{Repository: repository.Bare, Branch: "main", EntryPoint: "run.ipynb", WorkingDir: "."}
		}})
		n.WaitStatusFor(3*harness.Patience, task, clearml.StatusCompleted)
		n.WantConsole(t, task, "six 1.17.0 uid 0 so")
		n.WantConsole(t, task, "all is mine")
		status := n.TaskStatus(task)
		if status.Environment != want {
			t.Errorf("environment %q, want %q", status.Environment, want)
		}
		keys = append(keys, status.EnvKey)
	}
	owned(t, filepath.Join(n.State, "envs/*/bin/python"), subordinate)
	owned(t, filepath.Join(n.State, "envs/*.json"), 65534)
	owned(t, filepath.Join(n.State, "repos/checkouts/*/main.py"), subordinate)
	owned(t, filepath.Join(n.State, "images/layers/*/fs/usr"), subordinate)
	owned(t, filepath.Join(n.State, "images/ids.json"), 65534)
	gone(t, filepath.Join(n.State, "tasks", "*", "upper"))
	gone(t, filepath.Join(n.State, "tasks", "*", "build-*"))
	for _, args := range [][]string{{"cache", "rm", keys[0]}, {"image", "rm", ref}} {
		cmd := exec.Command(n.Program, args...)
		if out, err := n.AsUser(cmd).CombinedOutput(); err != nil {
			t.Errorf("%v: %v\n%s", args, err, out)
		}
	}
	gone(t, filepath.Join(n.State, "envs/*/bin"))
	gone(t, filepath.Join(n.State, "images/layers/*/fs/usr"))
	buildOfAnOrdinaryUser(t, n)
}

// buildOfAnOrdinaryUser wants a folder of a task that is the user's own, though what is
// kept beside it belongs to the range.
func buildOfAnOrdinaryUser(t *testing.T, n *harness.Node) {
	t.Helper()
	mine := filepath.Join(n.Dir, "mine")
	if err := errors.Join(os.Mkdir(mine, 0o755), os.Chown(mine, 65534, 65534)); err != nil {
		t.Fatal(err)
	}
	job := filepath.Join(mine, "job")
	task := n.Create(harness.Script{Pip: []string{"six==1.17.0"}, Code: "import six; print(six.__version__)\n"})
	if out, err := n.AsUser(exec.Command(n.Program, "build", "--id", task, "--target", job)).CombinedOutput(); err != nil {
		t.Errorf("build: %v\n%s", err, out)
	}
	if out, err := exec.Command(filepath.Join(job, "venv/bin/python"), filepath.Join(job, "code/script.py")).CombinedOutput(); err != nil || string(out) != "1.17.0\n" {
		t.Errorf("what was built prints %q, %v", out, err)
	}
	owned(t, filepath.Join(job, "code/script.py"), 65534)
}

// Where mounts can't map owners, which a flag plays here, layers are stored with those of
// the range, and a task has its image as ever.
func TestLayersWithOwnersOfTheRange(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("sandboxes of root: the test is not root")
	}
	r := imagekit.Serve(t, &imagekit.Registry{})
	ref := r.Push(t, "kit/busybox:1", imagekit.Busybox(t))
	n := harness.New(t)
	n.StartAgent("--layers", "stored")
	n.Apply(fmt.Sprintf(boxedNode, ref, fmt.Sprintf("    registries: [{name: %q, insecure: true}]\n    ids: {base: %d}\n", r.Host(), subordinate)))
	task := n.Submit(shellTask("ls -ldn /bin /bin/busybox | cut -d' ' -f1; echo uid=$(id -u); echo x > /bin/mine && cat /bin/mine\n", nil))
	n.WaitStatus(task, clearml.StatusCompleted)
	n.WantConsole(t, task, "uid=0")
	owned(t, filepath.Join(n.State, "images/layers/*/fs/bin"), subordinate)
	again := n.Submit(shellTask("ls /bin/mine || echo clean\n", nil))
	n.WaitStatus(again, clearml.StatusCompleted)
	n.WantConsole(t, again, "clean")
}
