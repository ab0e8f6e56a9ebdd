package worker

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"agentctl/clearml"
	"agentctl/spec"
)

// reportEvery is the period of a worker's status report, as clearml-agent's; the
// server forgets a worker after 600 s without one.
const reportEvery = 30 * time.Second

// registration is where a worker is known, and how.
type registration struct {
	server       spec.Server
	queues, tags string
}

// known is a worker that the server knows, with the ids of its queues.
type known struct {
	as     registration
	queues []string
	task   string // of the last report
}

// heartbeat keeps every worker registered and reports what it does, with the
// machine's figures. It goes on while a worker drains: a worker that stops
// reporting is taken for dead.
func (p *Pool) heartbeat(ctx context.Context) {
	all := map[string]known{} // by worker id
	machine := newMachine(p.cfg.State)
	var stats *clearml.MachineStats
	failures := 0
	for next := time.Now(); ctx.Err() == nil; {
		due := p.beats()
		failed := false
		period := !time.Now().Before(next)
		if period && len(due) > 0 {
			stats = machine.sample(ctx)
		}
		for id, b := range due {
			if k, ok := all[id]; ok && !period && k.task == b.task && k.as == b.as() {
				continue
			}
			if err := p.beat(ctx, all, id, b, stats); err != nil {
				// A server that was away may have forgotten it, or not know its queues.
				delete(all, id)
				if failed = !clearml.IsRefused(err); failed {
					break // the others would wait as long for the same
				}
			}
		}
		p.unregister(ctx, all, due)
		switch {
		case failed:
			next = time.Now().Add(backOff(failures))
			failures++
		case period:
			next, failures = time.Now().Add(nextBeat(due)), 0
		}
		p.waitBeat(ctx, time.Until(next))
	}
}

// waitBeat waits for d, or for a worker that has begun or ended a task: until the server
// has heard who runs a task it takes it for one that nobody runs, and a user's stop ends
// it there without a word to its agent.
func (p *Pool) waitBeat(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-p.report:
	case <-t.C:
	}
}

// beat reports one worker, after it was registered if it was not yet, or differently.
func (p *Pool) beat(ctx context.Context, all map[string]known, id string, b beat, stats *clearml.MachineStats) error {
	conn, err := p.conn.get(ctx, b.server)
	if err != nil {
		return err // the dispatch loop tells of it
	}
	if as := b.as(); all[id].as != as {
		queues, err := register(ctx, conn, id, b)
		if err != nil {
			return err
		}
		all[id] = known{as: as, queues: queues}
	}
	report := clearml.StatusReport{
		Worker: id, Queue: b.queue, Task: b.task, Timestamp: time.Now().UnixMilli(),
		Queues: all[id].queues, Tags: b.tags, Stats: p.withGPUs(stats, b.slots),
	}
	err = conn.Client.ReportStatus(ctx, report)
	if report.Task != "" && errors.Is(err, clearml.ErrTaskGone) {
		// Deleted while it runs; its worker is there all the same.
		report.Task, report.Queue = "", ""
		err = conn.Client.ReportStatus(ctx, report)
	}
	k := all[id]
	k.task = b.task
	all[id] = k
	return err
}

// withGPUs are the machine's figures with those of a worker's own GPUs.
func (p *Pool) withGPUs(stats *clearml.MachineStats, slots []string) *clearml.MachineStats {
	if p.cfg.GPUStats == nil || len(slots) == 0 || stats == nil {
		return stats
	}
	own := *stats
	p.cfg.GPUStats(slots, &own)
	return &own
}

// register makes a worker known with the queues that it serves, and returns their ids.
// One that does not exist is left out: the dispatch loop says so, and creates it where
// it may.
func register(ctx context.Context, conn Conn, id string, b beat) ([]string, error) {
	w := clearml.Worker{ID: id, Queues: []string{}, Tags: b.tags}
	for _, name := range b.queues {
		queue, err := conn.Client.ResolveQueue(ctx, name, conn.Embedded || b.create)
		if clearml.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		w.Queues = append(w.Queues, queue)
	}
	return w.Queues, conn.Client.RegisterWorker(ctx, w)
}

// nextBeat is short until there is a worker.
func nextBeat(due map[string]beat) time.Duration {
	if len(due) == 0 {
		return time.Second
	}
	return reportEvery
}

func (b beat) as() registration {
	return registration{key(b.server), strings.Join(b.queues, "\n"), strings.Join(b.tags, "\n")}
}

// beat is what a worker is and does.
type beat struct {
	server      spec.Server
	queue, task string
	queues      []string
	tags        []string
	slots       []string
	create      bool
}

func (p *Pool) beats() map[string]beat {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := map[string]beat{}
	if p.node == nil {
		return out
	}
	for _, s := range p.workers {
		b := beat{server: p.node.Spec.Server, queues: s.spec.Queues, tags: s.spec.Tags, slots: slices.Clone(s.gpus), create: s.spec.CreateQueues}
		if s.run != nil {
			if rec := s.run.noted(); !rec.Started.IsZero() {
				b.server, b.queue, b.task, b.slots = rec.Server, rec.Queue, rec.Task, rec.Slots
			}
		}
		out[s.spec.ID] = b
	}
	return out
}

func (p *Pool) unregister(ctx context.Context, all map[string]known, due map[string]beat) {
	for id, was := range all {
		if _, ok := due[id]; ok {
			continue
		}
		if conn, err := p.conn.get(ctx, was.as.server); err == nil {
			_ = conn.Client.UnregisterWorker(ctx, id)
		}
		delete(all, id)
	}
}
