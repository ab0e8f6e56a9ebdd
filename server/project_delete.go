package server

import (
	"slices"

	"github.com/samber/lo"
)

// Tags of projects that the SDK makes.
const (
	pipelineTag = "pipeline"
	datasetTag  = "dataset"
)

// contents is what lies in a project and in those below it.
type contents struct {
	ids                          []string // of the projects
	tasks, models                int64
	activeTasks, activeModels    int64
	activePipelines, activeData  int64
	regular, pipelines, datasets []string
}

func contentsOf(v *view, id string) (*contents, error) {
	p, err := findProject(v, id)
	if err != nil {
		return nil, err
	}
	found := &contents{}
	err = v.each(`SELECT id, name, system_tags FROM project WHERE name = ?1 OR `+belowProject, args(p.Name), func(scan func(...any) error) error {
		var id, name string
		var tags list
		err := scan(&id, &name, &tags)
		found.ids = append(found.ids, id)
		switch {
		case tags.has(pipelineTag) && baseOf(name) != ".pipelines":
			found.pipelines = append(found.pipelines, id)
		case tags.has(datasetTag) && baseOf(name) != ".datasets":
			found.datasets = append(found.datasets, id)
		default:
			found.regular = append(found.regular, id)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return found, found.count(v)
}

func (f *contents) count(v *view) error {
	const archived = ` AND NOT EXISTS (SELECT 1 FROM json_each(x.system_tags) WHERE value = 'archived')`
	for _, q := range []struct {
		dest      *int64
		what, and string
		in        []string
	}{
		{&f.tasks, `count(*) FROM task`, ``, f.regular},
		{&f.activeTasks, `count(*) FROM task`, archived, f.regular},
		{&f.models, `count(*) FROM model`, ``, f.regular},
		{&f.activeModels, `count(*) FROM model`, archived, f.regular},
		{&f.activePipelines, `count(DISTINCT project) FROM task`, ` AND x.type = 'controller'` + archived, f.pipelines},
		{&f.activeData, `count(DISTINCT project) FROM task`, archived, f.datasets},
	} {
		if _, err := v.one(`SELECT `+q.what+` x WHERE x.project IN (SELECT value FROM json_each(?))`+q.and, args(jsonList(q.in)), q.dest); err != nil {
			return err
		}
	}
	return nil
}

func validateDelete(c *call, req *byProject) (any, error) {
	f, err := contentsOf(c.read(), req.Project)
	if err != nil {
		return nil, err
	}
	return map[string]any{
		"tasks": f.tasks, "non_archived_tasks": f.activeTasks, "models": f.models, "non_archived_models": f.activeModels,
		"pipelines": f.activePipelines, "datasets": f.activeData, "reports": 0, "non_archived_reports": 0,
	}, nil
}

// refuses tells what stands against a delete without force.
func (f *contents) refuses(id string) error {
	switch {
	case f.activePipelines > 0:
		return refuse(400, 413, "Project has associated pipelines with active controllers (please archive all the controllers or use force=true): id=%s", id)
	case f.activeData > 0:
		return refuse(400, 406, "Project has associated non-empty datasets (please delete all the dataset versions or use force=true): id=%s", id)
	case f.activeTasks > 0:
		return refuse(400, 402, "Project has associated tasks (use force=true): id=%s", id)
	case f.activeModels > 0:
		return refuse(400, 405, "Project has associated models (use force=true): id=%s", id)
	}
	return nil
}

type deleteProjectRequest struct {
	byProject
	Force    bool `json:"force"`
	Contents bool `json:"delete_contents"`
}

// projectDelete is what a delete has done.
type projectDelete struct {
	projects, loose, tasks, models int64
	modelURLs, artifactURLs        []string
}

// deleteProject removes a project and those below it, with their tasks and models
// if that is wanted, a bit at a time: others write in between.
func deleteProject(c *call, req *deleteProjectRequest) (any, error) {
	done, more := projectDelete{}, true
	for more {
		err := c.update(func(t *tx) error {
			f, err := contentsOf(t.view, req.Project)
			if err != nil {
				return err
			}
			if err := f.refuses(req.Project); err != nil && !req.Force {
				return err
			}
			if req.Contents {
				if more, err = t.deleteContents(c, f, &done); err != nil || more {
					return err
				}
			}
			more = false
			return t.deleteProjects(f, &done)
		})
		if err != nil {
			return nil, err
		}
	}
	reply := map[string]any{"deleted": done.projects, "disassociated_tasks": done.loose, "deleted_tasks": done.tasks, "deleted_models": done.models, "urls": nil}
	if req.Contents {
		reply["urls"] = map[string]any{"model_urls": nonNil(done.modelURLs), "artifact_urls": nonNil(done.artifactURLs)}
	}
	return reply, nil
}

// deleteStep is how many tasks or models one transaction deletes.
const deleteStep = 100

// deleteContents deletes some of the tasks and models, and tells whether there may
// be more.
func (t *tx) deleteContents(c *call, f *contents, done *projectDelete) (more bool, err error) {
	tasks, err := t.texts(`SELECT id FROM task WHERE project IN (SELECT value FROM json_each(?)) LIMIT ?`, jsonList(f.ids), deleteStep)
	if err != nil {
		return false, err
	}
	for _, id := range tasks {
		reply, err := deleteOne(t, c, &manyRequest{Force: true, FileURLs: true, OutputModels: new(bool)}, id)
		if err != nil {
			return false, err
		}
		urls, _ := reply["urls"].(map[string]any)
		uris, _ := urls["artifact_urls"].([]string)
		done.artifactURLs = append(done.artifactURLs, uris...)
		done.tasks++
	}
	if len(tasks) > 0 {
		return true, nil
	}
	models, err := t.texts(`SELECT id FROM model WHERE project IN (SELECT value FROM json_each(?)) LIMIT ?`, jsonList(f.ids), deleteStep)
	if err != nil {
		return false, err
	}
	for _, id := range models {
		reply, err := deleteOneModel(t, c, &manyRequest{Force: true}, id)
		if err != nil {
			return false, err
		}
		uri, _ := reply["url"].(string)
		done.modelURLs = append(done.modelURLs, lo.Compact([]string{uri})...)
		done.models++
	}
	return len(models) > 0, nil
}

// deleteProjects removes the projects; what they held belongs to none then.
func (t *tx) deleteProjects(f *contents, done *projectDelete) (err error) {
	ids := jsonList(slices.Sorted(slices.Values(f.ids)))
	if done.loose, err = t.exec(`UPDATE task SET project = '' WHERE project IN (SELECT value FROM json_each(?))`, ids); err != nil {
		return err
	}
	if _, err = t.exec(`UPDATE model SET project = '' WHERE project IN (SELECT value FROM json_each(?))`, ids); err != nil {
		return err
	}
	done.projects, err = t.exec(`DELETE FROM project WHERE id IN (SELECT value FROM json_each(?))`, ids)
	return err
}
