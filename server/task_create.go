package server

import (
	"encoding/json"

	"agentctl/clearml"

	"github.com/samber/lo"
)

// taskFields is what tasks.create, edit and clone set. A nil field is left alone.
type taskFields struct {
	Name       *string `json:"name"`
	Type       *string `json:"type"`
	Comment    *string `json:"comment"`
	Project    *string `json:"project"`
	Parent     *string `json:"parent"`
	Tags       *list   `json:"tags"`
	SystemTags *list   `json:"system_tags"`

	Script        object          `json:"script"`
	Execution     object          `json:"execution"`
	Hyperparams   object          `json:"hyperparams"`
	Configuration object          `json:"configuration"`
	Container     object          `json:"container"`
	Models        object          `json:"models"`
	Runtime       object          `json:"runtime"`
	Input         object          `json:"input"`
	OutputDest    *string         `json:"output_dest"`
	Error         json.RawMessage `json:"error"`
}

// parts are the subtrees that are set, by their names.
func (f *taskFields) parts() map[string]object {
	all := map[string]object{
		"script": f.Script, "execution": f.Execution, "hyperparams": f.Hyperparams, "configuration": f.Configuration,
		"container": f.Container, "models": f.Models, "runtime": f.Runtime, "input": f.Input,
	}
	return lo.PickBy(all, func(_ string, o object) bool { return o != nil })
}

// check refuses values that the real server refuses.
func (f *taskFields) check(t *tx) error {
	if f.Name != nil && len([]rune(*f.Name)) < 3 {
		return tooShort("name")
	}
	if f.Type != nil && !oneOf(*f.Type, taskTypes...) {
		return invalid("type", "value is not one of the task types: %.60q", *f.Type)
	}
	if p := lo.FromPtr(f.Project); p != "" {
		if found, err := t.one(`SELECT 1 FROM project WHERE id = ?`, args(p), new(int)); err != nil {
			return err
		} else if !found {
			return refuse(400, 16, "Invalid value for fields: project=%.200s", p)
		}
	}
	if p := lo.FromPtr(f.Parent); p != "" {
		if _, err := needTask(t.view, p); err != nil {
			return err
		}
	}
	return nil
}

func tooShort(field string) error {
	return refuse(400, 800, "Data validation error: %s=String value is too short", field)
}

func createTask(c *call, req *taskFields) (any, error) {
	if req.Name == nil {
		return nil, missing("name")
	}
	if req.Type == nil {
		return nil, missing("type")
	}
	id := newID()
	err := c.update(func(t *tx) error { return t.create(c, id, req) })
	return map[string]any{"id": id}, err
}

// create stores a new task.
func (t *tx) create(c *call, id string, f *taskFields) error {
	if err := f.check(t); err != nil {
		return err
	}
	stream, err := t.newStream()
	if err != nil {
		return err
	}
	n, err := t.insert(`INSERT INTO task(id, name, type, status, status_changed, created, last_update, last_change, last_changed_by,
		user, project, parent, comment, tags, system_tags, creator, stream) VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)`,
		id, *f.Name, *f.Type, clearml.StatusCreated, t.now, t.now, t.now, t.now, userID,
		userID, lo.FromPtr(f.Project), lo.FromPtr(f.Parent), lo.FromPtr(f.Comment),
		lo.FromPtr(f.Tags).json(), lo.FromPtr(f.SystemTags).json(), c.caller.task, stream)
	if err != nil {
		return err
	}
	t.touch(anyTask)
	return t.saveParts(n, f, false)
}

// saveParts stores the subtrees that f sets. script, execution and models are
// merged at their first level with what is there, as the real server does; the
// others are replaced.
func (t *tx) saveParts(n int64, f *taskFields, exists bool) error {
	for name, o := range f.parts() {
		if exists && oneOf(name, "script", "execution", "models") {
			old := object{}
			if err := loadPart(t.view, n, name, &old); err != nil {
				return err
			}
			o = lo.Assign(old, o)
		}
		if name == "hyperparams" {
			var err error
			if o, err = named(o); err != nil {
				return err
			}
		}
		if name == "configuration" {
			var err error
			if o, err = nameItems(o, ""); err != nil {
				return err
			}
		}
		if err := t.savePart(n, name, o); err != nil {
			return err
		}
	}
	return t.saveOutput(n, f)
}

func (t *tx) saveOutput(n int64, f *taskFields) error {
	if f.OutputDest == nil && f.Error == nil {
		return nil
	}
	out := object{}
	if err := loadPart(t.view, n, "output", &out); err != nil {
		return err
	}
	if f.OutputDest != nil {
		out["destination"], _ = json.Marshal(*f.OutputDest) // a string always encodes
	}
	if f.Error != nil {
		out["error"] = f.Error
	}
	return t.savePart(n, "output", out)
}

func validateTask(c *call, req *taskFields) (any, error) {
	if req.Name == nil {
		return nil, missing("name")
	}
	return nil, c.update(func(t *tx) error { return req.check(t) })
}

type cloneRequest struct {
	Task           string  `json:"task" need:"1"`
	Name           *string `json:"new_task_name"`
	Comment        *string `json:"new_task_comment"`
	Tags           *list   `json:"new_task_tags"`
	SystemTags     *list   `json:"new_task_system_tags"`
	Parent         *string `json:"new_task_parent"`
	Project        *string `json:"new_task_project"`
	ProjectName    string  `json:"new_project_name"`
	Hyperparams    object  `json:"new_task_hyperparams"`
	Configuration  object  `json:"new_task_configuration"`
	Container      object  `json:"new_task_container"`
	InputModels    []any   `json:"new_task_input_models"`
	ExecutionPatch object  `json:"execution_overrides"`
}

// cloneTask copies what a task was made from, and nothing that it has produced.
func cloneTask(c *call, req *cloneRequest) (any, error) {
	id := newID()
	reply := map[string]any{"id": id}
	err := c.update(func(t *tx) error {
		src, err := needTask(t.view, req.Task)
		if err != nil {
			return err
		}
		f, err := t.cloneOf(src, req)
		if err != nil {
			return err
		}
		if req.ProjectName != "" {
			p, err := t.projectByName(req.ProjectName, true)
			if err != nil {
				return err
			}
			f.Project = &p
			reply["new_project"] = map[string]any{"id": p, "name": req.ProjectName}
		}
		return t.create(c, id, f)
	})
	return reply, err
}

func (t *tx) cloneOf(src *task, req *cloneRequest) (*taskFields, error) {
	raw, err := loadParts(t.view, []*task{src}, []string{"script", "execution", "hyperparams", "configuration", "container", "models", "output", "input"})
	if err != nil {
		return nil, err
	}
	part := func(name string) (o object) {
		_ = json.Unmarshal(raw[src.n][name], &o) // stored by this package
		return o
	}
	f := &taskFields{
		Name: &src.Name, Type: &src.Type, Comment: &src.comment, Project: &src.project, Parent: lo.CoalesceOrEmpty(lo.EmptyableToPtr(src.parent), &src.ID),
		Tags: &src.tags, SystemTags: lo.ToPtr(src.systemTags.without(developmentTag).without(archivedTag)),
		Script: part("script"), Input: part("input"), Container: part("container"),
		Hyperparams: part("hyperparams"), Configuration: part("configuration"),
	}
	f.Execution = cloneExecution(part("execution"), req.ExecutionPatch)
	f.Models = object{"input": part("models")["input"], "output": json.RawMessage("[]")}
	if req.InputModels != nil {
		f.Models["input"], _ = json.Marshal(req.InputModels) // it was JSON
	}
	if f.Models["input"] == nil {
		f.Models["input"] = json.RawMessage("[]")
	}
	if dest := part("output")["destination"]; dest != nil {
		_ = json.Unmarshal(dest, &f.OutputDest)
	}
	f.override(req)
	return f, nil
}

func (f *taskFields) override(req *cloneRequest) {
	f.Name, f.Comment = lo.CoalesceOrEmpty(req.Name, f.Name), lo.CoalesceOrEmpty(req.Comment, f.Comment)
	f.Project, f.Parent = lo.CoalesceOrEmpty(req.Project, f.Project), lo.CoalesceOrEmpty(req.Parent, f.Parent)
	if len(lo.FromPtr(req.Tags)) > 0 {
		f.Tags = req.Tags
	}
	if len(lo.FromPtr(req.SystemTags)) > 0 {
		f.SystemTags = req.SystemTags
	}
	if req.Hyperparams != nil {
		f.Hyperparams = req.Hyperparams
	}
	if req.Configuration != nil {
		f.Configuration = req.Configuration
	}
	if req.Container != nil {
		f.Container = req.Container
	}
}

// cloneExecution keeps the input artifacts.
func cloneExecution(e, patch object) object {
	e = lo.Assign(e, patch)
	artifacts := lo.Filter(readArtifacts(e), func(a artifact, _ int) bool { return a.mode() == "input" })
	delete(e, "queue")
	e["artifacts"], _ = json.Marshal(nonNil(artifacts)) // it was JSON
	return e
}
