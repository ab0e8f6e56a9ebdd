package worker

import (
	"context"
	"errors"
	"fmt"
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

	// cancel ends the preparation when the task is stopped before it runs.
	cancel context.CancelCauseFunc

	saving sync.Mutex // orders the lines of the journal; taken before mu
	mu     sync.Mutex
	rec    *Record // its fields change under mu only
	phase  string  // what the status shows, finer than the record's phase
	final  *Final  // set once when somebody stops the task
}

func newRun(p *Pool, worker string, rec *Record) *run {
	return &run{
		pool: p, worker: worker, rec: rec, dirs: p.taskDir(rec.Task),
		log:   p.cfg.Log.With("worker", worker, "task", rec.Task),
		phase: string(rec.Phase),
	}
}

// enter writes that the task is in phase now. It comes before the effect.
func (r *run) enter(phase Phase, durable bool) error {
	r.note(func(rec *Record) {
		rec.Phase, rec.Since = phase, time.Now()
		r.phase = string(phase)
	})
	err := r.save(durable)
	crash.Point("task." + string(phase))
	return err
}

// save appends the record as it is to the journal. Two savers can't pass each
// other, so the last line is always the newest.
func (r *run) save(durable bool) error {
	r.saving.Lock()
	defer r.saving.Unlock()
	r.mu.Lock()
	copied := *r.rec
	r.mu.Unlock()
	return r.journal.append(&copied, durable)
}

// note changes the record without a step.
func (r *run) note(change func(*Record)) {
	r.mu.Lock()
	change(r.rec)
	r.mu.Unlock()
	hint(r.pool.changed)
}

// show sets what the status says the task is doing.
func (r *run) show(phase string) {
	r.mu.Lock()
	r.phase = phase
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

// failure is the end of a task whose preparation failed or was stopped.
func (r *run) failure(err error) Final {
	r.mu.Lock()
	final := r.final
	r.mu.Unlock()
	if final != nil {
		return *final
	}
	r.say("ERROR: %v", err)
	r.log.Warn("task could not be started", "error", err)
	return Final{Status: clearml.StatusFailed, Reason: "cannot start the task", Message: clip(err.Error(), 1000)}
}

// finish reports the task's end until the server has accepted or refused it, and
// frees the worker.
func (r *run) finish(ctx context.Context, final Final) {
	r.note(func(rec *Record) {
		rec.Final = &final
		if rec.Ended.IsZero() {
			rec.Ended = time.Now()
		}
	})
	if err := r.enter(PhaseEnded, true); err != nil {
		r.log.Error("task's end not recorded", "error", err)
	}
	r.report(ctx, final)
}

// report is finish from PhaseEnded on, which recovery enters directly.
func (r *run) report(ctx context.Context, final Final) {
	// The rest of the console: what preparation said, or the closing line.
	last := r.sender()
	last.last = true
	if err := last.deliver(ctx); err != nil && ctx.Err() == nil {
		r.log.Error("console not delivered whole", "error", err)
	}
	err := r.insist(ctx, func() error { return r.sendFinal(ctx, final) })
	if ctx.Err() != nil {
		r.leave()
		return
	}
	if err != nil {
		// The server's word wins: the task was reset, deleted or moved meanwhile.
		r.log.Warn("server refused the task's final status", "status", final.Status, "error", err)
	}
	if err := r.enter(PhaseReported, false); err != nil {
		r.log.Error("task's report not recorded", "error", err)
	}
	r.checkBase(ctx)
	r.log.Info("task ended", "status", final.Status, "reason", final.Reason)
	r.done()
}

func (r *run) sendFinal(ctx context.Context, f Final) error {
	c, id := r.conn.Client, r.rec.Task
	switch f.Status {
	case clearml.StatusCompleted:
		return c.Completed(ctx, id, f.Reason, f.Message)
	case clearml.StatusFailed:
		return c.Failed(ctx, id, f.Reason, f.Message)
	case clearml.StatusStopped:
		return c.Stopped(ctx, id, f.Reason, f.Message)
	}
	return nil
}

// stop ends the task with the given final status: its preparation is cancelled,
// its processes get SIGTERM and, after the worker's grace, are killed.
func (r *run) stop(final Final) {
	r.mu.Lock()
	first := r.final == nil
	if first {
		r.final, r.rec.Stop = &final, &final
	}
	proc, cancel, grace := r.proc, r.cancel, time.Duration(r.rec.Worker.StopGrace)
	r.mu.Unlock()
	if !first {
		return
	}
	r.log.Info("stopping task", "reason", final.Reason)
	r.show("stopping")
	// Written first: an agent that dies here must not report a failure.
	if err := r.save(false); err != nil {
		r.log.Error("stop not recorded", "error", err)
	}
	if cancel != nil {
		cancel(errors.New(final.Reason))
	}
	if proc != nil {
		if err := proc.Stop(grace, final.Reason); err != nil {
			r.log.Error("cannot stop task", "error", err)
		}
	}
}

// giveUp drops a task that was not leased.
func (r *run) giveUp(ctx context.Context, err error) {
	if ctx.Err() != nil {
		r.leave()
		return
	}
	r.pool.stale.Store(true)
	wait := time.Duration(0)
	if !errors.Is(err, errNotOurs) {
		r.log.Warn("task not leased", "error", err)
		wait = 5 * time.Second
	}
	r.drop(wait)
}

// refused handles a task that was popped but that the server doesn't let start.
func (r *run) refused(ctx context.Context, err error) {
	if ctx.Err() != nil {
		r.leave()
		return
	}
	r.log.Warn("server does not let the task start", "error", err)
	r.drop(0)
}

func (r *run) drop(wait time.Duration) {
	if r.journal != nil {
		if err := r.enter(PhaseDropped, false); err != nil {
			r.log.Error("dropped task not recorded", "error", err)
		}
		r.journal.close()
		_ = runtime.RemoveAll(r.dirs.root)
	}
	r.pool.freed(r, wait)
}

// leave ends the goroutine and nothing else: the agent goes, the task stays.
func (r *run) leave() {
	if r.proc != nil {
		r.proc.Detach()
	}
	if r.journal != nil {
		r.journal.close()
	}
	r.dropLeases()
}

// done cleans up after a reported task.
func (r *run) done() {
	r.dropLeases()
	if err := r.dirs.removePrivate(); err != nil {
		r.log.Warn("task's folders not removed", "error", err)
	}
	r.journal.close()
	r.pool.freed(r, 0)
	r.pool.forgetOld()
}

func (r *run) dropLeases() {
	for _, release := range r.release {
		release()
	}
	r.release = nil
}

// say writes a line of the agent's own to the task's console.
func (r *run) say(format string, args ...any) {
	line := time.Now().Format("15:04:05.000") + " agentctl: " + fmt.Sprintf(format, args...) + "\n"
	if err := runtime.AppendConsole(r.dirs.root, runtime.StreamAgent, []byte(line)); err != nil {
		r.log.Warn("line not written to the console", "error", err)
	}
}

func (r *run) sender() *sender {
	return &sender{
		dir: r.dirs.root, task: r.rec.Task, worker: r.rec.WorkerID(), log: r.log,
		server: insisting{r}, retry: pause,
	}
}

// insisting gives a sender the connection as it is now: the way to the server
// may be made anew while a task runs.
type insisting struct{ r *run }

func (i insisting) AddEvents(ctx context.Context, events []clearml.LogEvent) error {
	conn, err := i.r.pool.conn.get(ctx, i.r.rec.Server)
	if err != nil {
		return err
	}
	err = conn.Client.AddEvents(ctx, events)
	if err != nil && !clearml.IsRefused(err) {
		i.r.pool.conn.lost(i.r.rec.Server, err)
	}
	return err
}

func (i insisting) LastLogEvents(ctx context.Context, task string, n int) ([]clearml.LogEvent, error) {
	conn, err := i.r.pool.conn.get(ctx, i.r.rec.Server)
	if err != nil {
		return nil, err
	}
	return conn.Client.LastLogEvents(ctx, task, n)
}

func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[:n] + "…"
}
