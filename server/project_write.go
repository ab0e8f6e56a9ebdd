package server

import (
	"strings"

	"github.com/samber/lo"
)

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
		renamed := req.Name != "" && req.Name != p.Name
		// Where others' tasks store their files, and by which name they find each other,
		// is no task's business; tags are, since pipelines and datasets mark their projects.
		if c.caller.task != "" && (renamed || lo.FromPtrOr(req.Dest, p.dest) != p.dest) {
			return forbidden("project " + p.ID)
		}
		if renamed {
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
		return refuse(400, 408, "Cannot update project location. Use projects.move instead: name=%.200s", name)
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
