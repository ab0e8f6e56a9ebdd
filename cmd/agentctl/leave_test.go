package main

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"agentctl/reconcile"
)

// staff are workers that an agent leaves.
type staff struct {
	mu      sync.Mutex
	workers map[string]reconcile.WorkerStatus
	order   *reconcile.Order
	news    chan *reconcile.Snapshot

	building atomic.Bool
}

func (s *staff) Building() bool { return s.building.Load() }

func newStaff() *staff {
	return &staff{workers: map[string]reconcile.WorkerStatus{"a/0": {}}, news: make(chan *reconcile.Snapshot, 10)}
}

func (s *staff) Leave(o *reconcile.Order) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.order = o
}

func (s *staff) Observe() reconcile.Observed {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := reconcile.Observed{Workers: map[string]reconcile.WorkerStatus{}}
	for name, w := range s.workers {
		o.Workers[name] = w
	}
	return o
}

func (s *staff) set(busy bool, served int) {
	s.mu.Lock()
	w := reconcile.WorkerStatus{Served: served}
	if busy {
		w.Task = &reconcile.TaskStatus{ID: "t"}
	}
	s.workers["a/0"] = w
	s.mu.Unlock()
	s.news <- &reconcile.Snapshot{}
}

func (s *staff) ordered() *reconcile.Order {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.order
}

func leavingTest(t *testing.T, l leaving, f func(s *staff, signal func(), ended func() bool)) {
	synctest.Test(t, func(t *testing.T) {
		s := newStaff()
		l.workers, l.news = s, func(context.Context) <-chan *reconcile.Snapshot { return s.news }
		signalled := make(chan struct{})
		done := make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		go func() { defer close(done); l.wait(ctx, signalled) }()
		f(s, func() { close(signalled) }, func() bool {
			synctest.Wait()
			select {
			case <-done:
				return true
			default:
				return false
			}
		})
		cancel()
		<-done
	})
}

func TestLeaveAtASignal(t *testing.T) {
	leavingTest(t, leaving{}, func(s *staff, signal func(), ended func() bool) {
		s.set(true, 0)
		if ended() {
			t.Error("ended before the signal")
		}
		signal()
		if !ended() || s.ordered() != nil {
			t.Error("a task that runs was waited for, or hurt")
		}
	})
}

func TestLeaveAfterADrain(t *testing.T) {
	leavingTest(t, leaving{drain: true}, func(s *staff, signal func(), ended func() bool) {
		s.set(true, 0)
		signal()
		if ended() {
			t.Error("ended with a task")
		}
		if o := s.ordered(); o == nil || o.Policy != reconcile.DrainOwn {
			t.Errorf("the order is %+v", o)
		}
		s.set(false, 1)
		if !ended() {
			t.Error("goes on without a task")
		}
	})
}

func TestLeaveAfterOneTaskEach(t *testing.T) {
	leavingTest(t, leaving{once: true}, func(s *staff, _ func(), ended func() bool) {
		s.set(false, 0)
		s.set(true, 0)
		if ended() {
			t.Error("ended before its task had")
		}
		s.set(false, 1)
		if !ended() {
			t.Error("goes on after its task")
		}
	})
}

// An agent that was started for a task of somebody stays once it was given workers.
func TestLeaveWhenIdleAndAlone(t *testing.T) {
	var stays atomic.Bool
	stays.Store(true)
	leavingTest(t, leaving{idle: time.Minute, stays: stays.Load}, func(s *staff, _ func(), ended func() bool) {
		time.Sleep(10 * time.Minute)
		if ended() || s.ordered() != nil {
			t.Error("ended though it has work")
		}
		stays.Store(false)
		time.Sleep(2 * time.Minute)
		if !ended() {
			t.Error("idle for two minutes without work, and goes on")
		}
	})
}

func TestLeaveWhenIdle(t *testing.T) {
	leavingTest(t, leaving{idle: time.Minute}, func(s *staff, _ func(), ended func() bool) {
		time.Sleep(59 * time.Second)
		s.set(true, 0)
		time.Sleep(10 * time.Minute)
		if ended() {
			t.Error("ended with a task")
		}
		s.set(false, 1)
		if ended() {
			t.Error("ended at once")
		}
		s.building.Store(true)
		time.Sleep(10 * time.Minute)
		if ended() || s.ordered() != nil {
			t.Error("ended while something was built, or takes no task after it")
		}
		s.building.Store(false)
		time.Sleep(2 * time.Minute)
		if !ended() {
			t.Error("idle for two minutes, and goes on")
		}
	})
}
