package e2e_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"agentctl/clearml"
	"agentctl/runtime"
	"agentctl/test/e2e/harness"
	"agentctl/test/imagekit"
)

// ahead is a node whose worker runs sandboxes of an image of busybox.
type ahead struct {
	*harness.Node
	image, settings string
	read            int // of the agent's log
}

func newAhead(t *testing.T) *ahead {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("sandboxes of root: the test is not root")
	}
	r, settings := registry(t)
	a := &ahead{Node: harness.New(t), image: r.Push(t, "kit/busybox:1", imagekit.Busybox(t)), settings: settings}
	a.Program = harness.Program(t, "crashpoints")
	return a
}

func (a *ahead) apply(more string) {
	a.T.Helper()
	a.Apply(fmt.Sprintf(`apiVersion: agentctl/v1
kind: Node
metadata: {name: e2e}
spec:
  workers:
    - {name: box, queues: [default], mode: sandbox, image: %q, stopGrace: 5s}
  cache: {minFree: 100Mi}
  sandbox:
%s%s`, a.image, a.settings, more))
}

// waits waits for a sandbox that is not the one in the folder other, and returns its
// folder and its shim.
func (a *ahead) waits(other string) (dir string, h runtime.Handle) {
	a.T.Helper()
	harness.Eventually(a.T, harness.Patience, "another sandbox to wait", func() string {
		log := a.AgentLog()
		dirs, _ := filepath.Glob(filepath.Join(a.State, "spares", "*"))
		if len(dirs) != 1 || dirs[0] == other || !strings.Contains(log[a.read:], `msg="sandbox made ahead"`) {
			return fmt.Sprintf("%q wait", dirs)
		}
		data, err := os.ReadFile(filepath.Join(dirs[0], "handle.json"))
		if err != nil || json.Unmarshal(data, &h) != nil {
			return fmt.Sprintf("the handle holds %q, %v", data, err)
		}
		dir, a.read = dirs[0], len(log)
		return ""
	})
	return dir, h
}

// gone waits until nothing is left of a sandbox.
func (a *ahead) gone(dir string, h runtime.Handle) {
	a.T.Helper()
	harness.Eventually(a.T, harness.Patience, "the sandbox to be gone", func() string {
		left := []string{dir}
		for _, group := range h.Groups {
			left = append(left, group)
		}
		for _, path := range left {
			if _, err := os.Stat(path); !os.IsNotExist(err) {
				return path + " is left"
			}
		}
		if pids := harness.Processes(dir); len(pids) > 0 {
			return fmt.Sprintf("the processes %v are left", pids)
		}
		return ""
	})
}

// runs runs a task and tells how it came to its sandbox.
func (a *ahead) runs(code, want string) (task string) {
	a.T.Helper()
	task = a.Submit(shellTask(code, nil))
	a.WaitStatus(task, clearml.StatusCompleted, clearml.StatusFailed)
	got := a.TaskStatus(task)
	if got.Sandbox != want {
		a.T.Errorf("the sandbox came %q, want %q", got.Sandbox, want)
	}
	return task
}

// The second task of an image starts in a sandbox that waited for it, as if it had
// been made for it. One that does not fit is not used, none outlives the agent, and
// there is never more than one.
func TestSandboxMadeAhead(t *testing.T) {
	t.Parallel()
	a := newAhead(t)
	a.StartAgent("--verbose")
	a.apply("    keep: onFailure\n")
	a.runs("echo first\n", "beside")
	dir, h := a.waits("")
	if out := a.Must("get", "tasks", "-o", "name"); strings.Count(out, "\n") != 1 {
		t.Errorf("tasks are %q", out)
	}
	task := a.runs("echo host=$(hostname) kit=$KIT home=$HOME; echo kept > /kept; exit 3\n", "ahead")
	a.WantConsole(t, task, "host="+task+" kit=busybox home="+filepath.Join(a.State, "tasks", task, "home"))
	if data, err := os.ReadFile(filepath.Join(a.State, "tasks", task, "upper", "root", "upper", "kept")); err != nil || string(data) != "kept\n" {
		t.Errorf("what the failed task wrote: %q, %v", data, err)
	}
	a.gone(dir, h)

	dir, h = a.waits(dir)
	a.apply("    shmSize: 8Mi\n")
	a.gone(dir, h)
	dir, _ = a.waits(dir)
	a.WantConsole(t, a.runs("df /dev/shm\n", "ahead"), " 8192 ")

	dir, h = a.waits(dir)
	if err := syscall.Kill(h.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	a.WantConsole(t, a.runs("echo ran all the same\n", "cold"), "ran all the same")
	a.gone(dir, h)

	for network, links := range map[string]string{"none": "links: lo", "private": "links: eth0 lo"} {
		dir, _ = a.waits(dir)
		a.apply("    network: " + network + "\n")
		dir, _ = a.waits(dir)
		a.WantConsole(t, a.runs("echo links: $(ls /sys/class/net)\n", "ahead"), links)
	}

	dir, h = a.waits(dir)
	a.Must("cordon", "box")
	a.gone(dir, h)
	a.Must("uncordon", "box")
	dir, h = a.waits(dir)
	a.apply("    createAhead: false\n")
	a.gone(dir, h)
	a.runs("echo made for it\n", "cold")
	a.apply("")
	dir, h = a.waits(dir)
	a.StopAgent()
	a.gone(dir, h)
}

// An agent that dies with a sandbox that waits, makes one or hands it over leaves
// nothing of it to the next, and no task is lost or run twice.
func TestSandboxMadeAheadOfADeadAgent(t *testing.T) {
	t.Parallel()
	a := newAhead(t)
	a.StartAgent("--verbose")
	a.apply("")
	a.runs("echo pulled\n", "beside")
	dir, h := a.waits("")
	a.KillAgent()
	a.StartAgent("--verbose")
	a.gone(dir, h)
	dir, h = a.waits(dir)
	a.KillAgent()
	for _, point := range []string{"spare.intent", "spare.made", "spare.taken", "task.starting", "runtime.handed"} {
		a.Env = []string{"AGENTCTL_CRASH_AT=" + point}
		a.SpawnAgent("--verbose")
		var task string
		if point != "spare.intent" && point != "spare.made" {
			a.waits(dir)
			task = a.Submit(shellTask("echo once\n", nil))
		}
		a.WaitAgent()
		a.Env = nil
		a.StartAgent("--verbose")
		if task != "" {
			a.WaitStatus(task, clearml.StatusCompleted)
			if n := strings.Count(strings.Join(a.Console(task), "\n"), "once"); n != 1 {
				t.Errorf("killed at %s: the task ran %d times", point, n)
			}
		}
		a.gone(dir, h)
		dir, h = a.waits(dir)
		a.StopAgent()
	}
	a.gone(dir, h)
}
