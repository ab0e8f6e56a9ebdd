package worker

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"agentctl/clearml"
	"agentctl/internal/crash"
	"agentctl/reconcile"
	"agentctl/runtime"
)

// run is one task on one worker, from its lease to its report. Its goroutine
// owns everything but what mu guards.
type run struct {
	pool    *Pool
	worker  string
	dirs    folders
	journal *journal
	log     *slog.Logger
	conn    Conn
	task    *clearml.Task
	proc    *runtime.Task
	release []func() // leases of environment and checkout, dropped at the end
	unsure  bool     // whether all of the task is dead
	resumed bool     // an earlier agent began it
	forced  bool     // it is started whatever its status was
	box     *waiting // a sandbox that was made ahead, until the task is started in it

	aborted chan struct{} // a hint that the task is to end after its abort callback

	// cancel ends the preparation when the task is stopped before it runs.
	cancel context.CancelCauseFunc

	saving sync.Mutex // orders the lines of the journal and guards its opening; taken before mu
	mu     sync.Mutex
	rec    *Record // its fields change under mu only
	phase  string  // what the status shows, finer than the record's phase
	loaded int64   // bytes of a download, of size
	size   int64
	final  *Final // set when somebody stops the task; a stop takes the place of a requeue alone
	ending string // how, for the status
	left   bool   // the agent goes, or drops the task: what is done to it now would be forgotten
	// doing is what the step said last, waiting that another process does it.
	doing   string
	waiting bool
}

func newRun(p *Pool, worker string, rec *Record) *run {
	return &run{
		pool: p, worker: worker, rec: rec, dirs: p.taskDir(rec.Task),
		log:   p.cfg.Log.With("worker", worker, "task", rec.Task),
		phase: string(rec.Phase), aborted: make(chan struct{}, 1),
	}
}

// enter writes that the task is in phase now. It comes before the effect.
func (r *run) enter(phase Phase, durable bool) error {
	r.note(func(rec *Record) {
		rec.Phase, rec.Since = phase, time.Now()
		r.phase, r.loaded, r.size, r.doing, r.waiting = string(phase), 0, 0, "", false
	})
	err := r.save(durable)
	crash.Point("task." + string(phase))
	return err
}

// open opens the task's journal.
func (r *run) open() (err error) {
	r.saving.Lock()
	defer r.saving.Unlock()
	r.journal, err = openJournal(r.dirs.root)
	return err
}

// save appends the record as it is to the journal. Two savers can't pass each
// other, so the last line is always the newest.
func (r *run) save(durable bool) error {
	r.saving.Lock()
	defer r.saving.Unlock()
	copied := r.noted()
	if r.journal == nil { // the first step is still to be written, with all this in it
		return nil
	}
	return r.journal.append(&copied, durable)
}

// note changes the record without a step.
func (r *run) note(change func(*Record)) {
	r.mu.Lock()
	change(r.rec)
	r.mu.Unlock()
	hint(r.pool.changed)
}

// noted is the record as it is now, for those who do not own the run.
func (r *run) noted() Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	return *r.rec
}

// show sets what the status says the task is doing.
func (r *run) show(phase string) {
	r.mu.Lock()
	r.phase, r.loaded, r.size = phase, 0, 0
	r.mu.Unlock()
	hint(r.pool.changed)
}

// span records how long a part took.
func (r *run) span(name string, since time.Time) {
	took := time.Since(since)
	r.note(func(rec *Record) { rec.Times = append(rec.Times, Span{name, took}) })
}

// fresh is the life of a task that was found in a queue.
func (r *run) fresh(ctx context.Context) {
	conn, err := r.pool.conn.get(ctx, r.rec.Server)
	if err == nil {
		r.conn = conn
		err = r.lease(ctx)
	}
	if err != nil {
		r.giveUp(ctx, err)
		return
	}
	if err := r.started(ctx); err != nil {
		r.refused(ctx, err)
		return
	}
	r.execute(ctx)
}

// execute prepares and runs a task that the server holds to be in progress.
func (r *run) execute(ctx context.Context) {
	// Only now may the watch judge the task: before, the server holds it queued.
	r.pool.enterState(r, reconcile.StatePreparing)
	err := r.prepareAndStart(ctx)
	if ctx.Err() != nil {
		r.leave() // the agent ends; the next one goes on from the record
		return
	}
	if err != nil {
		r.finish(ctx, r.failure(err))
		return
	}
	r.supervise(ctx)
}

// supervise follows a task that runs under its shim until its end is reported.
func (r *run) supervise(ctx context.Context) {
	r.pool.enterState(r, reconcile.StateRunning)
	follow, stopFollowing := context.WithCancel(ctx)
	defer stopFollowing()
	var side sync.WaitGroup
	side.Go(func() { r.announce(follow) })
	side.Go(func() { r.stopAborted(follow) })
	side.Go(func() {
		if err := r.sender().deliver(follow); err != nil && follow.Err() == nil {
			r.log.Error("console not delivered whole", "error", err)
		}
	})
	exit, err := r.proc.Wait(ctx)
	if ctx.Err() != nil {
		side.Wait() // its context is a child of the one that ended
		r.leave()
		return
	}
	if err != nil {
		r.log.Error("task's end can't be told", "error", err)
		r.unsure = true
		exit = runtime.Exit{Reason: runtime.Lost, Message: err.Error(), Code: -1, Ended: time.Now()}
		stopFollowing()
	}
	r.note(func(rec *Record) { rec.Exit, rec.Ended = &exit, exit.Ended })
	side.Wait()
	if ctx.Err() != nil {
		r.leave()
		return
	}
	r.closingLine(exit)
	r.finish(ctx, r.outcome(exit))
}
