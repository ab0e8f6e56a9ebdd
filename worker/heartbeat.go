package worker

import (
	"context"
	"strings"
	"time"

	"agentctl/clearml"
	"agentctl/spec"
)

// reportEvery is the period of a worker's status report, as clearml-agent's; the
// server forgets a worker after 600 s without one.
const reportEvery = 30 * time.Second

// registration is where a worker is known, and for which queues.
type registration struct {
	server spec.Server
	queues string
}

// heartbeat keeps every worker registered and reports what it does, with the
// machine's figures. It goes on while a worker drains: a worker that stops
// reporting is taken for dead.
func (p *Pool) heartbeat(ctx context.Context) {
	known := map[string]registration{} // by worker id
	machine := newMachine()
	for ctx.Err() == nil {
		due := p.beats()
		var stats *clearml.MachineStats
		if len(due) > 0 {
			stats = machine.sample(ctx)
		}
		for id, b := range due {
			conn, err := p.conn.get(ctx, b.server)
			if err != nil {
				break // the dispatch loop reports it
			}
			as := registration{key(b.server), strings.Join(b.queues, "\n")}
			if known[id] != as {
				if register(ctx, conn, id, b.queues) != nil {
					continue
				}
				known[id] = as
			}
			_ = conn.Client.ReportStatus(ctx, clearml.StatusReport{
				Worker: id, Queue: b.queue, Task: b.task, Timestamp: time.Now().UnixMilli(), Stats: p.withGPUs(stats, b.gpus),
			})
		}
		p.unregister(ctx, known, due)
		p.nap(ctx, nextBeat(known, due))
	}
}

// register makes a worker known with the queues that it serves. One that does not
// exist is left out: the dispatch loop says so, and creates it where it may.
func register(ctx context.Context, conn Conn, id string, queues []string) error {
	w := clearml.Worker{ID: id, Queues: []string{}}
	for _, name := range queues {
		queue, err := conn.Client.ResolveQueue(ctx, name, conn.Embedded)
		if clearml.IsNotFound(err) {
			continue
		}
		if err != nil {
			return err
		}
		w.Queues = append(w.Queues, queue)
	}
	return conn.Client.RegisterWorker(ctx, w)
}

// nextBeat is short until every worker is known to the server.
func nextBeat(known map[string]registration, due map[string]beat) time.Duration {
	if len(known) < len(due) || len(due) == 0 {
		return time.Second
	}
	return reportEvery
}

type beat struct {
	server      spec.Server
	queue, task string
	queues      []string
	gpus        []string
}

func (p *Pool) beats() map[string]beat {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := map[string]beat{}
	if p.node == nil {
		return out
	}
	for _, s := range p.workers {
		b := beat{server: p.node.Spec.Server, queues: s.spec.Queues, gpus: s.gpus}
		if s.run != nil && !s.run.rec.Started.IsZero() {
			b.server, b.queue, b.task = s.run.rec.Server, s.run.rec.Queue, s.run.rec.Task
		}
		out[s.spec.ID] = b
	}
	return out
}

func (p *Pool) unregister(ctx context.Context, known map[string]registration, due map[string]beat) {
	for id, was := range known {
		if _, ok := due[id]; ok {
			continue
		}
		if conn, err := p.conn.get(ctx, was.server); err == nil {
			_ = conn.Client.UnregisterWorker(ctx, id)
		}
		delete(known, id)
	}
}
