package shelf

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"agentctl/internal/fsx"
	"agentctl/internal/tree"
)

// ErrDirty means that the entry is not to be leased any more.
var ErrDirty = errors.New("the entry was found changed and is thrown away")

// Lease is a shared hold on an entry, which is not removed as long as any copy
// of the lease's descriptor is open, in this process or another one.
type Lease[R any] struct {
	Key     string
	Path    string
	Created time.Time
	Bytes   int64
	Entry   R
	Hit     bool
	lock    *fsx.Lock
}

// File holds the lease.
func (l *Lease[R]) File() *os.File { return l.lock.File() }

// Close gives this hold back.
func (l *Lease[R]) Close() error { return l.lock.Close() }

// Unlock gives up a lease that no child was given. Unlike after Close, not even one
// that is being started at this moment, with a copy of the descriptor, holds it.
func (l *Lease[R]) Unlock() error { return l.lock.Unlock() }

// Making is what a maker works with.
type Making struct {
	Path string   // where the entry must appear; nothing is there yet
	Work string   // private scratch on the same file system, removed afterwards
	Lock *os.File // the exclusive lock: what a child inherits keeps others out while it lives
}

// Maker makes an entry and tells its record and size in bytes.
type Maker[R any] func(ctx context.Context, m Making) (R, int64, error)

// Peek leases the entry if it is whole, and fails with ErrDoubt if it has to be
// examined first. It never waits for a builder.
func (s *Shelf[R]) Peek(key string) (*Lease[R], error) {
	if !keyShape.MatchString(key) {
		return nil, fmt.Errorf("%q is no key", key)
	}
	if !exists(s.Path(key)) {
		return nil, fs.ErrNotExist
	}
	l, err := s.shared(key)
	if err != nil {
		return nil, err
	}
	return s.lease(key, l)
}

// Hold leases the entry that is in a folder, whatever its record says.
func Hold(folder string) (*Lease[json.RawMessage], error) {
	s := &Shelf[json.RawMessage]{name: "held", dir: filepath.Dir(folder), log: slog.New(slog.DiscardHandler)}
	return s.Peek(filepath.Base(folder))
}

// lease turns a shared lock into a lease, or gives the lock up.
func (s *Shelf[R]) lease(key string, l *fsx.Lock) (*Lease[R], error) {
	rec, err := s.whole(key)
	if err != nil {
		_ = l.Unlock()
		s.tidy(key)
		return nil, err
	}
	s.touch(key, time.Now())
	s.point("leased")
	return &Lease[R]{key, s.Path(key), rec.Created, rec.Bytes, rec.Entry, true, l}, nil
}

// Get leases the entry, made by make if it is not there. Of all who ask at once,
// in this process and others, one makes it and the rest wait. waiting is called
// once when another is at work for longer than a moment.
//
// It never waits for the exclusive lock alone: who builds keeps a lease
// afterwards, for as long as a task runs, and that would be the wait.
func (s *Shelf[R]) Get(ctx context.Context, key string, waiting func(), make Maker[R]) (*Lease[R], error) {
	made := false
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		lease, err := s.Peek(key)
		if err == nil {
			lease.Hit = !made
			return lease, nil
		}
		switch {
		case errors.Is(err, ErrDoubt):
			return nil, err
		case exists(s.at(key, dirtySuffix)) && exists(s.Path(key)):
			return nil, ErrDirty
		case !errors.Is(err, fsx.ErrLocked):
			err = s.try(ctx, key, make)
			made = made || err == nil
		}
		switch {
		case err == nil:
			continue
		case !errors.Is(err, fsx.ErrLocked):
			return nil, err
		case pause > 10*time.Millisecond && waiting != nil:
			waiting()
			waiting = nil
		}
		if err := sleep(ctx, pause); err != nil {
			return nil, fmt.Errorf("cannot wait for %s: %w", s.Path(key), err)
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// try makes the entry if nobody else is at it, and fails with fsx.ErrLocked if
// somebody is. The entry may be collected right after: the caller looks again.
func (s *Shelf[R]) try(ctx context.Context, key string, make Maker[R]) error {
	l, err := s.lock(key, fsx.TryLock)
	if err != nil {
		return err
	}
	s.point("locked")
	if _, err = s.whole(key); err == nil || errors.Is(err, ErrDoubt) {
		err = fsx.ErrLocked // made by another one in between: lease it as a hit
	} else if err = s.build(ctx, key, l, make); err == nil {
		// A child that outlives the build must not keep the entry from being leased.
		return l.Unlock()
	}
	s.forget(key)
	_ = l.Close() // what outlives a failed build may write yet, and keeps the key
	return err
}

// build makes the entry under its exclusive lock.
func (s *Shelf[R]) build(ctx context.Context, key string, l *fsx.Lock, make Maker[R]) error {
	if err := s.clear(key); err != nil {
		return fmt.Errorf("cannot sweep %s: %w", s.Path(key), err)
	}
	s.point("swept")
	if err := s.mark(key, "build"); err != nil {
		return err
	}
	s.point("marked")
	err := s.publish(ctx, key, l, make)
	if err != nil {
		// The marker stays if even this fails, so nothing half-made is ever leased.
		if rerr := s.remove(key); rerr != nil {
			s.log.Warn("cannot remove a failed build", "path", s.Path(key), "err", rerr)
		}
	}
	return err
}

func (s *Shelf[R]) publish(ctx context.Context, key string, l *fsx.Lock, make Maker[R]) error {
	work, err := os.MkdirTemp(s.dir, workPrefix+key+"-")
	if err != nil {
		return fmt.Errorf("cannot build: %w", err)
	}
	defer func() { _ = tree.Remove(work) }()
	entry, bytes, err := make(ctx, Making{s.Path(key), work, l.File()})
	if err != nil {
		return err
	}
	s.point("made")
	if err := s.record(key, record[R]{version, time.Now().UTC(), bytes, entry}); err != nil {
		return err
	}
	s.point("recorded")
	if !s.lazy {
		if err := s.Flush(); err != nil {
			return err
		}
	}
	s.point("synced")
	// The point of no return: without the marker the entry is whole.
	if err := drop(s.at(key, partialSuffix)); err != nil {
		return err
	}
	s.point("published")
	s.touchNew(key)
	return fsx.SyncDir(s.dir)
}

func (s *Shelf[R]) record(key string, rec record[R]) error {
	return fsx.WriteJSON(s.at(key, recordSuffix), rec, 0o600)
}

func (s *Shelf[R]) touchNew(key string) {
	now := time.Now()
	_ = os.Chtimes(s.at(key, lockSuffix), now, now)
}

// Flush brings all entries to the disk.
func (s *Shelf[R]) Flush() error { return fsx.SyncAll(s.dir) }

// clear removes what an earlier, dead or failed, holder of the key's lock left.
func (s *Shelf[R]) clear(key string) error {
	left := func(suffix string) bool { return exists(s.at(key, suffix)) }
	if exists(s.Path(key)) || slices.ContainsFunc(s.files(), left) {
		if err := s.remove(key); err != nil {
			return err
		}
	}
	return s.clearScratch(key)
}

func (s *Shelf[R]) clearScratch(key string) error {
	var failed error
	for _, prefix := range []string{workPrefix, trashPrefix} {
		old, err := filepath.Glob(filepath.Join(escape(s.dir), prefix+key+"-*"))
		failed = errors.Join(failed, err)
		for _, path := range old {
			failed = errors.Join(failed, tree.Remove(path))
		}
	}
	return failed
}
