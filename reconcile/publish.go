package reconcile

import (
	"context"
	"reflect"
	"time"

	"agentctl/spec"
)

// Snapshot is the state as last published. It must not be changed.
func (l *Loop) Snapshot() *Snapshot { return l.snap.Load() }

// Watch gives the present snapshot and then the newest one after each change; a
// slow reader misses those in between and never the last. The channel is closed
// when ctx ends or the loop has.
func (l *Loop) Watch(ctx context.Context) <-chan *Snapshot {
	c := make(chan *Snapshot, 1)
	l.mu.Lock()
	defer l.mu.Unlock()
	c <- l.snap.Load()
	select {
	case <-l.done:
		close(c)
		return c
	default:
	}
	l.watchers[c] = struct{}{}
	context.AfterFunc(ctx, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if _, there := l.watchers[c]; there {
			delete(l.watchers, c)
			close(c)
		}
	})
	return c
}

func (l *Loop) publish(observed Observed, plan Plan, now time.Time) {
	s := &Snapshot{
		Time: now, Name: l.cfg.Name, Node: l.node,
		Generation: l.generation, ObservedGeneration: l.handed,
		LastAttempted: l.attempted, LastApplied: l.applied, Suspension: l.suspension, Waiting: l.waiting,
		Plan: plan, Server: observed.Server, Warnings: l.warnings,
	}
	last := l.snap.Load()
	if last == nil {
		last = &Snapshot{}
	}
	l.describe(s, last, observed, now)
	if was := *last; last.Name != "" {
		if was.Time = now; reflect.DeepEqual(&was, s) { // no news: only the time moves on
			l.snap.Store(s)
			return
		}
	}
	l.mu.Lock() // over the store as well, so that no watcher gets an older one last
	defer l.mu.Unlock()
	l.snap.Store(s)
	for c := range l.watchers {
		select { // the newest wins: one that was not read makes room
		case <-c:
		default:
		}
		c <- s
	}
}

// Preview is what a spec would change.
type Preview struct {
	Plan Plan `json:"plan"`
	// Changes of the effective node, defaults included.
	Changes  []spec.Change `json:"changes,omitempty"`
	Problems spec.Problems `json:"problems,omitempty"`
	// Base is the digest of the spec that Changes start from, "" if there is none.
	Base   string `json:"base,omitempty"`
	Digest string `json:"digest,omitempty"`
	// Dangers are changes that are seldom meant.
	Dangers []Danger `json:"dangers,omitempty"`
	// Node is what the spec says, with its defaults.
	Node *spec.Node `json:"-"`
}

// Preview says what a spec would change, without changing anything. file names it
// in the problems; with an error among them there is no plan.
func (l *Loop) Preview(file string, text []byte) Preview {
	s := l.Snapshot()
	p := Preview{Base: s.LastApplied.Digest, Digest: Digest(text)}
	node, problems := spec.DecodeFor(file, text, l.cfg.host())
	p.Problems = problems
	if node == nil {
		return p
	}
	node = node.Default(spec.Env{Hostname: l.cfg.Name})
	p.Node, p.Dangers = node, Dangers(s.Node, node)
	p.Changes = spec.Diff(s.Node, node)
	p.Plan = Compute(DesiredOf(node), l.cfg.Runner.Observe(), time.Now())
	return p
}
