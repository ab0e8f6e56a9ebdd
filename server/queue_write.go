package server

import (
	"encoding/json"

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

// getOrCreateQueue gives the queue of a name, made if there is none.
func getOrCreateQueue(c *call, req *queueFields) (any, error) {
	if req.Name == "" {
		return nil, missing("name")
	}
	var id string
	created := false
	err := c.update(func(t *tx) error {
		found, err := t.one(`SELECT id FROM queue WHERE name = ?`, args(req.Name), &id)
		if found || err != nil {
			return err
		}
		created = true
		id, err = t.createQueue(req.Name, lo.FromPtr(req.Tags), lo.FromPtr(req.SystemTags))
		return err
	})
	return map[string]any{"id": id, "created": created}, err
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

// chooseQueue finds the queue that an enqueue names. An id is not looked up.
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
	return id, nil
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
		// What is popped and not started comes back when its agent has died: without
		// its queue it would be queued in none for ever.
		tasks, err := t.texts(`SELECT task FROM entry WHERE queue = ?1 UNION ALL SELECT task FROM lease WHERE queue = ?1 AND revoked = 0`, q.ID)
		if err != nil {
			return err
		}
		if len(tasks) > 0 && !req.Force {
			return refuse(400, 702, "Queue is not empty (use force=true to delete): id=%s", q.ID)
		}
		for _, id := range tasks {
			if err := t.restore(id, "queue deleted"); err != nil {
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
