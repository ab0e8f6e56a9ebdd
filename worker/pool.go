package worker

import (
	"context"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"agentctl/clearml"
	"agentctl/envcache"
	"agentctl/envcache/repo"
	"agentctl/internal/quota"
	"agentctl/reconcile"
	"agentctl/runtime"
	"agentctl/runtime/gpu"
	"agentctl/spec"
)

// Conn is a way to one ClearML server.
type Conn struct {
	Client    *clearml.Client
	Endpoints Endpoints
	// Embedded is true for the server that this agent brings along.
	Embedded bool
}

// Config is what a pool needs of the rest of the program.
type Config struct {
	// State is the agent's state folder; the pool owns State/tasks.
	State string
	// Connect makes sure that the server is there (the embedded one is started
	// if it has died) and returns the way to it.
	Connect  func(context.Context, spec.Server) (Conn, error)
	Launcher *runtime.Launcher
	Host     runtime.Host
	Envs     *envcache.Cache
	Repos    *repo.Store
	Images   Images
	Log      *slog.Logger
	// Hide are folders besides State that no task is to see, where a mount
	// namespace can be had; they exist.
	Hide []string
	// GPUs tells those of the machine as they were seen last; it may be nil, and never
	// blocks.
	GPUs func() []reconcile.GPU
	// GPUState is all that is known of them, likewise, for sandboxes.
	GPUState func() gpu.State
	// GPUStats adds the figures of GPUs, by their slots, to those of the machine; it may
	// be nil, and never blocks.
	GPUStats func(slots []string, stats *clearml.MachineStats)
	// Once lets each worker take no second task.
	Once bool
	// Environ looks up the agent's own variables, as os.LookupEnv.
	Environ func(string) (string, bool)
}

// Pool is all workers of the node. Apply, Observe and Changed make it the
// Runner of package reconcile; Run does the work. All methods may be called at
// once from any goroutine.
type Pool struct {
	cfg   Config
	tasks string // State/tasks

	mu       sync.Mutex // guards all below; never held while a server is asked
	node     *spec.Node
	workers  map[string]*slot
	ended    []reconcile.TaskStatus // newest first, bounded
	orders   orders
	leaving  *reconcile.Order // of an agent that ends
	builds   int              // that are under way
	ahead    ahead
	spares   *spares    // has a mutex of its own
	bytecode *bytecodes // as well
	nets     networks
	conn     *connection
	server   reconcile.ServerStatus

	changed chan struct{} // a hint that Observe has something new
	kick    chan struct{} // a hint that a worker may be free
	stale   atomic.Bool   // the backlog was wrong: look again from scratch
	begun   chan struct{} // a hint that there is a task to watch
	report  chan struct{} // a hint that a worker has another task, or none
	grown   chan struct{} // a hint that an environment or a checkout was made
	glance  chan struct{} // a hint that another task may be the next one
	// makeAhead makes what a task needs; free tells the bytes that the state's disk
	// has left.
	makeAhead func(context.Context, upcoming) error
	free      func() int64
	quotas    *quota.Ledger
	// putBackTasks are by id; guarded by mu.
	putBackTasks map[string]putBackTask
	executions   chan execution
	runs         sync.WaitGroup
}

// slot is one worker: what it is to be and what it does. It is guarded by the
// pool's mutex.
type slot struct {
	spec     spec.Worker
	state    reconcile.WorkerState
	draining bool
	drained  time.Time // when draining began
	gpus     []string  // slots of the next task
	served   int       // tasks that have ended
	since    time.Time
	hold     hold
	run      *run
	last     *reconcile.TaskStatus
	turn     int       // round robin: index of the next queue
	notUntil time.Time // back-off after a task could not be leased
}

// keepEnded is how many ended tasks the pool remembers, and keeps on disk.
const keepEnded = 100

// NewPool returns a pool without workers. Call Recover, then Run.
func NewPool(cfg Config) *Pool {
	p := &Pool{
		cfg:     cfg,
		tasks:   filepath.Join(cfg.State, "tasks"),
		workers: map[string]*slot{},
		changed: make(chan struct{}, 1),
		kick:    make(chan struct{}, 1),
		begun:   make(chan struct{}, 1),
		report:  make(chan struct{}, 1),
		grown:   make(chan struct{}, 1),
		glance:  make(chan struct{}, 1),

		executions: make(chan execution),
	}
	p.quotas, p.putBackTasks = quota.New(cfg.State), map[string]putBackTask{}
	p.makeAhead, p.free = p.prepareAhead, p.freeBytes
	p.spares = newSpares(p, filepath.Join(cfg.State, sparesFolder))
	p.bytecode = newBytecodes(p)
	p.conn = newConnection(cfg.Connect, p.noteServer)
	return p
}

// Run takes and runs tasks until ctx ends. Tasks that run then go on under their
// shims; the next agent's Recover finds them.
func (p *Pool) Run(ctx context.Context) error {
	var loops sync.WaitGroup
	for _, loop := range []func(context.Context){p.dispatch, p.execute, p.lookAhead, p.spares.keep, p.bytecode.keep, p.watchTasks, p.watchPutBack, p.heartbeat, p.collect, p.recheck} {
		loops.Go(func() { loop(ctx) })
	}
	loops.Wait()
	p.runs.Wait()
	p.spares.close()
	p.forgetNetworks()
	return nil
}

// Changed has a value whenever Observe may have something new.
func (p *Pool) Changed() <-chan struct{} { return p.changed }

// LookAgain has what Observe tells looked at, since something outside has changed.
func (p *Pool) LookAgain() {
	p.stir()
	hint(p.changed)
}

// stir lets the loops that give work to workers look at them again.
func (p *Pool) stir() {
	hint(p.kick)
	hint(p.glance)
	hint(p.report)
	hint(p.spares.wake)
}

func hint(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Observe returns what the workers are doing now.
func (p *Pool) Observe() reconcile.Observed {
	p.mu.Lock()
	defer p.mu.Unlock()
	o := reconcile.Observed{Workers: make(map[string]reconcile.WorkerStatus, len(p.workers)), Server: p.server, GPUs: p.gpus(), GPUsSilent: p.gpusSilent()}
	for name, s := range p.workers {
		w := s.status()
		w.Order = p.ordered(name)
		if u := p.ahead.now; u != nil && u.worker == name {
			w.Ahead = u.task
		}
		o.Workers[name] = w
	}
	o.Ended = append(o.Ended, p.ended...)
	return o
}

func (s *slot) status() reconcile.WorkerStatus {
	w := reconcile.WorkerStatus{
		Name: s.spec.Name, Spec: s.spec, State: s.state, Since: s.since,
		Draining: s.draining, DrainingSince: s.drained, Slots: s.gpus, Served: s.served, Last: s.last,
		Message: s.hold.message, Code: s.hold.code, Until: s.hold.until,
	}
	if s.run != nil {
		t := s.run.status()
		w.Task = &t
	}
	return w
}

// noteServer records whether the server answers.
func (p *Pool) noteServer(url string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	next := reconcile.ServerStatus{URL: url, Reachable: err == nil, Since: time.Now()}
	if err != nil {
		next.Error = err.Error()
	}
	if next.URL == p.server.URL && next.Reachable == p.server.Reachable && next.Error == p.server.Error {
		return
	}
	if next.Reachable == p.server.Reachable && next.URL == p.server.URL {
		next.Since = p.server.Since
	}
	p.server = next
	hint(p.changed)
}
