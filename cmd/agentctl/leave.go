package main

import (
	"context"
	"time"

	"agentctl/reconcile"
)

// leaving ends the agent: at a signal, after each worker has had its one task, or when
// nothing was to be done for long. Whatever the cause, workers are first taken out of
// service for as long as this agent lives, so that no task is taken and left in the same
// moment.
type leaving struct {
	workers interface {
		Leave(o *reconcile.Order)
		Observe() reconcile.Observed
		// Building tells that something is being built for somebody who waits for it.
		Building() bool
	}
	news  func(context.Context) <-chan *reconcile.Snapshot
	drain bool          // at a signal: wait for the tasks, by their workers' policies
	once  bool          // when each worker has had a task
	idle  time.Duration // when no worker has had one for so long; 0: never
	stays func() bool   // though it is idle; nil: never
}

// startedForTasks is the flag of an agent that was started to run a task, or to build for
// one.
const startedForTasks = "started-for-tasks"

// stays tells that an agent which was started for tasks has become more than that: the
// workers that it was given since would end with it.
func (ag *agent) stays() bool {
	node := ag.loop.Snapshot().Node
	return ag.flags.forTasks && node != nil && len(node.Spec.Workers) > 0
}

// wait returns when the agent is to end; signalled is closed by the first signal. A
// second one ends the program by itself.
func (l leaving) wait(ctx context.Context, signalled <-chan struct{}) {
	news := l.news(ctx)
	quiet := time.NewTimer(l.idle)
	defer quiet.Stop()
	if l.idle == 0 {
		quiet.Stop()
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-signalled:
			if l.drain {
				l.workers.Leave(&reconcile.Order{Policy: reconcile.DrainOwn, Reason: "the agent stops", Since: time.Now()})
				l.untilIdle(ctx, news)
			}
			return
		case _, more := <-news:
			switch {
			case !more || l.once && l.spent():
				return
			case l.idle > 0 && l.busy():
				quiet.Reset(l.idle)
			}
		case <-quiet.C:
			if l.stays != nil && l.stays() {
				quiet.Reset(l.idle)
				continue
			}
			l.workers.Leave(&reconcile.Order{Reason: "the agent ends: nothing to do", Since: time.Now()})
			if !l.busy() && !l.workers.Building() {
				return
			}
			l.workers.Leave(nil) // it took a task in the same moment, or builds
			quiet.Reset(l.idle)
		}
	}
}

func (l leaving) untilIdle(ctx context.Context, news <-chan *reconcile.Snapshot) {
	for l.busy() {
		select {
		case <-ctx.Done():
			return
		case _, more := <-news:
			if !more {
				return
			}
		}
	}
}

func (l leaving) busy() bool {
	for _, w := range l.workers.Observe().Workers {
		if w.Task != nil {
			return true
		}
	}
	return false
}

// spent tells that each worker has had its task, of which there is one at least.
func (l leaving) spent() bool {
	workers := l.workers.Observe().Workers
	for _, w := range workers {
		if w.Task != nil || w.Served == 0 {
			return false
		}
	}
	return len(workers) > 0
}
