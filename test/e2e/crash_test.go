package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"agentctl/clearml"
	"agentctl/test/e2e/harness"
)

// steps lists the named steps that a task passes on its way, each once, in order.
// A step that is passed more often is listed as its first and its last time.
func steps(t *testing.T, n *harness.Node) (points []string) {
	t.Helper()
	trace := filepath.Join(n.Dir, "trace")
	n.Env = []string{"AGENTCTL_CRASH_TRACE=" + trace}
	n.StartAgent()
	task := n.Submit(work(n, "trace"))
	n.WaitStatus(task, clearml.StatusCompleted)
	n.TaskStatus(task)
	n.StopAgent()
	n.Env = nil
	text, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	times := map[string]int{}
	for _, point := range strings.Fields(string(text)) {
		if strings.HasPrefix(point, "server.") {
			continue // of another process, which has tests of its own
		}
		if times[point]++; times[point] == 1 {
			points = append(points, point)
		}
	}
	for point, passed := range times {
		if passed > 1 {
			points = append(points, fmt.Sprintf("%s#%d", point, passed))
		}
	}
	return points
}

// work is a task that builds an environment and a checkout of its own, so that it
// passes the steps of building too, and counts how often it was run.
func work(n *harness.Node, name string) harness.Script {
	repo := n.NewRepository(map[string]string{"run.py": n.Code(`
with open(gate("` + name + `"), "a") as f: f.write("once\n")
for i in range(100): print("line", i)
`)})
	return harness.Script{Name: name, Change: func(todo *clearml.NewTask) {
		todo.Script = clearml.Script{
			Repository: repo.Bare, Branch: "main", EntryPoint: "run.py", WorkingDir: ".", Binary: "python3",
			Requirements: clearml.Requirements{Pip: []string{fmt.Sprintf(`six==1.17.0; python_version > "%d.0"`, time.Now().UnixNano())}},
		}
	}}
}

// ownStep matches the steps that only this test dies at. Those of building have
// tests beside envcache too; here they are died at with the tag long.
var ownStep = regexp.MustCompile(`^(task|lease|console|runtime)\.`)

// An agent that dies at any named step of a task's life leaves a record from which
// the next one finishes it: the task runs once, ends completed, and each line of it
// is on the server once.
func TestKilledAtEveryStep(t *testing.T) {
	t.Parallel()
	n := harness.New(t)
	n.Program = harness.Program(t, "crashpoints")
	n.StartAgent()
	n.Apply(node(oneWorker))
	n.StopAgent()
	for _, point := range steps(t, n) {
		if !long && !ownStep.MatchString(point) {
			continue
		}
		t.Run(point, func(t *testing.T) {
			n.On(t)
			killedAt(t, n, point)
		})
	}
}

func killedAt(t *testing.T, n *harness.Node, point string) {
	t.Helper()
	name := "ran " + strings.NewReplacer(".", "-", "#", " ").Replace(point)
	defer func() {
		if n.Env = nil; n.AgentRuns() {
			n.StopAgent() // of a step that failed
		}
	}()
	n.Env = []string{"AGENTCTL_CRASH_AT=" + point}
	n.SpawnAgent()
	task := n.Submit(work(n, name))
	n.WaitAgentOr(func() bool { return n.Task(task).Status == clearml.StatusCompleted })
	n.Env = nil
	if n.AgentRuns() {
		n.StopAgent() // the last time of a step may fall away when times differ
	}
	n.StartAgent()
	n.WaitStatus(task, clearml.StatusCompleted)
	n.TaskStatus(task)
	wantLines(t, n.Console(task), 100)
	n.StopAgent()
	if ran, err := os.ReadFile(n.Gate(name)); err != nil || string(ran) != "once\n" {
		t.Errorf("the task ran %q (%v), want once", ran, err)
	}
	if left := harness.Processes("CLEARML_TASK_ID=" + task); len(left) > 0 {
		t.Errorf("processes of the task are left: %v", left)
	}
}

func wantLines(t *testing.T, console []string, want int) {
	t.Helper()
	var got []string
	for _, line := range console {
		if strings.HasPrefix(line, "line ") {
			got = append(got, line)
		}
	}
	all := make([]string, want)
	for i := range all {
		all[i] = fmt.Sprintf("line %d", i)
	}
	if !slices.Equal(got, all) {
		t.Errorf("%d lines are on the console, want %d in order: %v", len(got), want, got)
	}
}
