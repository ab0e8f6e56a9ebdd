package worker

import (
	"context"
	"errors"
	"time"

	"agentctl/clearml"
	"agentctl/internal/crash"
	"agentctl/runtime"
	"agentctl/spec"
)

// failure is the end of a task whose preparation failed or was stopped.
func (r *run) failure(err error) Final {
	r.mu.Lock()
	stopped := r.final
	r.mu.Unlock()
	if stopped != nil {
		return *stopped
	}
	r.say("ERROR: %v", err)
	r.log.Warn("task could not be started", "error", err)
	final := Final{Status: clearml.StatusFailed, Reason: "cannot start the task", Message: clip(err.Error(), 1000)}
	if ofTheNode(err) {
		if final = r.nodeFailed(final); final.Status == clearml.StatusQueued {
			r.say("%s", final.Reason)
		}
	}
	return final
}

// finish reports the task's end until the server has accepted or refused it, and
// frees the worker.
func (r *run) finish(ctx context.Context, final Final) {
	r.note(func(rec *Record) {
		rec.Final = &final
		if rec.Ended.IsZero() {
			rec.Ended = time.Now()
		}
	})
	if err := r.enter(PhaseEnded, true); err != nil {
		r.log.Error("task's end not recorded", "error", err)
	}
	r.report(ctx, final)
}

// report is finish from PhaseEnded on, which recovery enters directly.
func (r *run) report(ctx context.Context, final Final) {
	// The rest of the console: what preparation said, or the closing line.
	last := r.sender()
	last.last = true
	if err := last.deliver(ctx); err != nil && ctx.Err() == nil {
		r.log.Error("console not delivered whole", "error", err)
	}
	err := r.sendFinal(ctx, final)
	if ctx.Err() != nil {
		r.leave()
		return
	}
	if err != nil {
		// The server's word wins: the task was reset, deleted or moved meanwhile.
		r.log.Warn("server refused the task's final status", "status", final.Status, "error", err)
	}
	if err := r.enter(PhaseReported, false); err != nil {
		r.log.Error("task's report not recorded", "error", err)
	}
	r.pool.rememberPutBack(r.rec)
	r.checkBase(ctx)
	r.log.Info("task ended", "status", final.Status, "reason", final.Reason)
	r.done()
}

// sendFinal reports the final status, unless the server has a word of its own by now:
// a user may have reset the task, and it may wait in a queue or run elsewhere, where
// "stopped" or "completed" of this run would end that of another. So the task is looked
// at first, but for the first attempt at the embedded server, of which nothing can have
// been missed.
func (r *run) sendFinal(ctx context.Context, f Final) error {
	look := !r.conn.Embedded || r.resumed
	return r.insist(ctx, func() error {
		if look && f.Status != clearml.StatusQueued { // a requeue looks itself
			s, exists, err := r.state(ctx)
			if err != nil {
				return err
			}
			if !exists || !r.mine(s) {
				r.log.Info("the server's word on the task stands", "status", s.Status)
				return nil
			}
		}
		look = true
		return r.sendStatus(ctx, f)
	})
}

// mine tells whether the task may still be given an end by this run.
func (r *run) mine(s clearml.TaskState) bool {
	r.mu.Lock()
	began := r.rec.ServerStarted
	r.mu.Unlock()
	switch s.Status {
	case clearml.StatusInProgress:
		return began.IsZero() || s.Started.IsZero() || s.Started.Equal(began.Time)
	case clearml.StatusStopped:
		return silenced(s) // by the server alone, since it heard nothing of the task for long
	}
	return false
}

func (r *run) sendStatus(ctx context.Context, f Final) error {
	c, id := r.conn.Client, r.rec.Task
	if !r.reports() {
		return nil
	}
	switch f.Status {
	case clearml.StatusCompleted:
		return c.Completed(ctx, id, f.Reason, f.Message)
	case clearml.StatusFailed:
		return c.Failed(ctx, id, f.Reason, f.Message)
	case clearml.StatusStopped:
		return c.Stopped(ctx, id, f.Reason, f.Message)
	case clearml.StatusQueued:
		return r.requeue(ctx, f)
	}
	return nil
}

// done cleans up after a reported task.
func (r *run) done() {
	r.dropLeases()
	var keep []string
	if f := r.rec.Final; r.rec.Worker.Sandbox.Keep == spec.KeepOnFailure && f != nil && f.Status == clearml.StatusFailed {
		keep = append(keep, r.dirs.upper())
	}
	if err := r.dirs.removePrivate(keep...); err != nil {
		r.log.Warn("task's folders not removed", "error", err)
	}
	r.pool.freeQuotas()
	r.journal.close()
	r.pool.freed(r, r.pauseAfter())
	r.pool.forgetOld()
}

// leave ends the goroutine and nothing else: the agent goes, the task stays.
func (r *run) leave() {
	r.mu.Lock()
	r.left = true
	r.mu.Unlock()
	if r.proc != nil {
		r.proc.Detach()
	}
	if r.journal != nil {
		r.journal.close()
	}
	r.dropLeases()
}

func (r *run) dropLeases() {
	for _, release := range r.release {
		release()
	}
	r.release = nil
}

// giveUp drops a task that was not leased.
func (r *run) giveUp(ctx context.Context, err error) {
	if ctx.Err() != nil {
		r.leave()
		return
	}
	r.pool.stale.Store(true)
	wait := time.Duration(0)
	if !errors.Is(err, errNotOurs) {
		r.log.Warn("task not leased", "error", err)
		wait = 5 * time.Second
	}
	r.drop(ctx, wait)
}

// stopWaiting carries out a stop that came before it was certain whose the task is: it
// waits on the server, where it would be taken and run. Without one none is taken any
// more: nobody would carry it out.
func (r *run) stopWaiting(ctx context.Context) error {
	r.mu.Lock()
	wish := r.final
	none := wish == nil || wish.Status != clearml.StatusStopped
	r.left = r.left || none
	r.mu.Unlock()
	if none || !r.reports() {
		return nil
	}
	if r.conn.Client == nil {
		if err := r.reconnect(ctx); err != nil {
			return err
		}
	}
	err := r.insist(ctx, func() error {
		task, err := r.conn.Client.Task(ctx, r.rec.Task)
		if err != nil || task.Status != clearml.StatusQueued { // others run it, and are told by its status alone
			return err
		}
		return r.conn.Client.StopTask(ctx, r.rec.Task, wish.Reason, wish.Message)
	})
	crash.Point("lease.stopped")
	if errors.Is(err, clearml.ErrTaskGone) {
		return nil
	}
	return err
}

// refused handles a task that was popped but that the server doesn't let start.
func (r *run) refused(ctx context.Context, err error) {
	if ctx.Err() != nil {
		r.leave()
		return
	}
	r.log.Warn("server does not let the task start", "error", err)
	r.drop(ctx, 0)
}

// drop ends a run that had nothing of its task. It may wait in a queue by now.
func (r *run) drop(ctx context.Context, wait time.Duration) {
	if err := r.stopWaiting(ctx); err != nil {
		if ctx.Err() != nil {
			r.leave()
			return
		}
		r.log.Error("cannot stop task", "error", err)
	}
	if r.journal != nil {
		if err := r.enter(PhaseDropped, false); err != nil {
			r.log.Error("dropped task not recorded", "error", err)
		}
		r.journal.close()
		_ = runtime.RemoveAll(r.dirs.root)
	}
	r.pool.freed(r, wait)
}
