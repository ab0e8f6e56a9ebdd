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
	if !popped {
		return errNotOurs
	}
	return r.honourStop(ctx)
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

// reclaimAfter is how long a task may be queued and in no queue before the agent
// that meant to pop it takes it for its own lost pop: another agent may be
// between its pop and its start.
const reclaimAfter = 3 * time.Second

// reclaim settles a pop whose answer, or whose agent, was lost: the task goes
// back to the head of its queue if the pop took it out. It returns errNotOurs.
func (r *run) reclaim(ctx context.Context) error {
	for attempt := 0; ; attempt++ {
		popped, err := r.popped(ctx)
		switch {
		case err == nil && !popped, clearml.IsRefused(err):
			return errNotOurs
		case err == nil && time.Since(r.rec.Since) > reclaimAfter:
			if err := r.putBack(ctx); err != nil && !clearml.IsRefused(err) {
				return err
			}
			return errNotOurs
		case err != nil:
			r.pool.conn.lost(r.rec.Server, err)
		}
		if err := pause(ctx, attempt); err != nil {
			return err
		}
	}
}

// popped tells whether the task was taken off its queue without being started:
// it is queued, and in no queue.
func (r *run) popped(ctx context.Context) (bool, error) {
	task, err := r.conn.Client.Task(ctx, r.rec.Task)
	if errors.Is(err, clearml.ErrTaskGone) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	r.task = task
	if task.Status != clearml.StatusQueued {
		return false, nil
	}
	queues, _, err := r.conn.Client.Queues(ctx, []string{r.rec.Queue}, 0, 0)
	if err != nil {
		return false, err
	}
	for _, q := range queues {
		for _, id := range q.Tasks() {
			if id == r.rec.Task {
				return false, nil
			}
		}
	}
	return task.Execution.Queue == "" || task.Execution.Queue == r.rec.Queue, nil
}

// started tells the server that the task runs. It goes on until the server has
// accepted or refused it.
func (r *run) started(ctx context.Context) error {
	if err := r.enter(PhaseLeased, false); err != nil {
		return err
	}
	err := r.insist(ctx, func() error {
		return r.conn.Client.Started(ctx, r.rec.Task, "pulled by agentctl",
			pulledBy+r.rec.WorkerID()+" from "+lo.Ternary(r.rec.QueueName == "", "no queue", "queue "+r.rec.QueueName), r.forced)
	})
	crash.Point("lease.started")
	if err != nil {
		return err
	}
	r.note(func(rec *Record) { rec.Started = time.Now() })
	return r.enter(PhasePreparing, false)
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

// putBack gives a popped task back to the head of its queue.
func (r *run) putBack(ctx context.Context) error {
	return r.insist(ctx, func() error {
		err := r.conn.Client.Enqueue(ctx, r.rec.Task, r.rec.Queue, "put back by agentctl", false)
		if err != nil && !clearml.IsStatusConflict(err) {
			return err
		}
		return r.conn.Client.MoveToFront(ctx, r.rec.Queue, r.rec.Task)
	})
}

// WorkerID is the ClearML id of the worker that leased the task.
func (rec *Record) WorkerID() string { return rec.Worker.ID }

func (p *Pool) taskDir(id string) folders { return folders{filepath.Join(p.tasks, id)} }
