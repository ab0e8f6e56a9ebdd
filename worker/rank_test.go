package worker

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"agentctl/clearml"
)

func TestRankOf(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{"": 0, "RANK=0 SLURM_PROCID=3": 0, "SLURM_PROCID=3": 3, "RANK=2": 2, "RANK=x": 0, "RANK=-1": 0} {
		lookup := func(name string) (string, bool) {
			for _, kv := range strings.Fields(text) {
				if value, ok := strings.CutPrefix(kv, name+"="); ok {
					return value, true
				}
			}
			return "", false
		}
		if got := RankOf(lookup); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
}

// Of several agents that run one task together only the first sets its status and
// writes back what it ran with: the others wait until it has begun.
func TestOnlyTheFirstRankReports(t *testing.T) {
	for rank := range 2 {
		r, s := leasing(t, clearml.StatusInProgress)
		r.rec.Rank, r.rec.Commit, r.conn.Embedded = rank, "c0ffee", true
		r.task = &clearml.Task{ID: "t", Status: clearml.StatusQueued}
		if rank > 0 {
			if err := r.awaitFirst(t.Context(), t.Context()); err != nil || r.task.Status != clearml.StatusInProgress {
				t.Errorf("%s, %v", r.task.Status, err)
			}
		}
		if err := r.started(t.Context()); err != nil {
			t.Fatal(err)
		}
		r.announce(t.Context())
		for _, status := range []string{clearml.StatusCompleted, clearml.StatusFailed, clearml.StatusStopped} {
			if err := r.sendFinal(t.Context(), Final{Status: status}); err != nil {
				t.Fatal(err)
			}
		}
		for _, call := range []string{"tasks.started", "tasks.edit", "tasks.completed", "tasks.failed", "tasks.stopped"} {
			if slices.Contains(s.asked, call) != (rank == 0) {
				t.Errorf("rank %d asked for %v", rank, s.asked)
			}
		}
	}
	r, _ := leasing(t, clearml.StatusInProgress)
	r.task = &clearml.Task{Status: clearml.StatusFailed}
	if err := r.awaitFirst(t.Context(), t.Context()); err == nil {
		t.Error("a task that has ended is waited for")
	}
}

// An agent that waits for the first of several does so no longer than somebody wants it
// to, and leaves the task alone then.
func TestAWaitForTheFirstRankEnds(t *testing.T) {
	enough := errors.New("enough")
	for name, end := range map[string]func(r *run, withdraw context.CancelCauseFunc){
		"withdrawn": func(_ *run, withdraw context.CancelCauseFunc) { withdraw(enough) },
		"stopped": func(r *run, _ context.CancelCauseFunc) {
			r.stop(Final{Status: clearml.StatusStopped, Reason: "enough"})
		},
	} {
		r, s := leasing(t, clearml.StatusQueued)
		r.rec.Rank = 1
		asked, withdraw := context.WithCancelCause(t.Context())
		x := execution{Execution{Task: "t", Rank: 1}, asked, make(chan error, 1)}
		ended := make(chan struct{})
		go func() { defer close(ended); r.executed(t.Context(), x) }()
		end(r, withdraw)
		<-ended
		if err := <-x.begun; err == nil || !strings.Contains(err.Error(), enough.Error()) {
			t.Errorf("%s: %v", name, err)
		}
		if slices.Contains(s.asked, "tasks.started") {
			t.Errorf("%s: the server was asked for %v", name, s.asked)
		}
	}
}

// A task that nobody waits for any more is not taken, and one that was taken in the same
// moment is stopped.
func TestAnExecutionThatIsWithdrawn(t *testing.T) {
	r, s := leasing(t, clearml.StatusCreated)
	asked, withdraw := context.WithCancel(t.Context())
	withdraw()
	x := execution{Execution{Task: "t"}, asked, make(chan error, 1)}
	r.executed(t.Context(), x)
	if err := <-x.begun; !errors.Is(err, context.Canceled) || slices.Contains(s.asked, "tasks.started") {
		t.Errorf("%v, the server was asked for %v", err, s.asked)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if x.withdrawn(ended) {
		t.Error("an agent that ends takes the task back")
	}
}

// Whoever starts a task says so, and that is the first of several agents: another one
// that was away goes on with it all the same.
func TestARankGoesOnAfterItsAgent(t *testing.T) {
	for rank, want := range []bool{false, true} {
		r, _ := leasing(t, clearml.StatusInProgress)
		r.rec.Rank, r.rec.Phase, r.rec.Worker.ID = rank, PhasePreparing, "n:execute:t"
		r.task = &clearml.Task{ID: "t", Status: clearml.StatusInProgress, StatusMessage: pulledBy + "other:execute:t from no queue"}
		if ours, _, err := r.stillOurs(t.Context()); ours != want || err != nil {
			t.Errorf("rank %d: %t, %v", rank, ours, err)
		}
	}
}
