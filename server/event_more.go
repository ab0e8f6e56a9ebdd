package server

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"

	"github.com/samber/lo"
)

// multiPlots gives plots of several tasks: metric → variant → task → iteration.
func multiPlots(c *call, req *struct {
	sourcesRequest
	Iters   int            `json:"iters"`
	Metrics []metricFilter `json:"metrics"`
}) (any, error) {
	tasks, err := req.find(c.read(), maxCharts)
	if err != nil {
		return nil, err
	}
	type plotsOf struct {
		Name  string            `json:"name"`
		Plots []json.RawMessage `json:"plots"`
	}
	out, n := map[string]map[string]map[string]map[string]*plotsOf{}, 0
	for _, t := range tasks {
		all, err := samplesOf(c.read(), t.stream, typePlot, req.Metrics, max(req.Iters, 1))
		if err != nil {
			return nil, err
		}
		n += len(all)
		for _, e := range all {
			byTask := below(below(out, e.metric), e.variant)
			iters := below(byTask, t.id)
			key := strconv.FormatInt(e.iter, 10)
			if iters[key] == nil {
				iters[key] = &plotsOf{Name: t.name}
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
	sourcesRequest
	Type string `json:"event_type"`
}) (any, error) {
	tasks, err := req.find(c.read(), maxMany)
	if err != nil {
		return nil, err
	}
	found := map[string]map[string]bool{}
	for _, t := range tasks {
		if err := variantsOf(c.read(), t.stream, req.Type, found); err != nil {
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
func variantsOf(v *view, stream int64, kind string, found map[string]map[string]bool) error {
	note := func(scan func(...any) error) error {
		var metric, variant string
		err := scan(&metric, &variant)
		below(found, metric)[variant] = true
		return err
	}
	if kind == typeScalar || kind == "" {
		if err := v.each(`SELECT metric, variant FROM series WHERE stream = ?`, args(stream), note); err != nil {
			return err
		}
	}
	return v.each(`SELECT DISTINCT metric, variant FROM sample WHERE stream = ?1 AND (kind = ?2 OR ?2 = '')`, args(stream, kind), note)
}

func vectorMetrics(c *call, req *sourceRequest) (any, error) {
	s, err := req.find(c.read())
	if err != nil {
		return nil, err
	}
	found := map[string]map[string]bool{}
	err = variantsOf(c.read(), s.stream, typeVector, found)
	return map[string]any{"metrics": lo.MapValues(found, func(vs map[string]bool, _ string) []string { return slices.Sorted(maps.Keys(vs)) })}, err
}

// vectorHistogram gives the vectors of one variant, by iteration.
func vectorHistogram(c *call, req *struct {
	sourceRequest
	Metric  string `json:"metric" need:"1"`
	Variant string `json:"variant" need:"1"`
}) (any, error) {
	s, err := req.find(c.read())
	if err != nil {
		return nil, err
	}
	iters, vectors := []int64{}, []json.RawMessage{}
	err = c.read().each(`SELECT iter, doc FROM sample WHERE stream = ? AND kind = ? AND metric = ? AND variant = ? ORDER BY iter LIMIT ?`,
		args(s.stream, typeVector, req.Metric, req.Variant, maxRows), func(scan func(...any) error) error {
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
	sourceRequest
	Metric   string `json:"metric" need:"1"`
	ScrollID string `json:"scroll_id"`
}) (any, error) {
	s, err := req.find(c.read())
	if err != nil {
		return nil, err
	}
	at, err := readScroll(req.ScrollID)
	if err != nil {
		return nil, err
	}
	from := `FROM series s JOIN scalar c ON c.series = s.n WHERE s.stream = ? AND s.metric = ?`
	var total int64
	if _, err := c.read().one(`SELECT count(*) `+from, args(s.stream, req.Metric), &total); err != nil {
		return nil, err
	}
	events := []scalarEvent{}
	err = c.read().each(`SELECT s.variant, c.iter, c.ts, c.value `+from+` ORDER BY c.iter DESC, s.n LIMIT ? OFFSET ?`, args(s.stream, req.Metric, maxRows, max(at.A, 0)),
		func(scan func(...any) error) error {
			e := scalarEvent{Type: typeScalar, Task: s.id, Metric: req.Metric}
			err := scan(&e.Variant, &e.Iter, &e.Timestamp, &e.Value)
			events = append(events, e)
			return err
		})
	return map[string]any{"events": events, "returned": len(events), "total": total, "scroll_id": scroll{max(at.A, 0) + int64(len(events)), 0}.String()}, err
}
