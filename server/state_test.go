package server

import (
	"fmt"
	"strings"
	"testing"
)

// inState makes a task and brings it to a state by the protocol's own calls.
func (s *testServer) inState(state string) string {
	s.t.Helper()
	id := s.newTask("task " + state)
	by := m{"task": id}
	steps := map[string][]string{
		"created": {}, "queued": {"enqueue"}, "in_progress": {"started"}, "stopped": {"started", "stopped"},
		"failed": {"started", "failed"}, "completed": {"started", "completed"}, "closed": {"started", "stopped", "close"},
		"published": {"started", "completed", "publish"},
	}
	for _, step := range steps[state] {
		s.call("tasks."+step, by)
	}
	if got := s.status(id); got != state {
		s.t.Fatalf("task is %s, want %s", got, state)
	}
	return id
}

func TestTransitionReply(t *testing.T) {
	s := newServer(t)
	id := s.newTask("reply")
	got := s.call("tasks.started", m{"task": id, "status_reason": "why", "status_message": "what"})
	fields := got["fields"].(map[string]any)
	if got["updated"] != 1.0 || got["started"] != 1.0 || fields["status"] != "in_progress" || fields["status_reason"] != "why" || fields["status_message"] != "what" {
		t.Errorf("reply %v", got)
	}
	for _, name := range []string{"status_changed", "last_update", "last_change", "started"} {
		if at, _ := fields[name].(string); !strings.HasSuffix(at, "+00:00") || len(at) != len("2026-11-23T20:50:08.171000+00:00") {
			t.Errorf("%s = %v", name, fields[name])
		}
	}
	// The next transition overwrites reason and message; absent is empty.
	s.call("tasks.stopped", m{"task": id})
	if task := s.task(id); task["status_reason"] != "" || task["status_message"] != "" {
		t.Errorf("reason %q, message %q", task["status_reason"], task["status_message"])
	}
	if got := s.call("tasks.dequeue", m{"task": id}); got["dequeued"] != 1.0 || got["updated"] != 0.0 || len(got["fields"].(map[string]any)) != 0 {
		t.Errorf("dequeue that changes nothing: %v", got)
	}
}

func TestStartedTwiceKeepsTheTime(t *testing.T) {
	s := newServer(t)
	id := s.inState("in_progress")
	before := s.task(id)["started"]
	s.clock.advance(5e9)
	s.call("tasks.started", m{"task": id})
	if after := s.task(id)["started"]; after != before {
		t.Errorf("started %v, then %v", before, after)
	}
}

// A running task with an agent is asked to stop; the request must outlive the
// further tasks.started and dequeue of an agent that is setting it up.
func TestStopRequestSurvives(t *testing.T) {
	s := newServer(t)
	queue := s.newQueue("stop")
	id := s.newTask("stoppable")
	s.call("tasks.enqueue", m{"task": id, "queue": queue})
	s.call("queues.get_next_task", m{"queue": queue})
	s.call("tasks.started", m{"task": id})
	s.call("workers.status_report", m{"worker": "w:0", "timestamp": 1, "task": id})
	s.call("tasks.stop", m{"task": id})
	for _, again := range []func(){
		func() { s.call("tasks.started", m{"task": id, "force": true, "status_message": "launch by agent"}) },
		func() { s.call("tasks.dequeue", m{"task": id, "new_status": "in_progress"}) },
	} {
		if got := s.task(id); got["status"] != "in_progress" || got["status_message"] != "stopping" {
			t.Fatalf("status %v, message %q", got["status"], got["status_message"])
		}
		again()
	}
	if got := s.task(id)["status_message"]; got != "stopping" {
		t.Errorf("the request to stop is lost: %q", got)
	}
	s.call("tasks.stopped", m{"task": id})
	if got := s.status(id); got != "stopped" {
		t.Error(got)
	}
}

// An agent that has gone can't be asked.
func TestStopWithoutALiveAgent(t *testing.T) {
	s := newServer(t)
	id := s.inState("in_progress")
	s.call("workers.status_report", m{"worker": "w:0", "timestamp": 1, "task": id})
	s.clock.advance(aliveFor + 1e9)
	s.call("tasks.stop", m{"task": id})
	if got := s.task(id); got["status"] != "stopped" || got["status_message"] != "Stopped by "+userName {
		t.Error(got["status"], got["status_message"])
	}
}

func TestWatchdogStopsSilentTasks(t *testing.T) {
	s := newServer(t)
	silent, alive := s.inState("in_progress"), s.inState("in_progress")
	s.clock.advance(silentAfter + 1e9)
	s.call("tasks.ping", m{"task": alive})
	s.janitor.stopSilent(t.Context())
	if a, b := s.status(silent), s.status(alive); a != "stopped" || b != "in_progress" {
		t.Errorf("silent is %s, alive is %s", a, b)
	}
}

func TestResetAndDelete(t *testing.T) {
	s := newServer(t)
	id := s.newTask("to be reset")
	s.call("tasks.edit", m{"task": id, "script": m{"entry_point": "a.py"}})
	s.call("tasks.enqueue", m{"task": id})
	s.call("tasks.started", m{"task": id})
	s.call("tasks.add_or_update_artifacts", m{"task": id, "artifacts": []m{{"key": "a", "type": "x", "uri": "http://f/a"}, {"key": "in", "mode": "input", "type": "x"}}})
	s.do("events.add_batch", fmt.Sprintf(`{"type":"log","task":%q,"msg":"x","timestamp":1}
		{"type":"training_stats_scalar","task":%q,"metric":"m","variant":"v","iter":7,"value":1}`, id, id))
	got := s.call("tasks.reset", m{"task": id, "return_file_urls": true})
	if urls := got["urls"].(map[string]any)["artifact_urls"]; fmt.Sprint(urls) != "[http://f/a]" {
		t.Errorf("urls %v", urls)
	}
	task := s.task(id)
	execution := task["execution"].(map[string]any)
	if execution["queue"] != nil || len(execution["artifacts"].([]any)) != 1 || task["started"] != nil || task["last_iteration"] != 0.0 ||
		len(task["last_metrics"].(map[string]any)) != 0 || task["script"].(map[string]any)["entry_point"] != "a.py" || task["status_message"] != "reset" {
		t.Errorf("after the reset: %v", task)
	}
	if log := s.call("events.get_task_log", m{"task": id}); log["total"] != 0.0 {
		t.Errorf("log after the reset: %v", log)
	}
	if got := s.call("tasks.delete", m{"task": id}); got["deleted"] != true {
		t.Error(got)
	}
	eventually(t, "events of dead streams removed", func() bool {
		var n int
		_, err := s.store.read.one(`SELECT (SELECT count(*) FROM log) + (SELECT count(*) FROM log_chunk) + (SELECT count(*) FROM scalar) + (SELECT count(*) FROM series) + (SELECT count(*) FROM stream) + (SELECT count(*) FROM task_part)`, nil, &n)
		return err == nil && n == 0
	})
}
