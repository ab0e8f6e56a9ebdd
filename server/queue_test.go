package server

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestEnqueue(t *testing.T) {
	s := newServer(t)
	q, other := s.newQueue("q one"), s.newQueue("q two")
	id := s.newTask("enqueued")
	if got := s.call("tasks.enqueue", m{"task": id, "queue": q}); got["queued"] != 1.0 || got["updated"] != 1.0 {
		t.Error(got)
	}
	s.refused(400, 706, "tasks.enqueue", m{"task": id, "queue": q})
	s.refused(400, 706, "tasks.enqueue", m{"task": id, "queue": q, "force": true})
	s.refused(400, 12, "tasks.enqueue", m{"task": id, "queue": q, "queue_name": "q two"})
	s.refused(400, 701, "tasks.enqueue", m{"task": id, "queue": "nope"})

	// Another queue moves it; a dequeue gives back the status of before.
	s.call("tasks.enqueue", m{"task": id, "queue_name": "q two"})
	if a, b := s.waiting(q), s.waiting(other); len(a) != 0 || !slices.Equal(b, []string{id}) {
		t.Errorf("queues %v, %v", a, b)
	}
	if got := s.task(id)["execution"].(map[string]any)["queue"]; got != other {
		t.Errorf("execution.queue is %v", got)
	}
	s.call("tasks.dequeue", m{"task": id})
	if got := s.status(id); got != "created" || len(s.waiting(other)) != 0 {
		t.Error(got, s.waiting(other))
	}
	// A refused enqueue must not have spoilt what a dequeue gives back.
	s.call("tasks.enqueue", m{"task": id, "queue_name": "made by name"})
	s.call("tasks.dequeue", m{"task": id})
	if got := s.status(id); got != "created" {
		t.Error(got)
	}
	stopped := s.inState("stopped")
	s.call("tasks.enqueue", m{"task": stopped})
	s.call("tasks.dequeue", m{"task": stopped})
	if got := s.status(stopped); got != "stopped" {
		t.Error(got)
	}
}

func TestEnqueueTakesTheDevelopmentTagOff(t *testing.T) {
	s := newServer(t)
	id := s.call("tasks.create", m{"name": "dev", "type": "training", "system_tags": []string{"development", "kept"}})["id"].(string)
	s.call("tasks.enqueue", m{"task": id})
	if got := fmt.Sprint(s.task(id)["system_tags"]); got != "[kept]" {
		t.Error(got)
	}
}

func TestRequeueOfARunningTask(t *testing.T) {
	s := newServer(t)
	q := s.newQueue("requeue")
	id, first := s.newTask("running"), s.newTask("first")
	s.call("tasks.enqueue", m{"task": id, "queue": q})
	s.call("queues.get_next_task", m{"queue": q})
	s.call("tasks.started", m{"task": id})
	s.call("tasks.enqueue", m{"task": first, "queue": q})
	s.refused(400, 110, "tasks.enqueue", m{"task": id, "queue": q})
	s.call("tasks.enqueue", m{"task": id, "queue": q, "force": true, "status_reason": "drained"})
	if got := s.call("queues.move_task_to_front", m{"queue": q, "task": id}); got["position"] != 0.0 {
		t.Error(got)
	}
	if got := s.waiting(q); !slices.Equal(got, []string{id, first}) {
		t.Error(got)
	}
	// It runs nowhere now, so a dequeue must not make it in_progress.
	s.call("tasks.dequeue", m{"task": id})
	if got := s.status(id); got != "stopped" {
		t.Error(got)
	}
}

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

// Moves against a plain list.
func TestMoves(t *testing.T) {
	s := newServer(t)
	var ids []string
	for i := range 6 {
		ids = append(ids, s.newTask(fmt.Sprint("task ", i)))
	}
	turn := 0
	rapid.Check(t, func(rt *rapid.T) {
		turn++
		q := s.newQueue(fmt.Sprint("moves ", turn))
		var model []string
		for range rapid.IntRange(1, 12).Draw(rt, "steps") {
			id := rapid.SampledFrom(ids).Draw(rt, "task")
			at := slices.Index(model, id)
			count := rapid.IntRange(0, 7).Draw(rt, "count")
			call := rapid.SampledFrom([]string{"add", "front", "back", "forward", "backward", "remove", "pop"}).Draw(rt, "call")
			req := m{"queue": q, "task": id, "count": count}
			if call == "pop" {
				got := s.call("queues.get_next_task", m{"queue": q})
				if len(model) == 0 {
					continue
				}
				if got["entry"].(map[string]any)["task"] != model[0] {
					rt.Fatalf("popped %v, want %s", got, model[0])
				}
				s.call("tasks.dequeue", m{"task": model[0]})
				model = model[1:]
				continue
			}
			if call == "add" {
				if at < 0 {
					s.call("queues.add_task", req)
					model = append(model, id)
				} else {
					s.refused(400, 706, "queues.add_task", req)
				}
				continue
			}
			action := map[string]string{
				"front": "queues.move_task_to_front", "back": "queues.move_task_to_back", "forward": "queues.move_task_forward",
				"backward": "queues.move_task_backward", "remove": "queues.remove_task",
			}[call]
			if at < 0 {
				s.refused(400, 703, action, req)
				continue
			}
			got := s.call(action, req)
			model = slices.Delete(model, at, at+1)
			if call == "remove" {
				continue
			}
			to := map[string]int{"front": 0, "back": len(model), "forward": max(0, at-max(count, 1)), "backward": min(len(model), at+max(count, 1))}[call]
			model = slices.Insert(model, to, id)
			if got["position"] != float64(to) {
				rt.Fatalf("%s: position %v, want %d", call, got["position"], to)
			}
			if order := s.waiting(q); !slices.Equal(order, model) {
				rt.Fatalf("%s %d: %v, want %v", call, count, order, model)
			}
		}
		for _, id := range model {
			s.call("tasks.dequeue", m{"task": id})
		}
	})
}

func TestQueueNamesAndDeletion(t *testing.T) {
	s := newServer(t)
	q := s.newQueue("a.b")
	s.newQueue("axb")
	s.refused(400, 801, "queues.create", m{"name": "a.b"})
	if got := s.call("queues.get_all", m{"name": `^a\.b$`})["queues"].([]any); len(got) != 1 {
		t.Errorf("exact name: %v", got)
	}
	if got := s.call("queues.get_all", m{"name": `a.b`})["queues"].([]any); len(got) != 2 {
		t.Errorf("names are regular expressions: %v", got)
	}
	s.refused(400, 21, "queues.get_all", m{"name": `(`})
	s.refused(400, 14, "queues.get_all", m{"only_fields": []string{"nope"}})
	s.refused(400, 701, "queues.get_by_id", m{"queue": "a.b"})
	id := s.newTask("in the queue")
	s.call("tasks.enqueue", m{"task": id, "queue": q})
	s.refused(400, 702, "queues.delete", m{"queue": q})
	s.call("queues.delete", m{"queue": q, "force": true})
	if got := s.status(id); got != "created" {
		t.Errorf("task of a deleted queue is %s", got)
	}
	if got := s.call("queues.get_default", m{}); got["name"] != "default" {
		t.Error(got)
	}
}

func TestManyReportsEachByItself(t *testing.T) {
	s := newServer(t)
	id := s.newTask("one of many")
	got := s.call("tasks.enqueue_many", m{"ids": []string{id, "nope"}})
	failed := got["failed"].([]any)[0].(map[string]any)
	if len(got["succeeded"].([]any)) != 1 || failed["id"] != "nope" || fmt.Sprint(failed["error"].(map[string]any)["codes"]) != "[400 101]" {
		t.Error(got)
	}
}
