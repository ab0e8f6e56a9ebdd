package server

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"agentctl/clearml"
)

func pipelineEndpoints() []*endpoint {
	return []*endpoint{
		on("pipelines.start_pipeline", startPipeline),
		on("pipelines.delete_runs", deleteRuns),
	}
}

type startRequest struct {
	Task  string `json:"task" need:"1"`
	Queue string `json:"queue"`
	Args  []struct {
		Name  string          `json:"name"`
		Value json.RawMessage `json:"value"`
	} `json:"args"`
	VerifyWatched bool `json:"verify_watched_queue"`
}

// startPipeline runs a pipeline again: a clone of its controller with other
// arguments is enqueued.
func startPipeline(c *call, req *startRequest) (any, error) {
	id := newID()
	reply := map[string]any{"pipeline": id, "enqueued": true}
	err := c.update(func(t *tx) error {
		src, err := needTask(t.view, req.Task)
		if err != nil {
			return err
		}
		f, err := t.cloneOf(src, &cloneRequest{})
		if err != nil {
			return err
		}
		if err := req.apply(f); err != nil {
			return err
		}
		if err := t.nameRun(src, f); err != nil {
			return err
		}
		if err := t.create(c, id, f); err != nil {
			return err
		}
		queued, err := enqueueOne(t, c, &manyRequest{Queue: req.Queue, Message: "Starting pipeline", VerifyWatched: req.VerifyWatched}, id)
		if watched, ok := queued["queue_watched"]; ok {
			reply["queue_watched"] = watched
		}
		return err
	})
	return reply, err
}

// apply sets the arguments, which are texts.
func (r *startRequest) apply(f *taskFields) error {
	if len(r.Args) == 0 {
		return nil
	}
	items := map[string]object{}
	if raw := f.Hyperparams["Args"]; raw != nil {
		if err := json.Unmarshal(raw, &items); err != nil {
			return err
		}
	}
	for _, a := range r.Args {
		var text string
		if json.Unmarshal(a.Value, &text) != nil { // a number, say
			text = string(a.Value)
		}
		value, err := json.Marshal(text)
		if err != nil {
			return err
		}
		items[a.Name] = object{"value": value}
	}
	args, err := json.Marshal(items)
	if f.Hyperparams == nil {
		f.Hyperparams = object{}
	}
	f.Hyperparams["Args"] = args
	return err
}

// nameRun names a run after its project, with a number from the second on.
func (t *tx) nameRun(src *task, f *taskFields) error {
	if src.project == "" {
		return nil
	}
	p, err := findProject(t.view, src.project)
	if err != nil {
		return err
	}
	name := p.Name[strings.LastIndexByte(p.Name, '/')+1:]
	var n int64
	_, err = t.one(`SELECT count(*) FROM task WHERE project = ? AND name REGEXP ? AND EXISTS (SELECT 1 FROM json_each(system_tags) WHERE value = 'pipeline')`,
		args(p.ID, `^`+regexp.QuoteMeta(name)+`( #\d+)?$`), &n)
	if n > 0 {
		name = fmt.Sprintf("%s #%d", name, n+1)
	}
	f.Name = &name
	return err
}

// deleteRuns removes runs of a pipeline; one must stay, since new ones are its
// clones.
func deleteRuns(c *call, req *struct {
	manyRequest
	Project string `json:"project" need:"1"`
}) (any, error) {
	runs, err := c.read().texts(`SELECT id FROM task WHERE project = ? AND type = 'controller'`, req.Project)
	if err != nil {
		return nil, err
	}
	ids, rest := texts{}, 0
	for _, id := range runs {
		if list(req.IDs).has(id) {
			ids = append(ids, id)
		} else {
			rest++
		}
	}
	switch {
	case len(req.IDs) == 0:
		return nil, missing("ids")
	case rest == 0:
		return nil, refuse(400, 160, "At least one pipeline run should be left: project=%s", req.Project)
	case len(ids) == 0:
		return map[string]any{"succeeded": []any{}, "failed": []any{}}, nil
	}
	return many(deleteRun)(c, &manyRequest{IDs: ids, Force: true, Reason: "Pipeline run deleted"})
}

// deleteRun deletes a controller and its steps, unless it is the last of its project:
// another request may have deleted the others since this one looked.
func deleteRun(t *tx, c *call, req *manyRequest, id string) (map[string]any, error) {
	last, err := t.one(`SELECT 1 FROM task r WHERE r.id = ?1 AND NOT EXISTS (SELECT 1 FROM task o WHERE o.project = r.project AND o.type = 'controller' AND o.n <> r.n)`, args(id), new(int))
	if err != nil {
		return nil, err
	}
	if last {
		return nil, refuse(400, 160, "At least one pipeline run should be left: task=%s", id)
	}
	steps, err := t.texts(`SELECT id FROM task WHERE parent = ? AND status <> ?`, id, clearml.StatusPublished)
	if err != nil {
		return nil, err
	}
	for _, step := range steps {
		if _, err := deleteOne(t, c, req, step); err != nil {
			return nil, err
		}
	}
	return deleteOne(t, c, req, id)
}
