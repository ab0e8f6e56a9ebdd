package worker

import (
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
			if err := r.awaitFirst(t.Context()); err != nil || r.task.Status != clearml.StatusInProgress {
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
	if err := r.awaitFirst(t.Context()); err == nil {
		t.Error("a task that has ended is waited for")
	}
}
