package server

import (
	"encoding/json"
	"errors"
	"regexp"
	"slices"
)

func getModelByID(c *call, req *modelID) (any, error) {
	m, err := needModel(c.read(), req.Model)
	return oneModel(c, m, err)
}

func oneModel(c *call, m *model, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	docs, err := modelDocs(c.read(), []*model{m}, nil)
	if err != nil {
		return nil, err
	}
	return map[string]any{"model": docs[0]}, nil
}

func getModelByIDEx(c *call, req *modelQuery) (any, error) {
	if len(req.ID) == 0 {
		return nil, missing("id")
	}
	return getModels(c, req)
}

func modelByTask(c *call, req *byTask) (any, error) {
	m, err := findModel(c.read(), `m.task = ?`, req.Task)
	if err == nil && m == nil {
		err = refuse(400, 201, "Invalid model id (no model for this task): task=%s", req.Task)
	}
	return oneModel(c, m, err)
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

	metadata map[metadataField]texts
}

// metadataField is a field of an item of metadata, which a request names in one word:
// metadata.KEY.FIELD.
type metadataField struct{ key, field string }

var metadataFieldName = regexp.MustCompile(`(?s)^metadata\.(.+)\.(value|type)$`)

// UnmarshalJSON takes what is asked of metadata too.
func (q *modelQuery) UnmarshalJSON(data []byte) error {
	type plain modelQuery
	if err := json.Unmarshal(data, (*plain)(q)); err != nil {
		return err
	}
	all := object{}
	if err := json.Unmarshal(data, &all); err != nil {
		return err
	}
	for name, raw := range all {
		m := metadataFieldName.FindStringSubmatch(name)
		if m == nil {
			continue
		}
		var values texts
		if err := json.Unmarshal(raw, &values); err != nil {
			return err
		}
		if q.metadata == nil {
			q.metadata = map[metadataField]texts{}
		}
		if q.metadata[metadataField{m[1], m[2]}] = values; len(q.metadata) > maxTerms {
			return invalid("metadata", "more than %d", maxTerms)
		}
	}
	return nil
}

func (q *modelQuery) filter(f *filter) error {
	for at, values := range q.metadata {
		f.add(`EXISTS (SELECT 1 FROM json_each(m.doc, '$.metadata') e WHERE e.key = ? AND json_extract(e.value, '$.`+at.field+`') IN (SELECT value FROM json_each(?)))`, at.key, jsonList(values))
	}
	if q.ID != nil {
		f.exact("m.id", q.ID)
	}
	err := errors.Join(f.inProjects("m.project", q.Project, q.Subprojects), f.in("m.task", q.Task), f.in("m.user", q.User),
		f.tags("m.tags", q.Tags), f.tags("m.system_tags", q.SystemTags))
	if err != nil {
		return err
	}
	if len(q.URI) > 0 {
		f.exact("m.uri", q.URI)
	}
	if q.Ready != nil {
		f.add(`m.ready = ?`, *q.Ready)
	}
	if q.SearchText != "" {
		f.add(`(instr(lower(m.name), lower(?)) OR m.id = ?)`, q.SearchText, q.SearchText)
	}
	if err := f.regex("m.name", q.Name); err != nil {
		return err
	}
	if err := f.match(q.Any, false, plain(modelColumn)); err != nil {
		return err
	}
	return f.match(q.All, true, plain(modelColumn))
}

func modelColumn(name string) string {
	switch {
	case slices.Contains(restNames, name) || oneOf(name, "metadata", "stats", "company", metricsName):
		return "m.n"
	case slices.Contains(modelNames, name):
		return "m." + name
	}
	return ""
}

func getModels(c *call, req *modelQuery) (any, error) {
	l, err := newListing(req.OnlyFields, req.OrderBy, req.paging, func(n string) bool { return slices.Contains(modelNames, n) }, plain(modelColumn), "m.n", req.filter)
	if err != nil {
		return nil, err
	}
	var rows []*model
	err = c.read().each(`SELECT `+modelColumns+` FROM model m`+l.tail, l.args, func(scan func(...any) error) error {
		var m model
		rows = append(rows, &m)
		return m.scan(scan)
	})
	if err != nil {
		return nil, err
	}
	docs, err := modelDocs(c.read(), rows, l.fields)
	return map[string]any{"models": docs}, err
}
