package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"agentctl/clearml"
	"agentctl/reconcile"
	"agentctl/runtime"
	"agentctl/spec"
)

// spareKeeper is a pool with the workers a and b that only notes which sandboxes are
// made and removed. It lives in a synctest bubble.
type spareKeeper struct {
	*Pool
	t      *testing.T
	guard  sync.Mutex
	notes  []string
	fail   error
	making chan struct{} // if it is there, making waits for it
}

// fakeBox is a sandbox that fits users of one number.
type fakeBox struct {
	k    *spareKeeper
	name string
	uid  int
}

func (b *fakeBox) Fits(cfg runtime.Config) error {
	if cfg.UID != b.uid {
		return runtime.ErrUnfit
	}
	return nil
}

func (b *fakeBox) Start(context.Context, runtime.Config, ...*os.File) (*runtime.Task, error) {
	return nil, errors.New("nothing starts in a fake")
}

func (b *fakeBox) Remove() error { b.k.note("-" + b.name); return nil }

func (k *spareKeeper) note(what string) {
	k.guard.Lock()
	defer k.guard.Unlock()
	k.notes = append(k.notes, what)
}

// want checks what was made (+) and removed (-) since it was asked last, in any order.
func (k *spareKeeper) want(notes ...string) {
	k.t.Helper()
	synctest.Wait()
	k.guard.Lock()
	defer k.guard.Unlock()
	slices.Sort(k.notes)
	slices.Sort(notes)
	if got, want := strings.Join(k.notes, " "), strings.Join(notes, " "); got != want {
		k.t.Errorf("noted %q, want %q", got, want)
	}
	k.notes = nil
}

// apply gives the worker a its settings; shm tells different ones apart.
func (k *spareKeeper) apply(mode string, ahead bool, shm int, verb reconcile.Verb) {
	w := spec.Worker{Name: "a", Queues: []string{"q"}, Mode: mode}
	w.Sandbox.CreateAhead, w.Sandbox.ShmSize = &ahead, spec.Size(shm)
	k.Apply(&spec.Node{}, []reconcile.Action{{Verb: verb, Worker: "a", Spec: &w}})
}

// runs lets the worker run a task, or be free with "".
func (k *spareKeeper) runs(task string) {
	k.mu.Lock()
	s := k.workers["a"]
	if s.state, s.run = reconcile.StateIdle, nil; task != "" {
		s.state, s.run = reconcile.StateRunning, newRun(k.Pool, "a", &Record{Task: task})
	}
	k.mu.Unlock()
	k.stir()
}

func keepsSpares(t *testing.T, test func(k *spareKeeper)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		k := &spareKeeper{Pool: NewPool(Config{State: t.TempDir(), Log: slog.New(slog.DiscardHandler)}), t: t}
		k.spares.make = func(_ context.Context, w wish) (*waiting, error) {
			if k.making != nil {
				<-k.making
			}
			name := fmt.Sprint(w.spec.Name, w.spec.Sandbox.ShmSize, w.last.Asked.Image)
			k.note("+" + name)
			if k.fail != nil {
				return nil, k.fail
			}
			return &waiting{box: &fakeBox{k: k, name: name}, release: func() { k.note("released") }}, nil
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); k.spares.keep(ctx) }()
		test(k)
		cancel()
		<-done
		k.spares.close()
	})
}

// One sandbox waits for an idle worker. It goes with its reason.
func TestOneSandboxWaits(t *testing.T) {
	t.Parallel()
	keepsSpares(t, func(k *spareKeeper) {
		k.apply(spec.ModeVenv, true, 1, reconcile.Start)
		k.want()
		k.apply(spec.ModeSandbox, true, 1, reconcile.Update)
		k.want("+a1")
		k.stir()
		k.want()
		k.apply(spec.ModeSandbox, true, 2, reconcile.Update)
		k.want("-a1", "released", "+a2")
		k.apply(spec.ModeSandbox, false, 2, reconcile.Update)
		k.want("-a2", "released")
		k.apply(spec.ModeSandbox, true, 2, reconcile.Update)
		k.want("+a2")
		if err := k.Order("a", &reconcile.Order{}); err != nil {
			t.Fatal(err)
		}
		k.want("-a2", "released")
		if err := k.Order("a", nil); err != nil {
			t.Fatal(err)
		}
		k.want("+a2")
		k.apply(spec.ModeSandbox, true, 2, reconcile.Drain)
		k.want("-a2", "released")
		k.apply(spec.ModeSandbox, true, 2, reconcile.Update)
		k.want("+a2")
		k.apply(spec.ModeSandbox, true, 2, reconcile.Stop)
		k.want("-a2", "released")
	})
}

// One for which no task comes is dropped, and not made again before one came; nor is
// one that could not be made.
func TestSandboxWaitsNotForever(t *testing.T) {
	t.Parallel()
	keepsSpares(t, func(k *spareKeeper) {
		k.apply(spec.ModeSandbox, true, 1, reconcile.Start)
		k.want("+a1")
		time.Sleep(spareLife - time.Second)
		k.want()
		time.Sleep(time.Second)
		k.want("-a1", "released")
		time.Sleep(2 * spareLife)
		k.stir()
		k.want()
		k.runs("task")
		if w := k.spares.take("a", lastTask{}, runtime.Config{}); w != nil {
			t.Error("took what was dropped")
		}
		k.want()
		k.fail = errors.New("no room")
		k.runs("")
		k.want("+a1")
		k.stir()
		k.want()
		k.apply(spec.ModeSandbox, true, 2, reconcile.Update)
		k.want("+a2")
	})
}

// A task takes the one that waits if it fits; the next one is made when the worker is
// idle again, of what that task asked for.
func TestSandboxIsTaken(t *testing.T) {
	t.Parallel()
	keepsSpares(t, func(k *spareKeeper) {
		k.apply(spec.ModeSandbox, true, 1, reconcile.Start)
		k.want("+a1")
		k.runs("one")
		k.want()
		asked := lastTask{Asked: clearml.Container{Image: "other", SetupShellScript: []string{"true"}}}
		w := k.spares.take("a", asked, runtime.Config{})
		if w == nil {
			t.Fatal("none fits")
		}
		if k.spares.take("a", asked, runtime.Config{}) != nil {
			t.Error("took it twice")
		}
		k.stir()
		k.want()
		k.spares.remove(w)
		k.want("-a1", "released")
		k.runs("")
		k.want("+a1other")
		k.runs("two")
		if k.spares.take("a", lastTask{}, runtime.Config{UID: 7}) != nil {
			t.Error("took what does not fit")
		}
		k.want("-a1other", "released")
		k.runs("")
		k.want("+a1")
	})
}

// What changes while one is made is seen when it is there.
func TestSandboxIsMadeTooLate(t *testing.T) {
	t.Parallel()
	keepsSpares(t, func(k *spareKeeper) {
		k.making = make(chan struct{})
		k.apply(spec.ModeSandbox, true, 1, reconcile.Start)
		k.want()
		k.apply(spec.ModeSandbox, true, 2, reconcile.Update)
		k.runs("task")
		close(k.making)
		k.want("+a1", "-a1", "released")
		k.runs("")
		k.want("+a2")
	})
}
