package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"

	"agentctl/control"
	"agentctl/reconcile"
	"agentctl/spec"
)

// untilReady waits until the workers take tasks, or wait for what will not come by
// itself.
func (d *daemonRun) untilReady(ctx context.Context, c *control.Client, r control.ContributeReply) error {
	if d.timeout > 0 {
		var cancel func()
		ctx, cancel = context.WithTimeout(ctx, d.timeout)
		defer cancel()
	}
	said := ""
	err := c.Watch(ctx, func(s *reconcile.Snapshot) error {
		if s.ObservedGeneration >= r.Generation && !wants(s, r.Contribution) {
			return takenAway(r.Contribution)
		}
		why, stalled := lacks(s, r)
		switch {
		case why == "":
			return errReached
		case stalled:
			return &exitError{exitTimeout, fmt.Errorf("the worker is there and takes no task yet: %s", why)}
		case why != said:
			said = why
			d.say("waiting: %s", why)
		}
		return nil
	})
	switch {
	case errors.Is(err, errReached):
		d.say("the worker is ready; `agentctl daemon --stop %s` removes it", r.Contribution.ID)
		return nil
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return &exitError{exitTimeout, fmt.Errorf("the worker is there and takes no task yet, after %s: %s", d.timeout, said)}
	}
	return err
}

// lacks is what keeps workers from taking tasks, "" if nothing does; stalled says that
// it does not end by itself.
func lacks(s *reconcile.Snapshot, r control.ContributeReply) (why string, stalled bool) {
	if s.ObservedGeneration < r.Generation {
		return "the agent has not looked at it yet", false
	}
	for _, g := range r.Contribution.Workers {
		for i := range count(g) {
			name := fmt.Sprintf("%s/%d", g.Name, i)
			if slices.ContainsFunc(s.Workers, func(w reconcile.WorkerStatus) bool { return w.Name == name }) {
				continue
			}
			for _, a := range s.Plan.Actions {
				if a.Worker == name {
					return a.Reason, a.Stalled
				}
			}
			return name + " is being started", false
		}
	}
	if c, _ := s.Condition(reconcile.Ready); c.Reason == "ServerUnreachable" {
		return c.Message, false
	}
	if !asked(s) {
		return "the server was not asked yet", false
	}
	return "", false
}

// wants tells that the spec in force has a group of a contribution.
func wants(s *reconcile.Snapshot, c control.Contribution) bool {
	return s.Node != nil && slices.ContainsFunc(s.Node.Spec.Workers, func(g spec.WorkerSpec) bool { return has(c, g.Name) })
}

func has(c control.Contribution, group string) bool {
	return slices.ContainsFunc(c.Workers, func(g spec.WorkerSpec) bool { return g.Name == group })
}

func takenAway(c control.Contribution) error { return fmt.Errorf("the worker %s was taken away", c.ID) }

func count(g spec.WorkerSpec) int {
	if g.Count == nil {
		return 1
	}
	return *g.Count
}

// follower stays with contributed workers.
type follower struct {
	*daemonRun
	c       *control.Client
	what    control.Contribution
	signals chan os.Signal
	console bool // of the tasks: only where there is one at a time

	following sync.WaitGroup
	hide      func() // ends the consoles
	task      string // whose console is shown
	said      map[string]string
}

// follow stays with the workers until they are gone: taken away by somebody else, or,
// after a first signal, by this. A second signal ends their tasks. own says that the
// agent was started by this, and is started again if it dies.
func (d *daemonRun) follow(ctx context.Context, c *control.Client, what control.Contribution, own bool) error {
	f := &follower{daemonRun: d, c: c, what: what, signals: make(chan os.Signal, 10), said: map[string]string{}}
	signal.Notify(f.signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(f.signals)
	defer f.following.Wait()
	f.console = len(what.Workers) == 1 && count(what.Workers[0]) == 1
	tasks, hide := context.WithCancel(context.WithoutCancel(ctx))
	defer hide()
	f.hide = hide
	for {
		err := c.Watch(ctx, func(s *reconcile.Snapshot) error { return f.see(tasks, s) })
		switch {
		case errors.Is(err, errReached):
			return takenAway(what)
		case ctx.Err() != nil:
			return f.leave(tasks)
		case !errors.Is(err, control.ErrNoAgent) && !errors.Is(err, control.ErrCut) && err != nil:
			return err
		}
		if err := f.agentBack(ctx, own); err != nil && ctx.Err() == nil {
			return err
		}
	}
}

// agentBack waits for an agent that went away.
func (f *follower) agentBack(ctx context.Context, own bool) error {
	f.say("the agent went away, waiting for it; the worker is kept for the next one")
	for ctx.Err() == nil {
		_, err := f.c.Agent(ctx)
		if err == nil || !errors.Is(err, control.ErrNoAgent) {
			return err
		}
		if own {
			return f.ensureAgent(ctx, f.c, f.agent)
		}
		select {
		case <-ctx.Done():
		case <-time.After(200 * time.Millisecond):
		}
	}
	return ctx.Err()
}

// see tells what has changed of the workers.
func (f *follower) see(ctx context.Context, s *reconcile.Snapshot) error {
	here := 0
	for _, w := range f.of(s) {
		here++
		now := workerState(w)
		if w.Task != nil {
			now += " " + w.Task.ID
			f.showConsole(ctx, w.Task.ID)
		} else {
			f.task = "" // the same one may come again
			if w.Message != "" {
				now += ": " + w.Message
			}
		}
		if f.said[w.Name] != now {
			f.said[w.Name] = now
			f.say("%s %s", w.Spec.ID, now)
		}
	}
	if here == 0 && !wants(s, f.what) && s.Generation > 0 {
		return errReached
	}
	return nil
}

// of are the workers that are followed.
func (f *follower) of(s *reconcile.Snapshot) (out []reconcile.WorkerStatus) {
	for _, w := range s.Workers {
		if has(f.what, w.Spec.Group) {
			out = append(out, w)
		}
	}
	return out
}

// showConsole shows the console of a task, one after the other.
func (f *follower) showConsole(ctx context.Context, task string) {
	if !f.console || f.task == task {
		return
	}
	f.task = task
	f.following.Wait() // that of the task before has ended
	f.following.Go(func() {
		r, to := control.LogsRequest{Task: task, Follow: true}, f.screen()
		for ctx.Err() == nil {
			running := f.running(ctx, task) // before: one that ends meanwhile has a console by then
			err := f.logs(ctx, f.c, &r, to)
			if err == nil || !running && !errors.Is(err, control.ErrNoAgent) {
				return
			}
			select { // the console is not there yet, or the next agent
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
	})
}

// running tells whether a worker has the task.
func (f *follower) running(ctx context.Context, task string) bool {
	s, err := f.c.Status(ctx)
	return err == nil && slices.ContainsFunc(s.Workers, func(w reconcile.WorkerStatus) bool { return w.Task != nil && w.Task.ID == task })
}
