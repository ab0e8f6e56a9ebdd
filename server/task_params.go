package server

import (
	"encoding/json"

	"agentctl/clearml"

	"github.com/samber/lo"
)

func paramEndpoints() []*endpoint {
	return []*endpoint{
		on("tasks.edit_hyper_params", editParams),
		on("tasks.get_hyper_params", getParams),
		on("tasks.delete_hyper_params", deleteParams),
		on("tasks.edit_configuration", editConfiguration),
		on("tasks.get_configurations", getConfigurations),
		on("tasks.get_configuration_names", configurationNames),
		on("tasks.delete_configuration", deleteConfiguration),
	}
}

// sections is a task's hyperparameters: section → name → the item as sent.
type sections map[string]map[string]object

// propertiesSection holds what users note about a task; it may change always.
const propertiesSection = "properties"

// named gives the items of each section their section and name, which clients
// leave out because they are the keys as well.
func named(o object) (object, error) {
	out := object{}
	for section, raw := range o {
		var items object
		if err := json.Unmarshal(raw, &items); err != nil {
			return nil, invalid("hyperparams", "section %.60q is no object", section)
		}
		items, err := nameItems(items, section)
		if err != nil {
			return nil, err
		}
		if out[section], err = json.Marshal(items); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// nameItems gives each item its name and, when there is one, its section.
func nameItems(items object, section string) (object, error) {
	out := object{}
	for name, raw := range items {
		var item object
		if err := json.Unmarshal(raw, &item); err != nil || item == nil {
			return nil, invalid("hyperparams", "item %.60q is no object", name)
		}
		item["name"], _ = json.Marshal(name) // strings always encode
		if section != "" {
			item["section"], _ = json.Marshal(section)
		}
		var err error
		if out[name], err = json.Marshal(item); err != nil {
			return nil, err
		}
	}
	return out, nil
}

type paramKey struct {
	Section string `json:"section"`
	Name    string `json:"name"`
}

type paramsRequest struct {
	Task        string   `json:"task" need:"1"`
	Hyperparams []object `json:"hyperparams"`
	Replace     string   `json:"replace_hyperparams"`
	Force       bool     `json:"force"`
}

func (k paramKey) valid() error {
	if k.Section == "" {
		return missing("hyperparams.section")
	}
	return nil
}

func keyOf(o object) (k paramKey) {
	_ = json.Unmarshal(o["section"], &k.Section) // anything else reads as nothing
	_ = json.Unmarshal(o["name"], &k.Name)
	return k
}

// changeParams runs edit over a task's hyperparameters. Without force only a
// task that has not run may be changed, but for its properties.
func changeParams(c *call, req *paramsRequest, edit func(sections)) error {
	if len(req.Hyperparams) == 0 {
		return invalid("hyperparams", "must not be empty")
	}
	for _, o := range req.Hyperparams {
		if err := keyOf(o).valid(); err != nil {
			return err
		}
	}
	properties := lo.EveryBy(req.Hyperparams, func(o object) bool { return keyOf(o).Section == propertiesSection })
	return c.update(func(t *tx) error {
		row, err := c.ownTask(t, req.Task)
		if err != nil {
			return err
		}
		if row.Status != clearml.StatusCreated && !req.Force && !properties {
			return expectStatus(clearml.StatusCreated, row.Status)
		}
		s := sections{}
		if err := loadPart(t.view, row.n, "hyperparams", &s); err != nil {
			return err
		}
		edit(s)
		if err := t.savePart(row.n, "hyperparams", s); err != nil {
			return err
		}
		return t.setTask(row.n, map[string]any{"last_update": t.now, "last_change": t.now})
	})
}

func editParams(c *call, req *paramsRequest) (any, error) {
	if !oneOf(req.Replace, "", "none", "section", "all") {
		return nil, invalid("replace_hyperparams", "value is not none, section or all")
	}
	err := changeParams(c, req, func(s sections) {
		if req.Replace == "all" {
			clear(s)
		}
		for _, o := range req.Hyperparams {
			if req.Replace == "section" {
				delete(s, keyOf(o).Section)
			}
		}
		for _, o := range req.Hyperparams {
			k := keyOf(o)
			if s[k.Section] == nil {
				s[k.Section] = map[string]object{}
			}
			s[k.Section][k.Name] = o
		}
	})
	return map[string]any{"updated": 1}, err
}

func deleteParams(c *call, req *paramsRequest) (any, error) {
	err := changeParams(c, req, func(s sections) {
		for _, o := range req.Hyperparams {
			k := keyOf(o)
			if k.Name == "" {
				delete(s, k.Section)
				continue
			}
			delete(s[k.Section], k.Name)
			if len(s[k.Section]) == 0 {
				delete(s, k.Section)
			}
		}
	})
	return map[string]any{"deleted": 1}, err
}

func getParams(c *call, req *struct {
	Tasks texts `json:"tasks" need:"1"`
}) (any, error) {
	if err := bounded("tasks", req.Tasks); err != nil {
		return nil, err
	}
	out := []any{}
	for _, id := range req.Tasks {
		t, err := needTask(c.read(), id)
		if err != nil {
			return nil, err
		}
		s := sections{}
		if err := loadPart(c.read(), t.n, "hyperparams", &s); err != nil {
			return nil, err
		}
		items := []object{}
		for _, section := range s {
			items = append(items, lo.Values(section)...)
		}
		out = append(out, map[string]any{"task": id, "hyperparams": items})
	}
	return map[string]any{"params": out}, nil
}
