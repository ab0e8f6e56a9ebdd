package worker

import (
	"context"
	"time"

	"agentctl/envcache"
	"agentctl/spec"
)

// collectEvery bounds how long an environment stays after it went over the limits.
const collectEvery = time.Hour

// unusedCheckouts is how long a checkout is kept that no task used.
const unusedCheckouts = 7 * 24 * time.Hour

// collect keeps environments and checkouts within spec.cache: after something
// was added, and now and then. What a task holds is never touched.
func (p *Pool) collect(ctx context.Context) {
	for {
		t := time.NewTimer(collectEvery)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-p.grown:
			t.Stop()
		case <-t.C:
		}
		p.collectOnce(ctx)
	}
}

// recheck examines, once, the environments that are in doubt after an unclean start.
func (p *Pool) recheck(ctx context.Context) {
	done, err := p.recheckEnvs(ctx)
	if err != nil && ctx.Err() == nil {
		p.cfg.Log.Warn("cannot check the environments after an unclean start", "error", err)
	}
	if done.Whole+len(done.Removed) > 0 {
		p.cfg.Log.Info("checked environments after an unclean start", "whole", done.Whole, "removed", len(done.Removed))
	}
}

func (p *Pool) collectOnce(ctx context.Context) {
	p.mu.Lock()
	node := p.node
	p.mu.Unlock()
	if node == nil { // without a spec there are no limits
		return
	}
	c := node.Spec.Cache
	done, err := p.collectEnvs(ctx, Limits(c))
	p.collected("environments", done, err)
	done, err = p.cfg.Repos.Collect(ctx, envcache.Limits{MaxAge: unusedCheckouts, MinFree: int64(c.MinFree)})
	p.collected("checkouts", done, err)
	if p.cfg.Images == nil {
		return
	}
	removed, freed, err := p.cfg.Images.Collect(ctx, node.Spec.Sandbox, int64(c.MinFree))
	p.collected("images", envcache.Collected{Removed: make([]string, removed), Freed: freed}, err)
}

// Limits are those of a spec in the words of the cache.
func Limits(c spec.Cache) envcache.Limits {
	limits := envcache.Limits{MaxBytes: int64(c.MaxSize), MinFree: int64(c.MinFree), MaxAge: time.Duration(c.MaxAge)}
	if c.MaxEntries != nil {
		limits.MaxEntries = *c.MaxEntries
	}
	return limits
}

func (p *Pool) collected(what string, done envcache.Collected, err error) {
	if err != nil {
		p.cfg.Log.Warn("cannot collect", "what", what, "error", err)
	}
	if len(done.Removed) > 0 {
		p.cfg.Log.Info("collected", "what", what, "removed", len(done.Removed), "bytes", done.Freed, "kept", done.Kept)
	}
}
