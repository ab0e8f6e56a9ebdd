//go:build bench

package bench

import (
	"context"
	"regexp"
	"strconv"
	"strings"
	"time"

	"agentctl/clearml"
	"agentctl/test/e2e/harness"
)

// job is the task that both agents run: a file of a git repository, which needs
// the SDK and says when its first line ran, before it imports anything big.
type job struct {
	n     *harness.Node
	repo  *harness.Repository
	tasks []string // of agentctl, for their phases
}

const code = "import time; print('first line', time.time_ns(), flush=True)\nimport clearml\nprint('clearml', clearml.__version__)\n"

func newJob(n *harness.Node) *job {
	return &job{n: n, repo: n.NewRepository(map[string]string{
		"job.py": code, "requirements.txt": "clearml==" + harness.SDKVersion + "\n",
	})}
}

var firstLine = regexp.MustCompile(`first line (\d+)`)

// firstLine enqueues the task and returns the time until its first line ran, by
// the clock of this machine, which the task reads itself.
func (j *job) firstLine(queue string) time.Duration {
	j.n.T.Helper()
	ctx, client := context.Background(), j.n.Client()
	task := j.n.Create(harness.Script{Name: "bench " + queue, Change: func(todo *clearml.NewTask) {
		todo.Script = clearml.Script{
			Repository: j.repo.Bare, Branch: "main", VersionNum: j.repo.Head(), EntryPoint: "job.py", WorkingDir: ".", Binary: "python3",
			Requirements: clearml.Requirements{Pip: []string{"clearml==" + harness.SDKVersion}},
		}
	}})
	id, err := client.ResolveQueue(ctx, queue, true)
	if err != nil {
		j.n.T.Fatal(err)
	}
	began := time.Now()
	if err := client.Enqueue(ctx, task, id, "", false); err != nil {
		j.n.T.Fatal(err)
	}
	j.n.WaitStatusFor(15*time.Minute, task, clearml.StatusCompleted)
	if queue == "ours" {
		j.tasks = append(j.tasks, task)
	}
	// The console may follow the status: clearml-agent sends its last batch late.
	j.n.WaitConsole(task, firstLine)
	ns, err := strconv.ParseInt(firstLine.FindStringSubmatch(strings.Join(j.n.Console(task), "\n"))[1], 10, 64)
	if err != nil {
		j.n.T.Fatal(err)
	}
	return time.Unix(0, ns).Sub(began)
}
