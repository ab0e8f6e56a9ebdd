package server

import (
	"agentctl/clearml"
)

func statusEndpoints() []*endpoint {
	return []*endpoint{
		on("tasks.started", started),
		on("tasks.stopped", ended(clearml.StatusStopped)),
		on("tasks.failed", ended(clearml.StatusFailed)),
		on("tasks.completed", completed),
		on("tasks.close", closeTask),
		on("tasks.publish", publish),
		on("tasks.stop", stop),
		on("tasks.enqueue", enqueue),
		on("tasks.dequeue", dequeue),
		on("tasks.reset", reset),
		on("tasks.archive", archive),
		on("tasks.unarchive", unarchive),
		on("tasks.enqueue_many", many(enqueueOne)),
		on("tasks.dequeue_many", many(dequeueOne)),
		on("tasks.stop_many", many(stopOne)),
		on("tasks.reset_many", many(resetOne)),
		on("tasks.delete_many", many(deleteOne)),
		on("tasks.archive_many", many(archiveOne)),
		on("tasks.unarchive_many", many(unarchiveOne)),
		on("tasks.publish_many", many(publishOne)),
	}
}

// statusRequest is what every change of a status carries.
type statusRequest struct {
	Task    string `json:"task" need:"1"`
	Reason  string `json:"status_reason"`
	Message string `json:"status_message"`
	Force   bool   `json:"force"`
}

func (r *statusRequest) change(to string) change {
	return change{to: to, reason: r.Reason, message: r.Message, force: r.Force, set: map[string]any{}}
}

func updated(fields map[string]any) map[string]any {
	return map[string]any{"updated": 1, "fields": fields}
}

// started sets a task in progress. A task that was popped and then stopped or
// taken back before it started must not start after all while its lease lasts,
// and a request to stop that waits for the agent survives the agent's own
// repeated calls: on the real server both are lost.
func started(c *call, req *statusRequest) (any, error) {
	var fields map[string]any
	err := c.update(func(t *tx) error {
		row, err := c.ownTask(t, req.Task)
		if err != nil {
			return err
		}
		revoked, err := t.endLease(row.ID)
		if err != nil {
			return err
		}
		if revoked && !req.Force && row.Status != clearml.StatusQueued {
			return badStatus(row.Status, clearml.StatusInProgress)
		}
		ch := req.change(clearml.StatusInProgress)
		if row.Status != clearml.StatusInProgress {
			ch.set["started"] = t.now
		} else if row.message == clearml.MessageStopping {
			ch.message = clearml.MessageStopping
		}
		if fields, err = t.apply(row, ch); err != nil {
			return err
		}
		return t.leaveQueue(row.ID)
	})
	if err != nil {
		return nil, err
	}
	reply := updated(fields)
	reply["started"] = 1
	return reply, nil
}

// ended is tasks.stopped and tasks.failed.
func ended(to string) func(*call, *statusRequest) (any, error) {
	return func(c *call, req *statusRequest) (any, error) {
		var fields map[string]any
		err := c.update(func(t *tx) (err error) {
			row, err := c.ownTask(t, req.Task)
			if err != nil {
				return err
			}
			fields, err = t.end(row, req.change(to))
			return err
		})
		return updated(fields), err
	}
}

// end applies a change to a status in which nothing runs or waits.
func (t *tx) end(row *task, ch change) (map[string]any, error) {
	if row.Status != ch.to {
		if ch.set == nil {
			ch.set = map[string]any{}
		}
		ch.set["completed"] = t.now
	}
	fields, err := t.apply(row, ch)
	if err != nil {
		return nil, err
	}
	return fields, t.withdraw(row.ID)
}

type completedRequest struct {
	statusRequest
	Publish bool `json:"publish"`
}

func completed(c *call, req *completedRequest) (any, error) {
	var fields map[string]any
	published := 0
	err := c.update(func(t *tx) error {
		row, err := c.ownTask(t, req.Task)
		if err != nil {
			return err
		}
		if fields, err = t.end(row, req.change(clearml.StatusCompleted)); err != nil || !req.Publish {
			return err
		}
		published = 1
		fields, err = t.publish(row, &req.statusRequest)
		return err
	})
	reply := updated(fields)
	reply["published"] = published
	return reply, err
}

func closeTask(c *call, req *statusRequest) (any, error) {
	var fields map[string]any
	err := c.update(func(t *tx) error {
		row, err := c.ownTask(t, req.Task)
		if err != nil {
			return err
		}
		fields, err = t.end(row, req.change(clearml.StatusClosed))
		return err
	})
	return updated(fields), err
}

func publish(c *call, req *statusRequest) (any, error) { return one(c, req, publishOne) }

func publishOne(t *tx, c *call, req *manyRequest, id string) (map[string]any, error) {
	row, err := c.ownTask(t, id)
	if err != nil {
		return nil, err
	}
	fields, err := t.publish(row, &statusRequest{id, req.Reason, req.Message, req.Force})
	return updated(fields), err
}

func (t *tx) publish(row *task, req *statusRequest) (map[string]any, error) {
	ch := req.change(clearml.StatusPublished)
	ch.set["published"] = t.now
	fields, err := t.apply(row, ch)
	if err != nil {
		return nil, err
	}
	return fields, t.withdraw(row.ID)
}
