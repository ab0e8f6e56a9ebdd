package worker

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"agentctl/reconcile"
	"agentctl/spec"
)

// ahead is what the look-ahead knows. The pool's mutex guards it.
type ahead struct {
	waiting map[string][]string // queue name → tasks, head first, as last seen
	tried   map[string]string   // task → settings that it was prepared with, or failed to be
	now     *upcoming           // what is being prepared
}

// upcoming is a task that a worker is going to take.
type upcoming struct {
	claim
	node     spec.NodeSpec
	spec     spec.Worker
	settings string // all of both that decides what is prepared
}

// Reasons to stop a preparation.
var (
	errNotNext  = errors.New("the task is not the next one any more")
	errNearFull = errors.New("the disk is nearly full")
)

const (
	// spare is how far above cache.minFree the free space must be: what is prepared
	// ahead must never keep a task from being taken.
	spare = 1 << 30
	// diskEvery is the time between two looks at the disk, while something is
	// prepared or would be.
	diskEvery = 2 * time.Second
)

// lookAhead prepares what the next tasks of busy workers need, one task at a time:
// as many at once as there are workers would together cost the running tasks more
// than little. Nothing is claimed, and nothing is said of it to the server.
func (p *Pool) lookAhead(ctx context.Context) {
	p.discardAhead(ctx) // an agent that was killed left it
	disk := time.NewTicker(diskEvery)
	defer disk.Stop()
	stop := func(error) {}
	var ended <-chan struct{} // nil while nothing is prepared
	for ctx.Err() == nil {
		now, next := p.nextAhead()
		room := next != nil && p.room(next.task)
		switch {
		case now != nil && next == nil:
			stop(errNotNext)
		case now != nil && !room:
			stop(errNearFull)
		case now == nil && room:
			stop, ended = p.startAhead(ctx, next)
		}
		tick := disk.C
		if next == nil {
			tick = nil // nothing to do, nothing to wake up for
		}
		select {
		case <-ctx.Done():
		case <-p.glance:
		case <-tick:
		case <-ended:
			p.setAhead(nil)
			ended = nil
		}
	}
	if ended != nil {
		<-ended
	}
}

// nextAhead returns what is being prepared, if anything, and what is to be: the
// same as long as it is still wanted, else nil.
func (p *Pool) nextAhead() (now, next *upcoming) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now = p.ahead.now
	// A task that was taken meanwhile waits for the very same work.
	if now != nil && p.active(now.task) {
		return now, now
	}
	for _, u := range p.upcoming() {
		switch {
		case now != nil && now.task == u.task && now.settings == u.settings:
			return now, now
		case now == nil && p.ahead.tried[u.task] != u.settings:
			return nil, &u
		}
	}
	return now, nil
}

// upcoming lists the tasks that busy workers are going to take. The pool's mutex
// is held.
func (p *Pool) upcoming() []upcoming {
	var lanes []lane
	for name, s := range p.workers {
		free := s.run == nil && s.state == reconcile.StateIdle && !s.draining && p.ordered(name) == nil
		lanes = append(lanes, lane{worker: name, queues: s.order(), free: free, busy: p.looksAhead(s) && s.state == reconcile.StateRunning})
	}
	slices.SortFunc(lanes, func(a, b lane) int { return strings.Compare(a.worker, b.worker) })
	waiting := map[string][]string{}
	for queue, tasks := range p.ahead.waiting {
		// What a worker has taken since is still in the list.
		head := slices.Clone(tasks[:min(len(tasks), 2*len(lanes))])
		waiting[queue] = slices.DeleteFunc(head, p.active)
	}
	var out []upcoming
	for _, c := range claims(lanes, waiting) {
		u := upcoming{claim: c, node: p.node.Spec, spec: p.workers[c.worker].spec}
		settings, err := json.Marshal([]any{u.spec.RunAs, u.spec.Standalone, u.spec.PackageManager, u.spec.Mode, u.spec.Image, u.spec.Sandbox, u.node.Server, u.node.Git, u.node.Cache.ResolveAge})
		if err != nil {
			panic(err) // a spec always encodes
		}
		u.settings = string(settings)
		out = append(out, u)
	}
	return out
}

// looksAhead tells whether something is to be prepared for the next task of s. The
// pool's mutex is held.
func (p *Pool) looksAhead(s *slot) bool {
	return p.prebuilds() && s.run != nil && !s.draining && p.ordered(s.spec.Name) == nil
}

// prebuilds tells whether things may be made before a task needs them. The mutex is held.
func (p *Pool) prebuilds() bool {
	return p.node != nil && p.node.Spec.Cache.Prebuild != nil && *p.node.Spec.Cache.Prebuild
}

// queued notes what waits in the queues.
func (p *Pool) queued(b *backlog) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ahead.waiting = map[string][]string{}
	still := map[string]string{} // what left the queues is tried anew when it comes back
	for name, id := range b.ids {
		p.ahead.waiting[name] = b.entries[id]
		for _, task := range b.entries[id] {
			if settings, ok := p.ahead.tried[task]; ok {
				still[task] = settings
			}
		}
	}
	p.ahead.tried = still
	hint(p.glance)
}

// setAhead notes what is being prepared, for the status.
func (p *Pool) setAhead(u *upcoming) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ahead.now = u
	hint(p.changed)
}

// room tells whether the disk has space for what nobody has asked for yet. A task
// that was taken is past that question.
func (p *Pool) room(task string) bool {
	p.mu.Lock()
	floor, taken := int64(p.node.Spec.Cache.MinFree), p.active(task)
	p.mu.Unlock()
	return taken || p.free() >= floor+max(spare, floor/10)
}
