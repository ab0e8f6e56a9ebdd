package worker

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

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

// look brings the backlog up to date. With a server that can wait it returns
// when something changed; a worker that becomes free meanwhile, or a change of
// the spec, ends the wait.
func (p *Pool) look(ctx context.Context, b *backlog, server spec.Server, names []string) error {
	conn, err := p.conn.get(ctx, server)
	if err != nil {
		return err
	}
	ids, err := p.resolve(ctx, b, conn, names, p.creates())
	if err != nil {
		return err
	}
	if len(ids) == 0 { // all are missing: they may be created
		p.noteServer(serverName(server), nil)
		b.next = time.Now().Add(missingEvery)
		return nil
	}
	if !slices.Equal(ids, b.looked) {
		// The revision speaks of other queues: what waits in these is unknown.
		b.revision, b.looked = 0, ids
		clear(b.entries)
	}
	queues, revision, woken, err := p.await(ctx, conn, ids, b.revision, func() bool { return p.urges(server, names) })
	if woken {
		return nil
	}
	if err != nil {
		return err
	}
	p.noteServer(serverName(server), nil)
	b.revision = revision
	if revision == 0 {
		b.next = time.Now().Add(jitter(time.Duration(server.PollInterval)))
	}
	for _, q := range queues {
		b.entries[q.ID] = q.Tasks()
	}
	b.forget(queues)
	p.queued(b)
	return nil
}

// urges tells whether a look at these queues is not to be waited for any longer: a
// worker may take a task, or other queues matter.
func (p *Pool) urges(server spec.Server, names []string) bool {
	now, wanted := p.wanted()
	if key(now) != key(server) || !slices.Equal(wanted, names) || p.stale.Load() {
		return true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.ContainsFunc(slices.Collect(maps.Values(p.workers)), p.idle)
}

// await is one look; woken tells that a hint cut it short, which it does if urges
// says so.
func (p *Pool) await(ctx context.Context, conn Conn, ids []string, since int64, urges func() bool) (qs []clearml.Queue, revision int64, woken bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	kicked := make(chan bool, 1)
	go func() { // ends with this call, which waits for its word
		for {
			select {
			case <-p.kick:
				if !urges() {
					continue
				}
				cancel()
				kicked <- true
			case <-ctx.Done():
				kicked <- false
			}
			return
		}
	}()
	qs, revision, err = conn.Client.Queues(ctx, ids, since, longPoll)
	cancel()
	return qs, revision, <-kicked && err != nil, err
}

// jitter is d, a tenth more or less, so that the looks of a fleet that was started at
// once spread.
func jitter(d time.Duration) time.Duration { return d - d/10 + rand.N(d/5+1) }

// forget drops the ids of queues that are no longer there: one of the same name may be
// made anew.
func (b *backlog) forget(found []clearml.Queue) {
	for name, id := range b.ids {
		if slices.Contains(b.looked, id) && !slices.ContainsFunc(found, func(q clearml.Queue) bool { return q.ID == id }) {
			delete(b.ids, name)
			delete(b.entries, id)
		}
	}
}

// creates are the queues that workers create where they are missing.
func (p *Pool) creates() map[string]bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	names := map[string]bool{}
	for _, s := range p.workers {
		for _, name := range s.spec.Queues {
			names[name] = names[name] || s.spec.CreateQueues
		}
	}
	return names
}

// resolve gives the ids of the queues. A queue that is missing is created on the
// embedded server, and for workers that say so; else it keeps its workers waiting,
// with a message.
func (p *Pool) resolve(ctx context.Context, b *backlog, conn Conn, names []string, create map[string]bool) ([]string, error) {
	var ids []string
	for _, name := range names {
		if b.ids[name] == "" {
			id, err := conn.Client.ResolveQueue(ctx, name, conn.Embedded || create[name])
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

// lacks says that the server does not have a queue.
func (b *backlog) lacks(queues []string) hold {
	for _, name := range queues {
		if b.missing[name] {
			return hold{code: reconcile.HeldByQueue, message: fmt.Sprintf("the server has no queue %q; create it there or take it out of the worker's queues", name)}
		}
	}
	return hold{}
}
