package server

import (
	"encoding/json"

	"github.com/samber/lo"
)

// artifact is one artifact of a task as the client sent it; key and mode name it.
type artifact object

func (a artifact) text(name string) (s string) {
	_ = json.Unmarshal(a[name], &s) // anything else reads as nothing
	return s
}

func (a artifact) mode() string { return lo.CoalesceOrEmpty(a.text("mode"), "output") }

func (a artifact) id() [2]string { return [2]string{a.text("key"), a.mode()} }

func readArtifacts(execution object) []artifact {
	var list []artifact
	_ = json.Unmarshal(execution["artifacts"], &list) // stored by this package
	return list
}

func (t *tx) saveArtifacts(n int64, execution object, list []artifact) (err error) {
	if execution["artifacts"], err = json.Marshal(nonNil(list)); err != nil {
		return err
	}
	return t.savePart(n, "execution", execution)
}

type artifactsRequest struct {
	Task      string     `json:"task" need:"1"`
	Artifacts []artifact `json:"artifacts" need:"1"`
	Force     bool       `json:"force"`
}

// changeArtifacts runs edit over a task's artifacts. Without force only a task
// that has not run or runs now may be changed.
func (r *artifactsRequest) changeArtifacts(c *call, edit func([]artifact) []artifact) error {
	for _, a := range r.Artifacts {
		if a.text("key") == "" {
			return missing("artifacts.key")
		}
	}
	return c.update(func(t *tx) error {
		row, err := c.ownTask(t, r.Task)
		if err != nil {
			return err
		}
		if !r.Force && !oneOf(row.Status, "created", "in_progress") {
			return expectStatus("created, in_progress", row.Status)
		}
		e := object{}
		if err := loadPart(t.view, row.n, "execution", &e); err != nil {
			return err
		}
		if err := t.saveArtifacts(row.n, e, edit(readArtifacts(e))); err != nil {
			return err
		}
		return t.setTask(row.n, map[string]any{"last_update": t.now, "last_change": t.now})
	})
}

func addArtifacts(c *call, req *artifactsRequest) (any, error) {
	err := req.changeArtifacts(c, func(have []artifact) []artifact {
		for _, a := range req.Artifacts {
			a["mode"], _ = json.Marshal(a.mode()) // a string always encodes
			_, at, found := lo.FindIndexOf(have, func(h artifact) bool { return h.id() == a.id() })
			if found {
				have[at] = a
			} else {
				have = append(have, a)
			}
		}
		return have
	})
	return map[string]any{"updated": 1}, err
}

func deleteArtifacts(c *call, req *artifactsRequest) (any, error) {
	err := req.changeArtifacts(c, func(have []artifact) []artifact {
		return lo.Filter(have, func(h artifact, _ int) bool {
			return !lo.ContainsBy(req.Artifacts, func(a artifact) bool { return a.id() == h.id() })
		})
	})
	return map[string]any{"deleted": 1}, err
}

type taskModel struct {
	Name      string `json:"name" need:"1"`
	Model     string `json:"model" need:"1"`
	Iteration *int64 `json:"iteration,omitempty"`
}

type taskModels struct {
	Input  []taskModel `json:"input"`
	Output []taskModel `json:"output"`
}

func (m *taskModels) of(kind string) *[]taskModel {
	if kind == "input" {
		return &m.Input
	}
	return &m.Output
}

// changeModels runs edit over the list of a task's models.
func changeModels(c *call, id string, edit func(*taskModels)) error {
	return c.update(func(t *tx) error {
		row, err := c.ownTask(t, id)
		if err != nil {
			return err
		}
		if err := t.editModels(row, edit); err != nil {
			return err
		}
		return t.setTask(row.n, map[string]any{"last_update": t.now, "last_change": t.now})
	})
}

func (t *tx) editModels(row *task, edit func(*taskModels)) error {
	m := taskModels{}
	if err := loadPart(t.view, row.n, "models", &m); err != nil {
		return err
	}
	edit(&m)
	m.Input, m.Output = nonNil(m.Input), nonNil(m.Output)
	return t.savePart(row.n, "models", m)
}

func addTaskModel(c *call, req *struct {
	Task string `json:"task" need:"1"`
	Type string `json:"type" need:"1"`
	taskModel
}) (any, error) {
	if !oneOf(req.Type, "input", "output") {
		return nil, invalid("type", "value is not input or output")
	}
	err := changeModels(c, req.Task, func(m *taskModels) { m.set(req.Type, req.taskModel) })
	return map[string]any{"updated": 1}, err
}

func (m *taskModels) set(kind string, model taskModel) {
	l := m.of(kind)
	_, at, found := lo.FindIndexOf(*l, func(h taskModel) bool { return h.Name == model.Name })
	if found {
		(*l)[at] = model
	} else {
		*l = append(*l, model)
	}
}

func deleteTaskModels(c *call, req *struct {
	Task   string `json:"task" need:"1"`
	Models []struct {
		Name string `json:"name"`
		Type string `json:"type"`
	} `json:"models" need:"1"`
}) (any, error) {
	err := changeModels(c, req.Task, func(m *taskModels) {
		for _, d := range req.Models {
			l := m.of(d.Type)
			*l = lo.Filter(*l, func(h taskModel, _ int) bool { return h.Name != d.Name })
		}
	})
	return map[string]any{"updated": 1}, err
}
