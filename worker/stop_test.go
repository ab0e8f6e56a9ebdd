package worker

import (
	"testing"

	"agentctl/clearml"
)

// What comes after the agent has let go of a task is the next agent's to do: a stop that
// can't be recorded would be told as a failure of the task.
func TestStopAfterTheAgentHasLeft(t *testing.T) {
	p := poolWith(t, t.TempDir(), "a/0")
	r := newRun(p, "a/0", &Record{Task: "t", Phase: PhaseRunning})
	r.leave()
	r.stop(Final{Status: clearml.StatusQueued, Reason: "requeued by agentctl"})
	if r.final != nil || r.rec.Stop != nil {
		t.Errorf("it is stopped: %+v", r.final)
	}
}
