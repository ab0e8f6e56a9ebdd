package worker

import (
	"context"
	"errors"
	"time"

	"agentctl/clearml"
)

// reclaimAfter is how long a task may be queued and in no queue before the agent
// that meant to pop it takes it for its own lost pop: another agent may be
// between its pop and its start.
const reclaimAfter = 3 * time.Second

// reclaim settles a pop whose answer, or whose agent, was lost: the task goes
// back to the head of its queue if the pop took it out. It returns errNotOurs.
func (r *run) reclaim(ctx context.Context) error {
	sent, failures := false, 0
	var since time.Time // it is seen so
	for {
		popped, err := r.popped(ctx)
		if err == nil && popped && since.IsZero() {
			since = time.Now()
		}
		if err == nil && popped && r.stopsTask() {
			return errNotOurs // it is stopped where it is: in its queue another agent would take it
		}
		if err == nil && popped && time.Since(since) > reclaimAfter {
			// Once, and then the task is looked at again: after a lost answer another agent
			// may have popped it, and a second enqueue would have it run twice.
			err = r.conn.Client.Enqueue(ctx, r.rec.Task, r.rec.Queue, "put back by agentctl", false)
			sent, since, popped = true, time.Now(), err != nil
		}
		if err == nil && !popped && sent {
			err = r.conn.Client.MoveToFront(ctx, r.rec.Queue, r.rec.Task)
		}
		switch {
		case err == nil && !popped, clearml.IsRefused(err):
			return errNotOurs
		case err == nil:
			failures = 0 // it may be another agent's, between its pop and its start
		default:
			r.pool.conn.lost(r.rec.Server, err)
			failures++
		}
		if err := pause(ctx, max(failures, 2)); err != nil {
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

// strayed gives a task back to the head of its queue that an old server popped in place
// of the one that was asked for. It is written down first, since it is in no queue now.
func (r *run) strayed(ctx context.Context, task string) error {
	r.note(func(rec *Record) { rec.Stray = task })
	if err := r.save(false); err != nil {
		r.log.Error("task that was popped by mistake not recorded", "popped", task, "error", err)
	}
	return r.returnStray(ctx)
}

func (r *run) returnStray(ctx context.Context) error {
	if r.rec.Stray == "" {
		return errNotOurs
	}
	err := r.insist(ctx, func() error {
		err := r.conn.Client.Enqueue(ctx, r.rec.Stray, r.rec.Queue, "put back by agentctl", false)
		if err != nil && !clearml.IsStatusConflict(err) {
			return err
		}
		return r.conn.Client.MoveToFront(ctx, r.rec.Queue, r.rec.Stray)
	})
	if err != nil && !clearml.IsRefused(err) {
		return err
	}
	return errNotOurs
}
