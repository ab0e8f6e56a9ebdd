package worker

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"agentctl/reconcile"
	"agentctl/spec"
)

// dispatch looks at the queues of all workers with one request at a time, while
// a worker is free, and hands their heads to workers.
func (p *Pool) dispatch(ctx context.Context) {
	b := newBacklog(spec.Server{})
	failures := 0
	for ctx.Err() == nil {
		if server, _ := p.wanted(); key(server) != b.server {
			b = newBacklog(key(server))
			p.queued(b)
		}
		if p.stale.CompareAndSwap(true, false) {
			b.revision, b.next = 0, time.Time{}
			clear(b.entries)
		}
		p.hand(ctx, b)
		server, names := p.wanted()
		if len(names) == 0 {
			p.sleep(ctx, p.nextFree())
			continue
		}
		if wait := time.Until(b.next); wait > 0 {
			p.sleep(ctx, wait)
			continue
		}
		err := p.look(ctx, b, server, names)
		switch {
		case err == nil:
			failures = 0
		case ctx.Err() != nil:
			return
		default:
			failures++
			p.unreachable(ctx, b, server, err, failures)
		}
	}
}

func (p *Pool) unreachable(ctx context.Context, b *backlog, server spec.Server, err error, failures int) {
	if failures == 1 {
		p.cfg.Log.Warn("cannot look at the queues", "error", err)
	}
	p.conn.lost(server, err)
	b.revision = 0
	_ = pause(ctx, failures-1)
}

// sleep waits for d, or for a worker that may have become free.
func (p *Pool) sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-p.kick:
	case <-t.C:
	}
}

// wanted returns the server and the queues that matter now, sorted: those of the
// workers that could take a task, and of those for whose next task something is to
// be prepared.
func (p *Pool) wanted() (spec.Server, []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.node == nil {
		return spec.Server{}, nil
	}
	var names []string
	for _, s := range p.workers {
		if p.idle(s) || p.looksAhead(s) {
			names = append(names, s.spec.Queues...)
		}
	}
	slices.Sort(names)
	return p.node.Spec.Server, slices.Compact(names)
}

// idle tells whether s may take a task now, as far as that is known without a look at
// the queues.
func (p *Pool) idle(s *slot) bool {
	if s.state != reconcile.StateIdle || s.run != nil || s.draining || p.ordered(s.spec.Name) != nil {
		return false
	}
	h := p.ownHold(s, time.Now())
	return h.code == ""
}

// hand gives the heads of the queues to free workers, in the order of the
// workers' names. Only one lease per queue is under way at a time, since a pop
// by task works for the head alone.
func (p *Pool) hand(ctx context.Context, b *backlog) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.node == nil { // no spec is valid; what runs is an earlier agent's
		return
	}
	for _, name := range slices.Sorted(maps.Keys(p.workers)) {
		s := p.workers[name]
		if s.state != reconcile.StateIdle || s.run != nil || s.draining || p.ordered(name) != nil {
			continue
		}
		h, queue, id := p.judge(b, s)
		if h != s.hold {
			s.hold = h
			hint(p.changed)
		}
		if id != "" {
			p.begin(ctx, s, queue, b.ids[queue], id)
		}
	}
}

// judge finds the next task for the free worker s, or says what holds it.
func (p *Pool) judge(b *backlog, s *slot) (h hold, queue, task string) {
	if h = p.holds(s); h.code != "" {
		return h, "", ""
	}
	if queue, task, ok := p.choose(b, s); ok {
		return hold{}, queue, task
	}
	return cmp.Or(b.lacks(s.spec.Queues), p.limited(s)), "", ""
}

// choose picks the next task for s and takes it out of the backlog.
func (p *Pool) choose(b *backlog, s *slot) (queue, task string, ok bool) {
	for i, queue := range s.order() {
		entries := b.entries[b.ids[queue]]
		if len(entries) == 0 || p.leasing(b.ids[queue]) || p.active(entries[0]) || p.full(queue) {
			continue
		}
		b.entries[b.ids[queue]] = entries[1:]
		s.turn = s.first() + i + 1
		return queue, entries[0], true
	}
	return "", "", false
}

// order is the worker's queues as it looks into them now.
func (s *slot) order() []string {
	return slices.Concat(s.spec.Queues[s.first():], s.spec.Queues[:s.first()])
}

func (s *slot) first() int {
	if s.spec.Order != spec.OrderRoundRobin {
		return 0
	}
	return s.turn % len(s.spec.Queues)
}

// leasing tells whether a head of the queue is being popped.
func (p *Pool) leasing(queue string) bool {
	for _, s := range p.workers {
		if s.run != nil && s.state == reconcile.StateLeasing && s.run.noted().Queue == queue {
			return true
		}
	}
	return false
}

// active tells whether the task still runs here: it was reset and enqueued again
// while its process goes on.
func (p *Pool) active(task string) bool {
	for _, s := range p.workers {
		if s.run != nil && s.run.rec.Task == task {
			return true
		}
	}
	return false
}

// nextFree is how long until a back-off of a worker ends, or a window opens.
func (p *Pool) nextFree() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	wait, now := time.Hour, time.Now()
	for _, s := range p.workers {
		if d := p.ownHold(s, now).until.Sub(now); d > 0 {
			wait = min(wait, d)
		}
	}
	return wait
}
