package e2e_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"agentctl/clearml"
	"agentctl/test/e2e/harness"
)

// train is a task as users write them. RATE is what the uncommitted change alters.
const train = `from clearml import Task
task = Task.init(project_name="e2e", task_name="train")
params = task.connect({"steps": 3, "name": "plain"})
RATE = 1
print("rate", RATE, "name", params["name"])
for step in range(int(params["steps"])):
    task.get_logger().report_scalar("loss", "train", value=1.0 / (step + 1), iteration=step)
task.get_logger().report_scalar("steps", "all", value=int(params["steps"]), iteration=0)
task.upload_artifact("result", artifact_object={"rate": RATE, "name": params["name"]})
task.close()
print("done")
`

// submitTrain makes the task of the working copy, as clearml-task does, and enqueues it.
const submitTrain = `import sys
from clearml import Task
task = Task.create(project_name="e2e", task_name="train", script="train.py", packages=["clearml==" + sys.argv[1]], add_task_init_call=False)
Task.enqueue(task, queue_name="default")
print("task=" + task.id)
`

// cloneTrain clones a task, changes one hyperparameter and enqueues the clone.
const cloneTrain = `import sys
from clearml import Task
task = Task.clone(sys.argv[1], name="clone")
task.set_parameters({"General/name": "changed", "General/steps": 2})
Task.enqueue(task, queue_name="default")
print("task=" + task.id)
`

// readTrain reads back what the task reported.
const readTrain = `import json, sys
from clearml import Task
task = Task.get_task(task_id=sys.argv[1])
print("read=" + json.dumps({
    "status": task.get_status(),
    "values": [float(y) for y in task.get_reported_scalars()["loss"]["train"]["y"]],
    "artifact": task.artifacts["result"].get(),
}))
`

var printed = regexp.MustCompile(`(?m)^(task|read)=(.*)$`)

// say finds what a program with the SDK printed for us.
func say(t *testing.T, out string) string {
	t.Helper()
	match := printed.FindStringSubmatch(out)
	if match == nil {
		t.Fatalf("the program with the SDK said nothing:\n%s", out)
	}
	return match[2]
}

// result is what readTrain prints.
type result struct {
	Status   string
	Values   []float64
	Artifact struct {
		Rate int
		Name string
	}
}

func read(t *testing.T, n *harness.Node, task string) (r result) {
	t.Helper()
	if err := json.Unmarshal([]byte(say(t, n.SDK(n.Dir, readTrain, task))), &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// The tests with the SDK share one node: the environment with clearml in it is
// built once. Each step uses what the ones before it left.
func TestSDK(t *testing.T) {
	n := started(t)
	var first string
	t.Run("a task with an uncommitted change runs", func(t *testing.T) {
		n.On(t)
		repo := n.NewRepository(map[string]string{"train.py": train})
		repo.Write(map[string]string{"train.py": strings.Replace(train, "RATE = 1", "RATE = 2", 1)})
		first = say(t, n.SDK(repo.Folder, submitTrain, harness.SDKVersion))
		n.WaitStatusFor(10*time.Minute, first, clearml.StatusCompleted)
		got := read(t, n, first)
		if got.Status != "completed" || len(got.Values) != 3 || got.Values[0] != 1 || got.Artifact.Rate != 2 || got.Artifact.Name != "plain" {
			t.Errorf("read back %+v", got)
		}
		n.WantConsole(t, first, "rate 2 name plain")
	})
	if first == "" {
		t.FailNow()
	}
	t.Run("its clone sees a changed hyperparameter and hits the environment", func(t *testing.T) {
		n.On(t)
		clone := say(t, n.SDK(n.Dir, cloneTrain, first))
		n.WaitStatus(clone, clearml.StatusCompleted)
		if got := read(t, n, clone); len(got.Values) != 2 || got.Artifact.Name != "changed" {
			t.Errorf("read back %+v", got)
		}
		if env := n.TaskStatus(clone).Environment; env != "hit" {
			t.Errorf("environment %q, want a hit", env)
		}
	})
	t.Run("an optimizer tries four of it", func(t *testing.T) {
		n.On(t)
		if best := say(t, n.SDK(n.Dir, optimize, first)); best != "[2, 3, 4, 5]" {
			t.Errorf("the best are %s", best)
		}
	})
	t.Run("a pipeline of functions runs in its order", func(t *testing.T) {
		n.On(t)
		if got := say(t, n.SDK(n.Dir, functions, harness.SDKVersion)); got != "17" {
			t.Errorf("the pipeline gave %s", got)
		}
	})
	t.Run("the SDK had no complaint", func(t *testing.T) {
		n.On(t)
		n.WantQuiet(t, "queues.get_by_id 400") // it takes a queue's name for an id first
	})
	t.Run("it survives a killed agent", func(t *testing.T) {
		survives(t, n, func() {
			n.KillAgent()
			n.StartAgent()
		})
	})
	t.Run("it survives a killed server", func(t *testing.T) {
		survives(t, n, n.KillServer)
	})
	t.Run("it survives a killed agent and server", func(t *testing.T) {
		survives(t, n, func() {
			n.KillAgent()
			n.KillServer()
			n.StartAgent()
		})
	})
}

// numbered prints 10,000 numbered lines while it reports scalars, then uploads an
// artifact. It takes some seconds, so that what the test does falls into it.
const numbered = `import sys
from clearml import Task
task = Task.init(project_name="e2e", task_name="numbered")
log = task.get_logger()
open_gate("started")
for i in range(1, 10001):
    sys.stdout.write("line %05d\n" % i)  # in one piece: the SDK's threads print too
    if i % 1000 == 0:
        log.report_scalar("loss", "train", value=i, iteration=i)
    if i == 5000:
        wait_gate("go on")
    if i % 50 == 0:
        time.sleep(0.02)
task.upload_artifact("result", artifact_object={"rate": 3, "name": "numbered"})
task.close()
`

// survives runs the numbered task, lets disturb happen in the midst of it, and
// wants every line on the server once and in order, every scalar and the artifact.
func survives(t *testing.T, n *harness.Node, disturb func()) {
	t.Helper()
	n.On(t)
	n.Close("started")
	n.Close("go on")
	task := n.Submit(harness.Script{Name: t.Name(), Code: n.Code(numbered), Pip: []string{"clearml==" + harness.SDKVersion}})
	n.WaitGate("started")
	n.WaitConsole(task, regexp.MustCompile(`^line 01\d\d\d`))
	disturb()
	n.Open("go on")
	n.WaitStatusFor(5*time.Minute, task, clearml.StatusCompleted)
	wantNumbered(t, n.Console(task))
	got := read(t, n, task)
	if len(got.Values) != 10 || got.Values[9] != 10000 || got.Artifact.Rate != 3 {
		t.Errorf("read back %+v", got)
	}
}

var numberedLine = regexp.MustCompile(`^line (\d{5})$`)

// wantNumbered wants the lines 1 to 10,000, each once, in order.
func wantNumbered(t *testing.T, console []string) {
	t.Helper()
	next := 1
	for _, line := range console {
		if !strings.HasPrefix(line, "line ") {
			continue
		}
		if line != fmt.Sprintf("line %05d", next) || !numberedLine.MatchString(line) {
			t.Fatalf("%q is on the console where line %d should be", line, next)
		}
		next++
	}
	if next != 10001 {
		t.Errorf("%d lines are on the console, want 10000", next-1)
	}
}
