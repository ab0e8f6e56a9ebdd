package server

import (
	"encoding/json"
	"slices"

	"github.com/samber/lo"
)

type queueFields struct {
	Name       string `json:"name"`
	Tags       *list  `json:"tags"`
	SystemTags *list  `json:"system_tags"`
}

func createQueue(c *call, req *queueFields) (any, error) {
	if req.Name == "" {
		return nil, missing("name")
	}
	var id string
	err := c.update(func(t *tx) (err error) {
		id, err = t.createQueue(req.Name, lo.FromPtr(req.Tags), lo.FromPtr(req.SystemTags))
		return err
	})
	return map[string]any{"id": id}, err
}

func (t *tx) createQueue(name string, tags, systemTags list) (string, error) {
	if err := t.freeQueueName(name); err != nil {
		return "", err
	}
	id := newID()
	t.touch(anyQueue)
	t.touch(queueTopic(id))
	_, err := t.exec(`INSERT INTO queue(id, name, user, created, last_update, tags, system_tags) VALUES(?,?,?,?,?,?,?)`,
		id, name, userID, t.now, t.now, tags.json(), systemTags.json())
	return id, err
}

func (t *tx) freeQueueName(name string) error {
	if len([]rune(name)) < 1 || len(name) > 500 {
		return tooShort("name")
	}
	found, err := t.one(`SELECT 1 FROM queue WHERE name = ?`, args(name), new(int))
	if found {
		return refuse(400, 801, "Value combination must be unique: name=%s, company=%s", name, companyID)
	}
	return err
}

// chooseQueue finds the queue that an enqueue names.
func (t *tx) chooseQueue(id, name string) (string, error) {
	switch {
	case id != "" && name != "":
		return "", refuse(400, 12, "Validation error (only one of queue and queue_name may be given)")
	case id == "" && name == "":
		id, _, err := getDefaultQueue(t.view)
		return id, err
	case name != "":
		found, err := t.one(`SELECT id FROM queue WHERE name = ?`, args(name), &id)
		if found || err != nil {
			return id, err
		}
		return t.createQueue(name, nil, nil)
	}
	found, err := t.one(`SELECT 1 FROM queue WHERE id = ?`, args(id), new(int))
	if err == nil && !found {
		err = noQueue(id)
	}
	return id, err
}

func updateQueue(c *call, req *struct {
	Queue string `json:"queue" need:"1"`
	queueFields
}) (any, error) {
	set := map[string]any{}
	err := c.update(func(t *tx) error {
		q, err := findQueue(t.view, req.Queue)
		if err != nil {
			return err
		}
		if req.Name != "" && req.Name != q.Name {
			if err := t.freeQueueName(req.Name); err != nil {
				return err
			}
			set["name"], q.Name = req.Name, req.Name
		}
		if req.Tags != nil {
			set["tags"], q.tags = *req.Tags, *req.Tags
		}
		if req.SystemTags != nil {
			set["system_tags"], q.systemTags = *req.SystemTags, *req.SystemTags
		}
		t.touch(queueTopic(q.ID))
		_, err = t.exec(`UPDATE queue SET name = ?, tags = ?, system_tags = ?, last_update = ? WHERE id = ?`,
			q.Name, q.tags.json(), q.systemTags.json(), t.now, q.ID)
		return err
	})
	return updated(set), err
}

func deleteQueue(c *call, req *struct {
	Queue string `json:"queue" need:"1"`
	Force bool   `json:"force"`
}) (any, error) {
	err := c.update(func(t *tx) error {
		q, err := findQueue(t.view, req.Queue)
		if err != nil {
			return err
		}
		entries, err := entriesOf(t.view, q.ID, 0)
		if err != nil {
			return err
		}
		if len(entries) > 0 && !req.Force {
			return refuse(400, 702, "Queue is not empty (use force=true to delete): id=%s", q.ID)
		}
		for _, e := range entries {
			if err := t.restore(e.Task, "queue deleted"); err != nil {
				return err
			}
		}
		t.touch(anyQueue)
		t.touch(queueTopic(q.ID))
		_, err = t.exec(`DELETE FROM queue WHERE id = ?`, q.ID)
		return err
	})
	return map[string]any{"deleted": 1}, err
}

// restore takes a task off its queue and gives it back its status.
func (t *tx) restore(id, reason string) error {
	row, err := needTask(t.view, id)
	if err != nil {
		return err
	}
	if _, err := t.takeBack(row, reason, "", ""); err != nil {
		return err
	}
	return t.setTask(row.n, map[string]any{"queue": ""})
}

type queueTask struct {
	Queue        string `json:"queue" need:"1"`
	Task         string `json:"task" need:"1"`
	Count        int    `json:"count"`
	UpdateStatus bool   `json:"update_task_status"`
}

// addTask puts a task in a queue, which here is an enqueue: a task that is in a
// queue without being queued would never be run.
func addTask(c *call, req *queueTask) (any, error) {
	err := c.update(func(t *tx) error {
		_, err := enqueueOne(t, c, &manyRequest{Queue: req.Queue, Reason: "added to queue"}, req.Task)
		return err
	})
	return map[string]any{"added": 1}, err
}

// removeTask takes a task off a queue. The real server leaves it queued in no
// queue unless asked; here its status is always given back.
func removeTask(c *call, req *queueTask) (any, error) {
	err := c.update(func(t *tx) error {
		if _, err := findQueue(t.view, req.Queue); err != nil {
			return err
		}
		if _, err := t.place(req.Queue, req.Task); err != nil {
			return err
		}
		return t.restore(req.Task, "removed from queue")
	})
	return map[string]any{"removed": 1}, err
}

// place is a task's key in its queue.
func (t *tx) place(queue, task string) (pos int64, err error) {
	found, err := t.one(`SELECT pos FROM entry WHERE queue = ? AND task = ?`, args(queue, task), &pos)
	if err == nil && !found {
		err = refuse(400, 703, "Task not found in queue: queue=%s, task=%s", queue, task)
	}
	return pos, err
}

// A move gives the new index of the entry at index i of n.
type move func(i, n, count int) int

func toFront(_, _, _ int) int      { return 0 }
func toBack(_, n, _ int) int       { return n - 1 }
func forward(i, _, count int) int  { return max(0, i-min(count, i)) }
func backward(i, n, count int) int { return min(n-1, i+min(count, n)) }

func moveTask(to move) func(*call, *queueTask) (any, error) {
	return func(c *call, req *queueTask) (any, error) {
		position := 0
		err := c.update(func(t *tx) (err error) {
			if _, err := findQueue(t.view, req.Queue); err != nil {
				return err
			}
			if _, err := t.place(req.Queue, req.Task); err != nil {
				return err
			}
			position, err = t.moveEntry(req.Queue, req.Task, to, max(req.Count, 1))
			return err
		})
		return map[string]any{"position": position}, err
	}
}

// moveEntry gives an entry another place. To the front it takes a key before all
// others; for the rest the keys between the two places go round.
func (t *tx) moveEntry(queue, task string, to move, count int) (int, error) {
	t.touch(queueTopic(queue))
	var order []string
	var keys []int64
	err := t.each(`SELECT task, pos FROM entry WHERE queue = ? ORDER BY pos`, args(queue), func(scan func(...any) error) error {
		var id string
		var pos int64
		err := scan(&id, &pos)
		order, keys = append(order, id), append(keys, pos)
		return err
	})
	if err != nil {
		return 0, err
	}
	from := slices.Index(order, task)
	target := to(from, len(order), count)
	if target == 0 {
		_, err := t.exec(`UPDATE entry SET pos = ? WHERE task = ?`, keys[0]-1, task)
		return 0, err
	}
	if target == len(order)-1 {
		_, err := t.exec(`UPDATE entry SET pos = ? WHERE task = ?`, keys[target]+1, task)
		return target, err
	}
	return target, t.rotate(order, keys, from, target)
}

// rotate moves order[from] to target and gives those in between the keys in
// their order. Negative keys in between keep the primary key unique meanwhile.
func (t *tx) rotate(order []string, keys []int64, from, target int) error {
	moved := slices.Insert(slices.Delete(slices.Clone(order), from, from+1), target, order[from])
	first, last := min(from, target), max(from, target)
	parked := min(keys[0], 0) - int64(len(order)) - 1
	for i := first; i <= last; i++ {
		if _, err := t.exec(`UPDATE entry SET pos = ? WHERE task = ?`, parked-int64(i), moved[i]); err != nil {
			return err
		}
	}
	for i := first; i <= last; i++ {
		if _, err := t.exec(`UPDATE entry SET pos = ? WHERE task = ?`, keys[i], moved[i]); err != nil {
			return err
		}
	}
	return nil
}

func setQueueMetadata(c *call, req *struct {
	Queue    string   `json:"queue" need:"1"`
	Metadata []object `json:"metadata" need:"1"`
	Replace  bool     `json:"replace_metadata"`
}) (any, error) {
	return map[string]any{"updated": 1}, c.update(func(t *tx) error {
		return t.editMetadata(req.Queue, func(m map[string]object) {
			if req.Replace {
				clear(m)
			}
			for _, o := range req.Metadata {
				m[metadataKey(o)] = o
			}
		})
	})
}

func deleteQueueMetadata(c *call, req *struct {
	Queue string `json:"queue" need:"1"`
	Keys  texts  `json:"keys" need:"1"`
}) (any, error) {
	return map[string]any{"updated": 1}, c.update(func(t *tx) error {
		return t.editMetadata(req.Queue, func(m map[string]object) {
			for _, k := range req.Keys {
				delete(m, k)
			}
		})
	})
}

func metadataKey(o object) (key string) {
	_ = json.Unmarshal(o["key"], &key) // anything else reads as nothing
	return key
}

func (t *tx) editMetadata(id string, edit func(map[string]object)) error {
	q, err := findQueue(t.view, id)
	if err != nil {
		return err
	}
	m := map[string]object{}
	if err := json.Unmarshal([]byte(q.metadata), &m); err != nil {
		return err
	}
	edit(m)
	data, err := json.Marshal(m)
	if err != nil {
		return err
	}
	_, err = t.exec(`UPDATE queue SET metadata = ?, last_update = ? WHERE id = ?`, string(data), t.now, id)
	return err
}
