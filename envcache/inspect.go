package envcache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"agentctl/internal/fsx"
	"agentctl/internal/shelf"
)

// ErrInUse means that a task, or somebody else, leases the environment.
var ErrInUse = errors.New("the environment is in use")

// Find gives the environment of a key, or of the beginning of one if it is the
// only one that begins so.
func (c *Cache) Find(key string) (Entry, error) {
	entries, err := c.Entries()
	if err != nil {
		return Entry{}, err
	}
	var found []Entry
	for _, e := range entries {
		if key != "" && strings.HasPrefix(e.Key, key) {
			found = append(found, e)
		}
	}
	switch len(found) {
	case 0:
		return Entry{}, fmt.Errorf("there is no environment %q", shorten(key))
	case 1:
		return found[0], nil
	}
	return Entry{}, fmt.Errorf("%d environments begin with %q: write more of the key", len(found), shorten(key))
}

// Nearest gives the environment, other than key, whose parts differ least, and
// in which parts; ok is false if there is none.
func (c *Cache) Nearest(parts []Part, key string) (nearest Entry, diff string, ok bool, err error) {
	entries, err := c.Entries()
	if err != nil {
		return Entry{}, "", false, err
	}
	for _, e := range entries {
		if e.Key != key && (!ok || distance(e.Parts, parts) < distance(nearest.Parts, parts)) {
			nearest, ok = e, true
		}
	}
	return nearest, Difference(nearest.Parts, parts), ok, nil
}

// Difference names the parts in which an environment differs from an older one;
// "" if it is only the time at which a list was resolved.
func Difference(old, new []Part) string { return difference(withoutAge(old), withoutAge(new)) }

// VerifyKey reads every file of an environment and compares it with what was
// built. A *Changed error names what differs.
func (c *Cache) VerifyKey(ctx context.Context, key string) error {
	held, err := c.shelf.Peek(key)
	doubt := errors.Is(err, shelf.ErrDoubt)
	if doubt {
		held, err = c.shelf.Examine(key)
	}
	if err != nil {
		return fmt.Errorf("cannot verify an environment: %w", notHeld(err))
	}
	defer func() { _ = held.Unlock() }()
	err = c.VerifyFully(ctx, &Lease{Path: held.Path, Key: key, held: held})
	if err == nil && doubt {
		err = c.shelf.Trust(held)
	}
	return err
}

// notHeld tells why an environment that somebody names can't be leased.
func notHeld(err error) error {
	switch {
	case errors.Is(err, fsx.ErrLocked):
		return errors.New("it is being built or removed")
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, shelf.ErrGone):
		return errors.New("it is not there any more")
	}
	return err
}

// Remove removes an environment, unless it is in use (ErrInUse).
func (c *Cache) Remove(ctx context.Context, key string) error {
	err := c.shelf.Remove(key)
	if errors.Is(err, fsx.ErrLocked) {
		return fmt.Errorf("cannot remove %s: %w", key, ErrInUse)
	}
	if err == nil {
		err = c.tidy(ctx)
	}
	if err != nil {
		return fmt.Errorf("cannot remove %s: %w", key, err)
	}
	return nil
}
