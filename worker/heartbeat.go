package worker

import (
	"context"
	"time"

	"agentctl/clearml"
	"agentctl/spec"
)

// reportEvery is the period of a worker's status report, as clearml-agent's; the
// server forgets a worker after 600 s without one.
const reportEvery = 30 * time.Second

// heartbeat keeps every worker registered and reports what it does, with the
// machine's figures. It goes on while a worker drains: a worker that stops
// reporting is taken for dead.
func (p *Pool) heartbeat(ctx context.Context) {
	known := map[string]spec.Server{} // worker id → where it is registered
	machine := newMachine()
	for ctx.Err() == nil {
		stats := machine.sample(ctx)
		due := p.beats()
		for id, b := range due {
			conn, err := p.conn.get(ctx, b.server)
			if err != nil {
				break // the dispatch loop reports it
			}
			if known[id] != key(b.server) {
				if conn.Client.RegisterWorker(ctx, clearml.Worker{ID: id, Queues: b.queueIDs}) != nil {
					continue
				}
				known[id] = key(b.server)
			}
			_ = conn.Client.ReportStatus(ctx, clearml.StatusReport{
				Worker: id, Queue: b.queue, Queues: b.queueIDs, Task: b.task, Timestamp: time.Now().UnixMilli(), Stats: stats,
			})
		}
		p.unregister(ctx, known, due)
		p.nap(ctx, nextBeat(known, due))
	}
}

// nextBeat is short until every worker is known to the server.
func nextBeat(known map[string]spec.Server, due map[string]beat) time.Duration {
	if len(known) < len(due) || len(due) == 0 {
		return time.Second
	}
	return reportEvery
}

type beat struct {
	server      spec.Server
	queue, task string
	queueIDs    []string
}

func (p *Pool) beats() map[string]beat {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := map[string]beat{}
	if p.node == nil {
		return out
	}
	for _, s := range p.workers {
		b := beat{server: p.node.Spec.Server}
		if s.run != nil && !s.run.rec.Started.IsZero() {
			b.server, b.queue, b.task = s.run.rec.Server, s.run.rec.Queue, s.run.rec.Task
		}
		out[s.spec.ID] = b
	}
	return out
}

func (p *Pool) unregister(ctx context.Context, known map[string]spec.Server, due map[string]beat) {
	for id, server := range known {
		if _, ok := due[id]; ok {
			continue
		}
		if conn, err := p.conn.get(ctx, server); err == nil {
			_ = conn.Client.UnregisterWorker(ctx, id)
		}
		delete(known, id)
	}
}
