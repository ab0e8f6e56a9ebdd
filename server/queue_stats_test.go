package server

import (
	"testing"
	"time"
)

func TestWaitingTimes(t *testing.T) {
	s := newServer(t)
	q := s.newQueue("waiting")
	began := s.Server.now().Unix()
	for _, name := range []string{"first", "second", "third"} {
		s.call("tasks.enqueue", m{"task": s.newTask(name), "queue": q})
	}
	s.clock.advance(100 * time.Second)
	s.call("queues.get_next_task", m{"queue": q})
	s.clock.advance(200 * time.Second)
	s.call("queues.get_next_task", m{"queue": q})
	got := s.call("queues.get_queue_metrics", m{"queue_ids": []string{q}, "from_date": began - 3600, "to_date": began + 3600, "interval": 7200})
	curve := got["queues"].([]any)[0].(map[string]any)
	// Popped after 100 s and after 300 s, and one that waits for 300 s now: each a bit
	// longer on a busy machine. Without the last it were 200 s.
	wait := curve["avg_waiting_times"].([]any)[0].(float64)
	if curve["queue"] != q || wait < 233 || wait > 290 || curve["dates"].([]any)[0].(float64) != float64(began-3600)*1000 {
		t.Errorf("got %v", curve)
	}
	if err := s.janitor.writeQueueStats(t.Context()); err != nil {
		t.Error(err)
	}
}
