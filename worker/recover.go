package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"agentctl/clearml"
	"agentctl/reconcile"
	"agentctl/runtime"
)

// Recover reads the records that an earlier agent left and takes its tasks up
// where it died. It must be called before Run and before the first Apply, so
// that no worker is given a task while its old one runs.
//
//	died in     the next start
//	intent      puts the task back if the pop took it off its queue, drops the record;
//	            one that this worker has started all the same is reported as lost
//	leased      starts it on the server and goes on, unless it is somebody else's by now
//	preparing   prepares it again
//	starting    re-attaches if the shim came up, else prepares again
//	running     re-attaches; a shim that is gone is reported as such
//	ended       reports the end
//	reported    keeps it for `get tasks`
func (p *Pool) Recover(ctx context.Context) error {
	if err := os.MkdirAll(p.tasks, 0o711); err != nil {
		return fmt.Errorf("cannot create the tasks folder: %w", err)
	}
	if err := p.loadOrders(); err != nil {
		return err
	}
	p.spares.sweep(ctx) // a sandbox that was being handed to a task must not be taken for it
	p.sweepBuilds(ctx)  // later, one of this agent's could be taken for an earlier one's
	recs, errs := readRecords(p.tasks)
	for _, err := range errs {
		p.cfg.Log.Error("task folder not usable, left as it is", "error", err)
	}
	defer p.freeQuotas()
	p.sweepNetworks(ctx, len(errs) == 0 && !slices.ContainsFunc(recs, p.mayRun))
	slices.SortFunc(recs, func(a, b *Record) int { return b.Ended.Compare(a.Ended) })
	for _, rec := range recs {
		switch rec.Phase {
		case PhaseReported:
			p.ended = append(p.ended, rec.status())
			p.rememberPutBack(rec)
		case PhaseDropped:
			_ = runtime.RemoveAll(p.taskDir(rec.Task).root)
		default:
			if err := p.resume(ctx, rec); err != nil {
				return err
			}
		}
	}
	return nil
}

// mayRun tells whether something of the task may run: it, or the build of its environment.
func (p *Pool) mayRun(rec *Record) bool {
	switch rec.Phase {
	case PhaseStarting, PhaseRunning, PhaseEnded:
		return runtime.Lives(p.taskDir(rec.Task).root)
	}
	return !rec.Phase.over()
}

// resume gives the task of rec its worker and its goroutine back.
func (p *Pool) resume(ctx context.Context, rec *Record) error {
	name := rec.Worker.Name
	for p.workers[name] != nil {
		name += "'" // two records of one worker: neither task may be lost
	}
	w := rec.Worker
	w.Name = name
	r := newRun(p, name, rec)
	r.final, r.resumed = rec.Stop, true
	if err := r.open(); err != nil {
		return err
	}
	p.workers[name] = &slot{
		spec: w, state: reconcile.StateLeasing, since: time.Now(), run: r,
		gpus: rec.Slots, draining: !rec.Draining.IsZero(), drained: rec.Draining,
	}
	r.log.Info("taking up a task of an earlier agent", "phase", rec.Phase)
	// Before anything new runs: what they write to may be others' as well.
	if err := r.dirs.discardBoxes(ctx, r.pool.cfg.Launcher); err != nil {
		r.log.Error("sandboxes that prepared the task not ended", "error", err)
	}
	p.runs.Go(func() { r.takeUp(ctx) })
	return nil
}

// takeUp goes on with a task from the phase in its record.
func (r *run) takeUp(ctx context.Context) {
	if r.rec.Phase == PhaseStarting || r.rec.Phase == PhaseRunning {
		proc, err := runtime.Attach(r.dirs.root)
		switch {
		case err == nil:
			r.reattach(ctx, proc)
			return
		case !errors.Is(err, runtime.ErrNoRun) || r.rec.Phase == PhaseRunning:
			r.log.Error("cannot look for the task's shim", "error", err)
			r.untold(ctx, err)
			return
		}
	}
	if err := r.reconnect(ctx); err != nil {
		r.leave()
		return
	}
	switch r.rec.Phase {
	case PhaseIntent:
		switch {
		case r.rec.Stray != "":
			r.giveUp(ctx, r.returnStray(ctx))
		case r.hadStarted():
			if proc, err := runtime.Attach(r.dirs.root); err == nil { // the disk was full, and it runs
				r.reattach(ctx, proc)
				return
			}
			r.untold(ctx, fmt.Errorf("nothing is recorded of its run: %w", runtime.ErrNoRun))
		default:
			r.giveUp(ctx, r.reclaim(ctx))
		}
	case PhaseEnded:
		r.report(ctx, *r.rec.Final)
	default:
		r.again(ctx)
	}
}

// reattach follows a shim that another agent started.
func (r *run) reattach(ctx context.Context, proc *runtime.Task) {
	r.attached(proc) // first: it can be stopped, however long its server is away
	if err := r.reconnect(ctx); err != nil {
		r.leave()
		return
	}
	r.supervise(ctx)
}

// hadStarted tells whether this worker has started the task, as the server has it, though
// its record does not say so: a power cut takes what no fsync has kept of it.
func (r *run) hadStarted() bool {
	return r.task != nil && r.task.Status == clearml.StatusInProgress && strings.HasPrefix(r.task.StatusMessage, pulledBy+r.rec.WorkerID()+" ")
}

// untold ends a run of which nothing can be told any more. It may have run, and may run
// still: it is never begun again.
func (r *run) untold(ctx context.Context, err error) {
	if r.reconnect(ctx) != nil {
		r.leave()
		return
	}
	r.unsure = !errors.Is(err, runtime.ErrNoRun)
	exit := runtime.Exit{Reason: runtime.Lost, Message: err.Error(), Code: -1, Ended: time.Now()}
	r.note(func(rec *Record) { rec.Exit, rec.Ended = &exit, exit.Ended })
	r.closingLine(exit)
	r.finish(ctx, r.outcome(exit))
}

// reconnect waits until the server of the task can be reached; the task, if it
// runs, goes on meanwhile.
func (r *run) reconnect(ctx context.Context) error {
	for attempt := 0; ; attempt++ {
		conn, err := r.pool.conn.get(ctx, r.rec.Server)
		if err == nil {
			r.conn = conn
			_ = r.insist(ctx, func() (err error) { r.task, err = r.conn.Client.Task(ctx, r.rec.Task); return err })
			return context.Cause(ctx) // a task that is gone is found by the watch
		}
		if err := pause(ctx, attempt); err != nil {
			return err
		}
	}
}

// again runs a task that was leased and never started: nothing of it has run, so
// it can be prepared anew, if the server still holds it to be this worker's.
func (r *run) again(ctx context.Context) {
	ours, started, err := r.stillOurs(ctx)
	if ctx.Err() != nil {
		r.leave()
		return
	}
	if err == nil && ours && !started {
		err = r.started(ctx)
	}
	if err != nil || !ours {
		r.refused(ctx, cmp.Or(err, errNotOurs))
		return
	}
	if err := errors.Join(r.dirs.discardBoxes(ctx, r.pool.cfg.Launcher), r.dirs.removePrivate()); err != nil {
		r.finish(ctx, r.failure(err))
		return
	}
	r.execute(ctx)
}

// stillOurs tells whether the task is this worker's, and whether the server was
// told that it has started. While the agent was away the embedded server may have
// put a task back that nobody started, and another worker may have taken it.
func (r *run) stillOurs(ctx context.Context) (ours, started bool, err error) {
	if r.task == nil {
		return false, false, nil
	}
	if r.task.Status == clearml.StatusInProgress {
		// Of several that run it together the first has started it.
		return !r.reports() || ranBy(r.task, r.rec.WorkerID()), true, nil
	}
	if r.rec.Phase != PhaseLeased {
		return false, false, nil
	}
	err = r.insist(ctx, func() (err error) { ours, err = r.popped(ctx); return err })
	return ours, false, err
}
