package server

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

func TestPop(t *testing.T) {
	s := newServer(t)
	q := s.newQueue("pop")
	a, b := s.newTask("task a"), s.newTask("task b")
	if got := s.call("queues.get_next_task", m{"queue": q}); len(got) != 0 {
		t.Errorf("empty queue: %v", got)
	}
	s.refused(400, 701, "queues.get_next_task", m{"queue": "nope"})
	s.call("tasks.enqueue", m{"task": a, "queue": q})
	s.call("tasks.enqueue", m{"task": b, "queue": q})
	if got := s.call("queues.get_next_task", m{"queue": q, "task": b}); len(got) != 0 || len(s.waiting(q)) != 2 {
		t.Errorf("pop of what is not the head: %v", got)
	}
	if got := s.call("queues.peek_task", m{"queue": q}); got["task"] != a {
		t.Error(got)
	}
	got := s.call("queues.get_next_task", m{"queue": q, "task": a, "get_task_info": true})
	if got["entry"].(map[string]any)["task"] != a || got["task_info"].(map[string]any)["company"] != companyID {
		t.Error(got)
	}
	if got := s.status(a); got != "queued" {
		t.Errorf("popped task is %s", got)
	}
	// Popped and enqueued again, as an agent repairs its own lost pop.
	s.call("tasks.enqueue", m{"task": a, "queue": q})
	s.call("queues.move_task_to_front", m{"queue": q, "task": a})
	if got := s.waiting(q); !slices.Equal(got, []string{a, b}) {
		t.Error(got)
	}
	if got := s.call("queues.get_num_entries", m{"queue": q}); got["num"] != 2.0 {
		t.Error(got)
	}
}

// What was stopped or taken back between its pop and its start must not run.
func TestPopRevoked(t *testing.T) {
	s := newServer(t)
	q := s.newQueue("revoke")
	for call, status := range map[string]string{"stop": "stopped", "stopped": "stopped", "dequeue": "created", "reset": "created"} {
		id := s.newTask("revoked by " + call)
		s.call("tasks.enqueue", m{"task": id, "queue": q})
		s.call("queues.get_next_task", m{"queue": q})
		s.call("tasks."+call, m{"task": id})
		s.refused(400, 110, "tasks.started", m{"task": id})
		if got := s.status(id); got != status {
			t.Errorf("%s: %s", call, got)
		}
		s.refused(400, 110, "tasks.started", m{"task": id}) // nor when the agent tries again
		s.clock.advance(2 * s.cfg.Lease)
		s.janitor.returnLeases(t.Context())
		s.call("tasks.started", m{"task": id}) // later a person may
	}
}

// A task that leaves its queue by its status is not popped any more.
func TestStatusLeavesTheQueue(t *testing.T) {
	s := newServer(t)
	for call, req := range map[string]m{"stopped": {}, "stop": {}, "started": {}, "reset": {}, "delete": {"force": true}, "dequeue": {}, "archive_many": {}} {
		q := s.newQueue("left by " + call)
		id := s.newTask("leaves")
		s.call("tasks.enqueue", m{"task": id, "queue": q})
		req["task"], req["ids"] = id, []string{id}
		s.call("tasks."+call, req)
		if got := s.call("queues.get_next_task", m{"queue": q}); len(got) != 0 {
			t.Errorf("%s: popped %v", call, got)
		}
	}
}

func TestLeaseGoesBackToItsPlace(t *testing.T) {
	s := openServer(t, t.TempDir(), Config{Lease: 50 * time.Millisecond})
	q := s.newQueue("lease")
	var ids []string
	for i := range 3 {
		ids = append(ids, s.newTask(fmt.Sprint("task ", i)))
		s.call("tasks.enqueue", m{"task": ids[i], "queue": q})
	}
	s.call("queues.get_next_task", m{"queue": q, "task": ids[0]})
	s.call("queues.get_next_task", m{"queue": q, "task": ids[1]})
	s.call("tasks.started", m{"task": ids[1]})
	eventually(t, "the lease is over", func() bool { return len(s.waiting(q)) == 2 })
	if got := s.waiting(q); !slices.Equal(got, []string{ids[0], ids[2]}) {
		t.Errorf("got %v, want %v", got, []string{ids[0], ids[2]})
	}
}

// A lease outlives the server.
func TestLeaseAfterARestart(t *testing.T) {
	dir := t.TempDir()
	first := openServer(t, dir, Config{Lease: 100 * time.Millisecond})
	q := first.newQueue("lease")
	id := first.newTask("popped")
	first.call("tasks.enqueue", m{"task": id, "queue": q})
	first.call("queues.get_next_task", m{"queue": q})
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	s := openServer(t, dir, Config{})
	eventually(t, "the lease is over", func() bool { return slices.Equal(s.waiting(q), []string{id}) })
}

// A queue is not empty while a task is popped from it and not started: it may have to
// come back.
func TestQueueOfALeaseIsDeleted(t *testing.T) {
	s := newServer(t)
	q := s.newQueue("lease")
	id := s.newTask("popped")
	s.call("tasks.enqueue", m{"task": id, "queue": q})
	s.call("queues.get_next_task", m{"queue": q})
	s.refused(400, 702, "queues.delete", m{"queue": q})
	s.call("queues.delete", m{"queue": q, "force": true})
	s.clock.advance(2 * s.cfg.Lease)
	s.janitor.returnLeases(t.Context())
	if got := s.status(id); got != "created" {
		t.Errorf("the task is %s, in no queue", got)
	}
}

func TestPopIsExclusive(t *testing.T) {
	s := newServer(t)
	q := s.newQueue("drain")
	const tasks, agents = 200, 16
	want := map[string]int{}
	for i := range tasks {
		id := s.newTask(fmt.Sprintf("task %d", i))
		s.call("tasks.enqueue", m{"task": id, "queue": q})
		want[id] = 1
	}
	var mu sync.Mutex
	got := map[string]int{}
	var all sync.WaitGroup
	for i := range agents {
		all.Go(func() {
			for {
				req := m{"queue": q}
				if i%2 == 0 { // half of them pop by task, and may lose the race
					head := s.call("queues.peek_task", m{"queue": q})
					if head["task"] == nil {
						return
					}
					req["task"] = head["task"]
				}
				reply := s.call("queues.get_next_task", req)
				entry, ok := reply["entry"].(map[string]any)
				if !ok && req["task"] == nil {
					return
				}
				if ok {
					mu.Lock()
					got[entry["task"].(string)]++
					mu.Unlock()
				}
			}
		})
	}
	all.Wait()
	for id, n := range got {
		if n != 1 || want[id] != 1 {
			t.Errorf("task %s popped %d times", id, n)
		}
	}
	if len(got) != tasks {
		t.Errorf("%d of %d tasks popped", len(got), tasks)
	}
}
