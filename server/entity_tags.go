package server

import "github.com/samber/lo"

// tagsRequest adds and removes tags of tasks or models.
type tagsRequest struct {
	IDs    texts `json:"ids" need:"1"`
	Add    list  `json:"add_tags"`
	Remove list  `json:"remove_tags"`
}

func (r *tagsRequest) edit(tags list) list {
	for _, tag := range r.Add {
		tags = tags.with(tag)
	}
	return lo.Without(tags, r.Remove...)
}

// each changes them all, or none.
func (r *tagsRequest) each(c *call, change func(t *tx, id string) error) (any, error) {
	if len(r.Add)+len(r.Remove) == 0 {
		return nil, invalid("add_tags", "either add_tags or remove_tags should be provided")
	}
	if err := bounded("ids", r.IDs); err != nil {
		return nil, err
	}
	err := c.update(func(t *tx) error {
		for _, id := range r.IDs {
			if err := change(t, id); err != nil {
				return err
			}
		}
		return nil
	})
	return map[string]any{"updated": len(r.IDs)}, err
}

func updateTaskTags(c *call, req *tagsRequest) (any, error) {
	return req.each(c, func(t *tx, id string) error {
		row, err := c.ownTask(t, id)
		if err != nil {
			return err
		}
		return t.setTask(row.n, map[string]any{"tags": req.edit(row.tags).json(), "last_change": t.now, "last_changed_by": userID})
	})
}

func updateModelTags(c *call, req *tagsRequest) (any, error) {
	return req.each(c, func(t *tx, id string) error {
		m, err := c.ownModel(t, id)
		if err != nil {
			return err
		}
		m.tags = req.edit(m.tags)
		return t.saveModel(m)
	})
}

// tagsQuery asks which tags there are.
type tagsQuery struct {
	Projects      texts `json:"projects"`
	IncludeSystem bool  `json:"include_system"`
	Filter        struct {
		Tags       texts `json:"tags"`
		SystemTags texts `json:"system_tags"`
	} `json:"filter"`
}

// read lists the tags of rows of some tables that the filter wants.
func (q *tagsQuery) read(c *call, tables ...string) (any, error) {
	columns := []string{"tags"}
	if q.IncludeSystem {
		columns = append(columns, "system_tags")
	}
	out := map[string]any{}
	for _, column := range columns {
		found := []string{}
		for _, table := range tables {
			var where filter
			err := where.tags("x.tags", q.Filter.Tags)
			if err == nil {
				err = where.tags("x.system_tags", q.Filter.SystemTags)
			}
			if err == nil && len(q.Projects) > 0 {
				err = where.inProjects(lo.Ternary(table == "project", "x.id", "x.project"), q.Projects, table == "project")
			}
			if err != nil {
				return nil, err
			}
			some, err := c.read().texts(`SELECT DISTINCT j.value FROM `+table+` x, json_each(x.`+column+`) j`+where.text()+` ORDER BY 1 LIMIT ?`, append(where.args, maxRows)...)
			if err != nil {
				return nil, err
			}
			found = append(found, some...)
		}
		out[column] = sorted(lo.Uniq(found))
	}
	return out, nil
}

// tagsOf makes the endpoint for some tables.
func tagsOf(tables ...string) func(*call, *tagsQuery) (any, error) {
	return func(c *call, req *tagsQuery) (any, error) { return req.read(c, tables...) }
}
