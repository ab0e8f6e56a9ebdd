package reconcile

import (
	"cmp"
	"strings"
	"time"

	"github.com/samber/lo"

	"agentctl/spec"
)

// ending is what becomes of the task of a worker that is taken out of service.
type ending struct {
	policy   string
	deadline time.Time // when a task that is waited for is put back; zero: never
	force    bool
	reason   string
}

// latest is the earlier of the end of a task by itself and that by the drain; either
// may be none.
func (e ending) latest(own time.Time) time.Time {
	if own.IsZero() {
		return e.deadline
	}
	return sooner(own, e.deadline)
}

// ending is by the operator's order, if that speaks of the task, else by the drain
// of the settings that the worker has. The deadline of a drain that has not begun
// counts from now.
func (p *planner) ending(have WorkerStatus) ending {
	d, since := have.Spec.Drain, have.DrainingSince
	e := ending{policy: cmp.Or(d.Policy, spec.DrainFinish)}
	if o := have.Order; o != nil && o.Policy != "" {
		e.force, e.reason, e.deadline = o.Force, o.Reason, o.Deadline
		if o.Policy != DrainOwn {
			e.policy = o.Policy
			return e
		}
		since = o.Since
	}
	if d.Deadline > 0 && e.policy == spec.DrainFinish && e.deadline.IsZero() {
		if since.IsZero() {
			since = p.now
		}
		e.deadline = since.Add(time.Duration(d.Deadline))
	}
	return e
}

// endTask is the action that ends the task of a worker, if that is due. A task that is
// waited for beyond the deadline is put back: it loses time, and nothing else.
func (p *planner) endTask(have WorkerStatus, e ending) (Action, bool) {
	if have.Task == nil || have.State == StateLeasing { // it may not be ours yet
		return Action{}, false
	}
	a := about(Requeue, have.Name, have)
	a.Force = e.force
	switch {
	case have.Task.Ending != "" && !(e.force && have.Task.Ending != EndingForced):
		return Action{}, false
	case e.policy == spec.DrainStop:
		a.Verb, a.Reason = End, "policy "+spec.DrainStop
	case e.policy == spec.DrainRequeue:
		a.Reason = "policy " + spec.DrainRequeue
	case !e.deadline.IsZero() && !p.now.Before(e.deadline):
		a.Reason = "still runs at the deadline of the drain, " + e.deadline.UTC().Format(time.RFC3339)
	default:
		p.wakeAt(e.deadline)
		return Action{}, false
	}
	a.Reason = strings.Join(lo.Compact([]string{have.Name + " " + p.does(have), a.Reason, e.reason}), "; ")
	return a, true
}

// EndingForced is TaskStatus.Ending of a task that gets no grace any more.
const EndingForced = "force"

func gpusNamed(slots []string) string {
	if len(slots) == 0 {
		return "no GPU"
	}
	return "gpu " + strings.Join(slots, ", ")
}
