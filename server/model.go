package server

import (
	"encoding/json"

	"github.com/samber/lo"
)

func modelEndpoints() []*endpoint {
	return []*endpoint{
		on("models.create", createModel),
		on("models.edit", editModel),
		on("models.update", editModel),
		on("models.get_by_id", getModelByID),
		on("models.get_by_id_ex", getModelByIDEx),
		on("models.get_by_task_id", modelByTask),
		on("models.get_all", getModels),
		on("models.get_all_ex", getModels),
		on("models.update_for_task", modelForTask),
		on("models.set_ready", setReady),
		on("models.publish_many", many(publishOneOfMany)),
		on("models.delete", deleteModel),
		on("models.delete_many", many(deleteOneModel)),
		on("models.archive_many", many(archiveModel("archived", func(l list) list { return l.with(archivedTag) }))),
		on("models.unarchive_many", many(archiveModel("unarchived", func(l list) list { return l.without(archivedTag) }))),
		on("models.move", moveModels),
		on("models.update_tags", updateModelTags),
		on("models.get_frameworks", frameworks),
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
	stream                  int64 // 0 while it has no events
	rest                    object
	raw                     []byte
}

const modelColumns = `m.n, m.id, m.name, m.project, m.task, m.uri, m.ready, m.user, m.created, m.last_update, m.tags, m.system_tags, m.stream, m.doc`

var modelNames = []string{
	"id", "name", "project", "task", "uri", "ready", "user", "company", "created", "last_update", "tags", "system_tags",
	"comment", "framework", "design", "labels", "parent", "metadata", "ui_cache", "stats", "last_iteration", metricsName,
}

// restNames are the fields in doc.
var restNames = []string{"comment", "framework", "design", "labels", "parent", "ui_cache", "last_iteration"}

func (m *model) scan(scan func(...any) error) error {
	err := scan(&m.n, &m.ID, &m.Name, &m.project, &m.task, &m.uri, &m.ready, &m.user, &m.created, &m.lastUpdate, &m.tags, &m.systemTags, &m.stream, &m.raw)
	if err != nil {
		return err
	}
	return json.Unmarshal(m.raw, &m.rest)
}

func (m *model) doc(f fields, metrics metricsOf) map[string]any {
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
	if metrics != nil {
		all[metricsName] = lo.CoalesceMapOrEmpty(metrics[m.stream])
	}
	return f.of(all)
}

// modelDocs completes rows to documents.
func modelDocs(v *view, rows []*model, f fields) ([]map[string]any, error) {
	var metrics metricsOf
	if f.want(metricsName) {
		var err error
		if metrics, err = lastMetrics(v, lo.Map(rows, func(m *model, _ int) int64 { return m.stream })); err != nil {
			return nil, err
		}
	}
	return lo.Map(rows, func(m *model, _ int) map[string]any { return m.doc(f, metrics) }), nil
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
	if err != nil {
		return nil, err
	}
	return m, c.mayChangeModel(t, m)
}

// mayChangeModel is mayChange for the task that a model belongs to.
func (c *call) mayChangeModel(t *tx, m *model) error {
	if c.caller.task == "" {
		return nil
	}
	row, err := getTask(t.view, m.task)
	if err != nil {
		return err
	}
	if row == nil {
		return forbidden("model " + m.ID)
	}
	return c.mayChange(row)
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
