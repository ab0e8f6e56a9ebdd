package worker

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestClaims(t *testing.T) {
	busy := func(name string, queues ...string) lane { return lane{worker: name, queues: queues, busy: true} }
	idle := func(name string, queues ...string) lane { return lane{worker: name, queues: queues, free: true} }
	waiting := map[string][]string{"a": {"a1", "a2"}, "b": {"b1"}}
	for name, tc := range map[string]struct {
		lanes []lane
		want  []claim
	}{
		"nobody":                       {nil, nil},
		"the head":                     {[]lane{busy("w", "a")}, []claim{{"w", "a1"}}},
		"the first queue with a task":  {[]lane{busy("w", "none", "b", "a")}, []claim{{"w", "b1"}}},
		"each another":                 {[]lane{busy("v", "a"), busy("w", "a")}, []claim{{"v", "a1"}, {"w", "a2"}}},
		"a free worker takes it":       {[]lane{busy("v", "b"), idle("w", "b")}, nil},
		"a free worker takes one":      {[]lane{busy("v", "a"), idle("w", "a")}, []claim{{"v", "a2"}}},
		"one that prepares does not":   {[]lane{{worker: "v", queues: []string{"b"}}, busy("w", "b")}, []claim{{"w", "b1"}}},
		"no more than there are":       {[]lane{busy("u", "b"), busy("v", "b")}, []claim{{"u", "b1"}}},
		"the other queue when one ran": {[]lane{busy("u", "b", "a"), busy("v", "b", "a")}, []claim{{"u", "b1"}, {"v", "a1"}}},
	} {
		if got := claims(tc.lanes, waiting); !slices.Equal(got, tc.want) {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
}

// At most one task for a worker and one worker for a task, out of the worker's own
// queues, none that a free worker takes; and no busy worker goes without a task
// while one that nobody else counts on waits for it.
func TestClaimsAreFair(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := []string{"a", "b", "c", "d"}
		waiting, all := map[string][]string{}, 0
		for _, q := range names {
			for range rapid.IntRange(0, 4).Draw(t, "tasks") {
				waiting[q] = append(waiting[q], fmt.Sprint(q, all))
				all++
			}
		}
		lanes := make([]lane, rapid.IntRange(0, 6).Draw(t, "workers"))
		free := 0
		for i := range lanes {
			state := rapid.IntRange(0, 2).Draw(t, "state")
			lanes[i] = lane{
				worker: fmt.Sprint("w", i), free: state == 0, busy: state == 1,
				queues: rapid.SliceOfNDistinct(rapid.SampledFrom(names), 1, 4, rapid.ID).Draw(t, "queues"),
			}
			if lanes[i].free {
				free++
			}
		}
		got := claims(lanes, waiting)
		tasks, byWorker := map[string]bool{}, map[string]string{}
		for _, c := range got {
			if tasks[c.task] || byWorker[c.worker] != "" {
				t.Fatalf("twice: %v", got)
			}
			tasks[c.task], byWorker[c.worker] = true, c.task
		}
		for _, l := range lanes {
			task, ok := byWorker[l.worker]
			if ok && !l.busy {
				t.Fatalf("%s is not busy: %v", l.worker, got)
			}
			left := 0
			for _, q := range l.queues {
				for _, id := range waiting[q] {
					if !tasks[id] {
						left++
					}
				}
				if slices.Contains(waiting[q], task) {
					task = ""
				}
			}
			if ok && task != "" {
				t.Fatalf("%s counts on %s, which is in none of its queues %v", l.worker, task, l.queues)
			}
			// Free workers may have taken what is left, one each.
			if l.busy && !ok && left > free {
				t.Fatalf("%s counts on nothing, and %d tasks wait: %v", l.worker, left, got)
			}
		}
	})
}
