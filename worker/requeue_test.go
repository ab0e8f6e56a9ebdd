package worker

import (
	"slices"
	"testing"
	"time"

	"agentctl/clearml"
)

const (
	then  = "2026-01-02T03:04:05.000000+00:00"
	later = "2026-01-02T03:05:05.000000+00:00"
)

// What a user takes out of its queue after its node has put it there runs nowhere, while
// a ClearML Server has it in progress: it is stopped, unless somebody started it.
func TestTakenOutOfItsQueue(t *testing.T) {
	for name, tt := range map[string]struct {
		status, started  string
		stopped, settled bool
	}{
		"waits":                {clearml.StatusQueued, then, false, false},
		"in nobody's hands":    {clearml.StatusInProgress, then, true, true},
		"runs on another":      {clearml.StatusInProgress, later, false, true},
		"has ended on another": {clearml.StatusCompleted, later, false, true},
	} {
		r, s := leasing(t, clearml.StatusInProgress)
		s.started = then
		final := Final{Status: clearml.StatusQueued, Reason: requeuedAfter + "1, 3 allow no more: agent lost"}
		r.rec.Final, r.rec.Ended = &final, time.Now()
		if err := r.requeue(t.Context(), final); err != nil || !slices.Contains(s.asked, "tasks.enqueue") {
			t.Fatalf("%v, asked for %v", err, s.asked)
		}
		rec, err := readRecord(r.dirs.root)
		if err != nil {
			t.Fatal(err)
		}
		r.pool.rememberPutBack(rec)
		s.status, s.started, s.asked = tt.status, tt.started, nil
		settled, err := r.pool.lookPutBack(t.Context(), "t", r.pool.putBackTasks["t"])
		if err != nil || settled != tt.settled || slices.Contains(s.asked, "tasks.stopped") != tt.stopped {
			t.Errorf("%s: settled %v, %v, asked for %v", name, settled, err, s.asked)
		}
	}
}

// A requeue looks first: what is not this worker's any more stays as it is, and a
// user's wish to stop is kept.
func TestRequeueLooksFirst(t *testing.T) {
	final := Final{Status: clearml.StatusQueued, Reason: "requeued by agentctl"}
	for _, tt := range []struct{ status, message, want string }{
		{clearml.StatusInProgress, "pulled by n:w:0 from queue q", "tasks.enqueue"},
		{clearml.StatusInProgress, "launched", "tasks.enqueue"},
		{clearml.StatusInProgress, "pulled by other:w:0 from queue q", ""},
		{clearml.StatusInProgress, clearml.MessageStopping, "tasks.stopped"},
		{clearml.StatusCompleted, "", ""},
		{clearml.StatusQueued, "", ""},
	} {
		r, s := leasing(t, tt.status)
		r.rec.Worker.ID, s.message = "n:w:0", tt.message
		if err := r.requeue(t.Context(), final); err != nil {
			t.Fatal(err)
		}
		if got := slices.DeleteFunc(s.asked, func(a string) bool { return a == "queues.move_task_to_front" }); !slices.Equal(got, slices.DeleteFunc([]string{tt.want}, func(a string) bool { return a == "" })) {
			t.Errorf("%+v: asked for %v", tt, got)
		}
	}
}
