package worker

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"agentctl/reconcile"
	"agentctl/spec"
)

// looker is a pool whose look-ahead runs with a maker that only notes what it is to
// make. It lives in a synctest bubble.
type looker struct {
	*Pool
	t       *testing.T
	stopAll context.CancelFunc
	left    atomic.Int64
	finish  chan error
	guard   sync.Mutex
	begun   []string
	stopped error // why the last one was stopped
}

// bubble runs test with a pool that has one busy worker, and ends its look-ahead.
func bubble(t *testing.T, test func(l *looker)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		l := &looker{Pool: NewPool(Config{State: "/nowhere", Log: slog.New(slog.DiscardHandler)}), t: t, stopAll: cancel, finish: make(chan error)}
		l.left.Store(1 << 40)
		l.free = l.left.Load
		l.makeAhead = func(ctx context.Context, u upcoming) error {
			l.note(func() { l.begun = append(l.begun, u.task) })
			select {
			case <-ctx.Done():
				l.note(func() { l.stopped = context.Cause(ctx) })
				return context.Cause(ctx)
			case err := <-l.finish:
				return err
			}
		}
		l.apply("pip", true)
		l.runs("w", "running", reconcile.StateRunning)
		done := make(chan struct{})
		go func() {
			defer close(done)
			l.lookAhead(ctx)
		}()
		test(l)
		cancel()
		<-done
	})
}

func (l *looker) note(change func()) {
	l.guard.Lock()
	defer l.guard.Unlock()
	change()
}

// apply is a spec with the worker w of the queue q.
func (l *looker) apply(manager string, prebuild bool) {
	node := &spec.Node{Spec: spec.NodeSpec{Cache: spec.Cache{Prebuild: &prebuild, MinFree: 10 << 30}}}
	w := spec.Worker{Name: "w", Queues: []string{"q"}, PackageManager: spec.PackageManager{Type: manager}}
	l.Apply(node, []reconcile.Action{{Verb: reconcile.Update, Worker: "w", Spec: &w}})
	synctest.Wait()
}

// runs lets a worker run a task, or be free with "".
func (l *looker) runs(worker, task string, state reconcile.WorkerState) {
	l.mu.Lock()
	s := l.workers[worker]
	s.state, s.run = state, nil
	if task != "" {
		s.run = newRun(l.Pool, worker, &Record{Task: task})
	}
	l.mu.Unlock()
	l.stir()
	synctest.Wait()
}

// see shows the look-ahead what waits in q.
func (l *looker) see(tasks ...string) {
	b := newBacklog(spec.Server{})
	b.ids["q"], b.entries["id of q"] = "id of q", tasks
	l.queued(b)
	synctest.Wait()
}

func (l *looker) want(begun ...string) {
	l.t.Helper()
	l.guard.Lock()
	defer l.guard.Unlock()
	if !slices.Equal(l.begun, begun) {
		l.t.Errorf("began %q, want %q", l.begun, begun)
	}
}

func (l *looker) wantStop(why error) {
	l.t.Helper()
	l.guard.Lock()
	defer l.guard.Unlock()
	if !errors.Is(l.stopped, why) {
		l.t.Errorf("stopped by %v, want %v", l.stopped, why)
	}
}

func (l *looker) ends(err error) {
	l.finish <- err
	synctest.Wait()
}

func (l *looker) shows(task string) {
	l.t.Helper()
	if got := l.Observe().Workers["w"].Ahead; got != task {
		l.t.Errorf("the status says %q, want %q", got, task)
	}
}

func TestTheNextTaskIsPreparedOnce(t *testing.T) {
	bubble(t, func(l *looker) {
		l.want()
		l.see("one", "two")
		l.want("one")
		l.shows("one")
		l.ends(nil)
		l.shows("")
		l.see("one", "two")
		l.runs("w", "running", reconcile.StateRunning)
		l.want("one")
		l.see("two")
		l.want("one", "two")
		l.ends(errors.New("no such package"))
		l.see("two")
		l.want("one", "two") // it failed: the task itself will say so
		l.see("three")
		l.ends(nil)
		l.see("two") // came back
		l.want("one", "two", "three", "two")
		l.ends(nil)
	})
}

func TestPreparingStops(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*looker)
		want   error
		begun  []string
	}{
		"the task left its queue":   {func(l *looker) { l.see() }, errNotNext, nil},
		"another task is first":     {func(l *looker) { l.see("other", "one") }, errNotNext, []string{"other"}},
		"prebuild is off":           {func(l *looker) { l.apply("pip", false) }, errNotNext, nil},
		"the manager is another":    {func(l *looker) { l.apply("uv", true) }, errNotNext, []string{"one"}},
		"the worker drains":         {func(l *looker) { l.Apply(l.node, []reconcile.Action{{Verb: reconcile.Drain, Worker: "w"}}) }, errNotNext, nil},
		"the node is cordoned":      {func(l *looker) { l.mu.Lock(); l.orders.Node = &reconcile.Order{}; l.mu.Unlock(); l.stir() }, errNotNext, nil},
		"the disk is nearly full":   {func(l *looker) { l.left.Store(11<<30 - 1); time.Sleep(diskEvery) }, errNearFull, nil},
		"the agent ends":            {func(l *looker) { l.stopAll() }, context.Canceled, nil},
		"the worker is to be free":  {func(l *looker) { l.runs("w", "", reconcile.StateIdle) }, errNotNext, nil},
		"nothing that matters":      {func(l *looker) { l.apply("pip", true); l.see("one", "other") }, nil, nil},
		"the worker takes the task": {func(l *looker) { l.runs("w", "one", reconcile.StatePreparing); l.see("other") }, nil, nil},
		"taken on a full disk":      {func(l *looker) { l.runs("w", "one", reconcile.StatePreparing); l.left.Store(0); time.Sleep(diskEvery) }, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(l *looker) {
				l.see("one")
				l.want("one")
				tc.change(l)
				synctest.Wait()
				l.wantStop(tc.want)
				l.want(append([]string{"one"}, tc.begun...)...)
			})
		})
	}
}

// A task that was taken, and ended before it ran, needs nothing any more.
func TestATakenTaskThatEnds(t *testing.T) {
	bubble(t, func(l *looker) {
		l.see("one")
		l.runs("w", "one", reconcile.StatePreparing)
		l.see()
		l.runs("w", "", reconcile.StateIdle)
		l.wantStop(errNotNext)
	})
}

func TestNothingIsPreparedNearTheDiskFloor(t *testing.T) {
	bubble(t, func(l *looker) {
		l.left.Store(11<<30 - 1)
		l.see("one")
		l.want()
		l.left.Add(1)
		time.Sleep(diskEvery)
		synctest.Wait()
		l.want("one")
		l.ends(nil)
	})
}

func TestWhatAFreeWorkerTakesIsNotPrepared(t *testing.T) {
	bubble(t, func(l *looker) {
		idle := spec.Worker{Name: "v", Queues: []string{"q"}}
		l.Apply(l.node, []reconcile.Action{{Verb: reconcile.Start, Worker: "v", Spec: &idle}})
		l.see("one")
		l.want()
		l.see("one", "two")
		l.want("two")
		l.ends(nil)
	})
}

// A look at the queues, which the server may hold for long, is asked anew only when
// that serves something: what busy workers do in between costs no request.
func TestWhatCutsALookShort(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*looker)
		want   bool
	}{
		"nothing":                    {func(*looker) {}, false},
		"the task goes a step on":    {func(l *looker) { l.runs("w", "running", reconcile.StatePreparing) }, false},
		"another task":               {func(l *looker) { l.runs("w", "other", reconcile.StateLeasing) }, false},
		"the worker is free":         {func(l *looker) { l.runs("w", "", reconcile.StateIdle) }, true},
		"prebuild is off":            {func(l *looker) { l.apply("pip", false) }, true},
		"the node is cordoned":       {func(l *looker) { l.mu.Lock(); l.orders.Node = &reconcile.Order{}; l.mu.Unlock() }, true},
		"what was seen was wrong":    {func(l *looker) { l.stale.Store(true) }, true},
		"the server is another":      {func(l *looker) { l.mu.Lock(); l.node.Spec.Server.URL = "other"; l.mu.Unlock() }, true},
		"the period of looks is new": {func(l *looker) { l.mu.Lock(); l.node.Spec.Server.PollInterval = 1; l.mu.Unlock() }, false},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(l *looker) {
				server, names := l.wanted()
				if !slices.Equal(names, []string{"q"}) {
					t.Errorf("looks at %q", names)
				}
				tc.change(l)
				if got := l.urges(server, names); got != tc.want {
					t.Errorf("urges is %v", got)
				}
			})
		})
	}
}
