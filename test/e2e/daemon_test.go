package e2e_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"agentctl/clearml"
	"agentctl/reconcile"
	"agentctl/test/e2e/harness"
)

// dropIn is a node without an agent, on which only flags of clearml-agent are typed.
func dropIn(t *testing.T) *harness.Node {
	t.Helper()
	n := harness.New(t)
	n.Env = []string{"HOME=" + n.Dir, "AGENTCTL_SERVER_LISTEN=127.0.0.1:0", "CLEARML_WORKER_NAME=box"}
	return n
}

// output is what a program has said so far.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

func (o *output) wait(t *testing.T, word string) {
	t.Helper()
	harness.Eventually(t, harness.Patience, "the output "+word, func() string {
		text := o.String()
		if strings.Contains(text, word) {
			return ""
		}
		return "it says " + text
	})
}

// foreground runs a daemon that stays; ended tells its exit code.
func foreground(t *testing.T, n *harness.Node, args ...string) (cmd *exec.Cmd, out *output, ended chan int) {
	t.Helper()
	out, ended = &output{}, make(chan int, 1)
	cmd = exec.Command(n.Program, append([]string{"daemon", "--foreground"}, args...)...)
	cmd.Env = append(os.Environ(), append(n.Env, "AGENTCTL_STATE="+n.State, "AGENTCTL_SOCKET="+n.Socket)...)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			log, err := os.ReadFile(filepath.Join(n.State, "agent.log"))
			t.Logf("the agent that it started said:\n%s\n%v\nand the command:\n%s", log, err, out)
		}
	})
	go func() { // ends with the process, which the node's end kills
		_ = cmd.Wait()
		ended <- cmd.ProcessState.ExitCode()
	}()
	return cmd, out, ended
}

// endsWell waits for the end of a daemon.
func endsWell(t *testing.T, ended <-chan int) {
	t.Helper()
	select {
	case code := <-ended:
		if code != 0 {
			t.Errorf("exit code %d", code)
		}
	case <-time.After(harness.Patience):
		t.Fatal("it does not end")
	}
}

// enqueueScript makes a task of a script of the working copy, and enqueues it.
const enqueueScript = `from clearml import Task
task = Task.create(project_name="e2e", task_name="boxed", script="run.py", packages=[], add_task_init_call=False)
Task.enqueue(task, queue_name="default")
print("task=" + task.id)
`

// The whole of a drop-in: one command starts agent and server, runs a task of the SDK in
// a sandbox under its eyes, and takes its worker away at the end; its task goes on at
// the first signal, and is ended by the second.
func TestDaemonForeground(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("sandboxes of root: the test is not root")
	}
	n := dropIn(t)
	cmd, out, ended := foreground(t, n, "--queue", "default", "--docker")
	out.wait(t, "box:0 idle")
	n.WaitServer(true, "")
	repo := n.NewRepository(map[string]string{"run.py": "import os\nprint('in a box:', sorted(p for p in os.listdir('/proc') if p.isdigit())[0], os.listdir('/root'))\n"})
	task := say(t, n.SDK(repo.Folder, enqueueScript))
	n.WaitStatus(task, clearml.StatusCompleted)
	out.wait(t, "in a box: 1 []")
	if got := n.TaskStatus(task); got.Image != "host" || !strings.HasSuffix(got.Message, " box:0") {
		t.Errorf("%+v", got)
	}

	long := n.Submit(harness.Script{Code: "import time\nprint('up', flush=True)\ntime.sleep(600)\n"})
	out.wait(t, "\nup\n")
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	out.wait(t, "waiting for the end of box:0 "+long)
	if s := n.Task(long).Status; s != clearml.StatusInProgress {
		t.Errorf("after one signal the task is %s", s)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	endsWell(t, ended)
	n.WaitStatus(long, clearml.StatusStopped)
	if n.WaitWorkers(); strings.Contains(n.Must("daemon", "--status"), "box") {
		t.Error("something is left of the worker")
	}
}

// A kill between recording a worker and answering leaves it there, once; the same
// command is told so.
func TestDaemonKilledBeforeTheAnswer(t *testing.T) {
	t.Parallel()
	n := dropIn(t)
	n.Program = harness.Program(t, "crashpoints")
	n.StartAgent()
	n.Apply("apiVersion: agentctl/v1\nkind: Node\nspec: {workers: []}\n")
	n.StopAgent()
	for _, point := range []string{"source.contributed", "agent.contributed"} {
		clean := n.Env
		n.Env = append(clean, "AGENTCTL_CRASH_AT="+point)
		n.StartAgent()
		n.Env = append(clean, "CLEARML_WORKER_ID="+point)
		if out, talk, code := n.Run("daemon", "--queue", "default"); code == 0 {
			t.Errorf("%s: no error: %s%s", point, out, talk)
		}
		n.WaitAgent()
		n.Env = clean
		n.StartAgent()
		harness.Eventually(t, harness.Patience, "the worker "+point, func() string {
			for _, w := range n.Workers() {
				if w.Spec.ID == point && w.State == reconcile.StateIdle {
					return ""
				}
			}
			return "not there"
		})
		n.Env = append(clean, "CLEARML_WORKER_ID="+point)
		if _, talk, code := n.Run("daemon", "--queue", "default"); code == 0 || !strings.Contains(talk, "is there already") {
			t.Errorf("%s: twice: %s", point, talk)
		}
		n.Env = clean
		n.Must("daemon", "--stop", point)
		n.StopAgent()
	}
}

// The command whose agent dies waits for the next one; a command that died leaves its
// place to the next of the same id.
func TestDaemonOutlivesItsAgent(t *testing.T) {
	t.Parallel()
	n := dropIn(t)
	n.StartAgent()
	first, out, ended := foreground(t, n, "--queue", "default", "--gpus", "none")
	out.wait(t, "box:cpu:0 idle")
	n.KillAgent()
	out.wait(t, "the agent went away")
	n.StartAgent()
	task := n.Submit(harness.Script{Code: "print('after it')"})
	out.wait(t, "after it")
	n.WaitStatus(task, clearml.StatusCompleted)
	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-ended
	second, out, ended := foreground(t, n, "--queue", "other", "--gpus", "none")
	out.wait(t, "box:cpu:0 was there already, and nobody stayed with it")
	harness.Eventually(t, harness.Patience, "the queue of the second", func() string {
		if w := n.Workers(); len(w) != 1 || w[0].Spec.Queues[0] != "other" {
			return "not served"
		}
		return ""
	})
	if err := second.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	endsWell(t, ended)
	n.WaitWorkers()
}
