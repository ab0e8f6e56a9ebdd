package server

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/samber/lo"
)

// inProjectQuery says of which projects' tasks or models a question is.
type inProjectQuery struct {
	Project  string `json:"project"`
	Projects texts  `json:"projects"`
	Below    *bool  `json:"include_subprojects"`
	Page     int    `json:"page"`
	PageSize int    `json:"page_size"`
}

// filter keeps rows of x that belong to them.
func (q *inProjectQuery) filter(f *filter) error {
	ids := q.Projects
	if q.Project != "" {
		ids = append(slices.Clone(ids), q.Project)
	}
	if q.Page < 0 || q.Page > 1<<30 {
		return invalid("page", "must not be negative")
	}
	return f.inProjects("x.project", ids, lo.FromPtrOr(q.Below, true))
}

// page gives one page of distinct rows and how many there are in all; from and
// columns make the statement.
func (q *inProjectQuery) page(v *view, distinct string, a []any, row func(scan func(...any) error) error) (total, remaining int64, err error) {
	if _, err := v.one(`SELECT count(*) FROM (`+distinct+`)`, a, &total); err != nil {
		return 0, 0, err
	}
	size := lo.Clamp(lo.CoalesceOrEmpty(q.PageSize, defaultPage), 1, maxRows)
	seen := int64(q.Page) * int64(size)
	err = v.each(distinct+` LIMIT ? OFFSET ?`, append(slices.Clone(a), size, seen), func(scan func(...any) error) error {
		seen++
		return row(scan)
	})
	return total, max(0, total-seen), err
}

// textPage is page for one column of texts.
func (q *inProjectQuery) textPage(c *call, key, distinct string, where *filter) (any, error) {
	found := []string{}
	total, remaining, err := q.page(c.read(), distinct, where.args, func(scan func(...any) error) error {
		var s string
		err := scan(&s)
		found = append(found, s)
		return err
	})
	return map[string]any{key: found, "total": total, "remaining": remaining}, err
}

// taskItems are the hyperparameters of tasks, an item a row.
const taskItems = ` FROM task x JOIN task_part p ON p.task = x.n AND p.part = 'hyperparams', json_each(p.doc) s, json_each(s.value) i`

// projectParams lists the names of hyperparameters.
func projectParams(c *call, req *inProjectQuery) (any, error) {
	var where filter
	if err := req.filter(&where); err != nil {
		return nil, err
	}
	params := []any{}
	total, remaining, err := req.page(c.read(), `SELECT DISTINCT s.key, i.key`+taskItems+where.text()+` ORDER BY 1, 2`, where.args, func(scan func(...any) error) error {
		var section, name string
		err := scan(&section, &name)
		params = append(params, map[string]any{"section": section, "name": name})
		return err
	})
	return map[string]any{"parameters": params, "total": total, "remaining": remaining}, err
}

// projectParamValues lists the values of one hyperparameter.
func projectParamValues(c *call, req *struct {
	inProjectQuery
	Section string `json:"section" need:"1"`
	Name    string `json:"name" need:"1"`
	Pattern string `json:"pattern"`
}) (any, error) {
	var where filter
	if err := req.filter(&where); err != nil {
		return nil, err
	}
	const value = `CAST(json_extract(i.value, '$.value') AS TEXT)`
	where.add(`s.key = ? AND i.key = ? AND `+value+` IS NOT NULL`, req.Section, req.Name)
	if err := where.regex(value, ignoreCase(req.Pattern)); err != nil {
		return nil, err
	}
	return req.textPage(c, "values", `SELECT DISTINCT `+value+` AS v`+taskItems+where.text()+` ORDER BY v + 0, v`, &where)
}

func ignoreCase(pattern string) string {
	if pattern == "" {
		return ""
	}
	return "(?i)" + pattern
}

// modelItems are the metadata of models, an item a row.
const modelItems = ` FROM model x, json_each(x.doc, '$.metadata') i`

func metadataKeys(c *call, req *inProjectQuery) (any, error) {
	var where filter
	if err := req.filter(&where); err != nil {
		return nil, err
	}
	where.add(`i.key IS NOT NULL`) // no metadata at all is one row without a key
	return req.textPage(c, "keys", `SELECT DISTINCT i.key`+modelItems+where.text()+` ORDER BY 1`, &where)
}

func metadataValues(c *call, req *struct {
	inProjectQuery
	Key string `json:"key" need:"1"`
}) (any, error) {
	var where filter
	if err := req.filter(&where); err != nil {
		return nil, err
	}
	const value = `CAST(CASE WHEN i.type = 'object' THEN json_extract(i.value, '$.value') END AS TEXT)`
	where.add(`i.key = ? AND `+value+` IS NOT NULL`, req.Key)
	return req.textPage(c, "values", `SELECT DISTINCT `+value+` AS v`+modelItems+where.text()+` ORDER BY v + 0, v`, &where)
}

// uniqueMetrics lists the metrics and variants of tasks, or of models.
func uniqueMetrics(c *call, req *struct {
	inProjectQuery
	IDs    texts `json:"ids"`
	Models bool  `json:"model_metrics"`
}) (any, error) {
	var where filter
	if err := req.filter(&where); err != nil {
		return nil, err
	}
	if len(req.IDs) > 0 {
		where.exact("x.id", req.IDs)
	}
	found := []any{}
	err := c.read().each(`SELECT DISTINCT s.metric, s.variant FROM `+lo.Ternary(req.Models, "model", "task")+` x JOIN series s ON s.stream = x.stream`+where.text()+
		` ORDER BY 1, 2 LIMIT ?`, append(where.args, maxRows), func(scan func(...any) error) error {
		var metric, variant string
		err := scan(&metric, &variant)
		found = append(found, map[string]any{"metric": metric, "metric_hash": metricKey(metric), "variant": variant, "variant_hash": metricKey(variant)})
		return err
	})
	return map[string]any{"metrics": found}, err
}

// taskParents lists the tasks that are parents of tasks in projects.
func taskParents(c *call, req *struct {
	inProjectQuery
	State json.RawMessage `json:"tasks_state"` // null is any
	Name  string          `json:"task_name"`
}) (any, error) {
	var where filter
	if err := req.filter(&where); err != nil {
		return nil, err
	}
	const archived = `EXISTS (SELECT 1 FROM json_each(x.system_tags) WHERE value = 'archived')`
	switch string(req.State) {
	case "", `"active"`:
		where.add(`NOT ` + archived)
	case `"archived"`:
		where.add(archived)
	case "null":
	default:
		return nil, invalid("tasks_state", "value is not active or archived")
	}
	if err := where.regex("t.name", req.Name); err != nil {
		return nil, err
	}
	parents := []any{}
	err := c.read().each(`SELECT DISTINCT t.id, t.name, coalesce(p.id, ''), coalesce(p.name, '') FROM task x JOIN task t ON t.id = x.parent LEFT JOIN project p ON p.id = t.project`+
		where.text()+` ORDER BY t.name, t.n LIMIT ?`, append(where.args, maxRows), func(scan func(...any) error) error {
		var id, name, project, projectName string
		err := scan(&id, &name, &project, &projectName)
		doc := map[string]any{"id": id, "name": name}
		if project != "" {
			doc["project"] = map[string]any{"id": project, "name": projectName}
		}
		parents = append(parents, doc)
		return err
	})
	return map[string]any{"parents": parents}, err
}

// projectUsers lists who has made tasks or models: here there is one user.
func projectUsers(c *call, req *struct {
	inProjectQuery
	Entity string `json:"entity"`
}) (any, error) {
	if !oneOf(req.Entity, "", "task", "model") {
		return nil, invalid("entity", "value is not task or model")
	}
	var where filter
	if err := req.filter(&where); err != nil {
		return nil, err
	}
	ids, err := c.read().texts(`SELECT DISTINCT x.user FROM `+lo.Ternary(req.Entity == "model", "model", "task")+` x`+where.text(), where.args...)
	users := lo.Map(ids, func(id string, _ int) any { return map[string]any{"id": id, "name": userName} })
	return map[string]any{"users": users}, err
}

// sorted sorts texts as the real server does, whatever the case of their letters.
func sorted(s []string) []string {
	slices.SortStableFunc(s, func(a, b string) int { return strings.Compare(strings.ToLower(a), strings.ToLower(b)) })
	return s
}
