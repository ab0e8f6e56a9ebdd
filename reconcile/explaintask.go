package reconcile

import (
	"fmt"
	"slices"
	"time"
)

// ExplainTask says why a task does not run.
func (s *Snapshot) ExplainTask(t TaskFacts) []Finding {
	for _, w := range s.Workers {
		if w.Task != nil && w.Task.ID == t.ID {
			return []Finding{ofRunning(w)}
		}
	}
	f := Finding{About: t.ID, Message: "its status is " + t.Status}
	switch {
	case !t.Exists:
		f.Code, f.Message = WhyNoTask, "the server has no task of that id"
	case t.Queue != nil:
		return s.waiting(t)
	case t.Status == "queued":
		f.Code, f.Message = WhyLost, "it is queued and in no queue: whoever took it did not start it; enqueue it again if that lasts"
	case t.Status == "in_progress":
		f.Code, f.Message, f.OK = WhyElsewhere, "it runs on another node, or by hand: "+t.Message, true
	case t.Status == "created":
		f.Code, f.Message = WhyNotQueued, "it is in no queue; enqueue it"
	default:
		f.Code, f.OK = WhyEnded, true
		if t.Reason != "" {
			f.Message += ": " + t.Reason
		}
		if t.Message != "" {
			f.Message += " (" + t.Message + ")"
		}
	}
	return []Finding{f}
}

// waiting is of a task in a queue.
func (s *Snapshot) waiting(t TaskFacts) []Finding {
	i := slices.Index(t.Queue.Tasks, t.ID)
	f := Finding{Code: WhyPosition, About: t.ID, Message: fmt.Sprintf("it is number %d of %d in the queue %s", i+1, len(t.Queue.Tasks), t.Queue.Name), OK: true}
	return append(append([]Finding{f}, s.obstacles()...), s.Serving(*t.Queue)...)
}

// ofRunning is of a task that a worker of this node has.
func ofRunning(w WorkerStatus) Finding {
	t := w.Task
	f := Finding{Code: WhyRuns, About: t.ID, Message: "runs on " + w.Name, Until: t.Deadline, OK: true}
	switch {
	case t.Ending != "":
		f.Code, f.Message = WhyEnding, "is being ended on "+w.Name
	case t.Waiting:
		f.Code, f.Message = WhyLock, t.Doing
	case w.State == StateLeasing:
		f.Code, f.Message = WhyPreparing, "is being taken by "+w.Name
	case w.State == StatePreparing:
		f.Code, f.Message = WhyPreparing, "is being prepared on "+w.Name+": "+t.Phase
		if t.Doing != "" {
			f.Message += ": " + t.Doing
		}
	case !t.Started.IsZero():
		f.Message += " since " + t.Started.UTC().Format(time.RFC3339)
	}
	return f
}
