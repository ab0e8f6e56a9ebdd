package worker

import (
	"context"
	"slices"
	"time"

	"agentctl/clearml"
	"agentctl/reconcile"
	"agentctl/spec"
)

// createdFor is how long a running task must be seen as "created" before it
// counts as reset: other clients set a task to created for a moment while they
// move it.
const createdFor = 3 * time.Second

// watchTasks looks at the status of all running tasks with one request at a
// time, and stops those that the server no longer holds to be running.
func (p *Pool) watchTasks(ctx context.Context) {
	created := map[string]time.Time{}
	revision := int64(0)
	var looked []string
	for failures := 0; ctx.Err() == nil; {
		server, interval, runs := p.watched()
		if len(runs) == 0 {
			select { // idle: nothing wakes before a task begins
			case <-ctx.Done():
			case <-p.begun:
			}
			continue
		}
		ids := make([]string, 0, len(runs))
		for id := range runs {
			ids = append(ids, id)
		}
		slices.Sort(ids)
		if !slices.Equal(ids, looked) {
			revision, looked = 0, ids
		}
		states, next, err := p.taskStates(ctx, server, ids, revision)
		if err != nil {
			if ctx.Err() == nil {
				_ = pause(ctx, failures)
				failures, revision = failures+1, 0
			}
			continue
		}
		failures, revision = 0, next
		judge(runs, states, created, time.Now())
		p.revive(ctx, runs, states)
		if next == 0 || len(created) > 0 {
			p.nap(ctx, interval)
		}
	}
}

// watchWait is how long a server that can wait holds a look at the tasks. It is
// short, so that a task that has just begun is soon among those looked at.
const watchWait = 2 * time.Second

func (p *Pool) taskStates(ctx context.Context, server spec.Server, ids []string, since int64) ([]clearml.TaskState, int64, error) {
	conn, err := p.conn.get(ctx, server)
	if err != nil {
		return nil, 0, err
	}
	return conn.Client.TaskStates(ctx, ids, since, watchWait)
}

// watched returns the running tasks of one server, the one of the first task by
// name; tasks of another server, after server.url has changed, take turns.
func (p *Pool) watched() (spec.Server, time.Duration, map[string]*run) {
	p.mu.Lock()
	defer p.mu.Unlock()
	byServer := map[spec.Server]map[string]*run{}
	for _, s := range p.workers {
		if s.run == nil || s.state != reconcile.StatePreparing && s.state != reconcile.StateRunning {
			continue
		}
		k := key(s.run.rec.Server)
		if byServer[k] == nil {
			byServer[k] = map[string]*run{}
		}
		byServer[k][s.run.rec.Task] = s.run
	}
	for server, runs := range byServer { // map order: every server has its turn
		return server, p.interval(), runs
	}
	return spec.Server{}, p.interval(), nil
}

// interval is the time between two looks at tasks. The mutex is held.
func (p *Pool) interval() time.Duration {
	if p.node == nil {
		return 2 * time.Second
	}
	return time.Duration(p.node.Spec.Server.PollInterval)
}

func (p *Pool) pollInterval() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.interval()
}

func (p *Pool) nap(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// judge stops the runs whose tasks are to run no longer. An answer to a request
// is only used for tasks that were in progress when it was sent.
func judge(runs map[string]*run, states []clearml.TaskState, created map[string]time.Time, now time.Time) {
	seen := map[string]clearml.TaskState{}
	for _, s := range states {
		seen[s.ID] = s
	}
	for id, r := range runs {
		state, ok := seen[id]
		if ok && state.Status == clearml.StatusCreated {
			if created[id].IsZero() {
				created[id] = now
			}
			if now.Sub(created[id]) < createdFor {
				continue
			}
		}
		delete(created, id)
		switch final, stop := verdict(state, ok); {
		case ok && r.replaced(state):
			r.stop(Final{Reason: "task was started anew by somebody else"})
		case stop && state.StopRequested():
			r.abort(final)
		case stop:
			r.stop(final)
		}
	}
	for id := range created {
		if runs[id] == nil {
			delete(created, id)
		}
	}
}

// verdict tells whether a running task whose server-side state is s must stop,
// and what to report in the end; an empty final leaves the server's word alone.
func verdict(s clearml.TaskState, exists bool) (Final, bool) {
	if !exists {
		return Final{Reason: "task was deleted on the server"}, true
	}
	switch s.Status {
	case clearml.StatusInProgress:
		if s.StopRequested() {
			return Final{clearml.StatusStopped, "task was stopped by tasks.stop", "stopped at the request of a user"}, true
		}
		return Final{}, false
	case clearml.StatusStopped:
		if silenced(s) {
			return Final{}, false
		}
		fallthrough
	case clearml.StatusFailed, clearml.StatusClosed, clearml.StatusPublished, clearml.StatusQueued:
		return Final{Reason: "task was set to " + s.Status + " on the server"}, true
	case clearml.StatusCreated:
		return Final{Reason: "task was reset on the server"}, true
	}
	return Final{}, false // completed: the task may say so itself while it ends
}

// replaced tells whether the task is in progress by another start than this run's: while
// the server was out of reach a user had reset it, and another worker runs it.
func (r *run) replaced(s clearml.TaskState) bool {
	r.mu.Lock()
	began := r.rec.ServerStarted
	switch {
	case s.Status != clearml.StatusInProgress:
		// What has an end may be started again by the task's own code, or by revive.
		r.rec.ServerStarted = clearml.Time{}
	case began.IsZero():
		r.rec.ServerStarted = s.Started
	}
	r.mu.Unlock()
	if s.Status != clearml.StatusInProgress || s.Started.IsZero() || s.Started.Equal(began.Time) {
		return false
	}
	if !began.IsZero() {
		return true
	}
	if err := r.save(false); err != nil { // or the next agent could not tell
		r.log.Warn("start of the task not recorded", "error", err)
	}
	return false
}

// forcedStop is in what a server says of a task whose agent it has not heard of for two
// hours.
const forcedStop = "Forced stop (non-responsive)"

// silenced tells whether the server alone has stopped the task, since it heard nothing
// of it: no user wants its end, and it runs.
func silenced(s clearml.TaskState) bool {
	return s.Status == clearml.StatusStopped && (s.StatusReason == forcedStop || s.StatusMessage == forcedStop)
}

// revive starts tasks again that the server has stopped while it could not be reached:
// an outage, however long, ends no task that runs.
func (p *Pool) revive(ctx context.Context, runs map[string]*run, states []clearml.TaskState) {
	for _, s := range states {
		r := runs[s.ID]
		if r == nil || !silenced(s) || !r.goesOn() || !r.reports() {
			continue
		}
		conn, err := p.conn.get(ctx, r.rec.Server)
		if err == nil {
			err = conn.Client.Started(ctx, s.ID, "the agent can be reached again", r.pulled(), false)
		}
		if err != nil { // the next look tries again
			r.log.Warn("running task not set in progress again", "error", err)
			continue
		}
		r.log.Info("running task set in progress again, the server had stopped it for want of a sign of life")
	}
}

// goesOn tells that nobody has asked for the end of the run, and that it has not come.
func (r *run) goesOn() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.final == nil && !r.left && r.rec.Phase != PhaseEnded && !r.rec.Phase.over()
}
