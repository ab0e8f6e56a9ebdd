package reconcile

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"agentctl/spec"
)

// Runner makes workers happen. Apply marks what is to be and never blocks; node
// is the accepted spec with its defaults. Observe may be called from any goroutine
// and never blocks either. Changed has a value whenever Observe may have something
// new. Runner must have found again what an earlier agent left before Run is called.
type Runner interface {
	Apply(node *spec.Node, actions []Action)
	Observe() Observed
	Changed() <-chan struct{}
}

// Store keeps the accepted specs.
type Store interface {
	// Accept makes a text the last good spec and returns its number; it has reached
	// the disk then.
	Accept(a Accepted) (number int64, err error)
	// Finish records what became of an accepted spec: ResultConverged or
	// ResultSuperseded.
	Finish(number int64, result string, now time.Time) error
}

// Accepted is a valid spec, for the Store.
type Accepted struct {
	// Seq is that of the SpecUpdate.
	Seq  int64
	Text []byte
	// Own is that of the SpecUpdate, or of what a Suspension holds.
	Own int
	// Revision tells its digest, where and when it came from; its Number is for the
	// Store to give.
	Revision Revision
	// Changes are the fields that it changes of the spec before it, and Plan is what is
	// to be done for it.
	Changes []spec.Change
	Plan    []Action
}

// Results of an accepted spec.
const (
	ResultConverged  = "converged"  // all workers are as it says
	ResultSuperseded = "superseded" // another came before that
)

// LastGood is the spec that an earlier agent accepted last.
type LastGood struct {
	Revision Revision
	Text     []byte
}

// Config is what a Loop needs.
type Config struct {
	// Name of this machine: it picks the node's document out of a file with several,
	// and is the name of a node that says none.
	Name string
	// Labels of this machine, which match of documents may ask for.
	Labels map[string]string
	// Called is what the node is called in place of its metadata.name; "": as that says.
	Called string
	Runner Runner
	Store  Store
	// LastGood is in force until the source was read; nil if there is none. Whoever
	// gives it must submit an update when the source was read, readable or not.
	LastGood *LastGood
	// Suspended is that of the source at the start.
	Suspended *Suspension
	Log       *slog.Logger
}

// Times of the loop.
const (
	// resync is how often it looks though nothing hinted at a change.
	resync = 30 * time.Second
	// patience is how long it waits at start for the source, before it goes on with
	// the last good spec. Workers are not removed even then.
	patience = 5 * time.Second
	// An action without effect is handed over again, and a spec that could not be
	// stored is stored again, after retryFirst, then twice that, up to retryMax.
	retryFirst = 100 * time.Millisecond
	retryMax   = 30 * time.Second
)

// ErrStopped means that the loop has ended.
var ErrStopped = errors.New("the reconciler has stopped")

// Loop owns the desired state. Run is its one goroutine; the other methods may be
// called from any, and readers never wait for it.
type Loop struct {
	cfg     Config
	updates chan request
	done    chan struct{} // closed when Run has ended
	snap    atomic.Pointer[Snapshot]

	mu       sync.Mutex // guards watchers alone
	watchers map[chan *Snapshot]struct{}

	// All below is owned by Run.

	node       *spec.Node // accepted, with defaults; nil before there is one
	desired    Desired
	warnings   spec.Problems
	generation int64
	handed     int64  // generation that Runner.Apply was called with
	seq        int64  // of the newest update
	last       Result // of the newest update
	attempted  Revision
	applied    Revision
	finished   bool // the result of applied is stored
	accepted   Condition

	suspension *Suspension // nil: the source is followed
	waiting    *Waiting    // what a suspended source has

	holdUntil time.Time // the source has not been read yet; zero once it was
	unstored  *SpecUpdate
	store     backoff
	retries   map[string]*retry // by worker
	logged    string            // fingerprint of the plan that was logged last
	revisions map[string]string // worker → digest of the spec that it follows
}

type request struct {
	update SpecUpdate
	reply  chan Result
}

// NewLoop returns a loop that Run sets going.
func NewLoop(cfg Config) *Loop {
	l := &Loop{
		cfg: cfg, updates: make(chan request), done: make(chan struct{}),
		watchers: map[chan *Snapshot]struct{}{}, retries: map[string]*retry{}, revisions: map[string]string{},
	}
	l.suspension = cfg.Suspended
	now := time.Now()
	l.accepted = Condition{Type: SpecAccepted, Status: Unknown, Reason: "NoSpec", Message: "no spec has been given yet; run agentctl apply FILE", Since: now}
	l.publish(Observed{}, Plan{}, now)
	return l
}

// Look publishes what the runner does already, for those who ask before Run looks
// for the first time. It is not to be called after Run.
func (l *Loop) Look() { l.publish(l.cfg.Runner.Observe(), Plan{}, time.Now()) }

// Submit hands an update to the loop and returns what became of it. The snapshot
// shows its plan by then.
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
	defer l.end()
	l.restore(time.Now())
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		wake := l.converge(time.Now())
		timer.Reset(max(time.Until(wake), 0))
		select {
		case <-ctx.Done():
			return nil
		case r := <-l.updates:
			res := l.take(r.update, time.Now())
			l.converge(time.Now())
			r.reply <- res
		case <-l.cfg.Runner.Changed():
		case <-timer.C:
			l.storeAgain(time.Now())
		}
	}
}

// end lets go of whoever waits for the loop.
func (l *Loop) end() {
	close(l.done)
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.watchers {
		close(c)
	}
	clear(l.watchers)
}
