package server

import (
	"slices"

	"agentctl/clearml"
)

type enqueueRequest struct {
	statusRequest
	Queue         string `json:"queue"`
	QueueName     string `json:"queue_name"`
	VerifyWatched bool   `json:"verify_watched_queue"`
}

func enqueue(c *call, req *enqueueRequest) (any, error) {
	return oneOfMany(c, req.Task, &manyRequest{
		Reason: req.Reason, Message: req.Message, Force: req.Force,
		Queue: req.Queue, QueueName: req.QueueName, VerifyWatched: req.VerifyWatched,
	}, enqueueOne)
}

// enqueueOne puts a task at the end of a queue, moving it there from any other.
func enqueueOne(t *tx, c *call, req *manyRequest, id string) (map[string]any, error) {
	row, err := c.ownTask(t, id)
	if err != nil {
		return nil, err
	}
	queue, err := t.chooseQueue(req.Queue, req.QueueName)
	if err != nil {
		return nil, err
	}
	if err := t.notInQueue(row, queue); err != nil {
		return nil, err
	}
	ch := change{to: clearml.StatusQueued, reason: req.Reason, message: req.Message, force: req.Force, set: map[string]any{
		"queue": queue, "enqueue_status": beforeQueue(row),
	}}
	if row.systemTags.has(developmentTag) {
		ch.set["system_tags"] = row.systemTags.without(developmentTag).json()
	}
	fields, err := t.apply(row, ch)
	if err != nil {
		return nil, err
	}
	if err := t.append(queue, row.ID); err != nil {
		return nil, err
	}
	reply := updated(fields)
	reply["queued"] = 1
	if req.VerifyWatched {
		reply["queue_watched"] = c.srv.workers.watch(queue, t.now)
	}
	return reply, nil
}

// notInQueue refuses a task that waits in that queue already, and takes it off
// any other and out of a lease. It looks for all three at once: an enqueue is the
// call that is sent most.
func (t *tx) notInQueue(row *task, queue string) error {
	var in string
	var leased, exists bool
	if _, err := t.one(`SELECT coalesce((SELECT queue FROM entry WHERE task = ?1), ''),
		EXISTS (SELECT 1 FROM lease WHERE task = ?1), EXISTS (SELECT 1 FROM queue WHERE id = ?2)`,
		args(row.ID, queue), &in, &leased, &exists); err != nil {
		return err
	}
	switch {
	case !exists:
		return noQueue(queue)
	case in == queue:
		return refuse(400, 706, "Task already queued: task=%s", row.ID)
	case in != "":
		if err := t.leaveQueue(row.ID); err != nil {
			return err
		}
	}
	if !leased {
		return nil
	}
	_, err := t.endLease(row.ID)
	return err
}

// beforeQueue is the status that a dequeue will give back. A task that was
// running does not run any more when it is taken off the queue, whatever the
// real server says: see docs/server.md.
func beforeQueue(row *task) string {
	switch row.Status {
	case clearml.StatusQueued:
		return row.enqueueStatus
	case clearml.StatusInProgress:
		return clearml.StatusStopped
	}
	return row.Status
}

type dequeueRequest struct {
	statusRequest
	NewStatus string `json:"new_status"`
}

func dequeue(c *call, req *dequeueRequest) (any, error) {
	return oneOfMany(c, req.Task, &manyRequest{Reason: req.Reason, Message: req.Message, NewStatus: req.NewStatus}, dequeueOne)
}

func dequeueOne(t *tx, c *call, req *manyRequest, id string) (map[string]any, error) {
	row, err := c.ownTask(t, id)
	if err != nil {
		return nil, err
	}
	if req.NewStatus != "" && allowed[req.NewStatus] == nil {
		return nil, invalid("new_status", "unknown status %.40q", req.NewStatus)
	}
	fields, err := t.takeBack(row, req.Reason, req.Message, req.NewStatus)
	if err != nil {
		return nil, err
	}
	if fields == nil {
		return map[string]any{"dequeued": 1, "updated": 0, "fields": none{}}, nil
	}
	reply := updated(fields)
	reply["dequeued"] = 1
	return reply, nil
}

// takeBack takes a task off its queue and gives it the status it had before, or
// the one that is wanted. It returns nil fields when the task neither waits nor
// runs.
func (t *tx) takeBack(row *task, reason, message, want string) (map[string]any, error) {
	if err := t.withdraw(row.ID); err != nil {
		return nil, err
	}
	if !slices.Contains([]string{clearml.StatusQueued, clearml.StatusInProgress}, row.Status) {
		return nil, nil
	}
	to := want
	if to == "" {
		to = row.enqueueStatus
	}
	if to == "" {
		to = clearml.StatusCreated
	}
	if to == row.Status && row.message == clearml.MessageStopping {
		message = clearml.MessageStopping // the agent has not seen the request yet
	}
	return t.apply(row, change{to: to, reason: reason, message: message, force: true, set: map[string]any{"enqueue_status": ""}})
}

// append puts a task at the end of a queue.
func (t *tx) append(queue, task string) error {
	t.touch(queueTopic(queue))
	_, err := t.exec(`INSERT INTO entry(queue, pos, task, added)
		SELECT ?1, coalesce(max(pos), 0) + 1, ?2, ?3 FROM entry WHERE queue = ?1`, queue, task, t.now)
	return err
}

// leaveQueue takes a task off the queue it is in, if it is in one.
func (t *tx) leaveQueue(task string) error {
	var queue string
	found, err := t.one(`DELETE FROM entry WHERE task = ? RETURNING queue`, args(task), &queue)
	if found {
		t.touch(queueTopic(queue))
	}
	return err
}

// withdraw takes a task off its queue and, when it is popped but not started,
// sees to it that the agent that popped it can't start it.
func (t *tx) withdraw(task string) error {
	if err := t.leaveQueue(task); err != nil {
		return err
	}
	_, err := t.exec(`UPDATE lease SET revoked = 1 WHERE task = ?`, task)
	return err
}

// endLease drops the lease of a popped task and tells whether it was revoked.
func (t *tx) endLease(task string) (revoked bool, err error) {
	_, err = t.one(`DELETE FROM lease WHERE task = ? RETURNING revoked`, args(task), &revoked)
	return revoked, err
}
