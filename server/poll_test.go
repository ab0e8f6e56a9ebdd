package server

import (
	"testing"
	"time"
)

// held starts a request that asks to wait and returns its answer to come.
func (s *testServer) held(action string, req m, since float64) <-chan map[string]any {
	s.t.Helper()
	answered := make(chan map[string]any, 1)
	req["agentctl_since"], req["agentctl_wait_ms"] = since, 60_000
	before := s.waiters()
	go func() { answered <- s.call(action, req) }()
	eventually(s.t, "the request is held", func() bool { return s.waiters() > before || len(answered) > 0 })
	return answered
}

func (s *testServer) waiters() int {
	s.notify.mu.Lock()
	defer s.notify.mu.Unlock()
	n := 0
	for _, ws := range s.notify.waiters {
		n += len(ws)
	}
	return n
}

func TestPollQueues(t *testing.T) {
	s := newServer(t)
	q, other := s.newQueue("polled"), s.newQueue("other")
	id := s.newTask("task")
	req := func() m { return m{"id": []string{q}, "only_fields": []string{"id", "entries"}} }
	now := s.call("queues.get_all", req())
	revision := now["agentctl_revision"].(float64)

	answered := s.held("queues.get_all", req(), revision)
	s.call("tasks.enqueue", m{"task": s.newTask("elsewhere"), "queue": other})
	if len(answered) > 0 {
		t.Fatal("answered for a change of another queue")
	}
	s.call("tasks.enqueue", m{"task": id, "queue": q})
	got := <-answered
	entries := got["queues"].([]any)[0].(map[string]any)["entries"].([]any)
	if len(entries) != 1 || got["agentctl_revision"].(float64) <= revision {
		t.Errorf("got %v", got)
	}
	// A revision that is behind is answered at once, and so is one of another server.
	for _, since := range []float64{0, revision, 1 << 62} {
		<-s.held("queues.get_all", req(), since)
	}
	// Every way a queue changes wakes it.
	for _, change := range []func(){
		func() { s.call("queues.update", m{"queue": q, "tags": []string{"x"}}) },
		func() { s.call("queues.get_next_task", m{"queue": q}) },
		func() { s.call("queues.delete", m{"queue": q, "force": true}) }, // the task that was popped has not started
	} {
		rev := s.call("queues.get_all", req())["agentctl_revision"].(float64)
		answered := s.held("queues.get_all", req(), rev)
		change()
		<-answered
	}
}

func TestPollTasks(t *testing.T) {
	s := newServer(t)
	id := s.inState("in_progress")
	s.call("workers.status_report", m{"worker": "w", "timestamp": 1, "task": id})
	req := func() m {
		return m{"id": []string{id}, "only_fields": []string{"id", "status", "status_message", "last_worker"}}
	}
	for _, change := range []string{"stop", "stopped", "reset", "delete"} {
		rev := s.call("tasks.get_all", req())["agentctl_revision"].(float64)
		answered := s.held("tasks.get_all", req(), rev)
		s.call("tasks."+change, m{"task": id})
		got := (<-answered)["tasks"].([]any)
		if change == "delete" && len(got) != 0 {
			t.Errorf("deleted task is still there: %v", got)
		}
	}
}

func TestPollEndsByItself(t *testing.T) {
	s := newServer(t)
	q := s.newQueue("quiet")
	rev := s.call("queues.get_all", m{"id": []string{q}})["agentctl_revision"]
	s.call("queues.get_all", m{"id": []string{q}, "agentctl_since": rev, "agentctl_wait_ms": 10})
	if s.waiters() != 0 {
		t.Errorf("%d waiters left", s.waiters())
	}
}

// What changed long ago may be forgotten, never missed.
func TestNotifierForgetsOldTopics(t *testing.T) {
	n := newNotifier(time.Now())
	start, _ := n.fresh(nil, 0)
	n.publish([]string{"a"})
	for i := range maxTopics + 2 {
		n.publish([]string{string(rune('b' + i%20)), taskTopic(newID())})
	}
	if len(n.changed) > maxTopics+2 {
		t.Errorf("%d topics remembered", len(n.changed))
	}
	if _, changed := n.fresh([]string{"a"}, start); !changed {
		t.Error("the change of a is lost")
	}
	now, _ := n.fresh(nil, 0)
	if _, changed := n.fresh([]string{"a"}, now); changed {
		t.Error("changed after the newest revision")
	}
}
