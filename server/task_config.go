package server

import (
	"agentctl/clearml"

	"github.com/samber/lo"
)

type configurationRequest struct {
	Task          string   `json:"task" need:"1"`
	Configuration []object `json:"configuration"`
	Replace       bool     `json:"replace_configuration"`
	Force         bool     `json:"force"`
}

func (r *configurationRequest) change(c *call, edit func(map[string]object)) error {
	return c.update(func(t *tx) error {
		row, err := c.ownTask(t, r.Task)
		if err != nil {
			return err
		}
		if row.Status != clearml.StatusCreated && !r.Force {
			return expectStatus(clearml.StatusCreated, row.Status)
		}
		items := map[string]object{}
		if err := loadPart(t.view, row.n, "configuration", &items); err != nil {
			return err
		}
		edit(items)
		if err := t.savePart(row.n, "configuration", items); err != nil {
			return err
		}
		return t.setTask(row.n, map[string]any{"last_update": t.now, "last_change": t.now})
	})
}

func editConfiguration(c *call, req *configurationRequest) (any, error) {
	for _, o := range req.Configuration {
		if keyOf(o).Name == "" {
			return nil, missing("configuration.name")
		}
	}
	err := req.change(c, func(items map[string]object) {
		if req.Replace {
			clear(items)
		}
		for _, o := range req.Configuration {
			items[keyOf(o).Name] = o
		}
	})
	return map[string]any{"updated": 1}, err
}

func deleteConfiguration(c *call, req *struct {
	Task          string `json:"task" need:"1"`
	Configuration texts  `json:"configuration" need:"1"`
	Force         bool   `json:"force"`
}) (any, error) {
	r := configurationRequest{Task: req.Task, Force: req.Force}
	err := r.change(c, func(items map[string]object) {
		for _, name := range req.Configuration {
			delete(items, name)
		}
	})
	return map[string]any{"deleted": 1}, err
}

type configurationsQuery struct {
	Tasks texts `json:"tasks" need:"1"`
	Names texts `json:"names"`
}

func (q *configurationsQuery) each(c *call, f func(task string, items map[string]object)) error {
	if err := bounded("tasks", q.Tasks); err != nil {
		return err
	}
	for _, id := range q.Tasks {
		t, err := needTask(c.read(), id)
		if err != nil {
			return err
		}
		items := map[string]object{}
		if err := loadPart(c.read(), t.n, "configuration", &items); err != nil {
			return err
		}
		f(id, items)
	}
	return nil
}

func getConfigurations(c *call, req *configurationsQuery) (any, error) {
	out := []any{}
	err := req.each(c, func(id string, items map[string]object) {
		wanted := lo.PickBy(items, func(name string, _ object) bool { return len(req.Names) == 0 || lo.Contains(req.Names, name) })
		out = append(out, map[string]any{"task": id, "configuration": lo.Values(wanted)})
	})
	return map[string]any{"configurations": out}, err
}

func configurationNames(c *call, req *configurationsQuery) (any, error) {
	out := []any{}
	err := req.each(c, func(id string, items map[string]object) {
		out = append(out, map[string]any{"task": id, "names": lo.Keys(items)})
	})
	return map[string]any{"configurations": out}, err
}
