package envcache

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync/atomic"
	"time"

	"agentctl/internal/crash"
	"agentctl/internal/fsx"
	"agentctl/internal/shelf"
)

const settlePrefix = ".settle-"

// settlePause is how long a builder waits for the lock of its lock's key before it
// takes somebody else to build that: who waited for such a build holds it, too, for
// as long as it takes to give it back.
const settlePause = 100 * time.Millisecond

// elsewhere ends a build whose lock another environment has, or is getting.
type elsewhere struct {
	lock string               // key
	held *shelf.Lease[record] // that environment, if it is there
}

func (e *elsewhere) Error() string { return "another environment has these packages" }

// settling is what one build knows of its lock. The exclusive lock of the lock's
// key keeps two requests of different words, which are resolved to the same
// packages, from both building them.
type settling struct {
	cache *Cache
	parts []Part // of the request, without its age
	plan  plan
	// stay waits for who builds the same packages, where a first build that was given
	// up for that found nothing in the end. It keeps a crowd whose builds all fail
	// from starting over with each failure.
	stay    bool
	foreign atomic.Bool // code of a package ran
	unsure  atomic.Bool // code of a package may have told the lock
	lock    *Lock
	key     string   // of the lock; "" when the lock alone vouches for no files
	names   []string // under which the environment is filed besides its own key
	held    *fsx.Lock
	found   *shelf.Lease[record] // what ended the build
	leave   func()
}

// locked notes what the request was resolved to. It fails with *elsewhere if
// the packages are, or are being, built for other words.
func (s *settling) locked(ctx context.Context, l Lock) error {
	s.lock = &l
	crash.Point("env.locked")
	if l.Built || s.foreign.Load() || len(l.lines()) == 0 || s.plan.wishes == nil {
		return nil
	}
	s.key = keyOf(lockParts(s.parts, s.plan.wishes, l))
	s.leave = s.cache.board.Enter(ctx, s.key)
	var err error
	if s.held, err = s.take(ctx); err != nil {
		return err
	}
	crash.Point("env.settling")
	lease, err := s.cache.named(s.key)
	inDoubt := (*doubtful)(nil)
	if err == nil || errors.As(err, &inDoubt) {
		s.found = lease
		return &elsewhere{s.key, lease}
	}
	return nil
}

// take takes the lock of the lock's key.
func (s *settling) take(ctx context.Context) (*fsx.Lock, error) {
	brief := ctx
	if !s.stay {
		var cancel context.CancelFunc
		brief, cancel = context.WithTimeout(ctx, settlePause)
		defer cancel()
	}
	l, err := s.cache.settle(brief, s.key)
	switch {
	case err == nil:
		return l, nil
	case brief.Err() != nil && ctx.Err() == nil:
		return nil, &elsewhere{lock: s.key}
	}
	return nil, fmt.Errorf("cannot lock what the request was resolved to: %w", err)
}

// publish files the environment under its lock before it is whole: nobody finds
// it until it is.
func (s *settling) publish(ctx context.Context, rec *record, key string) error {
	if s.foreign.Load() && s.lock != nil {
		s.lock.Built, s.key = true, ""
	}
	if s.unsure.Load() {
		s.key = ""
	}
	rec.Lock = s.lock
	if s.key == "" {
		return nil
	}
	rec.Settled = s.key
	s.names = lockNames(s.parts, s.plan.wishes, *s.lock)
	if err := s.cache.nameAll(ctx, s.names, alias{Key: key, Lock: s.key}); err != nil {
		return err
	}
	crash.Point("env.named")
	return nil
}

// undo takes back the names of an environment that did not come to be.
func (s *settling) undo(key string) {
	if len(s.names) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	l, err := s.cache.shelf.Guard(ctx)
	if err != nil {
		return // the next collection does it
	}
	defer func() { _ = l.Unlock() }()
	for _, name := range s.names {
		var to alias
		if fsx.ReadJSON(s.cache.aliasFile(name), &to) == nil && to.Key == key {
			_ = os.Remove(s.cache.aliasFile(name))
		}
	}
}

// lockNames are the keys that a lock gives a request of these parts.
func lockNames(parts []Part, wishes []string, l Lock) []string {
	names := []string{keyOf(lockParts(parts, wishes, l))}
	if pins := l.pins(); len(pins) > 0 && len(l.Conda) == 0 && plainWishes(parts, wishes) {
		// A clone of a finished task asks for the list that was written back to it.
		names = append(names, keyOf(pinParts(parts, wishes, pins)))
	}
	return names
}

func (c *Cache) nameAll(ctx context.Context, names []string, to alias) error {
	for _, name := range names {
		if err := c.name(ctx, name, to); err != nil {
			return err
		}
	}
	return nil
}

func (s *settling) close() {
	if s.held != nil {
		_ = s.held.Remove() // whoever waits for it looks again
	}
	if s.leave != nil {
		s.leave()
	}
}

// settle takes the lock of a lock's key.
func (c *Cache) settle(ctx context.Context, lock string) (*fsx.Lock, error) {
	return fsx.Passing(filepath.Join(c.shelf.Dir(), settlePrefix+lock), func(path string) (*fsx.Lock, error) {
		return fsx.WaitLock(ctx, path)
	})
}

// settled waits until nobody builds what a lock's key stands for, and leases it.
func (a *acquisition) settled(ctx context.Context, lock string) (*shelf.Lease[record], error) {
	defer a.cache.board.Enter(ctx, lock)()
	l, err := a.cache.settle(ctx, lock)
	if err != nil {
		return nil, err
	}
	if err := l.Remove(); err != nil {
		return nil, err
	}
	return a.find(ctx, lock)
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
		case p.Name == orderPart: // whoever asks for the pins has the same order
		case slices.Contains(wishes, p.Name):
			out[i] = Part{Name: p.Name}
		}
	}
	return out
}

var plainWish = regexp.MustCompile(`^([a-z0-9]+(-[a-z0-9]+)*(\[[a-z0-9,-]*\])?([<>=!~]=?=?[A-Za-z0-9.*+!_-]+,?)*( ?;[^@/]*)?|--pre|--prefer-binary|--(no|only)-binary .*)$`)

// plainWishes tells whether a request wishes for nothing but versions of packages.
// Else the list of what it was resolved to, on its own and without digests, may
// mean other files: it lacks the index, the link or the digest that was asked for.
func plainWishes(parts []Part, wishes []string) bool {
	for _, p := range parts {
		plain := p.Value == "" && !slices.ContainsFunc(p.Lines, func(line string) bool { return !plainWish.MatchString(line) })
		if slices.Contains(wishes, p.Name) && p.Name != orderPart && !plain {
			return false
		}
	}
	return true
}
