package server

import (
	"fmt"
	"testing"
)

// A client that never asks the same thing twice fills no memory of the server.
func TestNothingGrowsWithRequests(t *testing.T) {
	s := newServer(t)
	id := s.newTask("victim")
	for i := range 400 {
		s.send(fmt.Sprintf("made%d.up", i), m{})
		s.send("tasks.get_all", m{"name": fmt.Sprint("name", i), "order_by": []string{fmt.Sprintf("runtime.a%d", i)}, "page_size": 1})
		s.send("tasks.get_all", m{"_any_": m{"pattern": fmt.Sprint(i), "fields": make([]string, i%7)}, "created": make([]string, i%5), "page_size": 1})
		s.send("workers.get_runtime_properties", m{"worker": fmt.Sprint("w", i)})
		s.as(fmt.Sprint("token", i)).send("tasks.get_by_id", m{"task": id})
		s.send("queues.get_all", m{"id": []string{fmt.Sprint("q", i)}, "agentctl_wait_ms": 1})
	}
	patterns.Lock()
	compiled := len(patterns.known)
	patterns.Unlock()
	for name, n := range map[string][2]int{
		"statements": {len(s.store.read.cache.stmts), maxStmts}, "patterns": {compiled, 101}, "tokens": {len(s.keys.known), maxKnown},
		"waiters": {len(s.notify.waiters), 0}, "topics": {len(s.notify.changed), 10}, "workers": {len(s.workers.known), 0},
	} {
		if n[0] > n[1] {
			t.Errorf("%d %s, at most %d", n[0], name, n[1])
		}
	}
}
