package server

import (
	"encoding/json"

	"github.com/samber/lo"
)

// taskDocs completes rows to documents with the subtrees that f wants, in one
// query for each kind whatever the number of rows.
func taskDocs(v *view, rows []*task, f fields) ([]map[string]any, error) {
	parts, err := loadParts(v, rows, f.parts())
	if err != nil {
		return nil, err
	}
	var metrics metricsOf
	if f.want(metricsName) {
		if metrics, err = lastMetrics(v, lo.Map(rows, func(t *task, _ int) int64 { return t.stream })); err != nil {
			return nil, err
		}
	}
	return lo.Map(rows, func(t *task, _ int) map[string]any {
		var m any
		if metrics != nil {
			m = lo.CoalesceMapOrEmpty(metrics[t.stream])
		}
		return t.doc(f, parts[t.n], m)
	}), nil
}

// loadParts reads the named subtrees of the rows.
func loadParts(v *view, rows []*task, names []string) (map[int64]map[string]json.RawMessage, error) {
	out := make(map[int64]map[string]json.RawMessage, len(rows))
	if len(rows) == 0 || len(names) == 0 {
		return out, nil
	}
	const text = `SELECT task, part, doc FROM task_part
		WHERE task IN (SELECT value FROM json_each(?)) AND part IN (SELECT value FROM json_each(?))`
	err := v.each(text, args(numbers(lo.Map(rows, func(t *task, _ int) int64 { return t.n })), jsonList(names)), func(scan func(...any) error) error {
		var n int64
		var part string
		var doc []byte
		if err := scan(&n, &part, &doc); err != nil {
			return err
		}
		if out[n] == nil {
			out[n] = map[string]json.RawMessage{}
		}
		out[n][part] = doc
		return nil
	})
	return out, err
}

// loadPart reads one subtree of one task into dest, which is left as it is when
// there is none.
func loadPart(v *view, n int64, part string, dest any) error {
	var doc []byte
	ok, err := v.one(`SELECT doc FROM task_part WHERE task = ? AND part = ?`, args(n, part), &doc)
	if err != nil || !ok {
		return err
	}
	return json.Unmarshal(doc, dest)
}

// savePart stores one subtree of a task.
func (t *tx) savePart(n int64, part string, doc any) error {
	data, err := json.Marshal(doc)
	if err != nil {
		return err
	}
	_, err = t.exec(`INSERT INTO task_part(task, part, doc) VALUES(?, ?, ?)
		ON CONFLICT(task, part) DO UPDATE SET doc = excluded.doc`, n, part, string(data))
	if err != nil || part != "models" {
		return err
	}
	return t.noteModels(n, data)
}

// noteModels keeps account of which tasks have a model as input.
func (t *tx) noteModels(n int64, doc []byte) error {
	var m struct {
		Input []struct {
			Model string `json:"model"`
		} `json:"input"`
	}
	_ = json.Unmarshal(doc, &m) // what is no list of models uses none
	if _, err := t.exec(`DELETE FROM model_use WHERE task = ?`, n); err != nil || len(m.Input) == 0 {
		return err
	}
	used := lo.Map(m.Input, func(i struct {
		Model string `json:"model"`
	}, _ int) string {
		return i.Model
	})
	_, err := t.exec(`INSERT INTO model_use(model, task) SELECT DISTINCT value, ?1 FROM json_each(?2)`, n, jsonList(used))
	return err
}

// numbers is numbers as one argument of a statement, as jsonList is for strings.
func numbers(of []int64) string {
	data, _ := json.Marshal(of) // numbers always encode
	return string(data)
}

// metricsOf is stream → key of the metric → key of the variant → values.
type metricsOf map[int64]map[string]map[string]any

// lastMetrics reads the last value, with its extremes and mean, of every scalar
// of the streams.
func lastMetrics(v *view, streams []int64) (metricsOf, error) {
	out := metricsOf{}
	const text = `SELECT stream, ` + seriesColumns + ` FROM series WHERE stream IN (SELECT value FROM json_each(?))`
	err := v.each(text, args(numbers(streams)), func(scan func(...any) error) error {
		var stream int64
		var s series
		if err := scan(append([]any{&stream}, s.dest()...)...); err != nil {
			return err
		}
		if out[stream] == nil {
			out[stream] = map[string]map[string]any{}
		}
		metric := metricKey(s.metric)
		if out[stream][metric] == nil {
			out[stream][metric] = map[string]any{}
		}
		out[stream][metric][metricKey(s.variant)] = s.lastMetric()
		return nil
	})
	return out, err
}
