package server

import (
	"encoding/json"

	"agentctl/clearml"

	"github.com/samber/lo"
)

func setReady(c *call, req *struct {
	modelID
	PublishTask  *bool `json:"publish_task"`
	ForcePublish bool  `json:"force_publish_task"`
}) (any, error) {
	return oneOfMany(c, req.Model, &manyRequest{PublishTask: req.PublishTask, ForcePublish: req.ForcePublish}, publishModel)
}

// publishModel makes a model final, and with it the task that has made it.
func publishModel(t *tx, c *call, req *manyRequest, id string) (map[string]any, error) {
	m, err := c.ownModel(t, id)
	if err != nil {
		return nil, err
	}
	if m.ready {
		return nil, refuse(400, 203, "Model is ready: model=%s, company=%s", id, companyID)
	}
	reply := map[string]any{"updated": 1}
	if lo.FromPtrOr(lo.CoalesceOrEmpty(req.PublishTask, req.PublishTasks), true) {
		row, err := getTask(t.view, m.task)
		if err != nil {
			return nil, err
		}
		if row != nil && row.Status != clearml.StatusPublished {
			fields, err := t.publish(row, &statusRequest{Task: row.ID, Force: req.ForcePublish})
			if err != nil {
				return nil, err
			}
			reply["published_task"] = map[string]any{"id": row.ID, "data": updated(fields)}
		}
	}
	m.ready = true
	return reply, t.saveModel(m)
}

// publishOneOfMany is publishModel with a reply that says yes, not how many.
func publishOneOfMany(t *tx, c *call, req *manyRequest, id string) (map[string]any, error) {
	reply, err := publishModel(t, c, req, id)
	if err != nil {
		return nil, err
	}
	reply["updated"] = true
	return reply, nil
}

func deleteModel(c *call, req *struct {
	modelID
	Force bool `json:"force"`
}) (any, error) {
	return oneOfMany(c, req.Model, &manyRequest{Force: req.Force}, deleteOneModel)
}

// deletedPrefix stands before the id of a model that is gone, where a task still
// names it.
const deletedPrefix = "__DELETED__"

// deleteOneModel removes a model and takes it off the tasks that name it.
func deleteOneModel(t *tx, c *call, req *manyRequest, id string) (map[string]any, error) {
	m, err := c.ownModel(t, id)
	if err != nil {
		return nil, err
	}
	users, err := t.tasksUsing(id)
	if err != nil {
		return nil, err
	}
	if len(users) > 0 && !req.Force {
		return nil, refuse(400, 205, "Model is used by tasks (as execution model, use force=True to delete): num_tasks=%d", len(users))
	}
	maker, err := getTask(t.view, m.task)
	if err != nil {
		return nil, err
	}
	if maker != nil && maker.Status == clearml.StatusPublished && !req.Force {
		return nil, refuse(400, 206, "Task that created this model exists (and published, use force=True to delete): task=%s", m.task)
	}
	for _, n := range users {
		err := t.editModels(&task{n: n}, func(tm *taskModels) { tm.rename(id) })
		if err != nil {
			return nil, err
		}
	}
	if maker != nil {
		err := t.editModels(maker, func(tm *taskModels) {
			if maker.Status == clearml.StatusPublished {
				tm.rename(id)
			}
			tm.Output = lo.Reject(tm.Output, func(o taskModel, _ int) bool { return o.Model == id })
		})
		if err != nil {
			return nil, err
		}
	}
	t.onCommit(c.srv.janitor.sweep)
	if err := t.killStream(m.stream); err != nil {
		return nil, err
	}
	_, err = t.exec(`DELETE FROM model WHERE n = ?`, m.n)
	return map[string]any{"deleted": true, "url": m.uri}, err
}

// tasksUsing lists the rows of tasks that have a model as input.
func (t *tx) tasksUsing(id string) (rows []int64, err error) {
	err = t.each(`SELECT task FROM model_use WHERE model = ?`, args(id), func(scan func(...any) error) error {
		var n int64
		err := scan(&n)
		rows = append(rows, n)
		return err
	})
	return rows, err
}

// rename marks a model as gone.
func (m *taskModels) rename(id string) {
	for _, l := range []*[]taskModel{&m.Input, &m.Output} {
		for i := range *l {
			if (*l)[i].Model == id {
				(*l)[i].Model = deletedPrefix + id
			}
		}
	}
}

// archiveModel hides a model, or shows it again.
func archiveModel(reply string, tags func(list) list) action {
	return func(t *tx, c *call, _ *manyRequest, id string) (map[string]any, error) {
		m, err := c.ownModel(t, id)
		if err != nil {
			return nil, err
		}
		m.systemTags = tags(m.systemTags)
		return map[string]any{reply: true}, t.saveModel(m)
	}
}

func moveModels(c *call, req *moveRequest) (any, error) {
	return req.each(c, func(t *tx, id, project string) error {
		m, err := c.ownModel(t, id)
		if err != nil {
			return err
		}
		m.project = project
		return t.saveModel(m)
	})
}

// frameworks lists what models of the projects were made with.
func frameworks(c *call, req *struct {
	Projects texts `json:"projects"`
}) (any, error) {
	var where filter
	where.add(`json_type(m.doc, '$.framework') = 'text'`)
	if len(req.Projects) > 0 {
		where.exact("m.project", req.Projects)
	}
	all, err := c.read().texts(`SELECT DISTINCT json_extract(m.doc, '$.framework') FROM model m`+where.text()+` ORDER BY 1 LIMIT ?`, append(where.args, maxRows)...)
	return map[string]any{"frameworks": all}, err
}

// moveRequest moves tasks or models into a project that is there, one by its name
// that is made if need be, or none.
type moveRequest struct {
	IDs         texts           `json:"ids" need:"1"`
	Project     json.RawMessage `json:"project"` // null is none
	ProjectName string          `json:"project_name"`
}

// each moves them all, or none.
func (m *moveRequest) each(c *call, move func(t *tx, id, project string) error) (any, error) {
	if err := bounded("ids", m.IDs); err != nil {
		return nil, err
	}
	project := ""
	err := c.update(func(t *tx) (err error) {
		if project, err = m.find(t); err != nil {
			return err
		}
		for _, id := range m.IDs {
			if err := move(t, id, project); err != nil {
				return err
			}
		}
		return nil
	})
	return map[string]any{"project_id": lo.EmptyableToPtr(project)}, err
}

func (m *moveRequest) find(t *tx) (project string, err error) {
	if m.Project == nil && m.ProjectName == "" {
		return "", refuse(400, 11, "Missing required fields (project or project_name is required)")
	}
	if err := json.Unmarshal(lo.CoalesceSliceOrEmpty(m.Project, json.RawMessage("null")), &project); err != nil {
		return "", invalid("project", "expected a text")
	}
	switch {
	case project != "":
		_, err := findProject(t.view, project)
		return project, err
	case m.ProjectName != "":
		return t.projectByName(m.ProjectName, true)
	}
	return "", nil
}
