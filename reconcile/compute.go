package reconcile

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"agentctl/spec"
)

// Compute says what must be done so that the observed workers become the desired
// ones. It is total and deterministic. Workers that run a task are never stopped
// by it: one that is not wanted any more is drained and goes when it is idle.
func Compute(desired []spec.Worker, observed Observed, now time.Time) Plan {
	want := make(map[string]spec.Worker, len(desired))
	for _, w := range desired {
		want[w.Name] = w
	}
	var plan Plan
	for _, name := range slices.Sorted(maps.Keys(observed.Workers)) {
		have := observed.Workers[name]
		if w, ok := want[name]; ok {
			plan.add(keep(w, have))
		} else {
			plan.add(remove(have, now))
		}
	}
	for _, w := range desired {
		if _, ok := observed.Workers[w.Name]; !ok {
			plan.add(&Action{Verb: Start, Worker: w.Name, Spec: &w, Reason: "in the spec and not running"})
		}
	}
	slices.SortStableFunc(plan.Actions, func(a, b Action) int { return cmp.Compare(rank[a.Verb], rank[b.Verb]) })
	return plan
}

// rank orders the verbs: what frees something comes before what may need it.
var rank = map[Verb]int{Stop: 0, Drain: 1, Update: 2, Start: 3, Wait: 4}

func (p *Plan) add(a *Action) {
	if a != nil {
		p.Actions = append(p.Actions, *a)
	}
}

func keep(want spec.Worker, have WorkerStatus) *Action {
	a := &Action{Verb: Update, Worker: want.Name, Spec: &want}
	if have.Task != nil {
		a.Task = have.Task.ID
	}
	switch {
	case !want.Equal(have.Spec) && have.Task != nil:
		a.Reason = "settings changed; they hold from its next task on"
	case !want.Equal(have.Spec):
		a.Reason = "settings changed"
	case have.Draining:
		a.Reason = "in the spec again"
	default:
		return nil
	}
	return a
}

func remove(have WorkerStatus, now time.Time) *Action {
	a := &Action{Worker: have.Name}
	if have.Task == nil {
		a.Verb, a.Reason = Stop, "not in the spec; idle"
		return a
	}
	a.Task = have.Task.ID
	running := fmt.Sprintf("runs task %s for %s; policy %s", have.Task.ID, age(have.Task.Leased, now), spec.DrainFinish)
	if have.Draining {
		a.Verb, a.Reason = Wait, running
	} else {
		a.Verb, a.Reason = Drain, "not in the spec; "+running
	}
	return a
}

// age is rounded so that a plan does not differ from the last by its seconds
// alone once a task has run for a while.
func age(since, now time.Time) time.Duration {
	d := max(now.Sub(since), 0)
	if d < time.Minute {
		return d.Round(time.Second)
	}
	return d.Round(time.Minute)
}
