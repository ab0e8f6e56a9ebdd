package worker

import (
	"context"
	"os"
	"sync"
	"time"

	"agentctl/clearml"
	"agentctl/runtime"
)

// spares are the sandboxes that are made before it is known which task runs in them:
// one waits for the next task of each worker at most. It is no task and ends with the
// agent; what a killed agent left is swept at the next start. It shows the worker's GPUs
// already, and nothing in it uses them.
type spares struct {
	pool *Pool
	root string                                              // a folder for each, while its shim has not left it
	make func(ctx context.Context, w wish) (*waiting, error) // with its image
	wake chan struct{}                                       // a hint that other ones may be wanted
	gone sync.WaitGroup                                      // those that are being removed

	mu    sync.Mutex
	idle  map[string]*waiting // by worker
	tried map[string]string   // worker → wish that was tried: not again before a task came
	asked map[string]lastTask // by worker
}

// lastTask is what of a worker's last task decides what its sandbox was: the next one
// mostly asks for the same.
type lastTask struct {
	Asked clearml.Container
	Rule  int // its number
}

// waiting is a sandbox that waits for its task.
type waiting struct {
	box     spareBox
	how     string // for the task's record
	wish    string
	since   time.Time
	release func() // of its image; nil if that is the task's
}

// spareBox is runtime.Spare.
type spareBox interface {
	Fits(cfg runtime.Config) error
	Start(ctx context.Context, cfg runtime.Config, leases ...*os.File) (*runtime.Task, error)
	Remove() error
}

// spareLife is how long a sandbox waits for a task that does not come.
const spareLife = 10 * time.Minute

func newSpares(p *Pool, root string) *spares {
	s := &spares{
		pool: p, root: root, wake: make(chan struct{}, 1),
		idle: map[string]*waiting{}, tried: map[string]string{}, asked: map[string]lastTask{},
	}
	s.make = s.makeIdle
	return s
}

// keep has a sandbox wait for each worker that is idle, until ctx ends.
func (s *spares) keep(ctx context.Context) {
	for ctx.Err() == nil {
		next := s.tend(ctx)
		t := time.NewTimer(next)
		select {
		case <-ctx.Done():
		case <-s.wake:
		case <-t.C:
		}
		t.Stop()
	}
}

// tend drops what nobody wants any more and makes what is missing. It tells after
// how long the first of them will have waited too long.
func (s *spares) tend(ctx context.Context) (next time.Duration) {
	wishes := s.pool.wishes(s.lastAsked())
	s.mu.Lock()
	for worker, w := range s.idle {
		if wish, ok := wishes[worker]; !ok || wish.key != w.wish {
			s.drop(worker, "another one is wanted, or none")
		} else if time.Since(w.since) >= spareLife {
			s.drop(worker, "no task came")
		}
	}
	var missing []wish
	for worker, wish := range wishes {
		if wish.free && s.idle[worker] == nil && s.tried[worker] != wish.key {
			s.tried[worker] = wish.key
			missing = append(missing, wish)
		}
	}
	for worker := range s.tried {
		if _, ok := wishes[worker]; !ok {
			delete(s.tried, worker)
		}
	}
	s.mu.Unlock()
	for _, wish := range missing {
		s.add(ctx, wish)
	}
	return s.nextEnd()
}

// add has a sandbox wait for a worker.
func (s *spares) add(ctx context.Context, w wish) {
	log := s.pool.cfg.Log.With("worker", w.spec.Name)
	began := time.Now()
	made, err := s.make(ctx, w)
	if err != nil {
		if ctx.Err() == nil {
			log.Debug("no sandbox was made ahead", "reason", err)
		}
		return
	}
	made.wish, made.since = w.key, time.Now()
	s.mu.Lock()
	s.idle[w.spec.Name] = made
	s.mu.Unlock()
	log.Debug("sandbox made ahead", "took", time.Since(began))
	hint(s.wake) // the wishes may have changed meanwhile
}

func (s *spares) nextEnd() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := time.Hour
	for _, w := range s.idle {
		next = min(next, max(time.Until(w.since.Add(spareLife)), 0))
	}
	return next
}

func (s *spares) lastAsked() map[string]lastTask {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make(map[string]lastTask, len(s.asked))
	for worker, c := range s.asked {
		out[worker] = c
	}
	return out
}

// take hands the sandbox that waits for the worker to a task, nil if none fits. From
// here on another one may be made.
func (s *spares) take(worker string, last lastTask, cfg runtime.Config) *waiting {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.tried, worker)
	last.Asked.SetupShellScript = nil // runs in whatever sandbox there is
	s.asked[worker] = last
	w := s.idle[worker]
	if w == nil {
		return nil
	}
	if err := w.box.Fits(cfg); err != nil {
		s.drop(worker, err.Error())
		return nil
	}
	delete(s.idle, worker)
	return w
}

// drop removes the sandbox that waits for a worker. The mutex is held.
func (s *spares) drop(worker, why string) {
	w := s.idle[worker]
	delete(s.idle, worker)
	s.pool.cfg.Log.Debug("sandbox made ahead dropped", "worker", worker, "reason", why)
	s.gone.Go(func() { s.remove(w) })
}

// remove takes a sandbox down that no task runs in.
func (s *spares) remove(w *waiting) {
	if err := w.box.Remove(); err != nil {
		s.pool.cfg.Log.Warn("sandbox made ahead not removed", "error", err)
	}
	w.used()
}

// used lets go of what the sandbox needed before it had a task.
func (w *waiting) used() {
	if w.release != nil {
		w.release()
	}
}

// close removes all of them; nobody may take one any more.
func (s *spares) close() {
	s.mu.Lock()
	for worker := range s.idle {
		s.drop(worker, "the agent ends")
	}
	s.mu.Unlock()
	s.gone.Wait()
}
