package worker

import (
	"slices"
	"time"

	"agentctl/clearml"
	"agentctl/reconcile"
	"agentctl/runtime"
)

// enterState records what the worker of r is doing.
func (p *Pool) enterState(r *run, state reconcile.WorkerState) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.workers[r.worker]; s != nil && s.run == r {
		p.setState(s, state)
	}
	hint(p.begun)
	// The lease of this queue's head is settled: its next task can be leased.
	p.stir()
}

// freed makes the worker of r free again, after a pause if wait is not zero.
func (p *Pool) freed(r *run, wait time.Duration) {
	status := r.status()
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.workers[r.worker]; s != nil && s.run == r {
		s.run, s.notUntil = nil, time.Now().Add(wait)
		if r.rec.Phase == PhaseReported {
			s.last = &status
			s.served++
		}
		p.setState(s, reconcile.StateIdle)
	}
	if r.rec.Phase == PhaseReported {
		p.remember(status)
	}
	p.stir()
	hint(p.changed)
}

// remember adds an ended task to what the status shows.
func (p *Pool) remember(t reconcile.TaskStatus) {
	p.ended = slices.DeleteFunc(p.ended, func(o reconcile.TaskStatus) bool { return o.ID == t.ID })
	p.ended = slices.Insert(p.ended, 0, t)
}

// forgetOld removes the folders of the oldest ended tasks beyond keepEnded.
func (p *Pool) forgetOld() {
	p.mu.Lock()
	var old []reconcile.TaskStatus
	if len(p.ended) > keepEnded {
		old = slices.Clone(p.ended[keepEnded:])
		p.ended = p.ended[:keepEnded]
	}
	active := map[string]bool{}
	for _, s := range p.workers {
		if s.run != nil {
			active[s.run.rec.Task] = true
		}
	}
	p.mu.Unlock()
	for _, t := range old {
		if active[t.ID] {
			continue
		}
		if err := runtime.RemoveAll(p.taskDir(t.ID).root); err != nil {
			p.cfg.Log.Warn("old task folder not removed", "task", t.ID, "error", err)
		}
	}
}

// status is the task as the node's status shows it.
func (r *run) status() reconcile.TaskStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.rec.status()
	t.Ending = r.ending
	if !r.rec.Phase.over() {
		t.Phase, t.Done, t.Total, t.Doing, t.Waiting = r.phase, r.loaded, r.size, r.doing, r.waiting
	}
	return t
}

func (rec *Record) status() reconcile.TaskStatus {
	t := reconcile.TaskStatus{
		ID: rec.Task, Name: rec.Name, Worker: rec.Worker.Name, Queue: rec.QueueName, Phase: string(rec.Phase),
		Leased: rec.Leased, Started: rec.Started, Ended: rec.Ended,
		Environment: rec.Environment, EnvKey: rec.EnvKey, LockKey: rec.LockKey, Manager: rec.Manager, Why: rec.Why, Commit: rec.Commit,
		Containment: rec.Containment, MountNS: rec.MountNS, Slots: rec.Slots, Sandbox: rec.Sandbox,
		Image: rec.Image, ImageDigest: rec.ImageDigest, Network: rec.Network, User: rec.User, HostUser: rec.HostUser,
		Status: clearml.StatusInProgress,
	}
	if rule := rulingOf(rec.Worker, rec.Rule); rule != nil {
		t.Rule = rule.String()
	}
	for _, s := range rec.Times {
		t.Times = append(t.Times, reconcile.PhaseTime{Name: s.Name, Took: s.Took})
	}
	if limit := time.Duration(rec.Worker.MaxRuntime); limit > 0 && !rec.Started.IsZero() {
		t.Deadline = rec.Started.Add(limit)
	}
	if rec.Final != nil {
		t.Status, t.Message = rec.Final.Status, rec.Final.Message
		t.Reason = rec.Final.Reason
	}
	if rec.Exit != nil && rec.Exit.Reason != "" {
		code := rec.Exit.Code
		t.ExitCode = &code
	}
	return t
}
