package reconcile

import (
	"fmt"
	"time"

	"agentctl/spec"
)

// unwanted says why a worker goes.
func (p *planner) unwanted(have WorkerStatus) string {
	n := p.counts[have.Spec.Group]
	switch {
	case n == 0:
		return "not in the spec"
	case n <= have.Spec.Index:
		return fmt.Sprintf("the count of %s is %d", have.Spec.Group, n)
	}
	return "not in the spec by this name"
}

// waitFor says what keeps a worker, and by which rule it is waited for.
func (p *planner) waitFor(name string, have WorkerStatus, e ending) string {
	return name + " " + p.does(have) + p.rule(have, e)
}

// rule says how the task of a worker that goes is waited for.
func (p *planner) rule(have WorkerStatus, e ending) string {
	s := "; policy " + e.policy
	if !e.deadline.IsZero() {
		s += ", requeued at " + e.deadline.UTC().Format(time.RFC3339)
	}
	if have.Task != nil && !have.Task.Deadline.IsZero() {
		s += "; ends by " + have.Task.Deadline.UTC().Format(time.RFC3339)
	}
	return s
}

// does is what a busy worker does, with how long it has.
func (p *planner) does(have WorkerStatus) string {
	if have.Task == nil {
		return "is taking a task"
	}
	since, verb := have.Task.Started, "runs"
	if have.State == StateLeasing || have.State == StatePreparing || since.IsZero() {
		since, verb = have.Task.Leased, "prepares"
	}
	s := verb + " task " + have.Task.ID
	if !since.IsZero() {
		s += " for " + age(since, p.now)
	}
	return s
}

func doing(have WorkerStatus) string {
	if have.Task == nil {
		return "the task being taken"
	}
	return "task " + have.Task.ID
}

// age is how long something lasts, to the minute once it lasts that long: what is
// read by people, and does not differ from the last plan by its seconds alone.
func age(since, now time.Time) string {
	d := max(now.Sub(since), 0)
	if d < time.Minute {
		return spec.Duration(d.Truncate(time.Second)).String()
	}
	return spec.Duration(d.Truncate(time.Minute)).String()
}
