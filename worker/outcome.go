package worker

import (
	"fmt"
	"time"

	"agentctl/clearml"
	"agentctl/runtime"
)

// outcome turns the end of the process into the task's final status. What the
// node did to the task (a stop, a lost shim) is never reported as a failure of
// its code.
func (r *run) outcome(exit runtime.Exit) Final {
	r.mu.Lock()
	final := r.final
	r.mu.Unlock()
	by := "by worker " + r.rec.WorkerID()
	switch {
	case final != nil && (final.Status != clearml.StatusQueued || exit.Reason == runtime.Stopped || exit.Reason == runtime.Lost):
		return *final // but one that ended by itself in the moment it was to be put back has ended
	case exit.Reason == runtime.TimedOut:
		return Final{clearml.StatusFailed, "time limit reached", fmt.Sprintf("maxRuntime of %s reached, ended %s", time.Duration(r.rec.Worker.MaxRuntime), by)}
	case exit.Reason == runtime.StartFailed:
		return Final{clearml.StatusFailed, "cannot start the task", exit.Message}
	case exit.Reason == runtime.Lost:
		return r.nodeFailed(Final{clearml.StatusStopped, "agent lost", "the process that held the task is gone without a word (host restarted, or it was killed); " + exit.Message})
	case exit.Reason == runtime.OutOfMemory:
		return Final{clearml.StatusFailed, "out of memory", "a process of the task was killed for want of memory"}
	case exit.Signal != "":
		return Final{clearml.StatusFailed, "worker execution ended by signal " + exit.Signal, "Changed " + by}
	case exit.Code != 0:
		return Final{clearml.StatusFailed, fmt.Sprintf("worker execution exit code %d", exit.Code), "Changed " + by}
	}
	return Final{clearml.StatusCompleted, "worker execution done", "Changed " + by}
}

// closingLine ends the console as clearml-agent does.
func (r *run) closingLine(exit runtime.Exit) {
	final := r.outcome(exit)
	switch final.Status {
	case clearml.StatusCompleted:
		r.say("Process completed successfully%s", r.rank())
	case clearml.StatusFailed:
		if exit.Reason == runtime.Exited {
			r.say("Process failed, exit code %d%s", exit.Code, r.rank())
			return
		}
		r.say("Process failed: %s (%s)", final.Reason, final.Message)
	case clearml.StatusQueued:
		r.say("Process ended, and the task goes back to its queue: %s (%s)", final.Reason, final.Message)
	default:
		r.say("Process terminated: %s", final.Reason)
	}
}
