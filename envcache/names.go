package envcache

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"agentctl/envcache/internal/shelf"
	"agentctl/internal/crash"
	"agentctl/internal/fsx"
)

// aliasSuffix is of files that lead from one key to the environment of another:
// from what a request is resolved to, and from other words for the same request.
const aliasSuffix = ".alias"

func (c *Cache) aliasFile(key string) string { return filepath.Join(c.shelf.Dir(), key+aliasSuffix) }

// name files the environment key under another key as well. It is a convenience:
// without it the other key's request is resolved, or built, once more.
func (c *Cache) name(other, key string) error {
	if other == key {
		return nil
	}
	return fsx.WriteFile(c.aliasFile(other), []byte(key+"\n"), 0o600)
}

// named leases the environment that is filed under a key, in its own name or another.
func (c *Cache) named(key string) (*shelf.Lease[record], error) {
	held, err := c.shelf.Peek(key)
	if err == nil {
		return held, nil
	}
	data, rerr := os.ReadFile(c.aliasFile(key))
	if rerr != nil {
		return nil, err
	}
	return c.shelf.Peek(strings.TrimSpace(string(data)))
}

// forgetAliases removes the aliases of environments that are gone.
func (c *Cache) forgetAliases(gone func(key string) bool) {
	files, err := filepath.Glob(filepath.Join(c.shelf.Dir(), "*"+aliasSuffix))
	if err != nil {
		return
	}
	for _, f := range files {
		if data, err := os.ReadFile(f); err == nil && gone(strings.TrimSpace(string(data))) {
			_ = os.Remove(f)
		}
	}
}

// elsewhere ends a build whose lock another environment has, or is getting.
type elsewhere struct{ lock string }

func (e *elsewhere) Error() string { return "another environment has these packages" }

// settling is what one build knows of its lock. The exclusive lock of the lock's
// key keeps two requests of different words, which are resolved to the same
// packages, from both building them.
type settling struct {
	cache *Cache
	parts []Part // of the request, without its age
	plan  plan
	lock  *Lock
	key   string // of the lock; "" when the lock alone vouches for no files
	held  *fsx.Lock
}

// locked notes what the request was resolved to. It fails with *elsewhere if
// the packages are, or are being, built for other words.
func (s *settling) locked(_ context.Context, l Lock) error {
	s.note(l)
	crash.Point("env.locked")
	if s.key == "" {
		return nil
	}
	held, err := fsx.TryLock(s.cache.settleFile(s.key))
	if errors.Is(err, fsx.ErrLocked) {
		return &elsewhere{s.key}
	}
	if err != nil {
		return fmt.Errorf("cannot lock what the request was resolved to: %w", err)
	}
	s.held = held
	if lease, err := s.cache.named(s.key); err == nil {
		_ = lease.Close()
		return &elsewhere{s.key}
	}
	return nil
}

// note takes what the request was resolved to, and its key.
func (s *settling) note(l Lock) {
	s.lock = &l
	if !l.Built && len(l.lines()) > 0 && s.plan.wishes != nil {
		s.key = keyOf(lockParts(s.parts, s.plan.wishes, l))
	}
}

// publish files the environment under its lock before it is whole: nobody finds
// it until it is.
func (s *settling) publish(key string) error {
	if s.key == "" {
		return nil
	}
	err := s.cache.name(s.key, key)
	if pins := s.lock.pins(); err == nil && len(pins) > 0 && len(s.lock.Conda) == 0 {
		// A clone of a finished task asks for the list that was written back to it.
		err = s.cache.name(keyOf(pinParts(s.parts, s.plan.wishes, pins)), key)
	}
	crash.Point("env.named")
	return err
}

func (s *settling) close() {
	if s.held != nil {
		_ = os.Remove(s.cache.settleFile(s.key)) // whoever waits for it looks again
		_ = s.held.Close()
	}
}

func (c *Cache) settleFile(lock string) string {
	return filepath.Join(c.shelf.Dir(), ".settle-"+lock)
}

// settled waits until nobody builds what a lock's key stands for, and leases it.
func (c *Cache) settled(ctx context.Context, lock string) (*shelf.Lease[record], error) {
	l, err := fsx.WaitLock(ctx, c.settleFile(lock))
	if err != nil {
		return nil, err
	}
	defer func() { _ = l.Close() }()
	return c.named(lock)
}

// lockParts are the parts of a key whose wishes a lock answers.
func lockParts(parts []Part, wishes []string, l Lock) []Part {
	rest := slices.DeleteFunc(slices.Clone(parts), func(p Part) bool {
		return p.Name == lockPart || slices.Contains(wishes, p.Name)
	})
	return append(rest, Part{Name: lockPart, Lines: l.lines()})
}

// pinParts are the parts of a request that pins every package, and wishes for
// nothing else.
func pinParts(parts []Part, wishes, pins []string) []Part {
	out := slices.Clone(parts)
	for i, p := range out {
		switch {
		case p.Name == requirementsPart:
			out[i].Lines = pins
		case slices.Contains(wishes, p.Name):
			out[i] = Part{Name: p.Name}
		}
	}
	return out
}
