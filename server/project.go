package server

import (
	"errors"
	"slices"
	"strings"

	"github.com/samber/lo"
)

func projectEndpoints() []*endpoint {
	return []*endpoint{
		on("projects.get_all", getProjects),
		on("projects.get_all_ex", getProjects),
		on("projects.get_by_id", getProjectByID),
		on("projects.create", createProject),
		on("projects.update", updateProject),
		operator(on("projects.delete", deleteProject)),
		operator(on("projects.move", moveProject)),
		operator(on("projects.merge", mergeProject)),
		on("projects.validate_delete", validateDelete),
		on("projects.get_hyper_parameters", projectParams),
		on("projects.get_hyperparam_values", projectParamValues),
		on("projects.get_unique_metric_variants", uniqueMetrics),
		on("projects.get_model_metadata_keys", metadataKeys),
		on("projects.get_model_metadata_values", metadataValues),
		on("projects.get_task_parents", taskParents),
		on("projects.get_user_names", projectUsers),
		on("projects.get_project_tags", tagsOf("project")),
		on("projects.get_task_tags", tagsOf("task")),
		on("projects.get_model_tags", tagsOf("model")),
		on("organization.get_tags", tagsOf("task", "model")),
	}
}

// project is a row of projects. Its name is a path; all but the last segment
// name the project above.
type project struct {
	n                   int64
	ID, Name            string
	description, dest   string
	parent, user        string
	created, lastUpdate int64
	tags, systemTags    list
}

const projectColumns = `p.n, p.id, p.name, p.description, p.default_output_destination, p.parent, p.user, p.created, p.last_update, p.tags, p.system_tags`

func (p *project) scanInto() []any {
	return []any{&p.n, &p.ID, &p.Name, &p.description, &p.dest, &p.parent, &p.user, &p.created, &p.lastUpdate, &p.tags, &p.systemTags}
}

var projectNames = []string{
	"id", "name", "basename", "description", "default_output_destination", "parent", "user", "company", "created", "last_update", "tags", "system_tags",
}

func (p *project) doc(f fields) map[string]any {
	all := map[string]any{
		"id": p.ID, "name": p.Name, "basename": p.Name[strings.LastIndexByte(p.Name, '/')+1:], "description": p.description,
		"default_output_destination": lo.EmptyableToPtr(p.dest), "parent": lo.EmptyableToPtr(p.parent), "user": p.user, "company": companyID,
		"created": stamp(p.created), "last_update": stamp(p.lastUpdate), "tags": p.tags, "system_tags": p.systemTags,
	}
	return f.of(all)
}

type projectQuery struct {
	ID            texts   `json:"id"`
	Name          string  `json:"name"`
	Basename      string  `json:"basename"`
	Description   string  `json:"description"`
	Tags          texts   `json:"tags"`
	SystemTags    texts   `json:"system_tags"`
	Parent        texts   `json:"parent"`
	ShallowSearch bool    `json:"shallow_search"`
	SearchText    string  `json:"search_text"`
	SearchHidden  bool    `json:"search_hidden"`
	Any           *anyAll `json:"_any_"`
	All           *anyAll `json:"_all_"`
	OnlyFields    texts   `json:"only_fields"`
	OrderBy       texts   `json:"order_by"`
	paging
}

func (q *projectQuery) filter(f *filter) error {
	if q.ID != nil {
		f.exact("p.id", q.ID)
	}
	if !q.ShallowSearch && len(q.Parent) > 0 { // anywhere below it
		f.add(`EXISTS (SELECT 1 FROM project a WHERE substr(p.name, 1, length(a.name) + 1) = a.name || '/' AND a.id IN (SELECT value FROM json_each(?)))`, jsonList(q.Parent))
		q.Parent = nil
	}
	if err := errors.Join(f.in("p.parent", q.Parent), f.tags("p.tags", q.Tags), f.tags("p.system_tags", q.SystemTags)); err != nil {
		return err
	}
	f.visible("p.system_tags", q.SearchHidden, q.ID, q.SystemTags)
	// A shallow search without anything that selects lists the top level.
	if q.ShallowSearch && len(q.ID) == 0 && len(q.Parent) == 0 && q.Name == "" {
		f.add(`p.parent = ''`)
	}
	if q.SearchText != "" {
		f.add(`(instr(lower(p.name), lower(?)) OR p.id = ?)`, q.SearchText, q.SearchText)
	}
	for column, pattern := range map[string]string{"p.name": q.Name, "p.description": q.Description, "replace(p.name, rtrim(p.name, replace(p.name, '/', '')), '')": q.Basename} {
		if err := f.regex(column, pattern); err != nil {
			return err
		}
	}
	if err := f.match(q.Any, false, plain(projectColumn)); err != nil {
		return err
	}
	return f.match(q.All, true, plain(projectColumn))
}

func projectColumn(name string) string {
	switch {
	case name == "basename":
		return "p.name"
	case name == "company":
		return "p.n"
	case slices.Contains(projectNames, name):
		return "p." + name
	}
	return ""
}

func getProjects(c *call, req *projectQuery) (any, error) {
	l, err := newListing(req.OnlyFields, req.OrderBy, req.paging, func(n string) bool { return slices.Contains(projectNames, n) }, plain(projectColumn), "p.n", req.filter)
	if err != nil {
		return nil, err
	}
	docs := []any{}
	err = c.read().each(`SELECT `+projectColumns+` FROM project p`+l.tail, l.args,
		func(scan func(...any) error) error {
			var p project
			if err := scan(p.scanInto()...); err != nil {
				return err
			}
			docs = append(docs, p.doc(l.fields))
			return nil
		})
	return map[string]any{"projects": docs}, err
}

func findProject(v *view, id string) (*project, error) {
	var p project
	found, err := v.one(`SELECT `+projectColumns+` FROM project p WHERE p.id = ?`, args(id), p.scanInto()...)
	if err == nil && !found {
		err = noProject(id)
	}
	return &p, err
}

type byProject struct {
	Project string `json:"project" need:"1"`
}

func getProjectByID(c *call, req *byProject) (any, error) {
	p, err := findProject(c.read(), req.Project)
	if err != nil {
		return nil, err
	}
	return map[string]any{"project": p.doc(nil)}, nil
}

// inProjects keeps rows of the projects, with those below them if wanted.
func (f *filter) inProjects(column string, ids []string, below bool) error {
	if !below || len(ids) == 0 {
		return f.in(column, ids)
	}
	f.add(column+` IN (SELECT c.id FROM project c JOIN project p ON c.id = p.id OR substr(c.name, 1, length(p.name) + 1) = p.name || '/'
		WHERE p.id IN (SELECT value FROM json_each(?)))`, jsonList(ids))
	return nil
}
