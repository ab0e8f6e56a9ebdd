package e2e_test

import (
	"strings"
	"testing"

	"agentctl/clearml"
	"agentctl/test/e2e/harness"
)

// pipeline has two steps, which an agent runs.
const pipeline = `import sys
from clearml import PipelineController
p = PipelineController(name="steps", project="e2e", version="1.0", add_pipeline_tags=False)
p.set_default_execution_queue("default")
p._pool_frequency = 0.5
p.add_step(name="first", base_task_id=sys.argv[1], clone_base_task=False)
p.add_step(name="second", parents=["first"], base_task_id=sys.argv[2], clone_base_task=False)
p.start_locally(run_pipeline_steps_locally=False)
print("status=" + p._task.get_status(), flush=True)
`

// A step of a pipeline that is put back into its queue in the middle ends completed, and
// the pipeline goes on: its controller never sees the step stopped or failed.
func TestRequeuedStepOfAPipeline(t *testing.T) {
	t.Parallel()
	n := started(t)
	first := n.Create(harness.Script{Name: "first", Code: n.Code(again)})
	second := n.Create(harness.Script{Name: "second", Code: "print('second')"})
	wait := n.StartSDK(n.Dir, pipeline, first, second)
	n.WaitGate("up")
	n.Must("drain", "--policy", "requeue", "-m", "new driver")
	n.WaitStatus(first, clearml.StatusQueued)
	n.Must("uncordon")
	n.WaitStatusFor(2*harness.Patience, first, clearml.StatusCompleted)
	n.WaitStatusFor(2*harness.Patience, second, clearml.StatusCompleted)
	if out := wait(); !strings.Contains(out, "status=completed") {
		t.Errorf("the pipeline says\n%s", out)
	}
	n.WantConsole(t, first, "run 2")
}
