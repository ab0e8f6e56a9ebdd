package server

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"agentctl/clearml"
)

// storm is clients on one queue whose server is killed again and again.
type storm struct {
	t        *testing.T
	ctx      context.Context
	queue    string
	tasks    int
	created  atomic.Int64
	progress atomic.Int64

	mu       sync.Mutex
	enqueued []string
	started  map[string]int // task → clients that hold it
}

// 64 clients make, enqueue, pop and start tasks on one queue while the server is
// killed ten times: in the end every task was had by one client, and what was
// acknowledged is there.
func TestStormOfKills(t *testing.T) {
	if testing.Short() {
		t.Skip("starts and kills eleven servers")
	}
	dir := t.TempDir()
	srv := startChild(t, dir)
	c := client(t, dir)
	queue, err := c.ResolveQueue(t.Context(), "storm", true)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	s := &storm{t: t, ctx: t.Context(), queue: queue, tasks: stormTasks, started: map[string]int{}}
	var clients sync.WaitGroup
	for i := range 64 {
		c := client(t, dir)
		work := s.consume
		if i%2 == 0 {
			work = s.produce
		}
		clients.Go(func() {
			defer c.Close()
			work(c)
		})
	}
	for kill := range 10 {
		goal := int64(2*s.tasks) * int64(kill+1) / 12
		eventually(t, "the clients get on", func() bool { return s.progress.Load() >= goal })
		srv.kill(t)
		srv = startChild(t, dir)
	}
	clients.Wait()
	srv.kill(t)
	s.check(dir)
}

// insist repeats a call until a server has answered it; a refusal is an answer.
func (s *storm) insist(call func() error) error {
	for s.ctx.Err() == nil {
		err := call()
		var refused *clearml.Error
		if err == nil || errors.As(err, &refused) && refused.Code < 500 {
			return err
		}
		time.Sleep(5 * time.Millisecond)
	}
	return context.Cause(s.ctx)
}

// produce makes tasks and enqueues them until there are enough.
func (s *storm) produce(c *clearml.Client) {
	for s.created.Add(1) <= int64(s.tasks) {
		var id string
		err := s.insist(func() (err error) {
			id, err = c.CreateTask(s.ctx, clearml.NewTask{Name: "storm", Type: "training"})
			return err
		})
		if err == nil {
			err = s.insist(func() error { return s.enqueue(c, id) })
		}
		if err != nil {
			s.t.Error("produce: ", err)
			return
		}
		s.mu.Lock()
		s.enqueued = append(s.enqueued, id)
		s.mu.Unlock()
		s.progress.Add(1)
	}
}

// enqueue enqueues a task unless it looks as if that was done: the answer may have
// been lost.
func (s *storm) enqueue(c *clearml.Client, id string) error {
	task, err := c.Task(s.ctx, id)
	if err != nil || task.Status != clearml.StatusCreated {
		return err
	}
	return c.Enqueue(s.ctx, id, s.queue, "", false)
}

// consume pops and starts tasks until all are made and the queue is empty.
func (s *storm) consume(c *clearml.Client) {
	for {
		all := s.created.Load() >= int64(s.tasks)
		var id string
		err := s.insist(func() (err error) {
			id, err = c.PopTask(s.ctx, s.queue)
			return err
		})
		if err == nil && id != "" {
			err = s.insist(func() error { return c.Started(s.ctx, id, "", "", false) })
		}
		switch {
		case err != nil:
			s.t.Error("consume: ", err)
			return
		case id != "":
			s.mu.Lock()
			s.started[id]++
			s.mu.Unlock()
			s.progress.Add(1)
		case all && s.enqueuedAll():
			return
		default:
			time.Sleep(2 * time.Millisecond)
		}
	}
}

func (s *storm) enqueuedAll() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.enqueued) >= s.tasks
}

// check pops what came back because the answer of a pop was lost, and counts.
func (s *storm) check(dir string) {
	t := s.t
	srv := openServer(t, dir, Config{})
	srv.clock.advance(2 * srv.cfg.Lease)
	srv.janitor.returnLeases(t.Context())
	lost := srv.waiting(s.queue)
	for _, id := range lost {
		srv.call("queues.get_next_task", m{"queue": s.queue})
		srv.call("tasks.started", m{"task": id})
		s.started[id]++
	}
	if len(s.enqueued) != s.tasks {
		t.Errorf("%d tasks enqueued, want %d", len(s.enqueued), s.tasks)
	}
	for _, id := range s.enqueued {
		if s.started[id] != 1 {
			t.Errorf("task %s was had by %d clients", id, s.started[id])
		}
	}
	for _, id := range slices.Sorted(maps.Keys(s.started)) {
		if status := srv.status(id); status != clearml.StatusInProgress {
			t.Errorf("task %s is %s", id, status)
		}
	}
	var ok string
	if _, err := srv.store.read.one(`PRAGMA integrity_check`, nil, &ok); err != nil || ok != "ok" {
		t.Errorf("integrity: %s, %v", ok, err)
	}
	t.Logf("%d tasks enqueued and popped, %d of them a second time after an answer was lost", len(s.enqueued), len(lost))
}
