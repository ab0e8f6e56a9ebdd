package server

import (
	"encoding/json"

	"github.com/samber/lo"
)

// storedEvent is a plot, an image or a vector as it was sent.
type storedEvent struct {
	n, iter         int64
	metric, variant string
	doc             json.RawMessage
}

// samplesOf reads the events of one kind: of each metric and variant the newest
// iters iterations, newest first.
func samplesOf(v *view, t *task, kind string, filters []metricFilter, iters int) ([]*storedEvent, error) {
	var all []*storedEvent
	seen := map[[2]string]int{}
	err := v.each(`SELECT n, metric, variant, iter, doc FROM sample WHERE stream = ? AND kind = ? ORDER BY metric, variant, iter DESC`,
		args(t.stream, kind), func(scan func(...any) error) error {
			var e storedEvent
			var doc []byte
			if err := scan(&e.n, &e.metric, &e.variant, &e.iter, &doc); err != nil {
				return err
			}
			e.doc = doc
			key := [2]string{e.metric, e.variant}
			if seen[key]++; seen[key] <= iters && wanted(filters, e.metric, e.variant) {
				all = append(all, &e)
			}
			return nil
		})
	return all, err
}

type samplesRequest struct {
	Task    string         `json:"task" need:"1"`
	Iters   int            `json:"iters"`
	Metrics []metricFilter `json:"metrics"`
}

func taskPlots(c *call, req *samplesRequest) (any, error) {
	t, err := needTask(c.read(), req.Task)
	if err != nil {
		return nil, err
	}
	all, err := samplesOf(c.read(), t, typePlot, req.Metrics, max(req.Iters, 1))
	docs := lo.Map(all, func(e *storedEvent, _ int) json.RawMessage { return e.doc })
	return map[string]any{"plots": docs, "returned": len(docs), "total": len(docs), "scroll_id": ""}, err
}

// taskEvents gives all events of a type, in pages by a scroll id.
func taskEvents(c *call, req *struct {
	Task     string `json:"task" need:"1"`
	Type     string `json:"event_type"`
	Batch    int    `json:"batch_size"`
	Order    string `json:"order"`
	ScrollID string `json:"scroll_id"`
}) (any, error) {
	t, err := needTask(c.read(), req.Task)
	if err != nil {
		return nil, err
	}
	place, err := readScroll(req.ScrollID)
	if err != nil {
		return nil, err
	}
	size := pageSize(req.Batch, 500)
	if req.Type == typeLog {
		return taskLogScroll(c, &logRequest{Task: req.Task, Batch: size, Order: lo.CoalesceOrEmpty(req.Order, "asc"), ScrollID: req.ScrollID})
	}
	events, next, err := eventsOf(c.read(), t, req.Type, place, size)
	return map[string]any{"events": events, "returned": len(events), "total": len(events), "scroll_id": next}, err
}

func eventsOf(v *view, t *task, kind string, from scroll, size int) (events []any, next string, err error) {
	events, next = []any{}, from.String()
	if kind != typeScalar {
		err = v.each(`SELECT n, doc FROM sample WHERE stream = ? AND (kind = ? OR ? = '') AND n > ? ORDER BY n LIMIT ?`, args(t.stream, kind, kind, from.A, size),
			func(scan func(...any) error) error {
				var n int64
				var doc []byte
				err := scan(&n, &doc)
				events, next = append(events, json.RawMessage(doc)), scroll{n, 0}.String()
				return err
			})
		return events, next, err
	}
	err = v.each(`SELECT s.n, s.metric, s.variant, c.iter, c.ts, c.value FROM series s JOIN scalar c ON c.series = s.n
		WHERE s.stream = ? AND (s.n, c.iter) > (?, ?) ORDER BY s.n, c.iter LIMIT ?`, args(t.stream, from.A, from.B, size),
		func(scan func(...any) error) error {
			var n, iter, ts int64
			var metric, variant string
			var value float64
			err := scan(&n, &metric, &variant, &iter, &ts, &value)
			events = append(events, map[string]any{
				"type": typeScalar, "task": t.ID, "metric": metric, "variant": variant, "iter": iter, "timestamp": ts, "value": value,
			})
			next = scroll{n, iter}.String()
			return err
		})
	return events, next, err
}

type tasksMetrics struct {
	Metrics []struct {
		Task     string `json:"task"`
		Metric   string `json:"metric"`
		Variants texts  `json:"variants"`
	} `json:"metrics" need:"1"`
	Iters int `json:"iters"`
}

func debugImages(c *call, req *tasksMetrics) (any, error) { return req.samples(c, typeImage) }

func plots(c *call, req *tasksMetrics) (any, error) { return req.samples(c, typePlot) }

// samples groups the newest events of a kind by task and iteration.
func (r *tasksMetrics) samples(c *call, kind string) (any, error) {
	out := []any{}
	for _, m := range lo.Slice(r.Metrics, 0, 100) {
		t, err := needTask(c.read(), m.Task)
		if err != nil {
			return nil, err
		}
		var filters []metricFilter
		if m.Metric != "" {
			filters = []metricFilter{{m.Metric, m.Variants}}
		}
		all, err := samplesOf(c.read(), t, kind, filters, max(r.Iters, 1))
		if err != nil {
			return nil, err
		}
		groups := lo.GroupByMap(all, func(e *storedEvent) (int64, json.RawMessage) { return e.iter, e.doc })
		iterations := []any{}
		for iter, events := range groups {
			iterations = append(iterations, map[string]any{"iter": iter, "events": events})
		}
		out = append(out, map[string]any{"task": m.Task, "iterations": iterations})
	}
	return map[string]any{"metrics": out, "scroll_id": ""}, nil
}
