package server

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"agentctl/internal/crash"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// tx is one request's part of a transaction. It is used by the writer goroutine
// alone, inside the function that was handed to store.update.
type tx struct {
	*view
	now     int64 // µs
	changed []string
	after   []func()
}

// touch names something that the transaction changed, for those who wait for it.
func (t *tx) touch(topic string) { t.changed = append(t.changed, topic) }

// onCommit registers what is to be done once the change is durable.
func (t *tx) onCommit(f func()) { t.after = append(t.after, f) }

type job struct {
	ctx  context.Context
	run  func(*tx) error
	tx   tx
	err  error
	done chan struct{}
}

var (
	errClosed  = errors.New("the server is shutting down")
	errStorage = errors.New("the store failed")
)

// update runs f in a transaction and returns after its commit is durable. An
// error of f undoes what f did and nothing else. f may run for a request that
// has gone away meanwhile, but not when it had gone before f's turn.
func (s *store) update(ctx context.Context, f func(*tx) error) error {
	j := &job{ctx: ctx, run: f, done: make(chan struct{})}
	select {
	case <-s.closing:
		return errClosed
	default:
	}
	select {
	case s.jobs <- j:
	case <-s.closing:
		return errClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case <-j.done:
		return j.err
	case <-s.stopped: // accepted at the very end; the writer looks once more before it goes
		select {
		case <-j.done:
			return j.err
		default:
			return errClosed
		}
	}
}

// Limits of one group commit: a request must not wait long for others' work.
const (
	maxGroup     = 512
	maxGroupTime = 10 * time.Millisecond
)

func (s *store) writer() {
	defer close(s.stopped)
	for {
		select {
		case j := <-s.jobs:
			s.group(j)
			continue
		default:
		}
		select {
		case j := <-s.jobs:
			s.group(j)
		case <-s.closing:
			for {
				select {
				case j := <-s.jobs:
					s.group(j)
				default:
					return
				}
			}
		}
	}
}

// group runs first and what waits behind it in one transaction. There is no
// pause for more to come: while a commit waits for the disk, the next group
// gathers by itself.
func (s *store) group(first *job) {
	began := time.Now()
	if _, err := s.write.exec("BEGIN IMMEDIATE"); err != nil {
		s.fail([]*job{first}, err)
		return
	}
	done := []*job{first}
	broken := s.runOne(first)
	for !broken && len(done) < maxGroup && time.Since(began) < maxGroupTime {
		var next *job
		select {
		case next = <-s.jobs:
		default:
		}
		if next == nil {
			break
		}
		done = append(done, next)
		broken = s.runOne(next)
	}
	s.commit(done, broken)
}

// runOne runs one job in a savepoint. It tells true when the whole transaction
// is lost, as after a full disk.
func (s *store) runOne(j *job) (broken bool) {
	if err := j.ctx.Err(); err != nil {
		j.err = context.Cause(j.ctx)
		return false
	}
	if _, err := s.write.exec("SAVEPOINT job"); err != nil {
		j.err = fmt.Errorf("%w: %w", errStorage, err)
		return true
	}
	j.tx = tx{view: &s.write, now: s.now().UnixMicro()}
	j.err = s.guarded(j)
	if j.err == nil {
		if _, err := s.write.exec("RELEASE job"); err != nil {
			j.err = fmt.Errorf("%w: %w", errStorage, err)
			return true
		}
		return false
	}
	j.err = storageError(j.err)
	if _, err := s.write.exec("ROLLBACK TO job"); err != nil {
		return true
	}
	_, err := s.write.exec("RELEASE job")
	return err != nil
}

// storageError marks errors that come from the disk and not from the request:
// the client is told to try again, and nothing was done.
func storageError(err error) error {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Code() & 0xff { // the low byte is the primary code
	case sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_BUSY:
		return fmt.Errorf("%w: %w", errStorage, err)
	}
	return err
}

// guarded turns a panic of one request's code into that request's error: the
// writer must live for the others.
func (s *store) guarded(j *job) (err error) {
	defer func() {
		if r := recover(); r != nil {
			s.log.Error("a write panicked", "panic", r, "stack", string(debug.Stack()))
			err = fmt.Errorf("internal error: %v", r)
		}
	}()
	return j.run(&j.tx)
}

func (s *store) commit(done []*job, broken bool) {
	var err error
	if broken {
		err = errors.New("the transaction was lost")
	} else {
		crash.Point("server.commit")
		_, err = s.write.exec("COMMIT")
	}
	if err != nil {
		// Fails when SQLite has rolled back by itself, which is what is wanted.
		_, _ = s.write.exec("ROLLBACK")
		s.fail(done, err)
		return
	}
	crash.Point("server.committed")
	s.publish(done)
}

// publish wakes who waits for the changes, then answers. The order is of no
// matter to a waiter: it reads what is committed.
func (s *store) publish(done []*job) {
	var topics []string
	for _, j := range done {
		if j.err == nil {
			topics = append(topics, j.tx.changed...)
		}
	}
	if len(topics) > 0 {
		s.notify.publish(topics)
	}
	for _, j := range done {
		if j.err == nil {
			for _, f := range j.tx.after {
				f()
			}
		}
		close(j.done)
	}
}

// fail answers jobs whose transaction did not come about.
func (s *store) fail(jobs []*job, err error) {
	s.log.Error("store failed", "error", err, "requests", len(jobs))
	for _, j := range jobs {
		if j.err == nil {
			j.err = fmt.Errorf("%w: %w", errStorage, err)
		}
		close(j.done)
	}
}
