package server

import (
	"encoding/json"
	"slices"

	"github.com/samber/lo"
)

func modelEndpoints() []*endpoint {
	return []*endpoint{
		on("models.create", createModel),
		on("models.edit", editModel),
		on("models.update", editModel),
		on("models.get_by_id", getModelByID),
		on("models.get_by_task_id", modelByTask),
		on("models.get_all", getModels),
		on("models.get_all_ex", getModels),
		on("models.update_for_task", modelForTask),
		on("models.set_ready", setReady),
		on("models.delete", deleteModel),
		on("models.add_or_update_metadata", setModelMetadata),
		on("models.delete_metadata", deleteModelMetadata),
	}
}

// model is a row of models; doc holds the fields that nothing looks for.
type model struct {
	n                       int64
	ID, Name, project, task string
	uri, user               string
	ready                   bool
	created, lastUpdate     int64
	tags, systemTags        list
	rest                    object
	raw                     []byte
}

const modelColumns = `m.n, m.id, m.name, m.project, m.task, m.uri, m.ready, m.user, m.created, m.last_update, m.tags, m.system_tags, m.doc`

var modelNames = []string{
	"id", "name", "project", "task", "uri", "ready", "user", "company", "created", "last_update", "tags", "system_tags",
	"comment", "framework", "design", "labels", "parent", "metadata", "ui_cache", "stats", "last_iteration",
}

// restNames are the fields in doc.
var restNames = []string{"comment", "framework", "design", "labels", "parent", "ui_cache", "last_iteration"}

func (m *model) scan(scan func(...any) error) error {
	err := scan(&m.n, &m.ID, &m.Name, &m.project, &m.task, &m.uri, &m.ready, &m.user, &m.created, &m.lastUpdate, &m.tags, &m.systemTags, &m.raw)
	if err != nil {
		return err
	}
	return json.Unmarshal(m.raw, &m.rest)
}

func (m *model) doc(f fields) map[string]any {
	all := map[string]any{
		"id": m.ID, "name": m.Name, "uri": m.uri, "ready": m.ready, "user": m.user, "company": companyID,
		"created": stamp(m.created), "last_update": stamp(m.lastUpdate), "tags": m.tags, "system_tags": m.systemTags,
	}
	if m.project != "" {
		all["project"] = m.project
	}
	if m.task != "" {
		all["task"] = m.task
	}
	for k, v := range m.rest {
		all[k] = v
	}
	return lo.PickBy(all, func(name string, _ any) bool { return f.want(name) })
}

// findModel reads a model; nil when there is none.
func findModel(v *view, where string, a ...any) (*model, error) {
	var found *model
	err := v.each(`SELECT `+modelColumns+` FROM model m WHERE `+where+` ORDER BY m.n DESC LIMIT 1`, a, func(scan func(...any) error) error {
		found = &model{}
		return found.scan(scan)
	})
	return found, err
}

func needModel(v *view, id string) (*model, error) {
	m, err := findModel(v, `m.id = ?`, id)
	if err == nil && m == nil {
		err = noModel(id)
	}
	return m, err
}

// ownModel is needModel for a change that the caller must be allowed.
func (c *call) ownModel(t *tx, id string) (*model, error) {
	m, err := needModel(t.view, id)
	if err != nil || c.caller.task == "" {
		return m, err
	}
	row, err := getTask(t.view, m.task)
	if err != nil {
		return nil, err
	}
	if row == nil {
		return nil, forbidden("model " + id)
	}
	return m, c.mayChange(row)
}

// metadata is the list of items that clients send, or the object they may as
// well; it is stored and shown as an object by key.
type metadata map[string]object

// UnmarshalJSON accepts both.
func (m *metadata) UnmarshalJSON(data []byte) error {
	var items []object
	if json.Unmarshal(data, &items) == nil {
		*m = lo.SliceToMap(items, func(o object) (string, object) { return metadataKey(o), o })
		return nil
	}
	return json.Unmarshal(data, (*map[string]object)(m))
}

type modelFields struct {
	Name       *string  `json:"name"`
	URI        *string  `json:"uri"`
	Project    *string  `json:"project"`
	Task       *string  `json:"task"`
	Ready      *bool    `json:"ready"`
	Tags       *list    `json:"tags"`
	SystemTags *list    `json:"system_tags"`
	Metadata   metadata `json:"metadata"`

	Comment   json.RawMessage `json:"comment"`
	Framework json.RawMessage `json:"framework"`
	Design    json.RawMessage `json:"design"`
	Labels    json.RawMessage `json:"labels"`
	Parent    json.RawMessage `json:"parent"`
	UICache   json.RawMessage `json:"ui_cache"`
	Iteration json.RawMessage `json:"iteration"`
}

func (m *model) set(f *modelFields) error {
	m.Name, m.uri = lo.FromPtrOr(f.Name, m.Name), lo.FromPtrOr(f.URI, m.uri)
	m.project, m.task = lo.FromPtrOr(f.Project, m.project), lo.FromPtrOr(f.Task, m.task)
	m.ready = lo.FromPtrOr(f.Ready, m.ready)
	m.tags, m.systemTags = lo.FromPtrOr(f.Tags, m.tags), lo.FromPtrOr(f.SystemTags, m.systemTags)
	if m.rest == nil {
		m.rest = object{}
	}
	for name, v := range map[string]json.RawMessage{
		"comment": f.Comment, "framework": f.Framework, "design": f.Design, "labels": f.Labels, "parent": f.Parent,
		"ui_cache": f.UICache, "last_iteration": f.Iteration,
	} {
		if v != nil {
			m.rest[name] = v
		}
	}
	if f.Metadata == nil {
		return nil
	}
	var err error
	m.rest["metadata"], err = json.Marshal(f.Metadata)
	return err
}

// saveModel stores a model, new when it has no number yet.
func (t *tx) saveModel(m *model) error {
	if m.rest == nil {
		m.rest = object{}
	}
	doc, err := json.Marshal(m.rest)
	if err != nil {
		return err
	}
	m.lastUpdate = t.now
	if m.n != 0 {
		_, err = t.exec(`UPDATE model SET name = ?, project = ?, task = ?, uri = ?, ready = ?, last_update = ?, tags = ?, system_tags = ?, doc = ? WHERE n = ?`,
			m.Name, m.project, m.task, m.uri, m.ready, m.lastUpdate, m.tags.json(), m.systemTags.json(), string(doc), m.n)
		return err
	}
	m.created, m.user = t.now, userID
	m.n, err = t.insert(`INSERT INTO model(id, name, project, task, uri, ready, user, created, last_update, tags, system_tags, doc) VALUES(?,?,?,?,?,?,?,?,?,?,?,?)`,
		m.ID, m.Name, m.project, m.task, m.uri, m.ready, m.user, m.created, m.lastUpdate, m.tags.json(), m.systemTags.json(), string(doc))
	return err
}

func createModel(c *call, req *modelFields) (any, error) {
	if req.Name == nil || *req.Name == "" {
		return nil, missing("name")
	}
	if req.URI == nil {
		return nil, missing("uri")
	}
	m := &model{ID: newID()}
	err := c.update(func(t *tx) error {
		if err := c.checkModel(t, req); err != nil {
			return err
		}
		if err := m.set(req); err != nil {
			return err
		}
		if m.task == "" {
			m.task = c.caller.task
		}
		return t.saveModel(m)
	})
	return map[string]any{"id": m.ID, "created": true}, err
}

func (c *call) checkModel(t *tx, f *modelFields) error {
	if p := lo.FromPtr(f.Project); p != "" {
		if _, err := findProject(t.view, p); err != nil {
			return err
		}
	}
	if id := lo.FromPtr(f.Task); id != "" {
		if _, err := c.ownTask(t, id); err != nil {
			return err
		}
	}
	return nil
}

type modelID struct {
	Model string `json:"model" need:"1"`
}

// change edits one model in the writer.
func (c *call) changeModel(id string, edit func(*tx, *model) error) error {
	return c.update(func(t *tx) error {
		m, err := c.ownModel(t, id)
		if err != nil {
			return err
		}
		if err := edit(t, m); err != nil {
			return err
		}
		return t.saveModel(m)
	})
}

func editModel(c *call, req *struct {
	modelID
	modelFields
}) (any, error) {
	err := c.changeModel(req.Model, func(t *tx, m *model) error {
		if err := c.checkModel(t, &req.modelFields); err != nil {
			return err
		}
		return m.set(&req.modelFields)
	})
	return updated(map[string]any{"last_update": stamp(c.srv.now().UnixMicro())}), err
}

func setReady(c *call, req *modelID) (any, error) {
	err := c.changeModel(req.Model, func(_ *tx, m *model) error { m.ready = true; return nil })
	return map[string]any{"updated": 1}, err
}

func setModelMetadata(c *call, req *struct {
	modelID
	Metadata metadata `json:"metadata" need:"1"`
	Replace  bool     `json:"replace_metadata"`
}) (any, error) {
	err := c.changeModel(req.Model, func(_ *tx, m *model) error {
		have := metadata{}
		if raw := m.rest["metadata"]; raw != nil && !req.Replace {
			if err := json.Unmarshal(raw, &have); err != nil {
				return err
			}
		}
		return m.set(&modelFields{Metadata: lo.Assign(have, req.Metadata)})
	})
	return map[string]any{"updated": 1}, err
}

func deleteModelMetadata(c *call, req *struct {
	modelID
	Keys texts `json:"keys" need:"1"`
}) (any, error) {
	err := c.changeModel(req.Model, func(_ *tx, m *model) error {
		have := metadata{}
		if raw := m.rest["metadata"]; raw != nil {
			if err := json.Unmarshal(raw, &have); err != nil {
				return err
			}
		}
		return m.set(&modelFields{Metadata: lo.OmitByKeys(have, req.Keys)})
	})
	return map[string]any{"updated": 1}, err
}

func deleteModel(c *call, req *struct {
	modelID
	Force bool `json:"force"`
}) (any, error) {
	reply := map[string]any{"deleted": true}
	err := c.update(func(t *tx) error {
		m, err := c.ownModel(t, req.Model)
		if err != nil {
			return err
		}
		if m.ready && !req.Force {
			return refuse(400, 202, "Model is published (use force=true): model=%s", m.ID)
		}
		reply["url"] = m.uri
		_, err = t.exec(`DELETE FROM model WHERE n = ?`, m.n)
		return err
	})
	return reply, err
}

// deleteModelsOf removes the unpublished models that a task has put out and
// returns where they lie.
func (t *tx) deleteModelsOf(task string) ([]string, error) {
	uris := []string{}
	err := t.each(`DELETE FROM model WHERE task = ? AND ready = 0 RETURNING uri`, args(task), func(scan func(...any) error) error {
		var uri string
		defer func() { uris = append(uris, uri) }()
		return scan(&uri)
	})
	return uris, err
}

func getModelByID(c *call, req *modelID) (any, error) {
	m, err := needModel(c.read(), req.Model)
	if err != nil {
		return nil, err
	}
	return map[string]any{"model": m.doc(nil)}, nil
}

func modelByTask(c *call, req *byTask) (any, error) {
	m, err := findModel(c.read(), `m.task = ?`, req.Task)
	if err == nil && m == nil {
		err = refuse(400, 201, "Invalid model id (no model for this task): task=%s", req.Task)
	}
	if err != nil {
		return nil, err
	}
	return map[string]any{"model": m.doc(nil)}, nil
}

// modelForTask makes or changes the model that a task puts out.
func modelForTask(c *call, req *struct {
	Task     string `json:"task" need:"1"` // hides the field's of the same name
	Override string `json:"override_model_id"`
	modelFields
}) (any, error) {
	id := req.Override
	created := false
	err := c.update(func(t *tx) error {
		row, err := c.ownTask(t, req.Task)
		if err != nil {
			return err
		}
		where, key := `m.task = ?`, row.ID
		if id != "" {
			where, key = `m.id = ?`, id
		}
		m, err := findModel(t.view, where, key)
		if err != nil {
			return err
		}
		if m == nil {
			if id != "" {
				return noModel(id)
			}
			created = true
			m = &model{ID: newID(), Name: row.Name, project: row.project}
		}
		req.modelFields.Task = &row.ID
		if err := m.set(&req.modelFields); err != nil {
			return err
		}
		id = m.ID
		if err := t.saveModel(m); err != nil {
			return err
		}
		return t.editModels(row, func(tm *taskModels) { tm.set("output", taskModel{Name: m.Name, Model: m.ID}) })
	})
	return map[string]any{"id": id, "created": created, "updated": 1, "fields": none{}}, err
}

type modelQuery struct {
	ID          texts   `json:"id"`
	Name        string  `json:"name"`
	Project     texts   `json:"project"`
	Task        texts   `json:"task"`
	URI         texts   `json:"uri"`
	Ready       *bool   `json:"ready"`
	User        texts   `json:"user"`
	Tags        texts   `json:"tags"`
	SystemTags  texts   `json:"system_tags"`
	SearchText  string  `json:"search_text"`
	Subprojects bool    `json:"include_subprojects"`
	Any         *anyAll `json:"_any_"`
	All         *anyAll `json:"_all_"`
	OnlyFields  texts   `json:"only_fields"`
	OrderBy     texts   `json:"order_by"`
	paging
}

func (q *modelQuery) filter(f *filter) error {
	if q.ID != nil {
		f.exact("m.id", q.ID)
	}
	if len(q.Project) > 0 {
		f.inProjects("m.project", q.Project, q.Subprojects)
	}
	for column, values := range map[string][]string{"m.task": q.Task, "m.user": q.User} {
		if len(values) > 0 {
			f.in(column, values)
		}
	}
	if len(q.URI) > 0 {
		f.exact("m.uri", q.URI)
	}
	if q.Ready != nil {
		f.add(`m.ready = ?`, *q.Ready)
	}
	f.tags("m.tags", q.Tags)
	f.tags("m.system_tags", q.SystemTags)
	if q.SearchText != "" {
		f.add(`(instr(lower(m.name), lower(?)) OR m.id = ?)`, q.SearchText, q.SearchText)
	}
	if err := f.regex("m.name", q.Name); err != nil {
		return err
	}
	if err := f.match(q.Any, false, modelColumn); err != nil {
		return err
	}
	return f.match(q.All, true, modelColumn)
}

func modelColumn(name string) string {
	switch {
	case slices.Contains(restNames, name) || oneOf(name, "metadata", "stats", "company"):
		return "m.n"
	case slices.Contains(modelNames, name):
		return "m." + name
	}
	return ""
}

func getModels(c *call, req *modelQuery) (any, error) {
	f, err := parseFields(req.OnlyFields, func(n string) bool { return slices.Contains(modelNames, n) })
	if err != nil {
		return nil, err
	}
	var where filter
	if err := req.filter(&where); err != nil {
		return nil, err
	}
	sorted, err := order(req.OrderBy, modelColumn, "m.n")
	if err != nil {
		return nil, err
	}
	limit, bounds, err := req.limit()
	if err != nil {
		return nil, err
	}
	docs := []any{}
	err = c.read().each(`SELECT `+modelColumns+` FROM model m`+where.text()+sorted+limit, slices.Concat(where.args, bounds),
		func(scan func(...any) error) error {
			var m model
			if err := m.scan(scan); err != nil {
				return err
			}
			docs = append(docs, m.doc(f))
			return nil
		})
	return map[string]any{"models": docs}, err
}
