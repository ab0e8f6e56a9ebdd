package e2e_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/samber/lo"

	"agentctl/clearml"
	"agentctl/test/e2e/harness"
)

// peerPatience is how long clearml-agent may take for a task: it makes a virtual
// environment and asks for everything every few seconds.
const peerPatience = 5 * time.Minute

// peerPip is what its tasks need: one small package.
var peerPip = []string{"six==1.17.0"}

// The real clearml-agent works on our server as on its own.
func TestClearMLAgent(t *testing.T) {
	t.Parallel()
	n := started(t)
	home := n.NewPeerHome(n.Endpoints().API, "")
	peer := n.StartPeer(home, "peer:0", []string{"CLEARML_AGENT_QUEUE_POLL_FREQ_SEC=1"}, "theirs", "default")
	t.Run("a task of a repository that fails", func(t *testing.T) {
		n.On(t)
		peerFails(t, n)
	})
	t.Run("a task that is aborted", func(t *testing.T) {
		n.On(t)
		peerAborts(t, n, home)
	})
	t.Run("each task runs once, there or here", func(t *testing.T) {
		n.On(t)
		peerShares(t, n)
	})
	peer.Stop()
	n.WantQuiet(t)
	workers, err := n.Client().ListWorkers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if lo.ContainsBy(workers, func(w clearml.WorkerInfo) bool { return w.ID == "peer:0" }) {
		t.Error("a daemon that ended by itself is still among the workers")
	}
	if bad := harness.Complaints(peer.Log()); bad != nil {
		t.Errorf("clearml-agent complains:\n%s", strings.Join(bad, "\n"))
	}
}

// peerFails runs a task that fails, and looks at what the peer recorded of it.
func peerFails(t *testing.T, n *harness.Node) {
	t.Helper()
	repo := n.NewRepository(map[string]string{"breaks.py": "import six\nprint('it breaks with', six.__version__)\nraise SystemExit(3)\n"})
	task := n.Submit(harness.Script{Queue: "theirs", Change: func(todo *clearml.NewTask) {
		todo.Script = clearml.Script{Repository: repo.Bare, Branch: "main", EntryPoint: "breaks.py", WorkingDir: ".", Binary: "python3", Requirements: clearml.Requirements{Pip: peerPip}}
	}})
	got := n.WaitStatusFor(peerPatience, task, clearml.StatusFailed)
	// It installs Cython too, unasked.
	if needs := got.Script.Requirements; got.StatusReason != "worker execution exit code 3" || got.Script.VersionNum != repo.Head() ||
		!lo.Every(needs.Pip, peerPip) || !slices.Equal(needs.OrgPip, peerPip) {
		t.Errorf("the task ended so: %q, %q, %+v", got.StatusReason, got.StatusMessage, got.Script)
	}
	n.WaitConsole(task, regexp.MustCompile("Process failed, exit code 3"))
	n.WantConsole(t, task, "it breaks with 1.17.0")
}

// peerAborts aborts a task that the peer runs, and looks at the list of workers meanwhile.
func peerAborts(t *testing.T, n *harness.Node, home string) {
	t.Helper()
	task := n.Submit(harness.Script{Queue: "theirs", Pip: peerPip, Code: n.Code("open_gate('theirs')\ntime.sleep(3600)\n")})
	n.WaitGate("theirs")
	out, err := n.Peer(home, "", "list").CombinedOutput()
	if err != nil || harness.Complaints(string(out)) != nil || !lo.EveryBy([]string{"peer:0", "e2e:w:0", task, "theirs"}, func(want string) bool { return strings.Contains(string(out), want) }) {
		t.Errorf("clearml-agent list (%v) says:\n%s", err, out)
	}
	if err := n.Client().StopTask(t.Context(), task, "", ""); err != nil {
		t.Fatal(err)
	}
	got := n.WaitStatusFor(peerPatience, task, clearml.StatusStopped)
	if got.StatusReason != "task was stopped by tasks.stop" {
		t.Errorf("the status says %q: %q", got.StatusReason, got.StatusMessage)
	}
	n.WaitConsole(task, regexp.MustCompile("User aborted"))
	harness.Eventually(t, harness.Patience, "no process of the task to be left", func() string {
		return strings.Repeat("some", len(harness.Processes("CLEARML_TASK_ID="+task)))
	})
}

// shared tells who runs it. Ours waits for the peer's first, or nothing would be left
// for it: the peer takes some ten seconds for each.
const shared = `task, worker = os.environ["CLEARML_TASK_ID"], os.environ["CLEARML_WORKER_ID"]
with open(gate("runs"), "a") as f:
    f.write(task + " " + worker + "\n")
if worker.startswith("peer"):
    open_gate("shared")
else:
    wait_gate("shared")
time.sleep(1)
print("run by", worker)
`

func peerShares(t *testing.T, n *harness.Node) {
	t.Helper()
	n.Open("runs")
	if err := os.Chmod(n.Gate("runs"), 0o666); err != nil { // tasks of the two are different users
		t.Fatal(err)
	}
	count := 12
	if long {
		count = 40
	}
	var tasks []string
	for range count {
		tasks = append(tasks, n.Submit(harness.Script{Pip: peerPip, Code: n.Code(shared)}))
	}
	for _, task := range tasks {
		n.WaitStatusFor(peerPatience, task, clearml.StatusCompleted)
	}
	text, err := os.ReadFile(n.Gate("runs"))
	if err != nil {
		t.Fatal(err)
	}
	runs := map[string][]string{} // by task
	workers := map[string]int{}
	for line := range strings.Lines(string(text)) {
		task, worker, _ := strings.Cut(strings.TrimSpace(line), " ")
		runs[task], workers[worker] = append(runs[task], worker), workers[worker]+1
	}
	for _, task := range tasks {
		if by := runs[task]; len(by) != 1 {
			t.Errorf("task %s ran %d times: %v", task, len(by), by)
		} else if got := n.Task(task).LastWorker; got != by[0] && (got != "" || by[0] == "peer:0") { // ours reports every 30 seconds
			t.Errorf("task %s was run by %s; the server says %q", task, by[0], got)
		}
		n.WaitConsole(task, regexp.MustCompile("run by "))
	}
	if workers["peer:0"] == 0 || workers["e2e:w:0"] == 0 || len(workers) != 2 {
		t.Errorf("who ran how many: %v", workers)
	}
	t.Logf("who ran how many: %v", workers)
}
