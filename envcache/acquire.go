package envcache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"agentctl/internal/shelf"
)

// acquisition is the way of one request to its lease. A request's key leads to
// its environment at once, or over what it was resolved to before; else it is
// resolved and, unless another environment has just these packages, built.
type acquisition struct {
	cache *Cache
	req   Request
	plan  plan
	parts []Part // without the age
	start time.Time
	say   func(Progress)
}

// errAgain tells that an environment was thrown away: the next one has another key.
var errAgain = errors.New("the environment was found changed and is thrown away")

// lease leases the environment in its present generation.
func (a *acquisition) lease(ctx context.Context) (*Lease, error) {
	for {
		l, err := a.present(ctx)
		if !errors.Is(err, errAgain) && !errors.Is(err, shelf.ErrDoubt) {
			return l, err
		}
	}
}

// present is lease for the generation that there is now.
func (a *acquisition) present(ctx context.Context) (*Lease, error) {
	base := keyOf(a.parts)
	maxAge := cmp.Or(a.req.ResolveAge, a.cache.opts.MaxAge)
	gen, aged, err := a.cache.generation(ctx, base, a.plan.unpinned, maxAge)
	if err != nil {
		return nil, failed(err)
	}
	parts := withAge(a.parts, gen)
	key := keyOf(parts)
	held, err := a.find(ctx, key)
	if errors.Is(err, errNone) && a.away() {
		return a.fetch(ctx)
	}
	why := ""
	if errors.Is(err, errNone) {
		if why = a.plan.origin; why == "" {
			why = a.cache.explainMiss(parts)
			if aged {
				why = "the list does not pin every version, and what it was resolved to is older than " + days(maxAge)
			}
			a.tell("building: " + why)
		}
		for _, n := range a.plan.notes {
			a.tell(n)
		}
		held, err = a.make(ctx, key, base, parts)
	}
	if errors.Is(err, shelf.ErrDirty) { // and in use
		if _, err = a.cache.renew(ctx, base, gen); err != nil {
			return nil, failed(err)
		}
		err = errAgain
	}
	if err != nil {
		return nil, err
	}
	switch {
	case held.Hit && why == "":
		why = "the same parts as the environment built " + built(held)
	case held.Hit:
		why = "resolved to the same packages as the environment built " + built(held)
	}
	return a.leased(held, why), nil
}

// away tells whether another process makes what is not here.
func (a *acquisition) away() bool { return a.req.Root != nil && a.req.Root.Away != nil }

// fetch has the environment made by another process, and leases it.
func (a *acquisition) fetch(ctx context.Context) (*Lease, error) {
	hit, why, err := a.req.Root.Away(ctx, a.req, a.say)
	if err != nil {
		return nil, err
	}
	gen, err := a.cache.readGeneration(keyOf(a.parts))
	if err != nil {
		return nil, failed(err)
	}
	held, err := a.find(ctx, keyOf(withAge(a.parts, gen)))
	if err != nil {
		return nil, fmt.Errorf("cannot use the environment that was built: %w", err)
	}
	l := a.leased(held, why)
	l.Hit = hit
	return l, nil
}

func (a *acquisition) leased(held *shelf.Lease[record], why string) *Lease {
	e := held.Entry
	lockKey := ""
	if e.Lock != nil {
		lockKey = keyOf(lockParts(a.parts, a.plan.wishes, *e.Lock))
	}
	return &Lease{
		Path: held.Path, Python: filepath.Join(held.Path, "bin", "python"), Reads: e.Reads, Hit: held.Hit, Why: why, Key: held.Key,
		Frozen: e.Frozen, Lock: e.Lock, LockKey: lockKey, Variables: e.Variables, Version: e.Python, Parts: e.Parts,
		Bytes: held.Bytes, Took: a.cache.now().Sub(a.start), held: held,
	}
}

// again leases the environment that what a lock was resolved from was built to, if it
// is there and is of that lock; else nil. Code of packages may have written anything
// into it, but nothing that the request for it would not get as well.
func (c *Cache) again(ctx context.Context, req Request, progress func(Progress)) *Lease {
	if req.Lock == nil || !req.Lock.Built || req.Asked == nil {
		return nil
	}
	asked := *req.Asked
	asked.Manager, asked.Lock, asked.Asked = req.Manager, nil, nil
	asked.Python, asked.UID, asked.GID = req.Python, req.UID, req.GID
	a, err := c.acquisition(ctx, asked, progress)
	if err != nil {
		return nil
	}
	gen, err := c.readGeneration(keyOf(a.parts))
	if err != nil {
		return nil
	}
	held, err := a.find(ctx, keyOf(withAge(a.parts, gen)))
	if err != nil {
		return nil
	}
	if l := held.Entry.Lock; l == nil || l.Python != req.Lock.Python || !slices.Equal(l.lines(), req.Lock.lines()) {
		_ = held.Close()
		return nil
	}
	return a.leased(held, "of the same lock as the environment built "+built(held))
}

func built(held *shelf.Lease[record]) string {
	return held.Created.Local().Format("2006-01-02 15:04:05")
}

func (a *acquisition) tell(text string) {
	a.say(Progress{Time: a.cache.now(), Step: "environment", Text: text})
}

// errNone tells that no environment is filed under a key.
var errNone = errors.New("there is no such environment")

// find leases the environment that is filed under a key. One in doubt is examined
// first; if it turns out to be changed, find fails with errAgain.
func (a *acquisition) find(ctx context.Context, key string) (*shelf.Lease[record], error) {
	for examined := false; ; examined = true {
		held, err := a.cache.named(key)
		inDoubt := (*doubtful)(nil)
		if errors.As(err, &inDoubt) && a.away() {
			return nil, errNone // its files can't be read here
		}
		if errors.As(err, &inDoubt) {
			if err = a.cache.examine(ctx, inDoubt.key, a.tell); err != nil {
				return nil, err
			}
			continue
		}
		switch {
		case err == nil:
			return held, nil
		case examined: // by somebody else, who threw it away
			return nil, errAgain
		}
		return nil, errNone
	}
}

// make builds the environment key, unless it turns out on the way that another
// one holds the same packages.
func (a *acquisition) make(ctx context.Context, key, base string, parts []Part) (*shelf.Lease[record], error) {
	defer a.cache.board.Enter(ctx, key)()
	for stay := false; ; stay = true {
		held, err := a.build(ctx, key, base, parts, stay)
		other := (*elsewhere)(nil)
		if !errors.As(err, &other) {
			return held, err
		}
		if held = other.held; held == nil {
			held, err = a.settled(ctx, other.lock)
		} else {
			err = nil
		}
		if errors.Is(err, errNone) || errors.Is(err, errAgain) {
			continue // its builder failed, or it was collected since
		}
		if err != nil {
			return nil, fmt.Errorf("cannot wait for another build: %w", err)
		}
		to := alias{Key: held.Key, Lock: other.lock, Base: base}
		if err := a.cache.name(ctx, key, to); err != nil {
			a.cache.opts.Log.Warn("environment not filed under the request's key", "env", held.Key, "error", err)
		}
		return held, nil
	}
}
