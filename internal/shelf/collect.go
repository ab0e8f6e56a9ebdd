package shelf

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/samber/lo"
	"golang.org/x/sys/unix"

	"agentctl/internal/fsx"
)

// Entry describes one entry of a shelf.
type Entry[R any] struct {
	Key     string
	Path    string
	Created time.Time
	Used    time.Time
	Bytes   int64
	InUse   bool // leased, at the moment of looking
	Dirty   bool // not leased any more, removed once it is free
	Doubt   bool // examined before it is leased
	Entry   R
}

// Limits of what is kept; zero values don't limit.
type Limits struct {
	MaxEntries        int
	MaxBytes, MinFree int64
	MaxAge            time.Duration
}

// Collected tells what a collection did.
type Collected struct {
	Removed []string
	Freed   int64
	Kept    int
}

// Entries lists the whole and the dirty entries, the last used first.
func (s *Shelf[R]) Entries() ([]Entry[R], error) {
	files, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("cannot list %s: %w", s.dir, err)
	}
	var all []Entry[R]
	for _, f := range files {
		key, suffix, _ := strings.Cut(f.Name(), ".")
		doubt := "."+suffix == doubtSuffix
		if "."+suffix != recordSuffix && !doubt || !keyShape.MatchString(key) || exists(s.at(key, partialSuffix)) {
			continue
		}
		var rec record[R]
		if fsx.ReadJSON(s.at(f.Name(), ""), &rec) != nil || rec.Version != version {
			continue // it vanished, or the sweep will take it
		}
		all = append(all, Entry[R]{
			Key: key, Path: s.Path(key), Created: rec.Created, Used: s.used(key, rec.Created), Bytes: rec.Bytes,
			InUse: s.inUse(key), Dirty: exists(s.at(key, dirtySuffix)), Doubt: doubt, Entry: rec.Entry,
		})
	}
	slices.SortFunc(all, func(a, b Entry[R]) int {
		return cmp.Or(b.Used.Compare(a.Used), strings.Compare(a.Key, b.Key))
	})
	return all, nil
}

func (s *Shelf[R]) used(key string, created time.Time) time.Time {
	if info, err := os.Stat(s.at(key, lockSuffix)); err == nil {
		return info.ModTime()
	}
	return created
}

// inUse asks the lock without changing who could take it for longer than a moment.
func (s *Shelf[R]) inUse(key string) bool {
	l, err := s.lock(key, fsx.TryLock)
	if err != nil {
		return true
	}
	s.release(key, l)
	return false
}

// MarkDirty keeps the entry from being leased again; Collect removes it once
// its last lease is gone.
func (s *Shelf[R]) MarkDirty(key string) error {
	if !keyShape.MatchString(key) {
		return fmt.Errorf("%q is no key", key)
	}
	if !exists(s.Path(key)) {
		return nil
	}
	l, err := s.shared(key) // under it nobody removes what is marked
	if _, werr := s.whole(key); err != nil && werr != nil && !errors.Is(werr, ErrDoubt) {
		return nil // it is being removed
	}
	if err != nil {
		return err
	}
	defer s.tidy(key)
	defer func() { _ = l.Unlock() }()
	if !exists(s.Path(key)) {
		return nil
	}
	err = fsx.WriteFile(s.at(key, dirtySuffix), nil, 0o600)
	if err != nil { // on a full disk: without a record it is not leased either, the sweep takes it
		return errors.Join(drop(s.at(key, recordSuffix)), drop(s.at(key, doubtSuffix)))
	}
	return nil
}

// Remove removes the entry if nobody leases it, else it fails with
// fsx.ErrLocked.
func (s *Shelf[R]) Remove(key string) error {
	if !keyShape.MatchString(key) {
		return fmt.Errorf("%q is no key", key)
	}
	l, err := s.lock(key, fsx.TryLock)
	if err != nil {
		return err
	}
	defer s.release(key, l)
	return s.clear(key)
}

// Collect finishes what dead processes left, and removes dirty entries, then
// whole ones beyond the limits: the least recently used first, one at a time,
// never one that is leased. For room on the disk the last used one stays: the
// next task would only make it again.
func (s *Shelf[R]) Collect(ctx context.Context, lim Limits, now time.Time) (Collected, error) {
	l, err := fsx.WaitLock(ctx, s.at("", ".collect"))
	if err != nil {
		return Collected{}, err
	}
	defer func() { _ = l.Unlock() }()
	// What is dirty is an entry yet, and counted below.
	swept := s.sweep(func(key string) bool { return !exists(s.at(key, dirtySuffix)) })
	all, err := s.Entries()
	if err != nil {
		return Collected{}, errors.Join(swept, err)
	}
	c := collection[R]{limits: lim, now: now, remove: s.Remove, free: func() int64 { return Free(s.dir) }}
	err = c.run(ctx, turns(all))
	return c.result, errors.Join(swept, err)
}

// Preview tells what Collect would remove, and removes nothing.
func (s *Shelf[R]) Preview(ctx context.Context, lim Limits, now time.Time) (Collected, error) {
	all, err := s.Entries()
	if err != nil {
		return Collected{}, err
	}
	c := collection[R]{limits: lim, now: now, remove: func(string) error { return nil }}
	c.free = func() int64 { return Free(s.dir) + c.result.Freed }
	err = c.run(ctx, turns(all))
	return c.result, err
}

// turns puts entries, the last used first, in the order in which they go.
func turns[R any](all []Entry[R]) []Entry[R] {
	slices.Reverse(all)
	slices.SortStableFunc(all, func(a, b Entry[R]) int {
		return cmp.Compare(lo.Ternary(a.Dirty, 0, 1), lo.Ternary(b.Dirty, 0, 1))
	})
	return all
}

// collection is one pass over all entries.
type collection[R any] struct {
	limits Limits
	now    time.Time
	remove func(key string) error
	free   func() int64
	left   int   // whole entries; what is dirty goes anyway
	bytes  int64 // that they have
	result Collected
}

func (c *collection[R]) run(ctx context.Context, inTurn []Entry[R]) error {
	newest := ""
	for _, e := range inTurn {
		if !e.Dirty {
			newest = e.Key
			c.left++
			c.bytes += e.Bytes
		}
	}
	c.result.Kept = len(inTurn)
	var failed error
	for _, e := range inTurn {
		if err := context.Cause(ctx); err != nil {
			return errors.Join(failed, err)
		}
		if e.InUse || !e.Dirty && !c.over(e, e.Key == newest) {
			continue
		}
		switch err := c.remove(e.Key); {
		case errors.Is(err, fsx.ErrLocked): // leased in between
		case err != nil:
			failed = errors.Join(failed, err)
		default:
			if !e.Dirty {
				c.left--
				c.bytes -= e.Bytes
			}
			c.result.Kept--
			c.result.Removed = append(c.result.Removed, e.Key)
			c.result.Freed += e.Bytes
		}
	}
	return failed
}

// over tells whether e, the oldest that is left, has to go.
func (c *collection[R]) over(e Entry[R], newest bool) bool {
	lim := c.limits
	if lim.MaxEntries > 0 && c.left > lim.MaxEntries || lim.MaxAge > 0 && c.now.Sub(e.Used) > lim.MaxAge {
		return true
	}
	return !newest && (lim.MaxBytes > 0 && c.bytes > lim.MaxBytes || lim.MinFree > 0 && c.free() < lim.MinFree)
}

// Free is the number of bytes that the file system of dir has for this user;
// a huge number if it can't be told.
func Free(dir string) int64 {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil {
		return 1 << 62
	}
	return int64(st.Bavail) * st.Bsize
}
