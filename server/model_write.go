package server

import (
	"encoding/json"

	"github.com/samber/lo"
)

func createModel(c *call, req *modelFields) (any, error) {
	if req.Name == nil || *req.Name == "" {
		return nil, missing("name")
	}
	if req.URI == nil {
		return nil, missing("uri")
	}
	m := &model{ID: newID()}
	err := c.update(func(t *tx) error {
		if err := c.checkModel(t, req); err != nil {
			return err
		}
		if err := m.set(req); err != nil {
			return err
		}
		if m.task == "" {
			m.task = c.caller.task
		}
		return t.saveModel(m)
	})
	return map[string]any{"id": m.ID, "created": true}, err
}

func (c *call) checkModel(t *tx, f *modelFields) error {
	if p := lo.FromPtr(f.Project); p != "" {
		if _, err := findProject(t.view, p); err != nil {
			return err
		}
	}
	if id := lo.FromPtr(f.Task); id != "" {
		if _, err := c.ownTask(t, id); err != nil {
			return err
		}
	}
	return nil
}

type modelID struct {
	Model string `json:"model" need:"1"`
}

// change edits one model in the writer.
func (c *call) changeModel(id string, edit func(*tx, *model) error) error {
	return c.update(func(t *tx) error {
		m, err := c.ownModel(t, id)
		if err != nil {
			return err
		}
		if err := edit(t, m); err != nil {
			return err
		}
		return t.saveModel(m)
	})
}

func editModel(c *call, req *struct {
	modelID
	modelFields
}) (any, error) {
	err := c.changeModel(req.Model, func(t *tx, m *model) error {
		if err := c.checkModel(t, &req.modelFields); err != nil {
			return err
		}
		if err := m.set(&req.modelFields); err != nil {
			return err
		}
		return t.noteIteration(m.task, &req.modelFields)
	})
	return updated(map[string]any{"last_update": stamp(c.srv.now().UnixMicro())}), err
}

// noteIteration tells a task how far it has come: a model is stored with the
// iteration that it is of.
func (t *tx) noteIteration(task string, f *modelFields) error {
	var iter *int64
	if json.Unmarshal(lo.CoalesceSliceOrEmpty(f.Iteration, json.RawMessage("null")), &iter) != nil || iter == nil {
		return nil //nolint:nilerr // what is no number is kept with the model and tells nothing
	}
	_, err := t.exec(`UPDATE task SET last_update = ?, last_iteration = max(last_iteration, ?) WHERE id = ?`, t.now, *iter, task)
	return err
}

func setModelMetadata(c *call, req *struct {
	modelID
	Metadata metadata `json:"metadata" need:"1"`
	Replace  bool     `json:"replace_metadata"`
}) (any, error) {
	err := c.changeModel(req.Model, func(_ *tx, m *model) error {
		have := metadata{}
		if raw := m.rest["metadata"]; raw != nil && !req.Replace {
			if err := json.Unmarshal(raw, &have); err != nil {
				return err
			}
		}
		return m.set(&modelFields{Metadata: lo.Assign(have, req.Metadata)})
	})
	return map[string]any{"updated": 1}, err
}

func deleteModelMetadata(c *call, req *struct {
	modelID
	Keys texts `json:"keys" need:"1"`
}) (any, error) {
	err := c.changeModel(req.Model, func(_ *tx, m *model) error {
		have := metadata{}
		if raw := m.rest["metadata"]; raw != nil {
			if err := json.Unmarshal(raw, &have); err != nil {
				return err
			}
		}
		return m.set(&modelFields{Metadata: lo.OmitByKeys(have, req.Keys)})
	})
	return map[string]any{"updated": 1}, err
}

// deleteModelsOf removes the unpublished models that a task has put out, but for
// those that other tasks use, and returns where they lie.
func (t *tx) deleteModelsOf(row *task) ([]string, error) {
	uris, streams := []string{}, []int64{}
	err := t.each(`DELETE FROM model WHERE task = ? AND ready = 0 AND NOT EXISTS (SELECT 1 FROM model_use u WHERE u.model = model.id AND u.task <> ?) RETURNING uri, stream`,
		args(row.ID, row.n), func(scan func(...any) error) error {
			var uri string
			var stream int64
			err := scan(&uri, &stream)
			uris, streams = append(uris, uri), append(streams, stream)
			return err
		})
	for _, n := range streams {
		if err == nil {
			err = t.killStream(n)
		}
	}
	return uris, err
}

// modelForTask makes or changes the model that a task puts out.
func modelForTask(c *call, req *struct {
	Task     string `json:"task" need:"1"` // hides the field's of the same name
	Override string `json:"override_model_id"`
	modelFields
}) (any, error) {
	id := req.Override
	created := false
	err := c.update(func(t *tx) error {
		row, err := c.ownTask(t, req.Task)
		if err != nil {
			return err
		}
		where, key := `m.task = ?`, row.ID
		if id != "" {
			where, key = `m.id = ?`, id
		}
		m, err := findModel(t.view, where, key)
		if err != nil {
			return err
		}
		switch {
		case m == nil && id != "":
			return noModel(id)
		case m == nil:
			created = true
			m = &model{ID: newID(), Name: row.Name, project: row.project}
		case id != "":
			if err := c.mayChangeModel(t, m); err != nil {
				return err
			}
		}
		req.modelFields.Task = &row.ID
		if err := m.set(&req.modelFields); err != nil {
			return err
		}
		id = m.ID
		if err := t.saveModel(m); err != nil {
			return err
		}
		if err := t.noteIteration(row.ID, &req.modelFields); err != nil {
			return err
		}
		return t.editModels(row, func(tm *taskModels) { tm.set("output", taskModel{Name: m.Name, Model: m.ID}) })
	})
	return map[string]any{"id": id, "created": created, "updated": 1, "fields": none{}}, err
}
