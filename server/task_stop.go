package server

import (
	"time"

	"agentctl/clearml"
)

// aliveFor is how long after its last sign of life a running task is taken to
// have an agent that can be asked to stop it.
const aliveFor = 600 * time.Second

func stop(c *call, req *statusRequest) (any, error) { return one(c, req, stopOne) }

// stopOne ends a task that nobody runs at once, and asks the agent of a running
// one by a status message.
func stopOne(t *tx, c *call, req *manyRequest, id string) (map[string]any, error) {
	row, err := c.ownTask(t, id)
	if err != nil {
		return nil, err
	}
	if row.Status == clearml.StatusInProgress && t.hasAgent(row) {
		fields, err := t.apply(row, change{to: row.Status, reason: req.Reason, message: clearml.MessageStopping})
		return updated(fields), err
	}
	message := req.Message
	if message == "" {
		message = "Stopped by " + userName
	}
	fields, err := t.end(row, change{to: clearml.StatusStopped, reason: req.Reason, message: message, force: req.Force})
	return updated(fields), err
}

func (t *tx) hasAgent(row *task) bool {
	return !row.systemTags.has(developmentTag) && row.lastWorker != "" && t.now-row.lastUpdate < aliveFor.Microseconds()
}

// developmentTag marks a task that somebody runs by hand, without an agent.
const developmentTag = "development"

const archivedTag = "archived"

func archive(c *call, req *struct {
	Tasks   texts  `json:"tasks" need:"1"`
	Reason  string `json:"status_reason"`
	Message string `json:"status_message"`
}) (any, error) {
	if err := bounded("tasks", req.Tasks); err != nil {
		return nil, err
	}
	n := 0
	err := c.update(func(t *tx) error {
		for _, id := range req.Tasks {
			if _, err := archiveOne(t, c, &manyRequest{Reason: req.Reason, Message: req.Message}, id); err != nil {
				return err
			}
			n++
		}
		return nil
	})
	return map[string]any{"archived": n}, err
}

// archiveOne hides a task: a waiting one is taken back first, a running one stopped.
func archiveOne(t *tx, c *call, req *manyRequest, id string) (map[string]any, error) {
	row, err := c.ownTask(t, id)
	if err != nil {
		return nil, err
	}
	switch row.Status {
	case clearml.StatusQueued:
		_, err = t.takeBack(row, req.Reason, req.Message, "")
	case clearml.StatusInProgress:
		_, err = t.end(row, change{to: clearml.StatusStopped, reason: req.Reason, message: req.Message})
	}
	if err != nil {
		return nil, err
	}
	tags := row.systemTags.with(archivedTag)
	return map[string]any{"archived": true}, t.setTask(row.n, map[string]any{"system_tags": tags.json(), "last_change": t.now})
}

func unarchive(c *call, req *struct {
	Tasks texts `json:"tasks" need:"1"`
}) (any, error) {
	if err := bounded("tasks", req.Tasks); err != nil {
		return nil, err
	}
	n := 0
	err := c.update(func(t *tx) error {
		for _, id := range req.Tasks {
			if _, err := unarchiveOne(t, c, nil, id); err != nil {
				return err
			}
			n++
		}
		return nil
	})
	return map[string]any{"unarchived": n}, err
}

func unarchiveOne(t *tx, c *call, _ *manyRequest, id string) (map[string]any, error) {
	row, err := c.ownTask(t, id)
	if err != nil {
		return nil, err
	}
	tags := row.systemTags.without(archivedTag)
	return map[string]any{"unarchived": true}, t.setTask(row.n, map[string]any{"system_tags": tags.json(), "last_change": t.now})
}
