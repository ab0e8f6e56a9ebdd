package worker

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"agentctl/clearml"
	"agentctl/internal/crash"
	"agentctl/reconcile"

	"github.com/samber/lo"
	"golang.org/x/sync/errgroup"
)

// errNotOurs means that the task went to somebody else, or is no longer to run.
var errNotOurs = errors.New("the task is not at the head of its queue any more")

// pulledBy begins the status message of a task that a worker has taken; its id
// follows, and a space.
const pulledBy = "pulled by "

// begin starts the goroutine of a task on worker s. The pool's mutex is held.
func (p *Pool) begin(ctx context.Context, s *slot, queueName, queue, task string) {
	if !validID.MatchString(task) {
		p.cfg.Log.Error("a queue holds an entry that is no task id", "queue", queueName, "task", fmt.Sprintf("%.80q", task))
		s.notUntil = time.Now().Add(time.Minute)
		s.hold = hold{reconcile.HeldByError, "the queue " + queueName + " holds an entry that is no task id", s.notUntil}
		return
	}
	r := newRun(p, s.spec.Name, &Record{
		Task: task, Queue: queue, QueueName: queueName, Server: p.node.Spec.Server, Git: p.node.Spec.Git, ResolveAge: p.node.Spec.Cache.ResolveAge,
		Worker: s.spec, Slots: s.gpus, Phase: PhaseIntent, Leased: time.Now(),
	})
	s.run, s.hold = r, hold{}
	p.setState(s, reconcile.StateLeasing)
	p.runs.Go(func() { r.fresh(ctx) })
}

// setState records a change of s; the pool's mutex is held.
func (p *Pool) setState(s *slot, state reconcile.WorkerState) {
	s.state, s.since = state, time.Now()
	hint(p.changed)
}

// lease takes the task off its queue: intent to disk, pop, started. Its record
// is read while the intent is written, so that a warm task waits for neither.
func (r *run) lease(ctx context.Context) error {
	if err := r.dirs.create(); err != nil {
		return err
	}
	if err := r.open(); err != nil {
		return err
	}
	var both errgroup.Group
	both.Go(func() error { return r.enter(PhaseIntent, true) })
	both.Go(func() (err error) { r.task, err = r.conn.Client.Task(ctx, r.rec.Task); return err })
	if err := both.Wait(); err != nil && !errors.Is(err, clearml.ErrTaskGone) {
		return err
	}
	if r.task != nil {
		r.note(func(rec *Record) { rec.Name, rec.Failures = clip(r.task.Name, 200), failuresOf(r.task.StatusReason) })
	}
	crash.Point("lease.intent")
	return r.pop(ctx)
}

// pop takes the task off its queue, if it is the head.
func (r *run) pop(ctx context.Context) error {
	popped, err := r.conn.Client.NextTask(ctx, r.rec.Queue, r.rec.Task)
	crash.Point("lease.popped")
	hint(r.pool.kick) // the queue has a new head, for another worker
	if err != nil {
		if clearml.IsRefused(err) {
			return err
		}
		return r.reclaim(ctx)
	}
	switch popped {
	case r.rec.Task:
		return r.honourStop(ctx)
	case "":
	default:
		return r.strayed(ctx, popped)
	}
	return errNotOurs
}

// honourStop keeps a task stopped that a user stopped while it waited: the pop
// of a ClearML Server makes it queued again, and it would run.
func (r *run) honourStop(ctx context.Context) error {
	if r.task == nil || r.task.Status != clearml.StatusStopped {
		return nil
	}
	err := r.insist(ctx, func() error {
		return r.conn.Client.Stopped(ctx, r.rec.Task, "task was stopped while queued", "")
	})
	if err != nil && !clearml.IsRefused(err) {
		return err
	}
	return errNotOurs
}

// started tells the server that the task runs. It goes on until the server has
// accepted or refused it. Before each attempt but the first at the embedded server,
// whose leases see to it, the task is looked at: a ClearML Server starts one that was
// stopped or taken back after the pop all the same, and the start wipes a stop request.
func (r *run) started(ctx context.Context) error {
	// The task is off its queue: were it dropped for want of a record, nobody had it.
	if err := r.enter(PhaseLeased, false); err != nil {
		r.log.Error("leased task not recorded", "error", err)
	}
	look, sent, gone := !r.conn.Embedded && !r.forced, false, false
	err := r.insist(ctx, func() error {
		if !r.reports() {
			return nil
		}
		if look {
			s, exists, err := r.state(ctx)
			if err != nil {
				return err
			}
			if accepted := sent && s.Status == clearml.StatusInProgress; accepted || !exists || s.Status != clearml.StatusQueued && !r.forced {
				gone = !accepted
				return nil
			}
		}
		look, sent = true, true
		return r.conn.Client.Started(ctx, r.rec.Task, "pulled by agentctl", r.pulled(), r.forced)
	})
	crash.Point("lease.started")
	if err == nil && gone {
		err = errNotOurs
	}
	if err != nil {
		return err
	}
	r.note(func(rec *Record) { rec.Started = time.Now() })
	if err := r.enter(PhasePreparing, false); err != nil {
		r.log.Error("started task not recorded", "error", err)
	}
	return nil
}

// pulled is the status message of a task that this worker has started.
func (r *run) pulled() string {
	return pulledBy + r.rec.WorkerID() + " from " + lo.Ternary(r.rec.QueueName == "", "no queue", "queue "+r.rec.QueueName)
}

// state is the server's word on the task now.
func (r *run) state(ctx context.Context) (s clearml.TaskState, exists bool, err error) {
	states, _, err := r.conn.Client.TaskStates(ctx, []string{r.rec.Task}, 0, 0)
	if err != nil || len(states) == 0 {
		return s, false, err
	}
	return states[0], true, nil
}

// insist repeats a call that may be repeated until the server has answered it:
// an error it returns is the server's refusal, or the end of ctx.
func (r *run) insist(ctx context.Context, call func() error) error {
	for attempt := 0; ; attempt++ {
		err := call()
		if err == nil || clearml.IsRefused(err) {
			return err
		}
		if attempt == 0 {
			r.log.Warn("server does not answer, trying again", "error", err)
		}
		r.pool.conn.lost(r.rec.Server, err)
		if perr := pause(ctx, attempt); perr != nil {
			return perr
		}
		// The way to the server may have changed: the embedded one was started again.
		if conn, cerr := r.pool.conn.get(ctx, r.rec.Server); cerr == nil {
			r.conn = conn
		}
	}
}

// WorkerID is the ClearML id of the worker that leased the task.
func (rec *Record) WorkerID() string { return rec.Worker.ID }

func (p *Pool) taskDir(id string) folders { return folders{filepath.Join(p.tasks, id)} }
