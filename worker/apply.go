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
		s.spec, s.draining, s.message = *a.Spec, false, ""
	case reconcile.Drain:
		if s != nil {
			s.draining = true
		}
	case reconcile.Stop:
		// A plan made before a task was leased must not drop the task's worker.
		if s != nil && s.run == nil {
			delete(p.workers, a.Worker)
		} else if s != nil {
			s.draining = true
		}
	case reconcile.Wait:
	}
}

// StopTask stops a task that runs here: SIGTERM, the worker's grace, then kill.
// Its final status is stopped.
func (p *Pool) StopTask(id string) error {
	r := p.find(id)
	if r == nil {
		return fmt.Errorf("cannot stop the task %s: it does not run on this node", id)
	}
	r.stop(Final{Status: clearml.StatusStopped, Reason: "stopped by agentctl", Message: "stopped by the operator of " + r.rec.WorkerID()})
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
