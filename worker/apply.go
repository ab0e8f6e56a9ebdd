package worker

import (
	"fmt"
	"time"

	"agentctl/clearml"
	"agentctl/reconcile"
	"agentctl/spec"
)

// Apply carries out a plan. It only marks what is to be; it never waits.
func (p *Pool) Apply(node *spec.Node, actions []reconcile.Action) {
	p.mu.Lock()
	if p.node == nil || Limits(p.node.Spec.Cache) != Limits(node.Spec.Cache) || p.node.Spec.Sandbox.Images != node.Spec.Sandbox.Images {
		hint(p.grown) // limits hold from now on, for what earlier agents left as well
	}
	p.node = node
	for _, a := range actions {
		p.act(a)
	}
	p.mu.Unlock()
	p.stir()
	hint(p.changed)
}

func (p *Pool) act(a reconcile.Action) {
	s := p.workers[a.Worker]
	switch a.Verb {
	case reconcile.Start, reconcile.Update:
		if s == nil {
			s = &slot{state: reconcile.StateIdle, since: time.Now()}
			p.workers[a.Worker] = s
		}
		s.spec, s.gpus, s.hold = *a.Spec, a.Slots, hold{}
		s.drain(false)
	case reconcile.Drain:
		if s != nil {
			s.drain(true)
		}
	case reconcile.Requeue, reconcile.End:
		p.endTask(s, a)
	case reconcile.Stop:
		// A plan made before a task was leased must not drop the task's worker.
		if s != nil && s.run == nil {
			delete(p.workers, a.Worker)
		} else if s != nil {
			s.drain(true)
		}
	case reconcile.Wait:
	}
}

// drain notes that s is to go when its task has ended, or that it may stay. The
// task's record has it too: the deadline of a drain must not begin anew with each
// agent.
func (s *slot) drain(on bool) {
	if s.draining == on {
		return
	}
	s.draining, s.drained = on, time.Time{}
	if on {
		s.drained = time.Now()
	}
	if s.run != nil {
		drained := s.drained
		s.run.note(func(rec *Record) { rec.Draining = drained })
		r := s.run
		r.pool.runs.Go(func() {
			if err := r.save(false); err != nil {
				r.log.Warn("drain not recorded, its deadline would begin anew with another agent", "error", err)
			}
		})
	}
}

// endTask begins to end the task that a plan has judged, if s has it still.
func (p *Pool) endTask(s *slot, a reconcile.Action) {
	if s == nil || s.run == nil || s.run.rec.Task != a.Task {
		return
	}
	r, why := s.run, clip(a.Reason, 1000)
	final := Final{Status: clearml.StatusStopped, Reason: "stopped by agentctl", Message: why}
	if a.Verb == reconcile.Requeue {
		final = Final{Status: clearml.StatusQueued, Reason: "requeued by agentctl", Message: why}
	}
	ending := string(a.Verb)
	if a.Force {
		ending = reconcile.EndingForced
	}
	r.mu.Lock()
	r.ending = ending // at once: the next plan must not ask again
	r.rec.Saves = !a.Force
	r.mu.Unlock()
	p.runs.Go(func() {
		r.stop(final)
		if a.Force {
			r.kill()
		}
	})
}

// StopTask stops a task that runs here: SIGTERM, the worker's grace, then kill.
// Its final status is stopped.
func (p *Pool) StopTask(id string) error {
	r := p.find(id)
	if r == nil {
		return fmt.Errorf("cannot stop the task %s: it does not run on this node", id)
	}
	r.note(func(rec *Record) { rec.Saves = true })
	r.stop(Final{Status: clearml.StatusStopped, Reason: "stopped by agentctl", Message: "stopped by the operator of " + r.rec.WorkerID()})
	r.cutCallback()
	if !r.stopsTask() {
		return fmt.Errorf("cannot stop the task %s: this node is giving it back, so stop it on the server", id)
	}
	return nil
}

func (p *Pool) find(id string) *run {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.workers {
		if s.run != nil && s.run.rec.Task == id {
			return s.run
		}
	}
	return nil
}
