package server

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"

	"github.com/samber/lo"
)

// maxTasks bounds the tasks of one request for many.
const maxTasks = 100

// manyTasks reads the tasks of a request; one that does not exist refuses it.
func manyTasks(v *view, ids []string) ([]*task, error) {
	if len(ids) > maxTasks {
		return nil, invalid("tasks", "more than %d", maxTasks)
	}
	var all []*task
	for _, id := range lo.Uniq(ids) {
		t, err := needTask(v, id)
		if err != nil {
			return nil, err
		}
		all = append(all, t)
	}
	return all, nil
}

// multiPlots gives plots of several tasks: metric → variant → task → iteration.
func multiPlots(c *call, req *struct {
	Tasks   texts          `json:"tasks" need:"1"`
	Iters   int            `json:"iters"`
	Metrics []metricFilter `json:"metrics"`
}) (any, error) {
	tasks, err := manyTasks(c.read(), req.Tasks)
	if err != nil {
		return nil, err
	}
	type plotsOf struct {
		Name  string            `json:"name"`
		Plots []json.RawMessage `json:"plots"`
	}
	out, n := map[string]map[string]map[string]map[string]*plotsOf{}, 0
	for _, t := range tasks {
		all, err := samplesOf(c.read(), t, typePlot, req.Metrics, max(req.Iters, 1))
		if err != nil {
			return nil, err
		}
		n += len(all)
		for _, e := range all {
			byTask := below(below(out, e.metric), e.variant)
			iters := below(byTask, t.ID)
			key := strconv.FormatInt(e.iter, 10)
			if iters[key] == nil {
				iters[key] = &plotsOf{Name: t.Name}
			}
			iters[key].Plots = append(iters[key].Plots, e.doc)
		}
	}
	return map[string]any{"plots": out, "returned": n, "total": n, "scroll_id": ""}, nil
}

// below gives the map under a key, making it.
func below[V any](m map[string]map[string]V, key string) map[string]V {
	if m[key] == nil {
		m[key] = map[string]V{}
	}
	return m[key]
}

// multiMetrics lists what metrics and variants several tasks have events for.
func multiMetrics(c *call, req *struct {
	Tasks texts  `json:"tasks" need:"1"`
	Type  string `json:"event_type"`
}) (any, error) {
	tasks, err := manyTasks(c.read(), req.Tasks)
	if err != nil {
		return nil, err
	}
	found := map[string]map[string]bool{}
	for _, t := range tasks {
		if err := variantsOf(c.read(), t, req.Type, found); err != nil {
			return nil, err
		}
	}
	metrics := lo.Map(slices.Sorted(maps.Keys(found)), func(m string, _ int) any {
		return map[string]any{"metric": m, "variants": slices.Sorted(maps.Keys(found[m]))}
	})
	return map[string]any{"metrics": metrics}, nil
}

// variantsOf adds the metrics and variants of a task's events of one kind; ""
// stands for all.
func variantsOf(v *view, t *task, kind string, found map[string]map[string]bool) error {
	note := func(scan func(...any) error) error {
		var metric, variant string
		err := scan(&metric, &variant)
		below(found, metric)[variant] = true
		return err
	}
	if kind == typeScalar || kind == "" {
		if err := v.each(`SELECT metric, variant FROM series WHERE stream = ?`, args(t.stream), note); err != nil {
			return err
		}
	}
	return v.each(`SELECT DISTINCT metric, variant FROM sample WHERE stream = ?1 AND (kind = ?2 OR ?2 = '')`, args(t.stream, kind), note)
}

func vectorMetrics(c *call, req *byTask) (any, error) {
	t, err := needTask(c.read(), req.Task)
	if err != nil {
		return nil, err
	}
	found := map[string]map[string]bool{}
	err = variantsOf(c.read(), t, typeVector, found)
	return map[string]any{"metrics": lo.MapValues(found, func(vs map[string]bool, _ string) []string { return slices.Sorted(maps.Keys(vs)) })}, err
}

// vectorHistogram gives the vectors of one variant, by iteration.
func vectorHistogram(c *call, req *struct {
	Task    string `json:"task" need:"1"`
	Metric  string `json:"metric" need:"1"`
	Variant string `json:"variant" need:"1"`
}) (any, error) {
	t, err := needTask(c.read(), req.Task)
	if err != nil {
		return nil, err
	}
	iters, vectors := []int64{}, []json.RawMessage{}
	err = c.read().each(`SELECT iter, doc FROM sample WHERE stream = ? AND kind = ? AND metric = ? AND variant = ? ORDER BY iter LIMIT ?`,
		args(t.stream, typeVector, req.Metric, req.Variant, maxRows), func(scan func(...any) error) error {
			var iter int64
			var doc []byte
			if err := scan(&iter, &doc); err != nil {
				return err
			}
			e := object{}
			_ = json.Unmarshal(doc, &e) // it was an event
			vector, _ := lo.CoalesceSlice(e["values"], e["value"], json.RawMessage("null"))
			iters, vectors = append(iters, iter), append(vectors, vector)
			return nil
		})
	return map[string]any{"metric": req.Metric, "variant": req.Variant, "iterations": iters, "vectors": vectors}, err
}

// scalarData gives the points of one metric, the newest first, in pages.
func scalarData(c *call, req *struct {
	Task     string `json:"task" need:"1"`
	Metric   string `json:"metric" need:"1"`
	ScrollID string `json:"scroll_id"`
}) (any, error) {
	t, err := needTask(c.read(), req.Task)
	if err != nil {
		return nil, err
	}
	at, err := readScroll(req.ScrollID)
	if err != nil {
		return nil, err
	}
	from := `FROM series s JOIN scalar c ON c.series = s.n WHERE s.stream = ? AND s.metric = ?`
	var total int64
	if _, err := c.read().one(`SELECT count(*) `+from, args(t.stream, req.Metric), &total); err != nil {
		return nil, err
	}
	events := []scalarEvent{}
	err = c.read().each(`SELECT s.variant, c.iter, c.ts, c.value `+from+` ORDER BY c.iter DESC, s.n LIMIT ? OFFSET ?`, args(t.stream, req.Metric, maxRows, max(at.A, 0)),
		func(scan func(...any) error) error {
			e := scalarEvent{Type: typeScalar, Task: t.ID, Metric: req.Metric}
			err := scan(&e.Variant, &e.Iter, &e.Timestamp, &e.Value)
			events = append(events, e)
			return err
		})
	return map[string]any{"events": events, "returned": len(events), "total": total, "scroll_id": scroll{max(at.A, 0) + int64(len(events)), 0}.String()}, err
}
