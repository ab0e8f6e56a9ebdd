package control

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"agentctl/reconcile"
	"agentctl/spec"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long tests wait for what must come.
const patience = 2 * time.Minute

// node plays the agent behind the server.
type node struct {
	mu       sync.Mutex
	snap     *reconcile.Snapshot
	watchers map[chan *reconcile.Snapshot]bool
	ordered  map[string]*reconcile.Order
	stopped  []string
	applied  []ApplyRequest
	failWith error
	consoles map[string]*script
	down     chan struct{}
}

func newNode(workers ...reconcile.WorkerStatus) *node {
	return &node{
		snap: snapshot(workers...), watchers: map[chan *reconcile.Snapshot]bool{}, ordered: map[string]*reconcile.Order{},
		consoles: map[string]*script{}, down: make(chan struct{}),
	}
}

// snapshot is a state with the workers' tasks in it.
func snapshot(workers ...reconcile.WorkerStatus) *reconcile.Snapshot {
	s := &reconcile.Snapshot{Name: "n", Generation: 1, Workers: workers}
	for _, w := range workers {
		if w.Task != nil {
			s.Tasks = append(s.Tasks, *w.Task)
		}
	}
	return s
}

func worker(name, group, task string) reconcile.WorkerStatus {
	w := reconcile.WorkerStatus{Name: name, State: reconcile.StateIdle, Spec: spec.Worker{Name: name, Group: group, PackageManager: spec.PackageManager{Type: "pip"}}}
	if task != "" {
		w.State, w.Task = reconcile.StateRunning, &reconcile.TaskStatus{ID: task, Worker: name, Queue: "q"}
	}
	return w
}

func (n *node) Snapshot() *reconcile.Snapshot {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.snap
}

func (n *node) Watch(ctx context.Context) <-chan *reconcile.Snapshot {
	n.mu.Lock()
	defer n.mu.Unlock()
	c := make(chan *reconcile.Snapshot, 1)
	c <- n.snap
	n.watchers[c] = true
	context.AfterFunc(ctx, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.watchers, c)
		close(c)
	})
	return c
}

func (n *node) set(s *reconcile.Snapshot) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.snap = s
	for c := range n.watchers {
		select {
		case <-c:
		default:
		}
		c <- s
	}
}

func (n *node) Preview(r PlanRequest) reconcile.Preview {
	_, problems := spec.Decode(r.File, r.Text)
	return reconcile.Preview{Problems: problems}
}

func (n *node) Apply(_ context.Context, r ApplyRequest) (reconcile.Result, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.applied = append(n.applied, r)
	return reconcile.Result{Generation: 2, Accepted: true}, n.failWith
}

func (n *node) Fetch(context.Context, FetchRequest) (FetchReply, error) {
	return FetchReply{File: "node.yaml"}, n.failWith
}

func (n *node) Reload(context.Context, ReloadRequest) (reconcile.Result, error) {
	return reconcile.Result{Generation: 1, Unchanged: true}, nil
}

func (n *node) Order(name string, order *reconcile.Order) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ordered[name] = order
	return n.failWith
}

func (n *node) Execute(_ context.Context, r ExecuteRequest) error {
	if r.Task != "id" {
		return &Error{Code: CodeNotFound, Message: "there is no task " + r.Task}
	}
	return nil
}

func (n *node) Build(_ context.Context, r BuildRequest) (BuildReply, error) {
	return BuildReply{EnvKey: "key of " + r.Task, Dir: "."}, nil
}

func (n *node) StopTask(id string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.stopped = append(n.stopped, id)
	return nil
}

func (n *node) Audit(names []string) ([]Reach, error) {
	return []Reach{{Of: strings.Join(names, " ")}}, n.failWith
}

func (n *node) Usages() []Usage { return []Usage{{Task: "t", Memory: 5}} }

func (n *node) Environments() ([]Environment, error) { return nil, n.failWith }

func (n *node) Open(task string, from int64) (Console, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.consoles[task]
	if s == nil {
		return nil, errors.New("no console")
	}
	return &reader{s: s, at: from, finished: make(chan struct{})}, nil
}

// script is a console that grows; offsets count frames.
type script struct {
	mu     sync.Mutex
	frames []Frame
	grown  chan struct{} // closed and replaced by each say
	ended  bool
}

func newScript() *script { return &script{grown: make(chan struct{})} }

func (s *script) say(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.frames = append(s.frames, Frame{Stream: "stdout", Data: []byte(text), End: int64(len(s.frames) + 1)})
	close(s.grown)
	s.grown = make(chan struct{})
}

// end is the end of the process: readers find no more than what is there.
func (s *script) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	close(s.grown)
	s.grown = make(chan struct{})
}

type reader struct {
	s        *script
	at       int64
	once     sync.Once
	finished chan struct{}
}

func (r *reader) Next(ctx context.Context) (Frame, error) {
	for {
		r.s.mu.Lock()
		grown := r.s.grown
		if r.at < int64(len(r.s.frames)) {
			f := r.s.frames[r.at]
			r.at++
			r.s.mu.Unlock()
			return f, nil
		}
		ended := r.s.ended
		r.s.mu.Unlock()
		if ended {
			return Frame{}, io.EOF
		}
		select {
		case <-ctx.Done():
			return Frame{}, context.Cause(ctx)
		case <-r.finished:
			return Frame{}, io.EOF
		case <-grown:
		}
	}
}

func (r *reader) Finish()      { r.once.Do(func() { close(r.finished) }) }
func (r *reader) Close() error { return nil }

// serve runs a server over n on a socket of its own and gives a client of it.
// stop ends the server; it is also called at the end of the test.
func serve(t *testing.T, n *node) (c *Client, stop func()) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a.sock")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	s := New(Config{
		Agent: func() Agent { return Agent{Version: "test", PID: 7} },
		State: n, Specs: n, Revisions: n, Operator: n, Contributions: n, Consoles: n, Environments: n, Tasks: n,
		Shutdown: sync.OnceFunc(func() { close(n.down) }),
		Metrics:  NewMetrics("test", n),
		Log:      slog.New(slog.DiscardHandler),
	})
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, l) }()
	c = NewClient(path)
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		c.Close()
	})
	t.Cleanup(stop)
	return c, stop
}
