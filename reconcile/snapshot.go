package reconcile

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"agentctl/spec"
)

// Snapshot is the state as last published.
func (l *Loop) Snapshot() *Snapshot { return l.snap.Load() }

// Watch gives the present snapshot and then the newest one after each change,
// until ctx ends; a slow reader misses those in between.
func (l *Loop) Watch(ctx context.Context) <-chan *Snapshot {
	c := make(chan *Snapshot, 1)
	l.mu.Lock()
	l.watchers[c] = struct{}{}
	c <- l.snap.Load()
	l.mu.Unlock()
	context.AfterFunc(ctx, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.watchers, c)
		close(c)
	})
	return c
}

// Preview says what a spec would change, without changing anything.
func (l *Loop) Preview(file string, text []byte) Preview {
	now := time.Now()
	node, problems := spec.DecodeFor(file, text, l.cfg.Name)
	if problems.Err() != nil {
		return Preview{Problems: problems}
	}
	node = node.Default(spec.Env{Hostname: l.cfg.Name})
	return Preview{
		Plan:     Compute(spec.Expand(node), l.cfg.Runner.Observe(), now),
		Changes:  spec.Diff(l.Snapshot().Node, node),
		Problems: problems,
	}
}

func (l *Loop) publish(observed Observed, plan Plan, now time.Time) {
	s := &Snapshot{
		Time: now, Name: l.cfg.Name, Node: l.node,
		Generation: l.generation, ObservedGeneration: l.handed,
		LastAttempted: l.attempted, LastApplied: l.applied,
		Plan: plan, Server: observed.Server, Warnings: l.warnings,
	}
	for _, name := range slices.Sorted(maps.Keys(observed.Workers)) {
		w := observed.Workers[name]
		s.Workers = append(s.Workers, w)
		if w.Task != nil {
			s.Tasks = append(s.Tasks, *w.Task)
		}
	}
	s.Tasks = append(s.Tasks, observed.Ended...)
	s.Conditions = l.conditions(s, now)
	l.previous = s.Conditions
	l.snap.Store(s)
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.watchers {
		select { // the newest wins: one that was not read makes room
		case <-c:
		default:
		}
		c <- s
	}
}

// conditions derives what the node says of itself.
func (l *Loop) conditions(s *Snapshot, now time.Time) []Condition {
	cs := []Condition{l.accepted, l.ready(s)}
	if !s.Plan.Converged() {
		cs = append(cs, Condition{Type: Reconciling, Status: "True", Reason: "PlanNotDone", Message: summary(s.Plan)})
	}
	if stalled := stalledWorkers(s.Workers); stalled != "" {
		cs = append(cs, Condition{Type: Stalled, Status: "True", Reason: "WorkersHeld", Message: stalled})
	}
	for i := range cs[1:] {
		c := &cs[i+1]
		c.Since, c.Revision = now, l.applied.Digest
		for _, p := range l.previous {
			if p.Type == c.Type && p.Status == c.Status {
				c.Since = p.Since
			}
		}
	}
	return cs
}

func (l *Loop) ready(s *Snapshot) Condition {
	c := Condition{Type: Ready, Status: "False"}
	switch {
	case l.node == nil:
		c.Reason, c.Message = "NoSpec", "no spec has been accepted yet"
	case len(s.Workers) > 0 && !s.Server.Reachable && s.Server.Error != "":
		c.Reason, c.Message = "ServerUnreachable", s.Server.Error
	case !s.Plan.Converged():
		c.Reason, c.Message = "Reconciling", summary(s.Plan)
	default:
		c.Status, c.Reason = "True", "Converged"
	}
	return c
}

func summary(p Plan) string {
	var parts []string
	for _, a := range p.Actions {
		parts = append(parts, fmt.Sprintf("%s %s: %s", a.Verb, a.Worker, a.Reason))
	}
	return strings.Join(parts, "; ")
}

func stalledWorkers(workers []WorkerStatus) string {
	var parts []string
	for _, w := range workers {
		if w.Message != "" && w.Task == nil && !w.Draining {
			parts = append(parts, w.Name+": "+w.Message)
		}
	}
	return strings.Join(parts, "; ")
}
