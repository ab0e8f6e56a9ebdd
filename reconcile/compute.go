package reconcile

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/samber/lo"

	"agentctl/spec"
)

// Compute says what must be done so that the observed workers become the desired
// ones. It is total and deterministic; the clock comes in by now.
//
// A worker that runs a task is never stopped: one that is not wanted any more is
// drained, waited for, and stopped when it is idle. One that is wanted again
// before that goes on. Cordoned is the operator's word and changes nothing here.
//
//	wanted   not there              → Start
//	wanted   stopped                → Start
//	wanted   other settings         → Update (live)
//	wanted   draining               → Update (comes back)
//	unwanted busy, not draining     → Drain
//	unwanted busy, draining         → Wait
//	unwanted idle                   → Stop
//	unwanted stopped                → Forget
func Compute(desired []spec.Worker, observed Observed, now time.Time) Plan {
	p := planner{now: now, counts: lo.CountValuesBy(desired, func(w spec.Worker) string { return w.Group })}
	wanted := make(map[string]bool, len(desired))
	for i := range desired {
		w := &desired[i]
		if wanted[w.Name] { // a name is one worker
			continue
		}
		wanted[w.Name] = true
		have, there := observed.Workers[w.Name]
		p.keep(w, have, there)
	}
	for _, name := range byIndex(observed.Workers) {
		if !wanted[name] {
			p.remove(name, observed.Workers[name])
		}
	}
	// What frees something comes before what may need it.
	slices.SortStableFunc(p.actions, func(a, b Action) int { return cmp.Compare(rank[a.Verb], rank[b.Verb]) })
	return Plan{Actions: p.actions, Wake: p.wake}
}

var rank = map[Verb]int{Forget: 0, Stop: 1, Drain: 2, Update: 3, Start: 4, Wait: 5}

// byIndex orders the workers as a spec would: by group, then by number, so that
// train/10 comes after train/9.
func byIndex(workers map[string]WorkerStatus) []string {
	return slices.SortedFunc(maps.Keys(workers), func(a, b string) int {
		x, y := workers[a].Spec, workers[b].Spec
		return cmp.Or(cmp.Compare(x.Group, y.Group), cmp.Compare(x.Index, y.Index), cmp.Compare(a, b))
	})
}

type planner struct {
	now     time.Time
	counts  map[string]int // desired workers, by group
	actions []Action
	wake    time.Time
	fields  comparer
}

// keep plans for a worker that is wanted.
func (p *planner) keep(want *spec.Worker, have WorkerStatus, there bool) {
	a := Action{Verb: Update, Worker: want.Name, Spec: want, Task: taskID(have)}
	switch {
	case !there:
		a.Verb, a.Reason = Start, "in the spec and not there yet"
	case have.State == StateStopped && !have.busy():
		a.Verb, a.Reason = Start, "in the spec and stopped"
	case !same(*want, have.Spec):
		a.Changes = p.fields.compare(have.Spec, *want)
		a.Reason = "settings changed"
		if have.Draining {
			a.Reason = "in the spec again, with other settings"
		}
		if have.busy() {
			a.Reason += "; " + doing(have) + " goes on with those it has"
		}
	case have.Draining:
		a.Reason = "in the spec again"
	default:
		return
	}
	p.actions = append(p.actions, a)
}

// remove plans for a worker that is not wanted.
func (p *planner) remove(name string, have WorkerStatus) {
	a := Action{Worker: name, Task: taskID(have)}
	switch {
	case have.busy() && have.Draining:
		a.Verb, a.Reason = Wait, p.waitFor(name, have)
		if have.Task != nil && !have.Task.Deadline.IsZero() {
			a.Until = have.Task.Deadline
			p.wakeAt(a.Until)
		}
	case have.busy():
		a.Verb, a.Reason = Drain, p.unwanted(have)+"; "+p.waitFor(name, have)
	case have.State == StateStopped:
		a.Verb, a.Reason = Forget, "stopped"
	default:
		a.Verb, a.Reason = Stop, p.unwanted(have)+"; idle"
	}
	p.actions = append(p.actions, a)
}

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
func (p *planner) waitFor(name string, have WorkerStatus) string {
	s := name + " " + p.does(have) + "; policy " + spec.DrainFinish
	if policy := have.Spec.Drain.Policy; policy != "" && policy != spec.DrainFinish {
		s += " (" + policy + " comes with a later release)"
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

func (p *planner) wakeAt(t time.Time) {
	if t.After(p.now) && (p.wake.IsZero() || t.Before(p.wake)) {
		p.wake = t
	}
}

func taskID(w WorkerStatus) string {
	if w.Task == nil {
		return ""
	}
	return w.Task.ID
}

// same compares settings. The first look is cheap and true of nearly all workers
// of nearly all plans.
func same(a, b spec.Worker) bool { return reflect.DeepEqual(a, b) || a.Equal(b) }

// age is how long something lasts, to the minute once it lasts that long: what is
// read by people, and does not differ from the last plan by its seconds alone.
func age(since, now time.Time) string {
	d := max(now.Sub(since), 0)
	if d < time.Minute {
		return spec.Duration(d.Truncate(time.Second)).String()
	}
	return spec.Duration(d.Truncate(time.Minute)).String()
}
