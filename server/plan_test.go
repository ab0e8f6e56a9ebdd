package server

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// Tables that grow with what clients do.
var large = regexp.MustCompile(`^SCAN (task|t|task_part|model|m|log|log_chunk|sample|series|s|scalar|worker_stat)\b`)

// unindexed are statements that look at all rows of a large table, and why they may.
var unindexed = map[string]string{
	`SELECT stream FROM log ORDER BY n LIMIT 1`: "the first row is enough",
	`SELECT n, stream, events, last_ts, last_n, stored, size FROM log_chunk WHERE kind <> 2 ORDER BY stored LIMIT ?`: "the oldest rows, by an index",
	`SELECT coalesce(sum(size), 0) - ? FROM log_chunk`:                                                               "once at each look of the janitor",
}

// What is done for each task, each page and each look of the janitor finds its rows
// by an index, and sorts no texts that nobody has asked for.
func TestStatementsUseIndexes(t *testing.T) {
	s := newServer(t)
	if err := WriteRetention(s.cfg.Dir, Retention{LogAge: time.Minute, LogBytes: 1}); err != nil {
		t.Fatal(err)
	}
	project := s.call("projects.create", m{"name": "project"})["id"]
	queue := s.newQueue("queue")
	id := s.call("tasks.create", m{"name": "task", "type": "training", "project": project, "script": m{"diff": "d"}})["id"].(string)
	s.call("tasks.enqueue", m{"task": id, "queue": queue})
	s.call("queues.get_next_task", m{"queue": queue})
	s.call("tasks.started", m{"task": id})
	s.call("workers.status_report", m{"worker": "w", "timestamp": 1, "task": id, "machine_stats": m{"cpu_usage": []int{1}}})
	s.do("events.add_batch", batchOf(
		m{"type": "log", "task": id, "msg": "x"}, m{"type": "training_stats_scalar", "task": id, "metric": "m", "variant": "v", "iter": 1, "value": 1},
		m{"type": "plot", "task": id, "metric": "m", "variant": "v", "iter": 1, "plot_str": "{}"}, m{"type": "training_debug_image", "task": id, "metric": "m", "variant": "v", "iter": 1, "url": "u"}))
	for _, req := range []m{{"id": []string{id}}, {"parent": []string{id}}, {"project": []any{project}}} {
		s.call("tasks.get_all", req)
	}
	for _, earlier := range []bool{false, true} {
		s.call("events.get_task_log", m{"task": id, "navigate_earlier": earlier})
	}
	for _, action := range []string{"get_task_plots", "get_task_events", "get_task_latest_scalar_values", "scalar_metrics_iter_histogram"} {
		s.call("events."+action, m{"task": id, "event_type": "plot"})
	}
	s.call("events.get_task_events", m{"task": id, "event_type": "training_stats_scalar"})
	s.call("models.update_for_task", m{"task": id, "uri": "u"})
	s.call("models.get_by_task_id", m{"task": id})
	s.call("workers.get_activity_report", m{"from_date": 1, "to_date": 2, "interval": 1})
	s.clock.advance(time.Hour)
	s.janitor.retain(t.Context())
	s.janitor.stopSilent(t.Context())
	s.call("tasks.reset", m{"task": id, "force": true, "return_file_urls": true})
	s.call("tasks.delete", m{"task": id})
	s.janitor.purge(t.Context())
	s.janitor.pack(t.Context())

	texts := slices.Concat(s.store.read.cache.texts(), s.store.write.cache.texts())
	if len(texts) < 60 {
		t.Fatalf("%d statements are looked at", len(texts))
	}
	for _, text := range texts {
		if !regexp.MustCompile(`^(SELECT|UPDATE|DELETE)`).MatchString(text) || unindexed[text] != "" {
			continue
		}
		for _, step := range s.plan(text) {
			if large.MatchString(step) {
				t.Errorf("%s: %s", step, text)
			}
			if strings.HasPrefix(step, "USE TEMP B-TREE") && regexp.MustCompile(`SELECT [^(]*\b(doc|data|c\.value)\b`).MatchString(text) {
				t.Errorf("%s: %s", step, text)
			}
		}
	}
}

func (c *stmtCache) texts() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Sorted(maps.Keys(c.stmts))
}

// plan tells how SQLite runs a statement.
func (s *testServer) plan(text string) (steps []string) {
	s.t.Helper()
	err := s.store.read.each("EXPLAIN QUERY PLAN "+text, make([]any, 20), func(scan func(...any) error) error {
		var step string
		err := scan(new(int), new(int), new(int), &step)
		steps = append(steps, step)
		return err
	})
	if err != nil {
		s.t.Fatalf("%v: %s", err, text)
	}
	return steps
}
