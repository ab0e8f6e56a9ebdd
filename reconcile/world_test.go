package reconcile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"agentctl/spec"
)

// world is a Runner without processes. It notes what a plan must never ask for.
type world struct {
	mu      sync.Mutex
	workers map[string]WorkerStatus
	server  ServerStatus
	gpus    []GPU
	applied [][]Action
	at      []time.Time // of each call of Apply
	node    *spec.Node
	faults  []string
	deaf    bool // ignores what it is told
	slow    bool // a stopped worker stays until it is forgotten
	changed chan struct{}
}

func newWorld() *world {
	return &world{workers: map[string]WorkerStatus{}, changed: make(chan struct{}, 1)}
}

func (w *world) hint() {
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

func (w *world) Changed() <-chan struct{} { return w.changed }

func (w *world) Observe() Observed {
	w.mu.Lock()
	defer w.mu.Unlock()
	return Observed{Workers: maps.Clone(w.workers), Server: w.server, GPUs: w.gpus}
}

func (w *world) Apply(node *spec.Node, actions []Action) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.node = node
	w.applied, w.at = append(w.applied, actions), append(w.at, time.Now())
	for _, a := range actions {
		if !w.deaf {
			w.act(a)
		}
	}
	w.hint()
}

func (w *world) act(a Action) {
	s, there := w.workers[a.Worker]
	fault := func(why string) { w.faults = append(w.faults, fmt.Sprintf("%s %s: %s", a.Verb, a.Worker, why)) }
	switch a.Verb {
	case Start:
		if there && s.State != StateStopped {
			fault("it is there")
		}
		s = WorkerStatus{Name: a.Worker, Spec: *a.Spec, State: StateIdle, Order: s.Order, Slots: a.Slots}
	case Update:
		if !there {
			fault("it is not there")
		}
		s.Spec, s.Draining, s.Slots = *a.Spec, false, a.Slots
	case Drain:
		if !s.busy() {
			fault("it is idle")
		}
		s.Draining = true
	case Requeue, End:
		if s.Task == nil || s.Task.Ending != "" && !a.Force {
			fault("it has no task to end")
			return
		}
		s.Task.Ending = string(a.Verb)
		if a.Force {
			s.Task.Ending = EndingForced
		}
	case Stop:
		if s.busy() {
			fault("it runs a task")
		}
		if !w.slow {
			delete(w.workers, a.Worker)
			return
		}
		s.State = StateStopped
	case Forget:
		if s.State != StateStopped {
			fault("it has not stopped")
		}
		delete(w.workers, a.Worker)
		return
	default:
		fault("nothing to do")
	}
	w.workers[a.Worker] = s
}

// change is what happens on the node by itself.
func (w *world) change(name string, f func(*WorkerStatus)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.workers[name]
	f(&s)
	w.workers[name] = s
	w.hint()
}

// begin lets a worker take a task, if it may.
func (w *world) begin(name, task string, now time.Time) {
	held := map[string]bool{}
	for other, s := range w.Observe().Workers {
		if s.Task != nil && other != name {
			for _, id := range s.Task.Slots {
				held[id] = true
			}
		}
	}
	w.change(name, func(s *WorkerStatus) {
		if s.State == StateIdle && !s.Draining && !s.Cordoned() && !slices.ContainsFunc(s.Slots, func(id string) bool { return held[id] }) {
			s.State, s.Task = StateRunning, &TaskStatus{ID: task, Worker: name, Leased: now, Started: now, Slots: s.Slots}
		}
	})
}

func (w *world) end(name string) {
	w.change(name, func(s *WorkerStatus) {
		if s.busy() {
			s.State, s.Task = StateIdle, nil
			s.Served++
		}
	})
}

// calls are the actions handed over since the last look, as "verb worker".
func (w *world) calls() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := []string{}
	for _, actions := range w.applied {
		for _, a := range actions {
			out = append(out, string(a.Verb)+" "+a.Worker)
		}
	}
	w.applied = nil
	return out
}

func (w *world) times() []time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.at
}

// memory is a Store that forgets at its end.
type memory struct {
	mu      sync.Mutex
	texts   []string
	last    Accepted
	results map[int64]string
	full    bool
}

func (m *memory) Accept(a Accepted) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.full {
		return 0, errors.New("no space left on device")
	}
	m.texts, m.last = append(m.texts, string(a.Text)), a
	return int64(len(m.texts)), nil
}

func (m *memory) Finish(number int64, result string, _ time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.results == nil {
		m.results = map[int64]string{}
	}
	m.results[number] = result
	return nil
}

func (m *memory) setFull(full bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.full = full
}

// bench is a loop with all around it, in a bubble of virtual time.
type bench struct {
	t     *testing.T
	world *world
	store *memory
	loop  *Loop
	log   *lines
	seq   int64
	ended chan error
	stop  context.CancelFunc
}

// inBubble runs f with a loop that goes; what it starts ends with f.
func inBubble(t *testing.T, good *LastGood, f func(b *bench)) {
	synctest.Test(t, func(t *testing.T) {
		b := &bench{t: t, world: newWorld(), store: &memory{}, log: &lines{}}
		b.loop = NewLoop(Config{
			Name: "n1", Runner: b.world, Store: b.store, LastGood: good,
			Log: slog.New(slog.NewTextHandler(b.log, nil)),
		})
		b.start()
		f(b)
		b.stop()
		if err := <-b.ended; err != nil {
			t.Error(err)
		}
		if len(b.world.faults) > 0 {
			t.Errorf("the plan asked for what must not be: %q", b.world.faults)
		}
	})
}

func (b *bench) start() {
	var ctx context.Context
	ctx, b.stop = context.WithCancel(b.t.Context())
	b.ended = make(chan error, 1)
	go func() { b.ended <- b.loop.Run(ctx) }() // inBubble waits for it
	synctest.Wait()
}

const head = "apiVersion: agentctl/v1\nkind: Node\n"

// node is the text of a node.yaml with the groups.
func node(groups ...string) string {
	if len(groups) == 0 {
		return head + "spec: {workers: []}\n"
	}
	return head + "spec:\n  workers:\n    - " + strings.Join(groups, "\n    - ") + "\n"
}

func trains(n int) string { return node(fmt.Sprintf("{name: train, queues: [default], count: %d}", n)) }

var fileOrigin = Origin{Kind: "file", Path: "/etc/agentctl/node.yaml"}

// submit hands a text over as the file's.
func (b *bench) submit(text string) Result {
	b.seq++
	return b.hand(SpecUpdate{Text: []byte(text), Origin: fileOrigin, Seq: b.seq})
}

func (b *bench) hand(u SpecUpdate) Result {
	b.t.Helper()
	res, err := b.loop.Submit(b.t.Context(), u)
	if err != nil {
		b.t.Fatal(err)
	}
	synctest.Wait()
	return res
}

// condition is a condition of the node as "Status Reason", "" if it is not there.
func (b *bench) condition(kind string) string {
	c, ok := b.loop.Snapshot().Condition(kind)
	if !ok {
		return ""
	}
	return c.Status + " " + c.Reason
}

func (b *bench) workerCondition(name, kind string) string {
	for _, w := range b.loop.Snapshot().Workers {
		if c, ok := w.Condition(kind); ok && w.Name == name {
			return c.Status + " " + c.Reason
		}
	}
	return ""
}

// lines is a log that can be read while it is written.
type lines struct {
	mu  sync.Mutex
	all strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(p)
}

func (l *lines) count(word string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.all.String(), word)
}
