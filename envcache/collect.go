package envcache

import (
	"context"
	"errors"
	"fmt"
	"time"

	"agentctl/internal/fsx"
	"agentctl/internal/shelf"
)

// Limits of what is kept; zero values don't limit.
type Limits struct {
	MaxEntries int
	MaxBytes   int64
	MinFree    int64         // bytes that must stay free on the disk
	MaxAge     time.Duration // since the last use
}

// Collected tells what a collection did.
type Collected struct {
	Removed []string // keys
	Freed   int64    // bytes
	Kept    int
}

// Collect removes what is over the limits: the least recently used first, one
// at a time, never what is leased. What package managers downloaded is not an
// entry: it goes by age, and when the disk is still too full without the entries.
func (c *Cache) Collect(ctx context.Context, lim Limits) (Collected, error) {
	done, err := c.shelf.Collect(ctx, shelf.Limits(lim), c.now())
	if err != nil {
		return Collected(done), fmt.Errorf("cannot collect environments: %w", err)
	}
	if err := c.tidy(ctx); err != nil {
		return Collected(done), err
	}
	freed, err := c.trimDownloads(ctx, lim)
	done.Freed += freed
	return Collected(done), err
}

// WouldCollect tells what Collect would remove, but for downloads, and removes
// nothing.
func (c *Cache) WouldCollect(ctx context.Context, lim Limits) (Collected, error) {
	done, err := c.shelf.Preview(ctx, shelf.Limits(lim), c.now())
	if err != nil {
		err = fmt.Errorf("cannot look for what to collect: %w", err)
	}
	return Collected(done), err
}

// Discard throws an environment away. From now on no task gets it, and the next
// request for it builds a new one at another path; the files go at once if
// nobody leases it, else with a later Collect.
func (c *Cache) Discard(ctx context.Context, key string) error {
	entries, err := c.shelf.Entries()
	if err != nil {
		return err
	}
	var failed error
	for _, e := range entries {
		if e.Key != key {
			continue
		}
		gen := ""
		for _, p := range e.Entry.Parts {
			if p.Name == agePart {
				gen = p.Value
			}
		}
		_, failed = c.renew(ctx, e.Entry.Base, gen)
	}
	// It must not be leased again, though there be no room for another path.
	err = errors.Join(failed, c.shelf.MarkDirty(key))
	if rerr := c.shelf.Remove(key); rerr != nil && !errors.Is(rerr, fsx.ErrLocked) {
		err = errors.Join(err, rerr)
	}
	if err = errors.Join(err, c.tidy(ctx)); err != nil {
		return fmt.Errorf("cannot discard an environment: %w", err)
	}
	return nil
}
