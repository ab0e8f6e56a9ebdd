package server

import (
	"strings"

	"github.com/samber/lo"
)

// below keeps projects that lie below one.
const belowProject = `substr(name, 1, length(?1) + 1) = ?1 || '/'`

func baseOf(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }

// reposition gives a project another path and another parent; what lies below it
// goes along. It tells how many projects have moved.
func (t *tx) reposition(p *project, parent *project) (moved int64, err error) {
	name, id := baseOf(p.Name), ""
	if parent != nil {
		name, id = parent.Name+"/"+name, parent.ID
	}
	if err := checkProjectName(name); err != nil {
		return 0, err
	}
	if taken, err := t.one(`SELECT 1 FROM project WHERE name = ?`, args(name), new(int)); err != nil {
		return 0, err
	} else if taken {
		return 0, refuse(400, 801, "Value combination must be unique: name=%.200s, company=%s", name, companyID)
	}
	moved, err = t.exec(`UPDATE project SET name = ?2 || substr(name, length(?1) + 1), last_update = ?3 WHERE name = ?1 OR `+belowProject, p.Name, name, t.now)
	if err != nil {
		return 0, err
	}
	_, err = t.exec(`UPDATE project SET parent = ? WHERE n = ?`, id, p.n)
	return moved, err
}

func moveProject(c *call, req *struct {
	Project  string `json:"project" need:"1"`
	Location string `json:"new_location"`
}) (any, error) {
	moved := int64(0)
	err := c.update(func(t *tx) error {
		p, err := findProject(t.view, req.Project)
		if err != nil {
			return err
		}
		var parent *project
		if location := cleanPath(req.Location); location != "" {
			if location == p.Name || strings.HasPrefix(location, p.Name+"/") {
				return refuse(400, 411, "Project can not be moved under itself in the projects hierarchy: project=%s, parent=%.200s", p.ID, location)
			}
			id, err := t.projectByName(location, true)
			if err != nil {
				return err
			}
			if parent, err = findProject(t.view, id); err != nil {
				return err
			}
		}
		if parent == nil && p.parent == "" || parent != nil && p.parent == parent.ID {
			return refuse(400, 410, "Project has the same source and destination paths: location=%.200s", req.Location)
		}
		moved, err = t.reposition(p, parent)
		return err
	})
	return map[string]any{"moved": moved}, err
}

// cleanPath leaves out empty segments, as the real server does.
func cleanPath(path string) string {
	return strings.Join(lo.Compact(lo.Map(strings.Split(path, "/"), func(s string, _ int) string { return strings.TrimSpace(s) })), "/")
}

// mergeProject moves all that a project holds into another, or to the top, and
// removes it.
func mergeProject(c *call, req *struct {
	Project     string `json:"project" need:"1"`
	Destination string `json:"destination_project"`
}) (any, error) {
	entities, projects := int64(0), int64(0)
	err := c.update(func(t *tx) error {
		src, dest, err := t.mergePair(req.Project, req.Destination)
		if err != nil {
			return err
		}
		for _, table := range []string{"task", "model"} {
			n, err := t.exec(`UPDATE `+table+` SET project = ? WHERE project = ?`, req.Destination, src.ID)
			if err != nil {
				return err
			}
			entities += n
		}
		children, err := t.texts(`SELECT id FROM project WHERE parent = ? ORDER BY n`, src.ID)
		if err != nil {
			return err
		}
		for _, id := range children {
			child, err := findProject(t.view, id)
			if err != nil {
				return err
			}
			if _, err := t.reposition(child, dest); err != nil {
				return err
			}
			projects++
		}
		_, err = t.exec(`DELETE FROM project WHERE n = ?`, src.n)
		return err
	})
	return map[string]any{"moved_entities": entities, "moved_projects": projects}, err
}

func (t *tx) mergePair(from, to string) (src, dest *project, err error) {
	if src, err = findProject(t.view, from); err != nil || to == "" {
		return src, nil, err
	}
	if from == to {
		return nil, nil, refuse(400, 410, "Project has the same source and destination paths: source=%s", from)
	}
	if dest, err = findProject(t.view, to); err != nil {
		return nil, nil, err
	}
	if strings.HasPrefix(dest.Name, src.Name+"/") {
		return nil, nil, refuse(400, 412, "Project can not be merged into its own child: source=%s, destination=%s", from, to)
	}
	return src, dest, nil
}
