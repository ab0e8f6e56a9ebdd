package server

import (
	"cmp"
	"encoding/json"
	"maps"
	"math"
	"slices"

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
func samplesOf(v *view, stream int64, kind string, filters []metricFilter, iters int) ([]*storedEvent, error) {
	return samplesBefore(v, stream, kind, filters, math.MaxInt64, iters)
}

// samplesBefore is samplesOf for iterations before one. What they hold is read when
// it is known which are wanted: of a thousand plots of a megabyte it may be one.
func samplesBefore(v *view, stream int64, kind string, filters []metricFilter, before int64, iters int) ([]*storedEvent, error) {
	var all []*storedEvent
	seen := map[[2]string]int{}
	err := v.each(`SELECT n, metric, variant, iter FROM sample WHERE stream = ? AND kind = ? AND iter < ? ORDER BY metric, variant, iter DESC`,
		args(stream, kind, before), func(scan func(...any) error) error {
			var e storedEvent
			if err := scan(&e.n, &e.metric, &e.variant, &e.iter); err != nil {
				return err
			}
			key := [2]string{e.metric, e.variant}
			if seen[key]++; seen[key] <= iters && wanted(filters, e.metric, e.variant) {
				all = append(all, &e)
			}
			return nil
		})
	if err != nil {
		return nil, err
	}
	return withDocs(v, all)
}

// withDocs reads what the events hold, and leaves out those that have gone meanwhile.
func withDocs(v *view, all []*storedEvent) ([]*storedEvent, error) {
	byN := lo.KeyBy(all, func(e *storedEvent) int64 { return e.n })
	err := v.each(`SELECT n, doc FROM sample WHERE n IN (SELECT value FROM json_each(?))`, args(numbers(lo.Keys(byN))), func(scan func(...any) error) error {
		var n int64
		var doc []byte
		err := scan(&n, &doc)
		byN[n].doc = doc
		return err
	})
	return lo.Filter(all, func(e *storedEvent, _ int) bool { return e.doc != nil }), err
}

type samplesRequest struct {
	sourceRequest
	Iters   int            `json:"iters"`
	Metrics []metricFilter `json:"metrics"`
}

func taskPlots(c *call, req *samplesRequest) (any, error) {
	s, err := req.find(c.read())
	if err != nil {
		return nil, err
	}
	all, err := samplesOf(c.read(), s.stream, typePlot, req.Metrics, max(req.Iters, 1))
	docs := lo.Map(all, func(e *storedEvent, _ int) json.RawMessage { return e.doc })
	return map[string]any{"plots": docs, "returned": len(docs), "total": len(docs), "scroll_id": ""}, err
}

// taskImages is events.debug_images before 2.7.
func taskImages(c *call, req *samplesRequest) (any, error) {
	s, err := req.find(c.read())
	if err != nil {
		return nil, err
	}
	all, err := samplesOf(c.read(), s.stream, typeImage, nil, max(req.Iters, 1))
	docs := lo.Map(all, func(e *storedEvent, _ int) json.RawMessage { return e.doc })
	return map[string]any{"task": s.id, "images": docs, "returned": len(docs), "total": len(docs), "scroll_id": ""}, err
}

// taskEvents gives all events of a type, in pages by a scroll id.
func taskEvents(c *call, req *struct {
	sourceRequest
	Type     string `json:"event_type"`
	Batch    int    `json:"batch_size"`
	Order    string `json:"order"`
	ScrollID string `json:"scroll_id"`
}) (any, error) {
	s, err := req.find(c.read())
	if err != nil {
		return nil, err
	}
	place, err := readScroll(req.ScrollID)
	if err != nil {
		return nil, err
	}
	size := pageSize(req.Batch, 500)
	if req.Type == typeLog && !req.Models {
		return taskLogScroll(c, &logRequest{Task: req.Task, Batch: size, Order: lo.CoalesceOrEmpty(req.Order, "asc"), ScrollID: req.ScrollID})
	}
	total, err := countEvents(c.read(), s.stream, req.Type)
	if err != nil {
		return nil, err
	}
	events, next, err := eventsOf(c.read(), s, req.Type, req.Order == "desc", place, size)
	return map[string]any{"events": events, "returned": len(events), "total": total, "scroll_id": next}, err
}

func countEvents(v *view, stream int64, kind string) (n int64, err error) {
	if kind == typeScalar {
		_, err = v.one(`SELECT count(*) FROM series s JOIN scalar c ON c.series = s.n WHERE s.stream = ?`, args(stream), &n)
	} else {
		_, err = v.one(`SELECT count(*) FROM sample WHERE stream = ? AND (kind = ? OR ? = '')`, args(stream, kind, kind), &n)
	}
	return n, err
}

// eventsOf reads a page of events behind a place: in the order in which they came,
// scalars curve by curve, or backwards.
func eventsOf(v *view, of *source, kind string, back bool, from scroll, size int) (events []any, next string, err error) {
	events, next = []any{}, from.String()
	beyond, way := ">", ""
	if back {
		beyond, way = "<", " DESC"
		if from == (scroll{}) {
			from = scroll{1 << 62, 1 << 62}
		}
	}
	if kind != typeScalar {
		var page []*storedEvent
		err = v.each(`SELECT n FROM sample WHERE stream = ? AND (kind = ? OR ? = '') AND n `+beyond+` ? ORDER BY n`+way+` LIMIT ?`, args(of.stream, kind, kind, from.A, size),
			func(scan func(...any) error) error {
				var e storedEvent
				err := scan(&e.n)
				page, next = append(page, &e), scroll{e.n, 0}.String()
				return err
			})
		if err != nil {
			return nil, "", err
		}
		page, err = withDocs(v, page)
		return lo.Map(page, func(e *storedEvent, _ int) any { return e.doc }), next, err
	}
	return scalarsOf(v, of, back, from, next, size)
}

// scalarsOf goes curve by curve, so that a page reads its own points and not all that
// come behind it.
func scalarsOf(v *view, of *source, back bool, from scroll, next string, size int) ([]any, string, error) {
	all, err := seriesOf(v, of.stream, nil)
	if err != nil {
		return nil, "", err
	}
	slices.SortFunc(all, func(a, b *series) int { return cmp.Compare(a.n, b.n) })
	beyond, way, edge := ">", "", int64(-1<<62)
	if back {
		slices.Reverse(all)
		beyond, way, edge = "<", " DESC", 1<<62
	}
	events := []any{}
	for _, s := range all {
		if len(events) >= size || back && s.n > from.A || !back && s.n < from.A {
			continue
		}
		err := v.each(`SELECT iter, ts, value FROM scalar WHERE series = ? AND iter `+beyond+` ? ORDER BY iter`+way+` LIMIT ?`,
			args(s.n, lo.Ternary(s.n == from.A, from.B, edge), size-len(events)), func(scan func(...any) error) error {
				e := scalarEvent{Type: typeScalar, Task: of.id, Metric: s.metric, Variant: s.variant}
				err := scan(&e.Iter, &e.Timestamp, &e.Value)
				events, next = append(events, e), scroll{s.n, e.Iter}.String()
				return err
			})
		if err != nil {
			return nil, "", err
		}
	}
	return events, next, nil
}

// scalarEvent is a point of a curve as an event.
type scalarEvent struct {
	Type      string  `json:"type"`
	Task      string  `json:"task"`
	Metric    string  `json:"metric"`
	Variant   string  `json:"variant"`
	Iter      int64   `json:"iter"`
	Timestamp int64   `json:"timestamp"`
	Value     float64 `json:"value"`
}

type tasksMetrics struct {
	Metrics []struct {
		Task     string `json:"task"`
		Metric   string `json:"metric"`
		Variants texts  `json:"variants"`
	} `json:"metrics" need:"1"`
	Iters  int  `json:"iters"`
	Models bool `json:"model_events"`

	ScrollID string `json:"scroll_id"`
	Refresh  bool   `json:"refresh"`
}

func debugImages(c *call, req *tasksMetrics) (any, error) { return req.samples(c, typeImage) }

func plots(c *call, req *tasksMetrics) (any, error) { return req.samples(c, typePlot) }

// samples groups the newest events of a kind by task and iteration; with a scroll id
// those before the ones that were shown.
func (r *tasksMetrics) samples(c *call, kind string) (any, error) {
	out := []any{}
	if len(r.Metrics) > maxCharts {
		return nil, invalid("metrics", "more than %d", maxCharts)
	}
	// The scroll id holds, for each of the metrics, the oldest iteration that was shown.
	before := lo.Times(len(r.Metrics), func(int) int64 { return math.MaxInt64 })
	if r.ScrollID != "" && !r.Refresh {
		if json.Unmarshal([]byte(r.ScrollID), &before) != nil || len(before) != len(r.Metrics) {
			return nil, errScroll
		}
	}
	for i, m := range r.Metrics {
		s, err := findSource(c.read(), m.Task, r.Models)
		if err != nil {
			return nil, err
		}
		var filters []metricFilter
		if m.Metric != "" {
			filters = []metricFilter{{m.Metric, m.Variants}}
		}
		all, err := samplesBefore(c.read(), s.stream, kind, filters, before[i], max(r.Iters, 1))
		if err != nil {
			return nil, err
		}
		groups := lo.GroupByMap(all, func(e *storedEvent) (int64, json.RawMessage) { return e.iter, e.doc })
		iterations := []any{}
		for _, iter := range slices.Backward(slices.Sorted(maps.Keys(groups))) {
			iterations = append(iterations, map[string]any{"iter": iter, "events": groups[iter]})
			before[i] = iter
		}
		out = append(out, map[string]any{"task": m.Task, "iterations": iterations})
	}
	next, err := json.Marshal(before)
	return map[string]any{"metrics": out, "scroll_id": string(next)}, err
}
