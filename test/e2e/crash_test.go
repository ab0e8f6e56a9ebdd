package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"agentctl/clearml"
	"agentctl/test/e2e/harness"
)

var crashPoint = regexp.MustCompile(`crash\.Point\("([^"]+)"\)`)

// crashPoints finds the named steps in the sources of the packages.
func crashPoints(t *testing.T, packages ...string) (points []string) {
	t.Helper()
	for _, pkg := range packages {
		sources, err := filepath.Glob(filepath.Join(harness.Root(t), pkg, "*.go"))
		if err != nil || len(sources) == 0 {
			t.Fatalf("no sources in %s: %v", pkg, err)
		}
		for _, source := range sources {
			text, err := os.ReadFile(source)
			if err != nil {
				t.Fatal(err)
			}
			for _, match := range crashPoint.FindAllStringSubmatch(string(text), -1) {
				points = append(points, match[1])
			}
		}
	}
	slices.Sort(points)
	return slices.Compact(points)
}

// An agent that dies at any named step of a task's life leaves a record from which
// the next one finishes it: the task runs once, ends completed, and each line of it
// is on the server once.
func TestKilledAtEveryStep(t *testing.T) {
	t.Parallel()
	n := harness.New(t)
	n.Program = harness.Program(t, "crashpoints")
	n.StartAgent()
	n.Apply(node(oneWorker))
	n.KillAgent()
	for _, point := range crashPoints(t, "worker", "envcache", "envcache/repo", "runtime") {
		t.Run(point, func(t *testing.T) {
			n.On(t)
			killedAt(t, n, point)
		})
	}
}

func killedAt(t *testing.T, n *harness.Node, point string) {
	t.Helper()
	count := "ran " + strings.ReplaceAll(point, ".", "-")
	n.Env = []string{"AGENTCTL_CRASH_AT=" + point}
	n.SpawnAgent()
	// Each point gets an environment and a checkout of its own to build, or the
	// steps of building would be passed once only.
	repo := n.NewRepository(map[string]string{"requirements.txt": "# " + point + "\n", "run.py": n.Code(`
with open(gate("` + count + `"), "a") as f: f.write("once\n")
for i in range(100): print("line", i)
`)})
	task := n.Submit(harness.Script{Change: func(todo *clearml.NewTask) {
		todo.Script = clearml.Script{Repository: repo.Bare, Branch: "main", EntryPoint: "run.py", WorkingDir: ".", Binary: "python3"}
	}})
	n.WaitAgentOr(func() bool { return n.Task(task).Status == clearml.StatusCompleted })
	crashed := !n.AgentRuns()
	if n.Env = nil; !crashed {
		n.StopAgent()
	}
	n.StartAgent()
	n.WaitStatus(task, clearml.StatusCompleted)
	n.StopAgent()
	if ran, err := os.ReadFile(n.Gate(count)); err != nil || string(ran) != "once\n" {
		t.Errorf("the task ran %q (%v), want once", ran, err)
	}
	wantLines(t, n.Console(task), 100)
	if !crashed {
		t.Logf("no step %s on this task's way", point)
	}
	if left := harness.Processes("CLEARML_TASK_ID=" + task); len(left) > 0 {
		out, _ := exec.Command("ps", "-ef").Output()
		t.Errorf("processes of the task are left: %v\n%s", left, out)
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
	if len(got) != want || got[0] != "line 0" || !slices.IsSortedFunc(got, func(a, b string) int { return len(a) - len(b) }) {
		t.Errorf("%d lines are on the console, want %d: %v", len(got), want, got)
	}
}
