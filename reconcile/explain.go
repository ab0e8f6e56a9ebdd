package reconcile

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/samber/lo"

	"agentctl/spec"
)

// Finding is one answer to why something does not run.
type Finding struct {
	// Code is one of the constants below, or of those of WorkerStatus.Code.
	Code string `json:"code"`
	// About is the worker, task or queue that it is about; "" is the node.
	About   string `json:"about,omitempty"`
	Message string `json:"message"`
	// Until is when that is over by itself; zero: nobody knows.
	Until time.Time `json:"until,omitzero"`
	// OK says that nothing is wrong: it is as it should be, or soon will be.
	OK bool `json:"ok,omitempty"`
}

// Codes of a Finding.
const (
	WhyNoSpec      = "NoSpec"            // no spec was accepted yet
	WhyNotAccepted = "SpecNotAccepted"   // the newest one is not in force
	WhySuspended   = "Suspended"         // the source is not followed
	WhyServer      = "ServerUnreachable" // no task can be taken
	WhyEmpty       = "QueueEmpty"
	WhyNoWorker    = "NoWorker"     // no worker of this node serves the queue
	WhyBusy        = "Busy"         // the worker has a task
	WhyDraining    = "Draining"     // it goes when its task has ended
	WhyCordoned    = "Cordoned"     // by an operator
	WhyDrained     = "Drained"      // by an operator
	WhyStalled     = "Stalled"      // what it waits for does not come by itself
	WhyPlanned     = "Planned"      // a step of the plan is to come
	WhyBehind      = "QueueBehind"  // tasks of an earlier queue go first
	WhyReady       = "Ready"        // it takes the next task at once
	WhyRuns        = "Runs"         // the task runs here
	WhyPreparing   = "Preparing"    // its environment is being made
	WhyLock        = "WaitsForLock" // another one makes the same environment
	WhyEnding      = "Ending"       // it is being stopped or put back
	WhyEnded       = "Ended"
	WhyElsewhere   = "RunsElsewhere"
	WhyNotQueued   = "NotQueued"      // it was never enqueued, or dequeued
	WhyLost        = "QueuedInNoList" // queued, and in no queue: a lost pop
	WhyPosition    = "Position"       // where in its queue it is
	WhyNoTask      = "NoSuchTask"
	WhyNoSuch      = "NoSuchWorker"
)

// QueueFacts is a queue as the server has it.
type QueueFacts struct {
	Name, ID string
	Exists   bool
	Tasks    []string // ids, head first
}

func (q QueueFacts) is(name string) bool { return name == q.ID || strings.EqualFold(name, q.Name) }

// TaskFacts is a task as the server has it.
type TaskFacts struct {
	ID     string
	Exists bool
	Status string
	// Reason and Message are those of the status.
	Reason, Message string
	// Queue it waits in, if it does.
	Queue *QueueFacts
}

// Explain says of a worker why it takes no task.
func (s *Snapshot) Explain(worker string) []Finding {
	out := s.obstacles()
	found := false
	for _, w := range s.Workers {
		if w.Name == worker || w.Spec.Group == worker {
			out, found = append(out, s.ofWorker(w)...), true
		}
	}
	for _, a := range s.Plan.Actions {
		if a.Worker == worker && !found {
			out, found = append(out, planned(a)), true
		}
	}
	if !found {
		out = append(out, Finding{Code: WhyNoSuch, About: worker, Message: "this node has no worker of that name: " + s.known()})
	}
	return out
}

// ExplainQueue says why the tasks of a queue don't run.
func (s *Snapshot) ExplainQueue(q QueueFacts) []Finding {
	out := s.obstacles()
	switch {
	case !q.Exists:
		out = append(out, Finding{Code: HeldByQueue, About: q.Name, Message: "the server has no queue of that name; create it, or enqueue to another"})
	case len(q.Tasks) == 0:
		out = append(out, Finding{Code: WhyEmpty, About: q.Name, Message: "no task waits in it", OK: true})
	default:
		out = append(out, Finding{Code: WhyPosition, About: q.Name, Message: fmt.Sprintf("%s in it; the first is %s", plural(len(q.Tasks), "task"), q.Tasks[0]), OK: true})
	}
	return append(out, s.Serving(q)...)
}

// Serving says of each worker of a queue why it does not take the next task of it.
func (s *Snapshot) Serving(q QueueFacts) []Finding {
	var out []Finding
	for _, w := range s.Workers {
		if !slices.ContainsFunc(w.Spec.Queues, q.is) {
			continue
		}
		findings := s.ofWorker(w)
		if i := slices.IndexFunc(w.Spec.Queues, q.is); i > 0 && w.Spec.Order == spec.OrderPriority && findings[0].Code == WhyReady {
			findings = []Finding{{Code: WhyBehind, About: w.Name, Message: "takes tasks of " + strings.Join(w.Spec.Queues[:i], ", ") + " first", OK: true}}
		}
		out = append(out, findings...)
	}
	for _, a := range s.Plan.Actions {
		if a.Spec != nil && a.Verb == Start && slices.ContainsFunc(a.Spec.Queues, q.is) || a.Verb == Wait && s.missing(a.Worker, q) {
			out = append(out, planned(a))
		}
	}
	if len(out) == 0 {
		out = append(out, Finding{Code: WhyNoWorker, About: q.Name, Message: "no worker of this node serves it: " + s.known()})
	}
	return out
}

// missing tells whether the worker of a Wait, which is not there yet, would serve q.
func (s *Snapshot) missing(worker string, q QueueFacts) bool {
	if s.Node == nil || slices.ContainsFunc(s.Workers, func(w WorkerStatus) bool { return w.Name == worker }) {
		return false
	}
	group, _, _ := strings.Cut(worker, "/")
	return slices.ContainsFunc(s.Node.Spec.Workers, func(g spec.WorkerSpec) bool { return g.Name == group && slices.ContainsFunc(g.Queues, q.is) })
}

// obstacles are what is wrong with the whole node.
func (s *Snapshot) obstacles() []Finding {
	var out []Finding
	if c, ok := s.Condition(SpecAccepted); ok && c.Status != True {
		f := Finding{Code: WhyNotAccepted, Message: "the last good spec is in force: " + c.Message}
		if s.Node == nil {
			f = Finding{Code: WhyNoSpec, Message: c.Message}
		}
		out = append(out, f)
	}
	if c, ok := s.Condition(Suspended); ok && c.Status == True {
		out = append(out, Finding{Code: WhySuspended, Message: c.Message})
	}
	if s.Server.lost() {
		out = append(out, Finding{Code: WhyServer, Message: s.Server.URL + ": " + s.Server.Error})
	}
	return out
}

// ofWorker says what a worker does, or what holds it.
func (s *Snapshot) ofWorker(w WorkerStatus) []Finding {
	f := Finding{About: w.Name}
	switch {
	case w.Task != nil && w.Draining:
		f.Code, f.Message, f.Until = WhyDraining, "goes when task "+w.Task.ID+" has ended", w.Task.Deadline
	case w.Order != nil:
		f.Code, f.Message = WhyCordoned, "takes no task until agentctl uncordon "+w.Name
		if w.Order.Policy != "" {
			f.Code = WhyDrained
		}
		if w.Order.Reason != "" {
			f.Message += ": " + w.Order.Reason
		}
	case w.Task != nil:
		f.Code, f.OK, f.Until = WhyBusy, true, w.Task.Deadline
		f.Message = fmt.Sprintf("has task %s, which is %s since %s", w.Task.ID, w.Task.Phase, w.Since.UTC().Format(time.RFC3339))
	case w.Code != "" || w.Message != "":
		f.Code, f.Message, f.Until, f.OK = w.Code, w.Message, w.Until, expected(w.Code)
		if f.Code == "" {
			f.Code = WhyStalled
		}
	case w.State == StateStopped:
		f.Code, f.Message = WhyPlanned, "has stopped"
	default:
		f.Code, f.Message, f.OK = WhyReady, "is free and takes the next task of "+strings.Join(w.Spec.Queues, ", "), true
	}
	out := []Finding{f}
	if c, ok := w.Condition(Stalled); ok && c.Reason != f.Code && c.Reason != "Held" {
		out = append(out, Finding{Code: WhyStalled, About: w.Name, Message: c.Message})
	}
	return out
}

// planned is a finding of a worker that is not there yet.
func planned(a Action) Finding {
	f := Finding{Code: WhyPlanned, About: a.Worker, Message: string(a.Verb) + ": " + a.Reason, Until: a.Until, OK: !a.Stalled}
	switch {
	case a.Stalled:
		f.Code = WhyStalled
	case a.Verb == Wait:
		f.Code = HeldByGPU
	}
	return f
}

// known lists what a person may have meant.
func (s *Snapshot) known() string {
	if len(s.Workers) == 0 {
		return "it has no workers"
	}
	return "it has " + some(lo.Map(s.Workers, func(w WorkerStatus, _ int) string {
		return w.Name + " (" + strings.Join(w.Spec.Queues, ", ") + ")"
	}))
}
