package worker

import (
	"context"

	"agentctl/internal/crash"
	"agentctl/runtime"
)

// How a task came to its sandbox, for its record.
const (
	sandboxAhead  = "ahead"  // it waited for the task
	sandboxBeside = "beside" // it was made beside environment and checkout
	sandboxCold   = "cold"   // it was made when these were there
)

// findSandbox has the task's sandbox made while its environment and its checkout are,
// unless one waits that fits. Without either the task gets its sandbox as it is
// started, and what is wrong with it is told then.
func (r *run) findSandbox(ctx context.Context, p *prepared) {
	if p.box == nil || !makesAhead(r.rec.Worker) {
		return
	}
	if r.box = r.pool.spares.take(r.worker, lastTask{r.task.Container, p.rule.number()}, p.box.laid); r.box != nil {
		crash.Point("spare.taken")
		return
	}
	made, err := r.pool.spares.beside(ctx, p.box.laid)
	if err != nil {
		r.log.Debug("no sandbox was made ahead", "reason", err)
		return
	}
	r.box = made
}

// dropSandbox removes the sandbox that the task did not come to.
func (r *run) dropSandbox() {
	if r.box != nil {
		r.pool.spares.remove(r.box)
		r.box = nil
	}
}

// launch starts the task, in the sandbox that was made ahead if there is one: as long
// as nothing of the task has run, another can take its place.
func (r *run) launch(ctx context.Context, cfg runtime.Config, p *prepared) (*runtime.Task, error) {
	if box := r.box; box != nil {
		r.box = nil
		proc, err := box.box.Start(ctx, cfg, p.leases()...)
		box.used()
		if err == nil || ctx.Err() != nil {
			r.note(func(rec *Record) { rec.Sandbox = box.how })
			return proc, err
		}
		r.log.Info("the sandbox that was made ahead is not used", "reason", err)
	}
	proc, err := r.pool.cfg.Launcher.Start(ctx, cfg, p.leases()...)
	if p.box != nil {
		r.note(func(rec *Record) { rec.Sandbox = sandboxCold })
	}
	return proc, err
}
