package server

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

func (s *testServer) workerIDs() []string {
	s.t.Helper()
	ids := []string{}
	for _, w := range s.call("workers.get_all", m{"last_seen": 0})["workers"].([]any) {
		ids = append(ids, w.(map[string]any)["id"].(string))
	}
	return ids
}

func TestWorkerExpiry(t *testing.T) {
	s := newServer(t)
	q := s.newQueue("queue")
	s.refused(400, 701, "workers.register", m{"worker": "w:0", "queues": []string{"nope"}})
	s.refused(400, 12, "workers.status_report", m{"worker": "w:0"})
	s.refused(400, 101, "workers.status_report", m{"worker": "w:0", "timestamp": 1, "task": "nope"})

	s.call("workers.register", m{"worker": "short", "queues": []string{q}, "timeout": 5})
	s.call("workers.register", m{"worker": "long", "queues": []string{q}, "tags": []string{"a"}})
	s.clock.advance(4 * time.Second)
	s.call("workers.status_report", m{"worker": "short", "timestamp": 1})
	s.clock.advance(4 * time.Second)
	if got := s.workerIDs(); len(got) != 2 {
		t.Errorf("renewed: %v", got)
	}
	s.clock.advance(4 * time.Second)
	if got := s.workerIDs(); len(got) != 1 || got[0] != "long" {
		t.Errorf("after the end: %v", got)
	}
	// A report makes an unknown worker known.
	s.call("workers.status_report", m{"worker": "short", "timestamp": 1.5, "machine_stats": nil})
	if got := s.workerIDs(); len(got) != 2 {
		t.Errorf("after a report: %v", got)
	}
	s.call("workers.unregister", m{"worker": "short"})
	s.call("workers.unregister", m{"worker": "short"})
	if got := s.workerIDs(); len(got) != 1 {
		t.Errorf("after unregister: %v", got)
	}
}

func TestWorkerDocument(t *testing.T) {
	s := newServer(t)
	q := s.newQueue("queue")
	id := s.newTask("its task")
	s.call("tasks.started", m{"task": id})
	s.call("workers.register", m{"worker": "w:0", "queues": []string{q}, "tags": []string{"a"}})
	s.call("workers.status_report", m{"worker": "w:0", "timestamp": 1, "task": id, "queue": q, "machine_stats": m{"cpu_usage": []int{1}}})
	w := s.call("workers.get_all", m{"worker_pattern": "^w"})["workers"].([]any)[0].(map[string]any)
	task, queues := w["task"].(map[string]any), w["queues"].([]any)
	if task["id"] != id || task["name"] != "its task" || queues[0].(map[string]any)["name"] != "queue" || w["queue"].(map[string]any)["id"] != q {
		t.Errorf("worker %v", w)
	}
	if got := s.task(id); got["last_worker"] != "w:0" || got["last_worker_report"] == nil {
		t.Errorf("task's worker %v", got["last_worker"])
	}
}

// Two who set properties of one worker at once don't undo each other, nor does a
// worker that registers again.
func TestPropertiesOfAWorkerAddUp(t *testing.T) {
	s := newServer(t)
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			s.call("workers.set_runtime_properties", m{"worker": "w", "runtime_properties": []m{{"key": fmt.Sprint("k", i), "value": "v"}}})
		})
		if i%5 == 0 {
			all.Go(func() { s.call("workers.register", m{"worker": "w"}) })
		}
	}
	all.Wait()
	if got := s.call("workers.get_runtime_properties", m{"worker": "w"})["runtime_properties"].([]any); len(got) != 20 {
		t.Errorf("%d properties are left of 20", len(got))
	}
}

func TestWorkersOutliveTheServer(t *testing.T) {
	dir := t.TempDir()
	first := openServer(t, dir, Config{})
	first.call("workers.register", m{"worker": "kept", "queues": []string{}})
	first.call("workers.register", m{"worker": "gone", "queues": []string{}, "timeout": 1})
	first.clock.advance(2 * time.Second)
	first.janitor.forgetWorkers(t.Context())
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if got := openServer(t, dir, Config{}).workerIDs(); len(got) != 1 || got[0] != "kept" {
		t.Error(got)
	}
}

// What workers have reported since the last note of it is there after an ordinary stop.
func TestStatisticsOutliveTheServer(t *testing.T) {
	dir := t.TempDir()
	s, stop := serve(t, dir)
	s.stats.note("w", s.now().UnixMicro(), false, []byte(`{"cpu": 5}`))
	s.queueStats.popped("q", s.now().UnixMicro(), 0)
	stop()
	var workers, queues int
	if _, err := openServer(t, dir, Config{}).store.read.one(`SELECT (SELECT count(*) FROM worker_stat), (SELECT count(*) FROM queue_stat)`, nil, &workers, &queues); err != nil || workers != 2 || queues != 1 {
		t.Errorf("%d statistics of workers, %d of queues, %v", workers, queues, err)
	}
}
