package server

import (
	"agentctl/clearml"
	"agentctl/internal/crash"
)

type nextTaskRequest struct {
	Queue       string `json:"queue" need:"1"`
	Task        string `json:"task"`
	GetTaskInfo bool   `json:"get_task_info"`
}

// nextTask pops the head of a queue, or the named task if it is the head. An
// empty answer means that there was nothing to pop.
func nextTask(c *call, req *nextTaskRequest) (any, error) {
	// Most agents ask for nothing: an empty queue is seen without the writer.
	var head string
	found, err := c.read().one(`SELECT task FROM entry WHERE queue = ? ORDER BY pos LIMIT 1`, args(req.Queue), &head)
	if err != nil {
		return nil, err
	}
	if !found {
		_, err := findQueue(c.read(), req.Queue)
		return none{}, err
	}
	var popped *entry
	err = c.update(func(t *tx) (err error) {
		popped, err = t.pop(c.srv.cfg.Lease.Microseconds(), req)
		return err
	})
	if err != nil || popped == nil {
		return none{}, err
	}
	crash.Point("server.popped")
	c.srv.janitor.leased()
	c.srv.queueStats.popped(req.Queue, c.srv.now().UnixMicro(), popped.added)
	reply := map[string]any{"entry": popped}
	if req.GetTaskInfo {
		reply["task_info"] = map[string]any{"company": companyID, "user": userID}
	}
	return reply, nil
}

// pop takes the head out and leases it: a task whose agent dies before it has
// said tasks.started goes back to its place.
func (t *tx) pop(lease int64, req *nextTaskRequest) (*entry, error) {
	for {
		var head string
		var pos, added int64
		found, err := t.one(`SELECT task, pos, added FROM entry WHERE queue = ? ORDER BY pos LIMIT 1`, args(req.Queue), &head, &pos, &added)
		if err != nil || !found || req.Task != "" && req.Task != head {
			return nil, err
		}
		if _, err := t.exec(`DELETE FROM entry WHERE queue = ? AND pos = ?`, req.Queue, pos); err != nil {
			return nil, err
		}
		t.touch(queueTopic(req.Queue))
		var status string
		if _, err := t.one(`SELECT status FROM task WHERE id = ?`, args(head), &status); err != nil {
			return nil, err
		}
		if status != clearml.StatusQueued {
			continue // an entry without its task: drop it and look at the next
		}
		_, err = t.exec(`INSERT INTO lease(task, queue, pos, added, until) VALUES(?,?,?,?,?)
			ON CONFLICT(task) DO UPDATE SET queue = excluded.queue, pos = excluded.pos, added = excluded.added, until = excluded.until, revoked = 0`,
			head, req.Queue, pos, added, t.now+lease)
		return &entry{head, stamp(added), added}, err
	}
}

// returnLeases puts tasks whose lease is over back where they were and drops
// revoked leases. It tells when the next one ends; 0 for none.
func (t *tx) returnLeases() (returned int, next int64, err error) {
	type lapsed struct {
		task, queue string
		pos, added  int64
		revoked     bool
	}
	var over []lapsed
	err = t.each(`SELECT task, queue, pos, added, revoked FROM lease WHERE until <= ?`, args(t.now), func(scan func(...any) error) error {
		var l lapsed
		defer func() { over = append(over, l) }()
		return scan(&l.task, &l.queue, &l.pos, &l.added, &l.revoked)
	})
	if err != nil {
		return 0, 0, err
	}
	for _, l := range over {
		if _, err := t.endLease(l.task); err != nil {
			return 0, 0, err
		}
		back, err := t.giveBack(l.task, l.queue, l.pos, l.added)
		if err != nil {
			return 0, 0, err
		}
		if back {
			returned++
		}
	}
	_, err = t.one(`SELECT coalesce(min(until), 0) FROM lease`, nil, &next)
	return returned, next, err
}

// giveBack puts a popped task back at its old place, or before the head when
// that place was taken meanwhile.
func (t *tx) giveBack(task, queue string, pos, added int64) (bool, error) {
	var status string
	if _, err := t.one(`SELECT status FROM task WHERE id = ?`, args(task), &status); err != nil || status != clearml.StatusQueued {
		return false, err
	}
	var head int64
	waits, err := t.one(`SELECT pos FROM entry WHERE queue = ? ORDER BY pos LIMIT 1`, args(queue), &head)
	if err != nil {
		return false, err
	}
	if waits && head <= pos {
		pos = head - 1
	}
	t.touch(queueTopic(queue))
	n, err := t.exec(`INSERT INTO entry(queue, pos, task, added) VALUES(?,?,?,?) ON CONFLICT(task) DO NOTHING`, queue, pos, task, added)
	return n > 0, err
}
