package envcache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"agentctl/envcache/internal/shelf"
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

// lease leases the environment in its present generation.
func (a *acquisition) lease(ctx context.Context) (*Lease, error) {
	base := keyOf(a.parts)
	maxAge := cmp.Or(a.req.ResolveAge, a.cache.opts.MaxAge)
	gen, aged, err := a.cache.generation(ctx, base, a.plan.unpinned, maxAge)
	if err != nil {
		return nil, err
	}
	parts := withAge(a.parts, gen)
	key := keyOf(parts)
	held, err := a.cache.named(key)
	why := ""
	if err != nil {
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
	if err != nil {
		return nil, err
	}
	switch {
	case held.Hit && why == "":
		why = "the same parts as the environment built " + built(held)
	case held.Hit:
		why = "resolved to the same packages as the environment built " + built(held)
	}
	e := held.Entry
	return &Lease{
		Path: held.Path, Python: filepath.Join(held.Path, "bin", "python"), Reads: e.Reads, Hit: held.Hit, Why: why, Key: held.Key,
		Frozen: e.Frozen, Lock: e.Lock, Variables: e.Variables, Version: e.Python, Parts: e.Parts,
		Bytes: held.Bytes, Took: a.cache.now().Sub(a.start), held: held,
	}, nil
}

func built(held *shelf.Lease[record]) string {
	return held.Created.Local().Format("2006-01-02 15:04:05")
}

func (a *acquisition) tell(text string) {
	a.say(Progress{Time: a.cache.now(), Step: "environment", Text: text})
}

// make builds the environment key, unless it turns out on the way that another
// one holds the same packages.
func (a *acquisition) make(ctx context.Context, key, base string, parts []Part) (*shelf.Lease[record], error) {
	for {
		held, err := a.build(ctx, key, base, parts)
		other := (*elsewhere)(nil)
		if !errors.As(err, &other) {
			return held, err
		}
		held, err = a.cache.settled(ctx, other.lock)
		if err != nil {
			if cause := context.Cause(ctx); cause != nil {
				return nil, fmt.Errorf("cannot wait for another build: %w", cause)
			}
			continue // its builder failed, or it was collected since
		}
		if err := a.cache.name(key, held.Key); err != nil {
			a.cache.opts.Log.Warn("environment not filed under the request's key", "env", held.Key, "error", err)
		}
		return held, nil
	}
}
