package server

import (
	"encoding/json"

	"agentctl/clearml"
)

type editRequest struct {
	Task  string `json:"task" need:"1"`
	Force bool   `json:"force"`
	taskFields
}

// editTask changes a task that has not run yet, or any with force.
func editTask(c *call, req *editRequest) (any, error) {
	var fields map[string]any
	err := c.update(func(t *tx) error {
		row, err := c.ownTask(t, req.Task)
		if err != nil {
			return err
		}
		if row.Status != clearml.StatusCreated && !req.Force {
			return expectStatus(clearml.StatusCreated, row.Status)
		}
		if err := req.check(t); err != nil {
			return err
		}
		set := req.columns()
		set["last_update"], set["last_change"], set["last_changed_by"] = t.now, t.now, userID
		fields = shown(set)
		for name := range req.parts() {
			fields[name] = none{}
		}
		if err := t.setTask(row.n, set); err != nil {
			return err
		}
		return t.saveParts(row.n, &req.taskFields, true)
	})
	return updated(fields), err
}

// columns are the fields of the row that f sets.
func (f *taskFields) columns() map[string]any {
	set := map[string]any{}
	for name, v := range map[string]*string{"name": f.Name, "type": f.Type, "comment": f.Comment, "project": f.Project, "parent": f.Parent} {
		if v != nil {
			set[name] = *v
		}
	}
	for name, v := range map[string]*list{"tags": f.Tags, "system_tags": f.SystemTags} {
		if v != nil {
			set[name] = v.json()
		}
	}
	return set
}

type updateRequest struct {
	Task       string  `json:"task" need:"1"`
	Name       *string `json:"name"`
	Comment    *string `json:"comment"`
	Project    *string `json:"project"`
	Tags       *list   `json:"tags"`
	SystemTags *list   `json:"system_tags"`
	Error      *string `json:"output__error"`
	Created    *string `json:"created"`
}

// updateTask changes what describes a task, in any status. Other fields, a
// status among them, are ignored.
func updateTask(c *call, req *updateRequest) (any, error) {
	reply := map[string]any{"updated": 0, "fields": none{}}
	err := c.update(func(t *tx) error {
		fields, err := updateTaskIn(t, c, req)
		if fields != nil {
			reply = updated(fields)
		}
		return err
	})
	return reply, err
}

// updateTaskIn tells what has changed, nil for nothing.
func updateTaskIn(t *tx, c *call, req *updateRequest) (map[string]any, error) {
	f := taskFields{Name: req.Name, Comment: req.Comment, Project: req.Project, Tags: req.Tags, SystemTags: req.SystemTags}
	if req.Error != nil {
		f.Error, _ = json.Marshal(*req.Error) // a string always encodes
	}
	row, err := c.ownTask(t, req.Task)
	if err != nil {
		return nil, err
	}
	if err := f.check(t); err != nil {
		return nil, err
	}
	set := f.columns()
	if req.Created != nil {
		at, ok := parseTime(*req.Created)
		if !ok {
			return nil, invalid("created", "invalid time")
		}
		set["created"] = at
	}
	if len(set) == 0 && f.Error == nil {
		return nil, nil
	}
	set["last_change"], set["last_changed_by"] = t.now, userID
	if err := t.setTask(row.n, set); err != nil {
		return nil, err
	}
	return shown(set), t.saveOutput(row.n, &f)
}

func setRequirements(c *call, req *struct {
	Task         string          `json:"task" need:"1"`
	Requirements json.RawMessage `json:"requirements"`
}) (any, error) {
	if len(req.Requirements) == 0 {
		return nil, missing("requirements")
	}
	err := c.update(func(t *tx) error {
		row, err := c.ownTask(t, req.Task)
		if err != nil {
			return err
		}
		f := taskFields{Script: object{"requirements": req.Requirements}}
		if err := t.saveParts(row.n, &f, true); err != nil {
			return err
		}
		return t.setTask(row.n, map[string]any{"last_update": t.now, "last_change": t.now})
	})
	return updated(map[string]any{"last_update": stamp(c.srv.now().UnixMicro())}), err
}

func pingTask(c *call, req *byTask) (any, error) {
	return none{}, c.update(func(t *tx) error {
		row, err := c.ownTask(t, req.Task)
		if err != nil {
			return err
		}
		return t.setTask(row.n, map[string]any{"last_update": t.now})
	})
}

func moveTasks(c *call, req *moveRequest) (any, error) {
	return req.each(c, func(t *tx, id, project string) error {
		row, err := c.ownTask(t, id)
		if err != nil {
			return err
		}
		return t.setTask(row.n, map[string]any{"project": project, "last_change": t.now})
	})
}
