package reconcile

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"agentctl/spec"
)

// Runner makes workers happen. Apply never blocks; Changed has a value whenever
// Observe may have something new.
type Runner interface {
	Apply(node *spec.Node, actions []Action)
	Observe() Observed
	Changed() <-chan struct{}
}

// Store keeps the accepted revisions. Accept returns the revision's number; it
// has reached the disk then.
type Store interface {
	Accept(rev Revision, text []byte) (int64, error)
}

// SpecUpdate is news of the spec: its text, or why there is none.
type SpecUpdate struct {
	Text   []byte
	Origin Origin
	// Err says that the text could not be read; the last good spec stays.
	Err error
	// Restored marks the last good spec that was found at start: it is accepted
	// already and not stored again.
	Restored *Revision
}

// Result is what became of a SpecUpdate.
type Result struct {
	// Generation to wait for; the present one if the text was accepted before.
	Generation int64         `json:"generation"`
	Accepted   bool          `json:"accepted"`
	Unchanged  bool          `json:"unchanged,omitempty"`
	Digest     string        `json:"digest,omitempty"`
	Problems   spec.Problems `json:"problems,omitempty"`
	Error      string        `json:"error,omitempty"`
}

// Preview is what a spec would change.
type Preview struct {
	Plan     Plan          `json:"plan"`
	Changes  []spec.Change `json:"changes,omitempty"`
	Problems spec.Problems `json:"problems,omitempty"`
}

// Config is what a Loop needs.
type Config struct {
	// Name picks the node's document out of a file with several.
	Name   string
	Runner Runner
	Store  Store
	Log    *slog.Logger
	// Resync is how often to look though nothing hinted at a change; 0: 30 s.
	Resync time.Duration
}

// Loop owns the desired state. Run is its one goroutine; the other methods may
// be called from any.
type Loop struct {
	cfg     Config
	updates chan request
	snap    atomic.Pointer[Snapshot]
	done    chan struct{}

	mu       sync.Mutex // guards watchers alone
	watchers map[chan *Snapshot]struct{}

	// Owned by Run.
	node       *spec.Node
	desired    []spec.Worker
	warnings   spec.Problems
	generation int64
	handed     int64 // generation that Runner.Apply was called with
	attempted  Revision
	applied    Revision
	accepted   Condition
	logged     Plan
	previous   []Condition
}

type request struct {
	update SpecUpdate
	reply  chan Result
}

// ErrStopped means that the loop has ended.
var ErrStopped = errors.New("the reconciler has stopped")

// NewLoop returns a loop without a spec.
func NewLoop(cfg Config) *Loop {
	if cfg.Resync == 0 {
		cfg.Resync = 30 * time.Second
	}
	l := &Loop{cfg: cfg, updates: make(chan request), done: make(chan struct{}), watchers: map[chan *Snapshot]struct{}{}}
	l.accepted = Condition{Type: SpecAccepted, Status: "Unknown", Reason: "NoSpec", Message: "no spec has been given yet; run agentctl apply", Since: time.Now()}
	l.publish(Observed{}, Plan{}, time.Now())
	return l
}

// Submit hands an update to the loop and returns what became of it.
func (l *Loop) Submit(ctx context.Context, u SpecUpdate) (Result, error) {
	r := request{u, make(chan Result, 1)}
	select {
	case l.updates <- r:
		return <-r.reply, nil
	case <-ctx.Done():
		return Result{}, context.Cause(ctx)
	case <-l.done:
		return Result{}, ErrStopped
	}
}

// Run converges until ctx ends. Workers and tasks are left as they are then.
func (l *Loop) Run(ctx context.Context) error {
	defer close(l.done)
	resync := time.NewTicker(l.cfg.Resync)
	defer resync.Stop()
	for {
		l.converge(time.Now())
		select {
		case <-ctx.Done():
			return nil
		case r := <-l.updates:
			res := l.take(r.update, time.Now())
			l.converge(time.Now()) // before the answer, so that the caller sees the plan
			r.reply <- res
		case <-l.cfg.Runner.Changed():
		case <-resync.C:
		}
	}
}

// take judges an update. Only a valid text changes what is desired.
func (l *Loop) take(u SpecUpdate, now time.Time) Result {
	rev := Revision{Origin: u.Origin, Time: now}
	if u.Err != nil {
		l.attempted = rev
		l.judge("False", "Unreadable", u.Err.Error(), now)
		return Result{Generation: l.generation, Error: u.Err.Error()}
	}
	rev.Digest = Digest(u.Text)
	l.attempted = rev
	node, problems := spec.DecodeFor(u.Origin.Path, u.Text, l.cfg.Name)
	if err := problems.Err(); err != nil {
		l.judge("False", "Invalid", err.Error(), now)
		return Result{Generation: l.generation, Digest: rev.Digest, Problems: problems}
	}
	res := Result{Accepted: true, Digest: rev.Digest, Problems: problems}
	if rev.Digest == l.applied.Digest && rev.Origin == l.applied.Origin {
		l.judge("True", "Accepted", "", now)
		res.Generation, res.Unchanged = l.generation, true
		return res
	}
	if u.Restored != nil {
		rev = *u.Restored
	} else if err := l.store(&rev, u.Text); err != nil {
		// Without it on disk a restart would fall back: the old spec stays.
		l.judge("False", "NotStored", err.Error(), now)
		return Result{Generation: l.generation, Digest: rev.Digest, Error: err.Error()}
	}
	l.adopt(node, problems, rev, now)
	res.Generation = l.generation
	return res
}

func (l *Loop) store(rev *Revision, text []byte) (err error) {
	rev.Number, err = l.cfg.Store.Accept(*rev, text)
	return err
}

func (l *Loop) adopt(node *spec.Node, problems spec.Problems, rev Revision, now time.Time) {
	l.node = node.Default(spec.Env{Hostname: l.cfg.Name})
	l.desired = spec.Expand(l.node)
	l.warnings = problems.Warnings()
	l.applied = rev
	l.generation++
	l.judge("True", "Accepted", "", now)
	l.cfg.Log.Info("spec accepted", "generation", l.generation, "revision", rev.Number, "digest", rev.Digest, "source", rev.Origin.Kind, "path", rev.Origin.Path)
}

// judge sets the condition SpecAccepted.
func (l *Loop) judge(status, reason, message string, now time.Time) {
	c := Condition{Type: SpecAccepted, Status: status, Reason: reason, Message: message, Since: now, Revision: l.attempted.Digest}
	if c.Status == l.accepted.Status {
		c.Since = l.accepted.Since
	}
	if status != "True" && message != l.accepted.Message {
		l.cfg.Log.Warn("spec not accepted, the last good one stays", "reason", reason, "error", message)
	}
	l.accepted = c
}

// converge computes the plan, hands it over, and publishes what came of it.
func (l *Loop) converge(now time.Time) {
	observed := l.cfg.Runner.Observe()
	if l.node == nil { // before a spec is accepted nothing may be stopped for not being in it
		l.publish(observed, Plan{}, now)
		return
	}
	plan := Compute(l.desired, observed, now)
	l.logPlan(plan)
	if todo := plan.todo(); len(todo) > 0 || l.handed != l.generation {
		l.cfg.Runner.Apply(l.node, todo)
		l.handed = l.generation
		observed = l.cfg.Runner.Observe()
		plan = Compute(l.desired, observed, now)
	}
	l.publish(observed, plan, now)
}

// todo is the plan without what only waits.
func (p Plan) todo() []Action {
	var out []Action
	for _, a := range p.Actions {
		if a.Verb != Wait {
			out = append(out, a)
		}
	}
	return out
}

// logPlan logs a plan once, when it differs from the last.
func (l *Loop) logPlan(plan Plan) {
	if reflect.DeepEqual(plan, l.logged) {
		return
	}
	for _, a := range plan.Actions {
		if a.Verb != Wait {
			l.cfg.Log.Info("plan", "verb", a.Verb, "worker", a.Worker, "reason", a.Reason)
		}
	}
	l.logged = plan
}

// Digest names a spec text.
func Digest(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}
