package reconcile

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/samber/lo"
)

// manyTries is when an action that is handed over again and again counts as stalled.
const manyTries = 5

// overdue is how long after its deadline a task counts as one that will not end.
const overdue = time.Minute

// maxNamed is how many workers a message of the node names.
const maxNamed = 5

// describe fills in the workers, the tasks and what the loop says of them.
func (l *Loop) describe(s, last *Snapshot, observed Observed, now time.Time) {
	planned := make(map[string]Action, len(s.Plan.Actions))
	for _, a := range s.Plan.Actions {
		planned[a.Worker] = a
	}
	before := make(map[string][]Condition, len(last.Workers))
	for _, w := range last.Workers {
		before[w.Name] = w.Conditions
	}
	for _, name := range byIndex(observed.Workers, every) {
		w := observed.Workers[name]
		a, doing := planned[name]
		if !doing && l.node != nil {
			l.revisions[name] = l.applied.Digest
		}
		w.Conditions = l.ofWorker(w, a, observed.Server, now)
		date(w.Conditions, before[name], l.revisions[name], now)
		s.Workers = append(s.Workers, w)
		if w.Task != nil {
			s.Tasks = append(s.Tasks, *w.Task)
		}
	}
	for name := range l.revisions {
		if _, there := observed.Workers[name]; !there {
			delete(l.revisions, name)
		}
	}
	s.Tasks = append(s.Tasks, observed.Ended...)
	rest := l.ofNode(s, now)
	date(rest, last.Conditions, l.applied.Digest, now)
	s.Conditions = append([]Condition{l.accepted}, rest...)
}

// date sets since when each condition has its status.
func date(conditions, before []Condition, revision string, now time.Time) {
	for i := range conditions {
		c := &conditions[i]
		c.Since, c.Revision = now, revision
		if was, ok := find(before, c.Type); ok && was.Status == c.Status {
			c.Since = was.Since
		}
	}
}

// ofNode derives what the node says of itself, but for SpecAccepted.
func (l *Loop) ofNode(s *Snapshot, now time.Time) []Condition {
	out := []Condition{l.nodeReady(s)}
	if !s.Plan.Converged() {
		c := Condition{Type: Reconciling, Status: True, Reason: "Applying", Message: summary(s.Plan)}
		if s.Plan.Settled() {
			c.Reason = "WaitingForTasks"
		}
		out = append(out, c)
	}
	if stalled := lo.FilterMap(s.Workers, func(w WorkerStatus, _ int) (string, bool) {
		c, ok := w.Condition(Stalled)
		return w.Name + ": " + c.Message, ok
	}); len(stalled) > 0 {
		out = append(out, Condition{Type: Stalled, Status: True, Reason: "WorkersStalled", Message: some(stalled)})
	} else if lost := l.unstarted(s.Plan); len(lost) > 0 {
		out = append(out, Condition{Type: Stalled, Status: True, Reason: "NoEffect", Message: some(lost)})
	}
	return append(out, l.followed(s.LastAttempted.Origin))
}

func (l *Loop) nodeReady(s *Snapshot) Condition {
	c := Condition{Type: Ready, Status: False}
	switch {
	case l.node == nil:
		c.Reason, c.Message = "NoSpec", "no spec has been accepted yet"
	case len(s.Workers) > 0 && s.Server.lost():
		c.Reason, c.Message = "ServerUnreachable", s.Server.Error
	case !s.Plan.Settled():
		c.Status, c.Reason, c.Message = Unknown, "Reconciling", summary(s.Plan)
	case l.suspension != nil: // it does what it was told, but not what its source says
		c.Reason, c.Message = ReadySuspended, l.suspension.String()
	case !s.Plan.Converged():
		c.Status, c.Reason, c.Message = True, "Settled", "the spec is in force; removed workers finish their tasks"
	default:
		c.Status, c.Reason = True, "Converged"
	}
	return c
}

// lost tells that the server was tried and did not answer.
func (s ServerStatus) lost() bool { return !s.Reachable && s.Error != "" }

// followed says whether the source is followed.
func (l *Loop) followed(source Origin) Condition {
	if s := l.suspension; s != nil {
		message := s.String()
		if l.waiting != nil {
			message += "; " + l.waiting.String()
		}
		return Condition{Type: Suspended, Status: True, Reason: s.Reason, Message: message}
	}
	c := Condition{Type: Suspended, Status: False, Reason: "Following", Message: "follows the " + source.String()}
	switch source.Kind {
	case "":
		c.Reason, c.Message = "NoSource", "no source has been given yet"
	case "pinned":
		c.Reason, c.Message = "Pinned", "the spec is pinned: no source can change it"
	}
	return c
}

// ofWorker derives what a worker says of itself; a is what is planned for it.
func (l *Loop) ofWorker(w WorkerStatus, a Action, server ServerStatus, now time.Time) []Condition {
	out := []Condition{workerReady(w, server)}
	if gerund, ok := gerunds[a.Verb]; ok {
		out = append(out, Condition{Type: Reconciling, Status: True, Reason: gerund, Message: a.Reason})
	}
	stalled := Condition{Type: Stalled, Status: True}
	r := l.retries[w.Name]
	switch {
	case a.Stalled:
		stalled.Reason, stalled.Message = "NoGPU", a.Reason
	case a.Verb == Wait && !a.Until.IsZero() && now.After(a.Until.Add(overdue)):
		stalled.Reason, stalled.Message = "Overdue", "task "+a.Task+" should have ended by "+a.Until.UTC().Format(time.RFC3339)
	case r != nil && r.backoff.tries >= manyTries:
		stalled.Reason, stalled.Message = "NoEffect", fmt.Sprintf("%s had no effect %d times", a.Verb, r.backoff.tries)
	case w.Message != "" && !w.busy() && !expected(w.Code):
		stalled.Reason, stalled.Message = cmp.Or(w.Code, "Held"), w.Message
	default:
		return out
	}
	return append(out, stalled)
}

// expected tells that a worker which is held is as its spec wants it, and that the hold
// ends by itself.
func expected(code string) bool {
	return slices.Contains([]string{HeldByWindow, HeldByLimit, HeldByGPU, HeldByOnce}, code)
}

// gerunds are the reasons of Reconciling.
var gerunds = map[Verb]string{
	Start: "Starting", Update: "Updating", Drain: "Draining", Stop: "Stopping", Forget: "Forgetting", Wait: "WaitingForTask",
	Requeue: "EndingTask", End: "EndingTask",
}

// workerReady says whether the worker takes tasks: one that runs a task is ready
// when it will take another.
func workerReady(w WorkerStatus, server ServerStatus) Condition {
	c := Condition{Type: Ready, Status: False}
	switch {
	case w.State == StateStopped:
		c.Reason, c.Message = "Stopped", "takes no task any more"
	case w.Draining:
		c.Reason, c.Message = "Draining", "goes when its task has ended"
	case w.Cordoned():
		c.Reason, c.Message = "Cordoned", "takes no task until agentctl uncordon "+w.Name
		if w.Order.Policy != "" {
			c.Reason = "Drained"
		}
		if w.Order.Reason != "" {
			c.Message += ": " + w.Order.Reason
		}
	case w.busy():
		c.Status, c.Reason = True, "Busy"
	case server.lost():
		c.Reason, c.Message = "ServerUnreachable", server.Error
	case w.Message != "":
		c.Reason, c.Message = cmp.Or(w.Code, "Held"), w.Message
	default:
		c.Status, c.Reason = True, "Idle"
	}
	return c
}

// unstarted lists workers that are not there and can't be, or were told to start many
// times.
func (l *Loop) unstarted(p Plan) []string {
	return lo.FilterMap(p.Actions, func(a Action, _ int) (string, bool) {
		if a.Stalled {
			return a.Worker + ": " + a.Reason, true
		}
		r := l.retries[a.Worker]
		return fmt.Sprintf("%s: %s had no effect", a.Worker, a.Verb), a.Verb == Start && r != nil && r.backoff.tries >= manyTries
	})
}

// summary tells a plan in one line.
func summary(p Plan) string {
	return some(lo.Map(p.Actions, func(a Action, _ int) string {
		if a.Verb == Wait {
			return "wait: " + a.Reason
		}
		return fmt.Sprintf("%s %s: %s", a.Verb, a.Worker, a.Reason)
	}))
}

// some joins what is said of several workers, and counts what goes too far.
func some(parts []string) string {
	if len(parts) > maxNamed {
		parts = append(parts[:maxNamed:maxNamed], fmt.Sprintf("and %d more", len(parts)-maxNamed))
	}
	return strings.Join(parts, "; ")
}
