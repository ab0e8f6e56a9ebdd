package server

import (
	"context"
	"encoding/json"
	"math"
	"strconv"
	"sync"
	"time"
)

// Spans of statistics, and how long they are kept.
const (
	statSpan = 300 // s
	statLife = 30 * 24 * time.Hour
)

// Bounds of what a report may add.
const (
	maxReportStats = 200
	maxStatName    = 100
	maxStats       = 200_000 // between two flushes
)

type statKey struct {
	worker, metric, variant string
	at                      int64
}

type stat struct {
	n             int64
	sum, min, max float64
}

func (s *stat) add(v float64) {
	if s.n == 0 {
		s.min, s.max = v, v
	}
	s.n, s.sum, s.min, s.max = s.n+1, s.sum+v, min(s.min, v), max(s.max, v)
}

// stats gathers what workers report; the janitor writes it down. What was
// gathered since is lost with a kill, unlike all else that is acknowledged.
type stats struct {
	mu  sync.Mutex
	new map[statKey]*stat
}

// note takes one report: numbers, and lists of them by their index.
func (s *stats) note(worker string, now int64, task bool, raw json.RawMessage) {
	at := now / 1e6 / statSpan * statSpan
	active := 0.0
	if task {
		active = 1
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.add(statKey{worker, "", "", at}, active)
	var report map[string]json.RawMessage
	if json.Unmarshal(raw, &report) != nil {
		return
	}
	left := maxReportStats
	for metric, value := range report {
		if metric == "" || len(metric) > maxStatName {
			continue
		}
		var one *float64
		var many []*float64
		if json.Unmarshal(value, &one) == nil && one != nil {
			many = []*float64{one}
		} else if json.Unmarshal(value, &many) != nil {
			continue
		}
		for i, v := range many {
			if left--; left < 0 {
				return
			}
			if v != nil && !math.IsInf(*v, 0) {
				s.add(statKey{worker, metric, strconv.Itoa(i), at}, *v)
			}
		}
	}
}

func (s *stats) add(k statKey, v float64) {
	if s.new[k] == nil {
		if len(s.new) >= maxStats {
			return
		}
		if s.new == nil {
			s.new = map[statKey]*stat{}
		}
		s.new[k] = &stat{}
	}
	s.new[k].add(v)
}

// writeStats writes down what was gathered and forgets what is old.
func (j *janitor) writeStats(ctx context.Context) {
	s := &j.srv.stats
	s.mu.Lock()
	fresh := s.new
	s.new = nil
	s.mu.Unlock()
	if len(fresh) == 0 {
		return
	}
	err := j.srv.store.update(ctx, func(t *tx) error {
		for k, v := range fresh {
			_, err := t.exec(`INSERT INTO worker_stat(worker, metric, variant, at, n, sum, min, max) VALUES(?,?,?,?,?,?,?,?)
				ON CONFLICT DO UPDATE SET n = n + excluded.n, sum = sum + excluded.sum, min = min(min, excluded.min), max = max(max, excluded.max)`,
				k.worker, k.metric, k.variant, k.at, v.n, v.sum, v.min, v.max)
			if err != nil {
				return err
			}
		}
		_, err := t.exec(`DELETE FROM worker_stat WHERE at < ?`, (t.now-statLife.Microseconds())/1e6)
		return err
	})
	if err != nil && ctx.Err() == nil {
		j.log.Error("statistics of workers not written", "error", err)
	}
}
