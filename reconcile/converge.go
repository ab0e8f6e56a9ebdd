package reconcile

import (
	"fmt"
	"strings"
	"time"
)

// converge computes the plan, hands over what is to be done, publishes what came
// of it, and says when to look again though nothing happens.
func (l *Loop) converge(now time.Time) (wake time.Time) {
	observed := l.cfg.Runner.Observe()
	wake = now.Add(resync)
	if l.node == nil { // nothing is stopped for not being in a spec that is not there
		l.publish(observed, Plan{}, now)
		return sooner(wake, l.store.due)
	}
	plan := Compute(l.desired, observed, now)
	l.logPlan(plan)
	if !now.Before(l.holdUntil) {
		todo := l.due(plan, now)
		if len(todo) > 0 || l.handed != l.generation {
			l.cfg.Runner.Apply(l.node, todo)
			l.handed = l.generation
			observed = l.cfg.Runner.Observe()
			plan = Compute(l.desired, observed, now)
		}
		if plan.Converged() && !l.finished {
			l.finish(ResultConverged, now)
		}
	} else {
		wake = sooner(wake, l.holdUntil)
	}
	l.publish(observed, plan, now)
	wake = sooner(sooner(wake, plan.Wake), l.store.due)
	for _, r := range l.retries {
		wake = sooner(wake, r.backoff.due)
	}
	return wake
}

// sooner is the earlier of two times, of which b may be none.
func sooner(a, b time.Time) time.Time {
	if b.IsZero() || a.Before(b) {
		return a
	}
	return b
}

// due lists the actions to hand over now: those that are new, and those that were
// handed over before, had no effect, and have waited for their turn.
func (l *Loop) due(plan Plan, now time.Time) []Action {
	var todo []Action
	planned := map[string]bool{}
	for _, a := range plan.Actions {
		if a.Verb == Wait || l.unread() && removes(a.Verb) {
			continue
		}
		planned[a.Worker] = true
		r := l.retries[a.Worker]
		if r == nil || r.action != a.fingerprint() || r.generation != l.generation {
			r = &retry{action: a.fingerprint(), generation: l.generation}
			l.retries[a.Worker] = r
		} else if now.Before(r.backoff.due) {
			continue
		}
		r.backoff.next(now)
		todo = append(todo, a)
	}
	for worker := range l.retries {
		if !planned[worker] {
			delete(l.retries, worker)
		}
	}
	return todo
}

// unread tells that the last good spec holds and the source was not read since the
// start: a worker that is not in the one may be in the other.
func (l *Loop) unread() bool { return !l.holdUntil.IsZero() }

func removes(v Verb) bool { return v == Drain || v == Stop || v == Forget }

// retry counts how often one action was handed over.
type retry struct {
	action     string
	generation int64
	backoff    backoff
}

// backoff says when to try again: sooner at first, then more and more rarely.
type backoff struct {
	tries int
	due   time.Time // zero: nothing to try
}

func (b *backoff) next(now time.Time) {
	wait := retryMax
	if b.tries < 20 { // beyond it the shift would overflow
		wait = min(retryFirst<<b.tries, retryMax)
	}
	b.tries++
	b.due = now.Add(wait)
}

func (b *backoff) reset() { *b = backoff{} }

// fingerprint tells whether two actions are the same; the reason's times are not
// part of it.
func (a Action) fingerprint() string {
	hash := ""
	if a.Spec != nil {
		hash = a.Spec.Hash()
	}
	return strings.Join([]string{string(a.Verb), a.Worker, a.Task, hash}, " ")
}

// maxLogged is how many actions of one plan are logged.
const maxLogged = 20

// logPlan logs a plan once, when it differs from the last.
func (l *Loop) logPlan(plan Plan) {
	var all strings.Builder
	fmt.Fprintln(&all, l.generation)
	for _, a := range plan.Actions {
		fmt.Fprintln(&all, a.fingerprint())
	}
	if all.String() == l.logged {
		return
	}
	l.logged = all.String()
	for i, a := range plan.Actions {
		if i == maxLogged {
			l.cfg.Log.Info("plan goes on", "more", len(plan.Actions)-maxLogged)
			break
		}
		l.cfg.Log.Info("plan", "verb", a.Verb, "worker", a.Worker, "reason", a.Reason)
	}
}
