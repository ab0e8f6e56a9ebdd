package worker

import (
	"cmp"
	"errors"
	"time"

	"agentctl/clearml"
	"agentctl/runtime"
	"agentctl/spec"
)

// stopProcess asks the shim to end the task, after it has saved its state if it is to.
func (r *run) stopProcess(proc *runtime.Task, reason string) {
	r.mu.Lock()
	w, sig, saves := r.rec.Worker, r.rec.Checkpoint, r.rec.Saves
	r.mu.Unlock()
	var err error
	if grace := time.Duration(w.StopGrace); sig != "" && saves {
		err = proc.Checkpoint(sig, time.Duration(w.Drain.Checkpoint.Grace), grace, reason)
	} else {
		err = proc.Stop(grace, reason)
	}
	if err != nil {
		r.log.Error("cannot stop task", "error", err)
	}
}

// checkpointSignal is the one that a task has asked for, "" for none.
func checkpointSignal(choice string, w spec.Worker) string {
	if choice == "true" {
		return cmp.Or(w.Drain.Checkpoint.Signal, spec.DefaultCheckpointSignal)
	}
	return choice
}

// stop ends the task with the given final status: its preparation is cancelled,
// its processes get SIGTERM and, after the worker's grace, are killed.
func (r *run) stop(final Final) {
	if proc := r.order(final, false); proc != nil {
		r.stopProcess(proc, final.Reason)
	}
}

// order records that the task is to end so, and ends its preparation. It returns the
// process that is to be stopped, nil if there is none or an order came before.
func (r *run) order(final Final, callback bool) *runtime.Task {
	r.mu.Lock()
	// One that ends by itself, and whose end is being reported, is what the server is
	// about to say.
	open, first := !r.left && r.rec.Phase != PhaseEnded && !r.rec.Phase.over(), r.final == nil
	// A task that was to be put back would run again.
	counts := open && (first || r.final.Status == clearml.StatusQueued && final.Status != clearml.StatusQueued)
	if counts {
		r.final, r.rec.Stop = &final, &final
		r.rec.Aborting = first && callback && r.proc != nil
	}
	proc, cancel := r.proc, r.cancel
	r.mu.Unlock()
	if !counts {
		return nil
	}
	r.log.Info("stopping task", "reason", final.Reason)
	r.show("stopping")
	// Written first: an agent that dies here must not report a failure.
	if err := r.save(false); err != nil {
		r.log.Error("stop not recorded", "error", err)
	}
	if !first { // its process is being ended already
		return nil
	}
	if cancel != nil {
		cancel(errors.New(final.Reason))
	}
	return proc
}

// stopsTask tells whether somebody has asked for the end of the task, and not for another
// run of it.
func (r *run) stopsTask() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	end := cmp.Or(r.rec.Final, r.final)
	return end != nil && end.Status != clearml.StatusQueued
}

// kill ends a task that is being stopped without waiting any longer.
func (r *run) kill() {
	r.mu.Lock()
	proc, left := r.proc, r.left
	r.mu.Unlock()
	if proc == nil || left {
		return
	}
	if err := proc.Kill(); err != nil {
		r.log.Error("cannot kill task", "error", err)
	}
}

// attached records that the task runs. A stop that came before is carried out.
// No failure in it ends the run: the task's process is there, and is followed.
func (r *run) attached(proc *runtime.Task) {
	r.mu.Lock()
	r.proc = proc
	r.rec.Containment, r.rec.MountNS = proc.Containment(), proc.MountNS()
	final, aborting := r.final, r.rec.Aborting
	r.mu.Unlock()
	if err := r.enter(PhaseRunning, false); err != nil {
		r.log.Error("running task not recorded", "error", err)
	}
	switch {
	case final == nil:
	case aborting:
		hint(r.aborted)
	default:
		r.stopProcess(proc, final.Reason)
	}
}
