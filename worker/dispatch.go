package worker

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/dustin/go-humanize"
	"golang.org/x/sys/unix"

	"agentctl/clearml"
	"agentctl/reconcile"
	"agentctl/spec"
)

// longPoll is how long a server that can wait holds a look at the queues.
const longPoll = 25 * time.Second

// missingEvery is how often to look for queues when none of them exists.
const missingEvery = 5 * time.Second

// backlog is what the node last saw of its queues. It is the dispatch loop's own.
type backlog struct {
	server   spec.Server
	ids      map[string]string   // queue name → id
	missing  map[string]bool     // queue names that the server does not know
	entries  map[string][]string // queue id → tasks, head first
	looked   []string            // ids of the last look
	revision int64               // of a server that can wait; 0: look at once
	next     time.Time           // when to look again at a server that can't wait
}

func newBacklog(server spec.Server) *backlog {
	return &backlog{server: server, ids: map[string]string{}, missing: map[string]bool{}, entries: map[string][]string{}}
}

// dispatch looks at the queues of all workers with one request at a time, while
// a worker is free, and hands their heads to workers.
func (p *Pool) dispatch(ctx context.Context) {
	b := newBacklog(spec.Server{})
	failures := 0
	for ctx.Err() == nil {
		if server, _ := p.wanted(); key(server) != b.server {
			b = newBacklog(key(server))
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
	b.revision, b.ids = 0, map[string]string{}
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

// wanted returns the server and the queues of the workers that could take a task
// now, sorted.
func (p *Pool) wanted() (spec.Server, []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.node == nil {
		return spec.Server{}, nil
	}
	var names []string
	for _, s := range p.workers {
		if p.free(s) {
			names = append(names, s.spec.Queues...)
		}
	}
	slices.Sort(names)
	return p.node.Spec.Server, slices.Compact(names)
}

// free tells whether s may take a task now.
func (p *Pool) free(s *slot) bool {
	return s.state == reconcile.StateIdle && s.run == nil && !s.draining &&
		!p.cordons.hold(s.spec.Name) && !time.Now().Before(s.notUntil)
}

// look brings the backlog up to date. With a server that can wait it returns
// when something changed; a worker that becomes free meanwhile, or a change of
// the spec, ends the wait.
func (p *Pool) look(ctx context.Context, b *backlog, server spec.Server, names []string) error {
	conn, err := p.conn.get(ctx, server)
	if err != nil {
		return err
	}
	ids, err := p.resolve(ctx, b, conn, names)
	if err != nil {
		return err
	}
	if len(ids) == 0 { // all are missing: they may be created
		b.next = time.Now().Add(missingEvery)
		return nil
	}
	if !slices.Equal(ids, b.looked) {
		// The revision speaks of other queues: what waits in these is unknown.
		b.revision, b.looked = 0, ids
		clear(b.entries)
	}
	queues, revision, woken, err := p.await(ctx, conn, ids, b.revision)
	if woken {
		return nil
	}
	if err != nil {
		return err
	}
	p.noteServer(serverName(server), nil)
	b.revision = revision
	if revision == 0 {
		b.next = time.Now().Add(time.Duration(server.PollInterval))
	}
	for _, q := range queues {
		b.entries[q.ID] = q.Tasks()
	}
	return nil
}

// await is one look; woken tells that a hint cut it short.
func (p *Pool) await(ctx context.Context, conn Conn, ids []string, since int64) (qs []clearml.Queue, revision int64, woken bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	kicked := make(chan bool, 1)
	go func() { // ends with this call, which waits for its word
		select {
		case <-p.kick:
			cancel()
			kicked <- true
		case <-ctx.Done():
			kicked <- false
		}
	}()
	qs, revision, err = conn.Client.Queues(ctx, ids, since, longPoll)
	cancel()
	return qs, revision, <-kicked && err != nil, err
}

// resolve gives the ids of the queues. A queue that is missing is created on the
// embedded server; on another one it keeps its workers waiting, with a message.
func (p *Pool) resolve(ctx context.Context, b *backlog, conn Conn, names []string) ([]string, error) {
	var ids []string
	for _, name := range names {
		if b.ids[name] == "" {
			id, err := conn.Client.ResolveQueue(ctx, name, conn.Embedded)
			b.missing[name] = clearml.IsNotFound(err)
			if b.missing[name] {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("cannot find the queue %s: %w", name, err)
			}
			b.ids[name] = id
		}
		ids = append(ids, b.ids[name])
	}
	return ids, nil
}

// lacks names a queue that the server does not have, or "".
func (b *backlog) lacks(queues []string) string {
	for _, name := range queues {
		if b.missing[name] {
			return fmt.Sprintf("the server has no queue %q; create it there or take it out of the worker's queues", name)
		}
	}
	return ""
}

// explain notes why the free worker s takes no task, or that nothing holds it.
func (p *Pool) explain(s *slot, why string) {
	if s.message != why {
		s.message = why
		hint(p.changed)
	}
}

// hand gives the heads of the queues to free workers, in the order of the
// workers' names. Only one lease per queue is under way at a time, since a pop
// by task works for the head alone.
func (p *Pool) hand(ctx context.Context, b *backlog) {
	p.mu.Lock()
	defer p.mu.Unlock()
	names := make([]string, 0, len(p.workers))
	for name := range p.workers {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		s := p.workers[name]
		if !p.free(s) {
			continue
		}
		held := p.held()
		p.explain(s, cmp.Or(held, b.lacks(s.spec.Queues)))
		if held != "" {
			continue
		}
		if queue, id, ok := p.choose(b, s); ok {
			p.begin(ctx, s, queue, b.ids[queue], id)
		}
	}
}

// choose picks the next task for s and takes it out of the backlog.
func (p *Pool) choose(b *backlog, s *slot) (queue, task string, ok bool) {
	n := len(s.spec.Queues)
	for i := range n {
		at := i
		if s.spec.Order == spec.OrderRoundRobin {
			at = (s.turn + i) % n
		}
		queue = s.spec.Queues[at]
		entries := b.entries[b.ids[queue]]
		if len(entries) == 0 || p.leasing(b.ids[queue]) || p.active(entries[0]) {
			continue
		}
		b.entries[b.ids[queue]] = entries[1:]
		s.turn = at + 1
		return queue, entries[0], true
	}
	return "", "", false
}

// leasing tells whether a head of the queue is being popped.
func (p *Pool) leasing(queue string) bool {
	for _, s := range p.workers {
		if s.run != nil && s.state == reconcile.StateLeasing && s.run.rec.Queue == queue {
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

// nextFree is how long until a back-off of a worker ends.
func (p *Pool) nextFree() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	wait := time.Hour
	for _, s := range p.workers {
		if d := time.Until(s.notUntil); d > 0 {
			wait = min(wait, d)
		}
	}
	return wait
}

// held says why no worker of the node may take a task now, or "".
func (p *Pool) held() string {
	floor := int64(p.node.Spec.Cache.MinFree)
	var fs unix.Statfs_t
	if err := unix.Statfs(p.cfg.State, &fs); err != nil || floor == 0 {
		return ""
	}
	if free := int64(fs.Bavail) * fs.Bsize; free < floor { //nolint:gosec // block counts fit
		return fmt.Sprintf("%s free on the disk of %s, below cache.minFree %s",
			humanize.IBytes(uint64(free)), p.cfg.State, humanize.IBytes(uint64(floor)))
	}
	return ""
}
