package worker

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"agentctl/clearml"
)

// What another rank has started is to be gone on with all the same.
func TestTakenUpOnAnotherRank(t *testing.T) {
	r, s := leasing(t, clearml.StatusInProgress)
	r.rec.Worker.ID, r.rec.Phase = "n:w:1", PhasePreparing
	r.task = &clearml.Task{ID: "t", Status: clearml.StatusInProgress, StatusMessage: "pulled by n:w:0 from no queue"}
	for rank, want := range []bool{false, true} {
		r.rec.Rank = rank
		if ours, started, err := r.stillOurs(t.Context()); ours != want || !started || err != nil {
			t.Errorf("rank %d: ours %t, started %t, %v", rank, ours, started, err)
		}
	}
	r.pool.revive(t.Context(), map[string]*run{"t": r}, []clearml.TaskState{{ID: "t", Status: clearml.StatusStopped, StatusReason: forcedStop}})
	s.status = clearml.StatusQueued // the first has not begun it, and this one need not wait
	r.stop(Final{Status: clearml.StatusStopped, Reason: "stopped by agentctl"})
	if err := r.stopWaiting(t.Context()); err != nil || len(s.asked) > 0 {
		t.Errorf("%v, the server was asked for %v", err, s.asked)
	}
}

// A task that was recorded as running is not begun again when its shim can't be found, or
// not be told of.
func TestNothingToldOfARunningTask(t *testing.T) {
	for name, handle := range map[string]string{"gone": "", "damaged": "{"} {
		r, s := leasing(t, clearml.StatusInProgress)
		r.rec.Phase = PhaseRunning
		if handle != "" {
			if err := os.WriteFile(filepath.Join(r.dirs.root, "handle.json"), []byte(handle), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		r.takeUp(t.Context())
		if r.rec.Final == nil || r.rec.Final.Reason != "agent lost" || r.unsure != (handle != "") || !slices.Contains(s.asked, "tasks.stopped") {
			t.Errorf("%s: ends as %+v, unsure %t, the server was asked for %v", name, r.rec.Final, r.unsure, s.asked)
		}
	}
}

// A power cut may leave nothing of a record but the intent: a task that this worker has
// started does not stay in progress, with nobody who runs it.
func TestStartedAndNotRecorded(t *testing.T) {
	for message, want := range map[string][]string{"pulled by n:w:0 from queue q": {"tasks.stopped"}, "pulled by n:w:01 from queue q": nil} {
		r, s := leasing(t, clearml.StatusInProgress)
		r.rec.Worker.ID, s.message = "n:w:0", message
		r.takeUp(t.Context())
		if got := slices.DeleteFunc(s.asked, func(a string) bool { return a == "events.add_batch" }); !slices.Equal(got, want) {
			t.Errorf("%s: the server was asked for %v", message, got)
		}
	}
}
