package server

import (
	"context"
	"sync"

	"github.com/samber/lo"
)

type queueKey struct {
	queue string
	at    int64 // s
}

// waited is how long tasks have waited, and how many waited at once.
type waited struct {
	n      int64
	sec    float64
	length int64
}

// queueStats gathers the waiting times of what is popped; the janitor writes them
// down, with what waits then. What was gathered since is lost with a kill, unlike
// all else that is acknowledged.
type queueStats struct {
	mu  sync.Mutex
	new map[queueKey]*waited
}

// note takes the waiting times of n tasks.
func (s *queueStats) note(key queueKey, w waited) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.new[key] == nil {
		if len(s.new) >= maxStats {
			return
		}
		if s.new == nil {
			s.new = map[queueKey]*waited{}
		}
		s.new[key] = &waited{}
	}
	have := s.new[key]
	have.n, have.sec, have.length = have.n+w.n, have.sec+w.sec, max(have.length, w.length)
}

func (s *queueStats) take() map[queueKey]*waited {
	s.mu.Lock()
	defer s.mu.Unlock()
	fresh := s.new
	s.new = nil
	return fresh
}

func spanOf(us int64) int64 { return us / 1e6 / statSpan * statSpan }

// popped notes one pop: the task waited, and was there.
func (s *queueStats) popped(queue string, now, added int64) {
	s.note(queueKey{queue, spanOf(now)}, waited{1, max(0, float64(now-added)/1e6), 1})
}

// waiting notes what waits now in each queue.
func (s *queueStats) waiting(v *view, now int64) error {
	return v.each(`SELECT queue, count(*), sum(?1 - added) / 1e6 FROM entry GROUP BY queue`, args(now), func(scan func(...any) error) error {
		key := queueKey{at: spanOf(now)}
		var w waited
		err := scan(&key.queue, &w.n, &w.sec)
		w.length = w.n
		s.note(key, w)
		return err
	})
}

// writeQueueStats writes down what was gathered and forgets what is old.
func (j *janitor) writeQueueStats(ctx context.Context) error {
	s := &j.srv.queueStats
	if err := s.waiting(&j.srv.store.read, j.srv.now().UnixMicro()); err != nil {
		return err
	}
	fresh := s.take()
	if len(fresh) == 0 {
		return nil
	}
	return j.srv.store.update(ctx, func(t *tx) error {
		for k, w := range fresh {
			_, err := t.exec(`INSERT INTO queue_stat(queue, at, n, wait, length) VALUES(?,?,?,?,?)
				ON CONFLICT DO UPDATE SET n = n + excluded.n, wait = wait + excluded.wait, length = max(length, excluded.length)`,
				k.queue, k.at, w.n, w.sec, w.length)
			if err != nil {
				return err
			}
		}
		_, err := t.exec(`DELETE FROM queue_stat WHERE at < ?`, (t.now-statLife.Microseconds())/1e6)
		return err
	})
}

// queueCurve is the metrics of one queue, or of all together.
type queueCurve struct {
	Queue   string    `json:"queue"`
	Dates   []int64   `json:"dates"` // ms, as the real server has them
	Waits   []float64 `json:"avg_waiting_times"`
	Lengths []int64   `json:"queue_lengths"`
}

// queueMetrics gives waiting times and lengths of queues; without queues, of all
// of them together, as "total".
func queueMetrics(c *call, req *struct {
	span
	IDs texts `json:"queue_ids"`
}) (any, error) {
	if err := req.check(); err != nil {
		return nil, err
	}
	if len(req.IDs) > maxMany {
		return nil, invalid("queue_ids", "more than %d", maxMany)
	}
	if err := c.srv.janitor.writeQueueStats(c.ctx); err != nil {
		return nil, err
	}
	curves := map[string]*queueCurve{}
	from := int64(req.From)
	err := c.read().each(`SELECT CASE WHEN ?5 = '[]' THEN 'total' ELSE s.queue END AS q, (s.at - ?1) / ?2 AS i, sum(s.wait) / sum(s.n), sum(s.length)
		FROM (SELECT queue, at, sum(wait) AS wait, sum(n) AS n, max(length) AS length FROM queue_stat
			WHERE at >= ?3 AND at <= ?4 AND (?5 = '[]' OR queue IN (SELECT value FROM json_each(?5))) GROUP BY queue, (at - ?1) / ?2) s
		WHERE s.n > 0 GROUP BY q, i ORDER BY q, i LIMIT 200000`,
		args(from, req.Interval, from-statSpan, int64(req.To), jsonList(req.IDs)), func(scan func(...any) error) error {
			var queue string
			var i, length int64
			var wait float64
			err := scan(&queue, &i, &wait, &length)
			q := curves[queue]
			if q == nil {
				q = &queueCurve{Queue: queue}
				curves[queue] = q
			}
			q.Dates, q.Waits, q.Lengths = append(q.Dates, 1000*(from+i*req.Interval)), append(q.Waits, wait), append(q.Lengths, length)
			return err
		})
	if err != nil {
		return nil, err
	}
	ids := req.IDs
	if len(ids) == 0 {
		ids = texts{"total"}
	}
	return map[string]any{"queues": lo.FilterMap(ids, func(id string, _ int) (*queueCurve, bool) { return curves[id], curves[id] != nil })}, nil
}

// clearQueue takes all tasks off a queue, and gives them back their status.
func clearQueue(c *call, req *byQueue) (any, error) {
	removed := []string{}
	err := c.update(func(t *tx) error {
		q, err := findQueue(t.view, req.Queue)
		if err != nil {
			return err
		}
		entries, err := entriesOf(t.view, q.ID, 0)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if err := t.restore(e.Task, "queue cleared"); err != nil {
				return err
			}
			removed = append(removed, e.Task)
		}
		return nil
	})
	return map[string]any{"removed_tasks": removed}, err
}
