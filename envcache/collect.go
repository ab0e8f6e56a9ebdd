package envcache

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"agentctl/envcache/internal/shelf"
	"agentctl/internal/fsx"
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
	entries, err := c.shelf.Entries()
	if err != nil {
		return Collected(done), err
	}
	needed, keys := map[string]bool{}, map[string]bool{}
	for _, e := range entries {
		needed[e.Entry.Base], keys[e.Key] = true, true
	}
	c.forgetAges(needed)
	c.forgetAliases(func(key string) bool { return !keys[key] })
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
		if _, err := c.renew(ctx, e.Entry.Base, gen); err != nil {
			return fmt.Errorf("cannot discard an environment: %w", err)
		}
	}
	if err := c.shelf.MarkDirty(key); err != nil {
		return fmt.Errorf("cannot discard an environment: %w", err)
	}
	c.forgetAliases(func(k string) bool { return k == key })
	if err := c.shelf.Remove(key); err != nil && !errors.Is(err, fsx.ErrLocked) {
		return fmt.Errorf("cannot discard an environment: %w", err)
	}
	return nil
}

// Verify compares a leased environment with what was built. A *Changed error
// names what differs; the lease then is to be closed and its key discarded.
func (c *Cache) Verify(ctx context.Context, l *Lease) error { return c.verify(ctx, l, false) }

// VerifyFully is Verify that reads every file, whatever its times say.
func (c *Cache) VerifyFully(ctx context.Context, l *Lease) error { return c.verify(ctx, l, true) }

func (c *Cache) verify(ctx context.Context, l *Lease, full bool) error {
	f, err := os.Open(filepath.Join(c.shelf.Dir(), l.Key+manifestSuffix))
	if err != nil {
		return fmt.Errorf("cannot verify an environment: %w", err)
	}
	defer func() { _ = f.Close() }()
	m, err := readManifest(f)
	if err != nil {
		return fmt.Errorf("cannot verify an environment: %w", err)
	}
	return m.compare(ctx, l.Path, full)
}

// Audit verifies the environment of a key and throws it away if it was changed,
// which the *Changed error then says. One that is not there any more is no error.
func (c *Cache) Audit(ctx context.Context, key string) error {
	held, err := c.shelf.Peek(key)
	if err != nil {
		return nil //nolint:nilerr // gone, or thrown away by somebody else
	}
	err = c.Verify(ctx, &Lease{Path: held.Path, Key: key, held: held})
	_ = held.Close()
	var changed *Changed
	if errors.As(err, &changed) {
		return errors.Join(err, c.Discard(ctx, key))
	}
	return err
}
