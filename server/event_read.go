package server

import (
	"encoding/json"

	"github.com/samber/lo"
)

func eventEndpoints() []*endpoint {
	return []*endpoint{
		raw("events.add_batch", addEvents),
		raw("events.add", addEvents),
		from(1, 5, on("events.get_task_log", taskLogScroll)),
		from(1, 7, on("events.get_task_log", taskLogFrom)),
		from(2, 9, on("events.get_task_log", taskLog)),
		on("events.clear_task_log", clearTaskLog),
		on("events.scalar_metrics_iter_histogram", histogram),
		on("events.multi_task_scalar_metrics_iter_histogram", multiHistogram),
		on("events.scalar_metrics_iter_raw", rawScalars),
		on("events.get_task_latest_scalar_values", latestScalars),
		on("events.get_task_single_value_metrics", singleValues),
		on("events.get_scalar_metrics_and_variants", metricsAndVariants),
		on("events.get_task_metrics", taskMetrics),
		on("events.get_task_plots", taskPlots),
		on("events.get_task_events", taskEvents),
		on("events.debug_images", debugImages),
		on("events.plots", plots),
		on("events.delete_for_task", deleteEvents),
	}
}

func multiHistogram(c *call, req *struct {
	Tasks texts `json:"tasks" need:"1"`
	histogramRequestPart
}) (any, error) {
	h := histogramRequest{Key: req.Key, Samples: req.Samples, Metrics: req.Metrics}
	if err := h.check(); err != nil {
		return nil, err
	}
	out := map[string]map[string]map[string]*curve{}
	for _, id := range lo.Slice(req.Tasks, 0, 100) {
		t, err := needTask(c.read(), id)
		if err != nil {
			return nil, err
		}
		all, err := curves(c.read(), t, &h)
		if err != nil {
			return nil, err
		}
		for metric, variants := range all {
			for variant, points := range variants {
				if out[metric] == nil {
					out[metric] = map[string]map[string]*curve{}
				}
				if out[metric][variant] == nil {
					out[metric][variant] = map[string]*curve{}
				}
				points.Name = t.Name
				out[metric][variant][id] = points
			}
		}
	}
	return out, nil
}

type histogramRequestPart struct {
	Key     string         `json:"key"`
	Samples int            `json:"samples"`
	Metrics []metricFilter `json:"metrics"`
}

// latestScalars gives the last value of each curve.
func latestScalars(c *call, req *byTask) (any, error) {
	t, err := needTask(c.read(), req.Task)
	if err != nil {
		return nil, err
	}
	all, err := seriesOf(c.read(), t.stream, nil)
	if err != nil {
		return nil, err
	}
	metrics := []map[string]any{}
	for _, s := range all {
		if len(metrics) == 0 || metrics[len(metrics)-1]["name"] != s.metric {
			metrics = append(metrics, map[string]any{"name": s.metric, "variants": []any{}})
		}
		m := metrics[len(metrics)-1]
		m["variants"] = append(m["variants"].([]any), map[string]any{ //nolint:forcetypeassert // made above
			"name": s.variant, "last_value": s.value, "last_iteration": s.iter, "last_timestamp": s.ts,
		})
	}
	return map[string]any{"metrics": metrics, "last_iteration": t.lastIteration}, nil
}

func singleValues(c *call, req *struct {
	Tasks texts `json:"tasks" need:"1"`
}) (any, error) {
	out := []any{}
	for _, id := range lo.Slice(req.Tasks, 0, maxMany) {
		t, err := needTask(c.read(), id)
		if err != nil {
			return nil, err
		}
		values := []any{}
		err = c.read().each(`SELECT s.metric, s.variant, c.value, c.ts FROM series s JOIN scalar c ON c.series = s.n AND c.iter = ?
			WHERE s.stream = ? ORDER BY s.metric, s.variant`, args(singleIter, t.stream), func(scan func(...any) error) error {
			var metric, variant string
			var value float64
			var ts int64
			err := scan(&metric, &variant, &value, &ts)
			values = append(values, map[string]any{"metric": metric, "variant": variant, "value": value, "timestamp": ts})
			return err
		})
		if err != nil {
			return nil, err
		}
		if len(values) > 0 {
			out = append(out, map[string]any{"task": id, "task_name": t.Name, "values": values})
		}
	}
	return map[string]any{"tasks": out}, nil
}

func metricsAndVariants(c *call, req *byTask) (any, error) {
	t, err := needTask(c.read(), req.Task)
	if err != nil {
		return nil, err
	}
	all, err := seriesOf(c.read(), t.stream, nil)
	groups := lo.GroupByMap(all, func(s *series) (string, string) { return s.metric, s.variant })
	return map[string]any{"metrics": groups}, err
}

// taskMetrics lists the metrics that tasks have events of one type for.
func taskMetrics(c *call, req *struct {
	Tasks texts  `json:"tasks" need:"1"`
	Type  string `json:"event_type"`
}) (any, error) {
	out := []any{}
	for _, id := range lo.Slice(req.Tasks, 0, maxMany) {
		t, err := needTask(c.read(), id)
		if err != nil {
			return nil, err
		}
		text, a := `SELECT DISTINCT metric FROM sample WHERE stream = ? AND kind = ? ORDER BY metric`, args(t.stream, req.Type)
		if req.Type == "" || req.Type == typeScalar {
			text, a = `SELECT DISTINCT metric FROM series WHERE stream = ? ORDER BY metric`, args(t.stream)
		}
		metrics := []string{}
		err = c.read().each(text, a, func(scan func(...any) error) error {
			var m string
			defer func() { metrics = append(metrics, m) }()
			return scan(&m)
		})
		if err != nil {
			return nil, err
		}
		out = append(out, map[string]any{"task": id, "metrics": metrics})
	}
	return map[string]any{"metrics": out}, nil
}

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

func deleteEvents(c *call, req *byTask) (any, error) {
	err := c.update(func(t *tx) error {
		row, err := c.ownTask(t, req.Task)
		if err != nil {
			return err
		}
		stream, err := t.newStream()
		if err != nil {
			return err
		}
		if err := t.killStream(row.stream); err != nil {
			return err
		}
		t.onCommit(c.srv.janitor.sweep)
		return t.setTask(row.n, map[string]any{"stream": stream, "log_events": 0, "last_iteration": 0})
	})
	return map[string]any{"deleted": err == nil}, err
}
