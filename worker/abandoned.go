package worker

import (
	"context"
	"errors"
	"maps"
	"time"

	"agentctl/clearml"
	"agentctl/internal/crash"
	"agentctl/spec"
)

// putBackTask is one that this node has put back into its queue while it ran.
type putBackTask struct {
	server  spec.Server
	started clearml.Time // as the server has it, of the run before
	since   time.Time
}

const (
	// abandonedEvery is the time between two looks at such tasks, and putBackLife how
	// long they are looked at.
	abandonedEvery = 30 * time.Second
	putBackLife    = 24 * time.Hour
)

// rememberPutBack has the task looked at from now on.
func (p *Pool) rememberPutBack(rec *Record) {
	if rec.Final == nil || rec.Final.Status != clearml.StatusQueued || rec.ServerStarted.IsZero() {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.putBackTasks[rec.Task] = putBackTask{server: rec.Server, started: rec.ServerStarted, since: rec.Ended}
}

// watchPutBack mends what a ClearML Server makes of a task that was put back while it
// ran and that a user takes out of its queue: it is "in progress" again there, and
// nobody runs it.
func (p *Pool) watchPutBack(ctx context.Context) {
	for ctx.Err() == nil {
		p.nap(ctx, abandonedEvery)
		p.mu.Lock()
		tasks := maps.Clone(p.putBackTasks)
		p.mu.Unlock()
		for id, t := range tasks {
			if settled, err := p.lookPutBack(ctx, id, t); err != nil || settled {
				p.forgetPutBack(id, err)
			}
		}
	}
}

func (p *Pool) forgetPutBack(id string, err error) {
	if err != nil && !clearml.IsRefused(err) {
		return // the server does not answer: the next look will tell
	}
	if err != nil {
		p.cfg.Log.Warn("cannot stop a task that nobody runs", "task", id, "error", err)
	}
	p.mu.Lock()
	delete(p.putBackTasks, id)
	p.mu.Unlock()
}

// lookPutBack tells whether there is nothing more to be seen of a task.
func (p *Pool) lookPutBack(ctx context.Context, id string, t putBackTask) (settled bool, err error) {
	p.mu.Lock()
	active := p.active(id)
	p.mu.Unlock()
	if active || time.Since(t.since) > putBackLife {
		return true, nil
	}
	conn, err := p.conn.get(ctx, t.server)
	if err != nil {
		return false, err
	}
	if conn.Embedded { // which has it stopped
		return true, nil
	}
	task, err := conn.Client.Task(ctx, id)
	switch {
	case errors.Is(err, clearml.ErrTaskGone):
		return true, nil
	case err != nil:
		return false, err
	case task.Status == clearml.StatusQueued:
		return false, nil
	case task.Status != clearml.StatusInProgress || !task.Started.Equal(t.started.Time):
		return true, nil // whoever starts a task gives it a new time
	}
	crash.Point("requeue.abandoned")
	p.cfg.Log.Info("stopping a task that was taken out of its queue", "task", id)
	return true, conn.Client.Stopped(ctx, id, "taken out of its queue", "it was put back by its node before, and nobody runs it")
}
