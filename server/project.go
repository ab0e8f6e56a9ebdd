package server

import (
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
		on("projects.get_task_tags", projectTags("task")),
		on("projects.get_model_tags", projectTags("model")),
		on("organization.get_tags", projectTags("task")),
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
	return lo.PickBy(all, func(name string, v any) bool { return f.want(name) && v != (*string)(nil) })
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
	if len(q.Parent) > 0 {
		f.in("p.parent", q.Parent)
	}
	f.tags("p.tags", q.Tags)
	f.tags("p.system_tags", q.SystemTags)
	if !q.SearchHidden && len(q.ID) == 0 && !slices.Contains(q.SystemTags, hiddenTag) {
		f.tags("p.system_tags", []string{"-" + hiddenTag})
	}
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
	if err := f.match(q.Any, false, projectColumn); err != nil {
		return err
	}
	return f.match(q.All, true, projectColumn)
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
	f, err := parseFields(req.OnlyFields, func(n string) bool { return slices.Contains(projectNames, n) })
	if err != nil {
		return nil, err
	}
	var where filter
	if err := req.filter(&where); err != nil {
		return nil, err
	}
	sorted, err := order(req.OrderBy, projectColumn, "p.n")
	if err != nil {
		return nil, err
	}
	limit, bounds, err := req.limit()
	if err != nil {
		return nil, err
	}
	docs := []any{}
	err = c.read().each(`SELECT `+projectColumns+` FROM project p`+where.text()+sorted+limit, slices.Concat(where.args, bounds),
		func(scan func(...any) error) error {
			var p project
			if err := scan(p.scanInto()...); err != nil {
				return err
			}
			docs = append(docs, p.doc(f))
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

func getProjectByID(c *call, req *struct {
	Project string `json:"project" need:"1"`
}) (any, error) {
	p, err := findProject(c.read(), req.Project)
	if err != nil {
		return nil, err
	}
	return map[string]any{"project": p.doc(nil)}, nil
}

type projectFields struct {
	Name        string  `json:"name"`
	Description *string `json:"description"`
	Dest        *string `json:"default_output_destination"`
	Tags        *list   `json:"tags"`
	SystemTags  *list   `json:"system_tags"`
}

func createProject(c *call, req *projectFields) (any, error) {
	if req.Name == "" {
		return nil, missing("name")
	}
	id := ""
	err := c.update(func(t *tx) (err error) {
		if found, err := t.one(`SELECT 1 FROM project WHERE name = ?`, args(req.Name), new(int)); err != nil {
			return err
		} else if found {
			return refuse(400, 801, "Value combination must be unique: name=%.200s, company=%s", req.Name, companyID)
		}
		if id, err = t.createProject(req.Name, lo.FromPtr(req.SystemTags)); err != nil {
			return err
		}
		return t.editProject(id, req)
	})
	return map[string]any{"id": id}, err
}

// createProject stores a project and those above it that are not there yet.
func (t *tx) createProject(name string, systemTags list) (string, error) {
	if err := checkProjectName(name); err != nil {
		return "", err
	}
	parent := ""
	if cut := strings.LastIndexByte(name, '/'); cut > 0 {
		var err error
		if parent, err = t.projectByName(name[:cut], true); err != nil {
			return "", err
		}
	}
	id := newID()
	_, err := t.exec(`INSERT INTO project(id, name, description, parent, user, created, last_update, tags, system_tags) VALUES(?,?,'',?,?,?,?,'[]',?)`,
		id, name, parent, userID, t.now, t.now, systemTags.json())
	return id, err
}

func checkProjectName(name string) error {
	segments := strings.Split(name, "/")
	if len(segments) > 50 || len(name) > 2000 {
		return invalid("name", "the project path is too long")
	}
	for _, s := range segments {
		if len(segments) > 1 && len([]rune(s)) < 3 {
			return refuse(400, 12, "Validation error (Project name cannot be blank)")
		}
	}
	if len([]rune(name)) < 3 {
		return tooShort("name")
	}
	return nil
}

// projectByName finds a project, or creates it if that is wanted.
func (t *tx) projectByName(name string, create bool) (id string, err error) {
	found, err := t.one(`SELECT id FROM project WHERE name = ?`, args(name), &id)
	if err != nil || found {
		return id, err
	}
	if !create {
		return "", noProject(name)
	}
	return t.createProject(name, nil)
}

func (t *tx) editProject(id string, f *projectFields) error {
	p, err := findProject(t.view, id)
	if err != nil {
		return err
	}
	p.description = lo.FromPtrOr(f.Description, p.description)
	p.dest = lo.FromPtrOr(f.Dest, p.dest)
	p.tags, p.systemTags = lo.FromPtrOr(f.Tags, p.tags), lo.FromPtrOr(f.SystemTags, p.systemTags)
	_, err = t.exec(`UPDATE project SET description = ?, default_output_destination = ?, tags = ?, system_tags = ?, last_update = ? WHERE n = ?`,
		p.description, p.dest, p.tags.json(), p.systemTags.json(), t.now, p.n)
	return err
}

func updateProject(c *call, req *struct {
	Project string `json:"project" need:"1"`
	projectFields
}) (any, error) {
	err := c.update(func(t *tx) error {
		p, err := findProject(t.view, req.Project)
		if err != nil {
			return err
		}
		if req.Name != "" && req.Name != p.Name {
			if err := t.renameProject(p, req.Name); err != nil {
				return err
			}
		}
		return t.editProject(p.ID, &req.projectFields)
	})
	return updated(map[string]any{"last_update": stamp(c.srv.now().UnixMicro())}), err
}

// renameProject gives a project, and what lies below it, another path. Only the
// last segment may change: another place is a move.
func (t *tx) renameProject(p *project, name string) error {
	if err := checkProjectName(name); err != nil {
		return err
	}
	if dirOf(name) != dirOf(p.Name) {
		return refuse(400, 403, "Cannot update project location: use projects.move to relocate")
	}
	if found, err := t.one(`SELECT 1 FROM project WHERE name = ?`, args(name), new(int)); err != nil {
		return err
	} else if found {
		return refuse(400, 801, "Value combination must be unique: name=%.200s, company=%s", name, companyID)
	}
	_, err := t.exec(`UPDATE project SET name = ? || substr(name, ?) WHERE name = ? OR substr(name, 1, ?) = ?`,
		name, len([]rune(p.Name))+1, p.Name, len([]rune(p.Name))+1, p.Name+"/")
	return err
}

func dirOf(path string) string { return path[:strings.LastIndexByte(path, '/')+1] }

func deleteProject(c *call, req *struct {
	Project string `json:"project" need:"1"`
	Force   bool   `json:"force"`
}) (any, error) {
	var tasks int64
	err := c.update(func(t *tx) error {
		p, err := findProject(t.view, req.Project)
		if err != nil {
			return err
		}
		if _, err := t.one(`SELECT (SELECT count(*) FROM task WHERE project = ?1) + (SELECT count(*) FROM project WHERE parent = ?1)`, args(p.ID), &tasks); err != nil {
			return err
		}
		if tasks > 0 && !req.Force {
			return refuse(400, 401, "Project has associated tasks (use force=true): id=%s", p.ID)
		}
		if tasks, err = t.exec(`UPDATE task SET project = '' WHERE project = ?`, p.ID); err != nil {
			return err
		}
		if _, err := t.exec(`UPDATE project SET parent = '' WHERE parent = ?`, p.ID); err != nil {
			return err
		}
		_, err = t.exec(`DELETE FROM project WHERE n = ?`, p.n)
		return err
	})
	return map[string]any{"deleted": 1, "disassociated_tasks": tasks, "deleted_models": 0, "deleted_tasks": 0}, err
}

func projectTags(table string) func(*call, *none) (any, error) {
	return func(c *call, _ *none) (any, error) {
		out := map[string]any{}
		for _, column := range []string{"tags", "system_tags"} {
			tags := []string{}
			err := c.read().each(`SELECT DISTINCT j.value FROM `+table+` x, json_each(x.`+column+`) j ORDER BY 1 LIMIT 1000`, nil,
				func(scan func(...any) error) error {
					var s string
					defer func() { tags = append(tags, s) }()
					return scan(&s)
				})
			if err != nil {
				return nil, err
			}
			out[column] = tags
		}
		return out, nil
	}
}

// inProjects keeps rows of the projects, with those below them if wanted.
func (f *filter) inProjects(column string, ids []string, below bool) {
	if !below {
		f.in(column, ids)
		return
	}
	f.add(column+` IN (SELECT c.id FROM project c JOIN project p ON c.id = p.id OR substr(c.name, 1, length(p.name) + 1) = p.name || '/'
		WHERE p.id IN (SELECT value FROM json_each(?)))`, jsonList(ids))
}
