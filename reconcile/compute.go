package reconcile

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/samber/lo"

	"agentctl/spec"
)

// Desired is what the node is to be.
type Desired struct {
	Workers []spec.Worker
	// Slots are the GPUs that the spec lets tasks have.
	Slots spec.Slots
}

// DesiredOf is what a node says, which must have its defaults.
func DesiredOf(n *spec.Node) Desired {
	return Desired{Workers: spec.Expand(n), Slots: n.Spec.GPUs.Slots}
}

// Compute says what must be done so that the observed workers become the desired
// ones. It is total and deterministic; the clock comes in by now.
//
// A worker that runs a task is never stopped: one that is not wanted any more is
// drained, and stopped when it is idle. What becomes of its task meanwhile is the
// policy of its drain, or that of an operator's order, which goes before it. One
// that is wanted again before that goes on.
//
//	wanted    not there               → Start, or Wait while a task has its GPUs
//	wanted    stopped                 → Start, likewise
//	wanted    other settings or GPUs  → Update (live)
//	wanted    draining                → Update (comes back)
//	wanted    served its tasks, idle  → Stop (and Start in the next plan)
//	wanted    its GPUs are gone       → as unwanted, then Wait
//	unwanted  busy, not draining      → Drain
//	unwanted  busy, draining          → Wait; Requeue or End when its policy says so
//	unwanted  idle                    → Stop
//	unwanted  stopped                 → Forget
//	ordered   busy                    → Requeue or End when the order says so
func Compute(desired Desired, observed Observed, now time.Time) Plan {
	p := planner{now: now, counts: lo.CountValuesBy(desired.Workers, func(w spec.Worker) string { return w.Group })}
	p.slots = newAllocator(desired, observed)
	p.grants = p.slots.allocate(desired.Workers)
	p.wanted = lo.SliceToMap(desired.Workers, func(w spec.Worker) (string, bool) { return w.Name, true })
	seen := make(map[string]bool, len(desired.Workers))
	for i := range desired.Workers {
		w := &desired.Workers[i]
		if seen[w.Name] { // a name is one worker
			continue
		}
		seen[w.Name] = true
		have, there := observed.Workers[w.Name]
		p.keep(w, have, there)
	}
	for _, name := range byIndex(observed.Workers, func(name string) bool { return !p.wanted[name] }) {
		have := observed.Workers[name]
		p.remove(name, have, p.unwanted(have))
	}
	// What frees something comes before what may need it.
	slices.SortStableFunc(p.actions, func(a, b Action) int { return cmp.Compare(rank[a.Verb], rank[b.Verb]) })
	return Plan{Actions: p.actions, Slots: p.slots.moves(), Wake: p.wake}
}

var rank = map[Verb]int{Forget: 0, Stop: 1, End: 2, Requeue: 3, Drain: 4, Update: 5, Start: 6, Wait: 7}

func every(string) bool { return true }

// byIndex orders those of the workers that are asked for as a spec would: by group, then
// by number, so that train/10 comes after train/9.
func byIndex(workers map[string]WorkerStatus, asked func(string) bool) []string {
	names := lo.Filter(slices.Collect(maps.Keys(workers)), func(name string, _ int) bool { return asked(name) })
	slices.SortFunc(names, func(a, b string) int {
		x, y := workers[a].Spec, workers[b].Spec
		return cmp.Or(cmp.Compare(x.Group, y.Group), cmp.Compare(x.Index, y.Index), cmp.Compare(a, b))
	})
	return names
}

type planner struct {
	now     time.Time
	counts  map[string]int // desired workers, by group
	wanted  map[string]bool
	slots   *allocator
	grants  map[string]grant // of those that ask for GPUs
	actions []Action
	wake    time.Time
	fields  comparer
}

// keep plans for a worker that is wanted.
func (p *planner) keep(want *spec.Worker, have WorkerStatus, there bool) {
	g := p.grants[want.Name]
	a := about(Update, want.Name, have)
	a.Spec, a.Slots = want, g.slots
	switch {
	case !there || have.State == StateStopped && !have.busy():
		a.Verb, a.Reason = Start, "in the spec and not there yet"
		if there {
			a.Reason = "in the spec and stopped"
		}
		p.hold(&a, g)
	case g.lack != "":
		p.remove(want.Name, have, g.lack)
		return
	case want.MaxTasks > 0 && have.Served >= want.MaxTasks && !have.busy():
		a.Verb, a.Spec, a.Slots, a.Reason = Stop, nil, nil, fmt.Sprintf("has run %s and starts anew", plural(have.Served, "task"))
	case !p.fields.same(&have.Spec, want):
		a.Changes = p.fields.compare(&have.Spec, want)
		a.Reason = "settings changed"
		if have.Draining {
			a.Reason = "in the spec again, with other settings"
		}
		if have.busy() {
			a.Reason += "; " + doing(have) + " goes on with those it has"
		}
	case have.Draining:
		a.Reason = "in the spec again"
	case !slices.Equal(g.slots, have.Slots):
		a.Reason = "gets " + gpusNamed(g.slots) + " in place of " + gpusNamed(have.Slots)
	default:
		p.ordered(have)
		return
	}
	p.actions = append(p.actions, a)
}

// about is an action on a worker and the task that it has.
func about(verb Verb, name string, have WorkerStatus) Action {
	a := Action{Verb: verb, Worker: name}
	if t := have.Task; t != nil {
		a.Task, a.Until, a.Since = t.ID, t.Deadline, cmp.Or(t.Started, t.Leased)
	}
	return a
}

// hold makes a start wait for GPUs that tasks of others have, or that are not there.
func (p *planner) hold(a *Action, g grant) {
	if g.lack != "" {
		a.Verb, a.Spec, a.Slots, a.Reason, a.Stalled = Wait, nil, nil, g.lack, true
		return
	}
	id, holder := p.slots.heldBy(a.Worker, g.slots)
	if holder == "" {
		return
	}
	have := p.slots.observed[holder]
	held := about(Wait, a.Worker, have)
	held.Reason = "gpu " + id + " is held by " + holder + ", which " + p.does(have)
	if !p.wanted[holder] || have.Order != nil && have.Order.Policy != "" {
		e := p.ending(have)
		held.Reason, held.Until = held.Reason+p.rule(have, e), e.latest(held.Until)
	}
	*a = held
	p.wakeAt(a.Until)
}

// ordered plans for a wanted worker that an operator takes out of service.
func (p *planner) ordered(have WorkerStatus) {
	if have.Order == nil || have.Order.Policy == "" || have.Task == nil {
		return
	}
	if a, due := p.endTask(have, p.ending(have)); due {
		p.actions = append(p.actions, a)
	}
}

// remove plans for a worker that is not wanted, for the given reason.
func (p *planner) remove(name string, have WorkerStatus, why string) {
	a := about(Wait, name, have)
	e := p.ending(have)
	a.Until = e.latest(a.Until)
	switch {
	case have.busy() && have.Draining:
		if end, due := p.endTask(have, e); due {
			a = end
			break
		}
		a.Reason = p.waitFor(name, have, e)
		p.wakeAt(a.Until)
	case have.busy():
		a.Verb, a.Reason = Drain, why+"; "+p.waitFor(name, have, e)
	case have.State == StateStopped:
		a.Verb, a.Reason = Forget, "stopped"
	default:
		a.Verb, a.Reason = Stop, why+"; idle"
	}
	p.actions = append(p.actions, a)
}

func (p *planner) wakeAt(t time.Time) {
	if t.After(p.now) && (p.wake.IsZero() || t.Before(p.wake)) {
		p.wake = t
	}
}
