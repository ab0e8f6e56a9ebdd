package server

import "agentctl/clearml"

type deleteEventsRequest struct {
	Locked bool `json:"allow_locked"`
}

func (c *call) unlockedTask(t *tx, id string, locked bool) (*task, error) {
	row, err := c.ownTask(t, id)
	if err == nil && !locked && oneOf(row.Status, clearml.StatusPublished, clearml.StatusPublishing) {
		err = refuse(400, 101, "Cannot update events for a published task: id=%s, company=%s", id, companyID)
	}
	return row, err
}

func deleteEvents(c *call, req *struct {
	byTask
	deleteEventsRequest
}) (any, error) {
	err := c.update(func(t *tx) error {
		row, err := c.unlockedTask(t, req.Task, req.Locked)
		if err != nil {
			return err
		}
		stream, err := t.newStream()
		if err != nil {
			return err
		}
		if err := t.killStream(row.stream); err != nil {
			return err
		}
		t.onCommit(c.srv.janitor.sweep)
		return t.setTask(row.n, map[string]any{"stream": stream, "log_events": 0, "last_iteration": 0})
	})
	return map[string]any{"deleted": err == nil}, err
}

func deleteModelEvents(c *call, req *struct {
	modelID
	deleteEventsRequest
}) (any, error) {
	err := c.update(func(t *tx) error {
		m, err := c.ownModel(t, req.Model)
		if err != nil {
			return err
		}
		if m.ready && !req.Locked {
			return refuse(400, 201, "Cannot update events for a published model: id=%s, company=%s", m.ID, companyID)
		}
		t.onCommit(c.srv.janitor.sweep)
		if err := t.killStream(m.stream); err != nil {
			return err
		}
		_, err = t.exec(`UPDATE model SET stream = 0 WHERE n = ?`, m.n)
		return err
	})
	return map[string]any{"deleted": err == nil}, err
}

// clearTaskLog deletes a console, or what is older than so many seconds, a bit at a
// time: others write in between. Lines that come meanwhile stay.
func clearTaskLog(c *call, req *struct {
	byTask
	deleteEventsRequest
	Threshold int64 `json:"threshold_sec"`
}) (any, error) {
	if req.Threshold < 0 || req.Threshold > 1<<32 {
		return nil, invalid("threshold_sec", "must be 0 to %d", int64(1<<32))
	}
	before := logEnd.A
	if req.Threshold > 0 {
		before = c.srv.now().UnixMilli() - req.Threshold*1000
	}
	deleted, more, bound := int64(0), true, chunkBound{}
	for more {
		err := c.update(func(t *tx) error {
			row, err := c.unlockedTask(t, req.Task, req.Locked)
			if err != nil {
				return err
			}
			if bound.stored == 0 {
				bound.stored = t.now
				if _, err := t.one(`SELECT coalesce(max(n), 0) FROM log_chunk`, nil, &bound.n); err != nil {
					return err
				}
			}
			n, err := t.clearLog(row.stream, bound, before)
			if err != nil {
				return err
			}
			deleted, more = deleted+n, n > 0
			return t.setTask(row.n, map[string]any{"log_events": max(row.logEvents-n, 0)})
		})
		if err != nil {
			return nil, err
		}
	}
	return map[string]any{"deleted": deleted}, nil
}

// chunkBound is where chunks end that were there at a moment. The number alone
// does not tell: that of a deleted row may be given again.
type chunkBound struct{ n, stored int64 }

// clearLog deletes some of a stream's lines before a time and tells how many.
func (t *tx) clearLog(stream int64, bound chunkBound, before int64) (n int64, err error) {
	var kept []keptLines
	err = t.each(`DELETE FROM log_chunk WHERE n IN (SELECT n FROM log_chunk WHERE stream = ? AND n <= ? AND stored <= ? AND first_ts < ? LIMIT 20) RETURNING events, stored, data, last_ts`,
		args(stream, bound.n, bound.stored, before), func(scan func(...any) error) error {
			var events, stored, last int64
			var data []byte
			if err := scan(&events, &stored, &data, &last); err != nil {
				return err
			}
			n += events
			if last < before {
				return nil
			}
			lines, err := openChunk(data)
			k := keptLines{stored: stored}
			for _, l := range lines {
				if l.TS >= before {
					k.lines = append(k.lines, l)
				}
			}
			kept = append(kept, k)
			n -= int64(len(k.lines))
			return err
		})
	if err != nil {
		return 0, err
	}
	for _, k := range kept {
		if err := t.addChunks(stream, k.lines, k.stored); err != nil {
			return 0, err
		}
	}
	if n > 0 {
		return n, nil
	}
	return t.exec(`DELETE FROM log WHERE n IN (SELECT n FROM log WHERE stream = ? AND ts < ? LIMIT ?)`, stream, before, purgeRows)
}

// keptLines are what is left of a chunk that was deleted in part.
type keptLines struct {
	stored int64
	lines  []logLine
}
