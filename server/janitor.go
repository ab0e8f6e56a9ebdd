package server

import (
	"context"
	"log/slog"
	"time"

	"agentctl/clearml"
)

// janitor does what is due with time: leases that end, running tasks without a
// sign of life, workers that went silent, events of deleted tasks.
type janitor struct {
	srv   *Server
	log   *slog.Logger
	lease chan struct{} // a hint: there is a new lease
	dirty chan struct{} // a hint: there are events to delete
}

func newJanitor(s *Server) *janitor {
	return &janitor{srv: s, log: s.log, lease: make(chan struct{}, 1), dirty: make(chan struct{}, 1)}
}

// leased says that there is a new lease.
func (j *janitor) leased() { hint(j.lease) }

// sweep says that there are events to delete.
func (j *janitor) sweep() { hint(j.dirty) }

func hint(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// watchdogEvery and silentAfter are ClearML's: a running task whose last_update
// is older is stopped.
const (
	watchdogEvery = 15 * time.Minute
	silentAfter   = 2 * time.Hour
)

// run works until ctx ends.
func (j *janitor) run(ctx context.Context) {
	watchdog := time.NewTicker(watchdogEvery)
	defer watchdog.Stop()
	leases := time.NewTimer(0)
	defer leases.Stop()
	armed := false // a lease is out and the timer is set for it
	keep := time.NewTicker(retainEvery)
	defer keep.Stop()
	j.purge(ctx)
	j.pack(ctx)
	j.retain(ctx)
	j.srv.files.sweep(ctx, j.log)
	for {
		select {
		case <-ctx.Done():
			j.writeAllStats(context.WithoutCancel(ctx))
			return
		case <-j.lease:
			if !armed {
				leases.Reset(j.srv.cfg.Lease)
				armed = true
			}
		case <-leases.C:
			next := j.returnLeases(ctx)
			if armed = next > 0; armed {
				leases.Reset(next)
			}
		case <-j.dirty:
			j.purge(ctx)
		case <-keep.C:
			j.retain(ctx)
			j.writeAllStats(ctx)
			j.srv.files.sweep(ctx, j.log)
		case <-watchdog.C:
			j.stopSilent(ctx)
			j.forgetWorkers(ctx)
		}
	}
}

// writeAllStats writes down what was gathered of workers and queues.
func (j *janitor) writeAllStats(ctx context.Context) {
	j.writeStats(ctx)
	if err := j.writeQueueStats(ctx); err != nil && ctx.Err() == nil {
		j.log.Error("statistics of queues not written", "error", err)
	}
}

// forgetWorkers drops workers that went silent.
func (j *janitor) forgetWorkers(ctx context.Context) {
	gone := j.srv.workers.expire(j.srv.now().UnixMicro())
	if len(gone) == 0 {
		return
	}
	err := j.srv.store.update(ctx, func(t *tx) error {
		_, err := t.exec(`DELETE FROM worker WHERE id IN (SELECT value FROM json_each(?))`, jsonList(gone))
		return err
	})
	if err != nil && ctx.Err() == nil {
		j.log.Error("silent workers not removed", "error", err)
	}
}

// returnLeases tells how long until the next lease ends, 0 when there is none.
func (j *janitor) returnLeases(ctx context.Context) time.Duration {
	var returned int
	var next, now int64
	err := j.srv.store.update(ctx, func(t *tx) (err error) {
		now = t.now
		returned, next, err = t.returnLeases()
		return err
	})
	switch {
	case err != nil:
		if ctx.Err() == nil {
			j.log.Error("leases not looked after", "error", err)
		}
		return time.Second
	case returned > 0:
		j.log.Warn("popped tasks were not started and are back in their queues", "tasks", returned)
	}
	if next == 0 {
		return 0
	}
	// Those that end shortly after each other go back together.
	return max(time.Duration(next-now)*time.Microsecond, j.srv.cfg.Lease/50)
}

// stopSilent is ClearML's watchdog.
func (j *janitor) stopSilent(ctx context.Context) {
	err := j.srv.store.update(ctx, func(t *tx) error {
		var silent []string
		err := t.each(`SELECT id FROM task WHERE status = 'in_progress' AND last_update < ? LIMIT 1000`, args(t.now-silentAfter.Microseconds()),
			func(scan func(...any) error) error {
				var id string
				defer func() { silent = append(silent, id) }()
				return scan(&id)
			})
		if err != nil {
			return err
		}
		for _, id := range silent {
			row, err := needTask(t.view, id)
			if err != nil {
				return err
			}
			ch := change{to: clearml.StatusStopped, reason: "Forced stop (non-responsive)", message: "Forced stop (non-responsive)"}
			if _, err := t.end(row, ch); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil && ctx.Err() == nil {
		j.log.Error("silent tasks not stopped", "error", err)
	}
}

// purgeRows is how many rows one transaction deletes: little enough that no
// request waits for it long.
const purgeRows = 2000

// purge deletes the events of dead streams.
func (j *janitor) purge(ctx context.Context) {
	if err := j.bitByBit(ctx, (*tx).purgeSome); err != nil && ctx.Err() == nil {
		j.log.Error("events of deleted tasks not removed", "error", err)
	}
}

// pack puts console lines that an older release has stored into chunks.
func (j *janitor) pack(ctx context.Context) {
	if err := j.bitByBit(ctx, (*tx).packRows); err != nil && ctx.Err() == nil {
		j.log.Error("consoles of an older release not packed", "error", err)
	}
}

// bitByBit repeats a step until there is no more to do; requests go in between.
func (j *janitor) bitByBit(ctx context.Context, step func(*tx) (bool, error)) error {
	for more := true; more && ctx.Err() == nil; {
		err := j.srv.store.update(ctx, func(t *tx) (err error) {
			more, err = step(t)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) purgeSome() (more bool, err error) {
	var stream int64
	found, err := t.one(`SELECT n FROM stream WHERE dead = 1 LIMIT 1`, nil, &stream)
	if err != nil || !found {
		return false, err
	}
	for _, text := range []string{
		`DELETE FROM log_chunk WHERE n IN (SELECT n FROM log_chunk WHERE stream = ? LIMIT ? / 50)`,
		`DELETE FROM log WHERE n IN (SELECT n FROM log WHERE stream = ? LIMIT ?)`,
		`DELETE FROM sample WHERE n IN (SELECT n FROM sample WHERE stream = ? LIMIT ?)`,
		`DELETE FROM scalar WHERE (series, iter) IN (SELECT c.series, c.iter FROM scalar c JOIN series s ON s.n = c.series WHERE s.stream = ? LIMIT ?)`,
		`DELETE FROM series WHERE n IN (SELECT n FROM series WHERE stream = ? LIMIT ?)`,
	} {
		n, err := t.exec(text, stream, purgeRows)
		if err != nil || n > 0 {
			return true, err
		}
	}
	if _, err := t.exec(`DELETE FROM trimmed WHERE stream = ?`, stream); err != nil {
		return true, err
	}
	_, err = t.exec(`DELETE FROM stream WHERE n = ?`, stream)
	return true, err
}
