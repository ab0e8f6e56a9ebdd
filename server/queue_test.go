package server

import (
	"fmt"
	"slices"
	"testing"

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
	// What is a number or an object in the plain form is yes or no here.
	model := s.call("models.create", m{"name": "model", "uri": "u"})["id"]
	for _, tc := range []struct {
		action, flag string
		id           any
		want         bool
	}{{"tasks.reset_many", "dequeued", id, true}, {"tasks.reset_many", "dequeued", id, false}, {"models.publish_many", "updated", model, true}} {
		reply := s.call(tc.action, m{"ids": []any{tc.id}})["succeeded"].([]any)[0].(map[string]any)
		if reply[tc.flag] != tc.want {
			t.Errorf("%s: %s is %v, want %v", tc.action, tc.flag, reply[tc.flag], tc.want)
		}
	}
}

func TestGetOrCreateQueue(t *testing.T) {
	s := newServer(t)
	first := s.call("queues.get_or_create", m{"name": "made"})
	again := s.call("queues.get_or_create", m{"name": "made"})
	if first["created"] != true || again["created"] != false || first["id"] != again["id"] || first["id"] == "" {
		t.Errorf("%v, then %v", first, again)
	}
}

// Two who delete the runs of a pipeline at once leave one.
func TestLastRunOfAPipelineStays(t *testing.T) {
	s := newServer(t)
	project := s.call("projects.create", m{"name": "pipeline"})["id"]
	run := func() string {
		return s.call("tasks.create", m{"name": "run", "type": "controller", "project": project})["id"].(string)
	}
	// Both have looked, and each has seen the other's run.
	got, err := many(deleteRun)(&call{srv: s.Server, ctx: t.Context()}, &manyRequest{IDs: texts{run(), run()}, Force: true})
	if reply, _ := got.(m); err != nil || len(reply["succeeded"].([]any)) != 1 || len(reply["failed"].([]any)) != 1 {
		t.Errorf("%v, %v", got, err)
	}
}
