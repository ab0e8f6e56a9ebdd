package server

import (
	"cmp"
	"encoding/json"
	"slices"
	"time"

	"github.com/samber/lo"
)

// metricFilter selects curves: metrics, and variants of each.
type metricFilter struct {
	Metric   string `json:"metric"`
	Variants texts  `json:"variants"`
}

func wanted(filters []metricFilter, metric, variant string) bool {
	return len(filters) == 0 || lo.ContainsBy(filters, func(f metricFilter) bool {
		return f.Metric == metric && (len(f.Variants) == 0 || lo.Contains(f.Variants, variant))
	})
}

// seriesOf reads a task's curves, in the order of their names.
func seriesOf(v *view, stream int64, filters []metricFilter) ([]*series, error) {
	var all []*series
	err := v.each(`SELECT `+seriesColumns+` FROM series WHERE stream = ? ORDER BY metric, variant`, args(stream), func(scan func(...any) error) error {
		var s series
		if err := scan(s.dest()...); err != nil {
			return err
		}
		if wanted(filters, s.metric, s.variant) {
			all = append(all, &s)
		}
		return nil
	})
	return all, err
}

// curve is the points of a series for a chart.
type curve struct {
	Name string    `json:"name"`
	X    []any     `json:"x"`
	Y    []float64 `json:"y"`
}

// Limits of the points in one curve of an answer.
const (
	defaultSamples = 2000
	maxSamples     = 6000
)

// Keys of a curve's x.
const (
	keyIter      = "iter"
	keyTimestamp = "timestamp"
	keyISO       = "iso_time"
)

func xOf(key string, iter, ts int64) any {
	switch key {
	case keyTimestamp:
		return ts
	case keyISO:
		return time.UnixMilli(ts).UTC().Format("2006-01-02T15:04:05.000Z")
	}
	return iter
}

// readCurve reads a series, thinned to at most samples points: neighbours are
// put together, x the first's and y their mean, as the real server's buckets do.
func readCurve(v *view, s *series, key string, samples int) (*curve, error) {
	c := &curve{Name: s.variant, X: []any{}, Y: []float64{}}
	var total int64
	if _, err := v.one(`SELECT count(*) FROM scalar WHERE series = ? AND iter <> ?`, args(s.n, singleIter), &total); err != nil {
		return nil, err
	}
	each := float64((total + int64(samples) - 1) / int64(max(samples, 1)))
	sorted := map[bool]string{true: "iter", false: "ts, iter"}[key == keyIter]
	held := 0.0
	err := v.each(`SELECT iter, ts, value FROM scalar WHERE series = ? AND iter <> ? ORDER BY `+sorted, args(s.n, singleIter), func(scan func(...any) error) error {
		var iter, ts int64
		var value float64
		if err := scan(&iter, &ts, &value); err != nil {
			return err
		}
		if held == 0 {
			c.X, c.Y = append(c.X, xOf(key, iter, ts)), append(c.Y, value)
		}
		held++
		mean := &c.Y[len(c.Y)-1]
		*mean += value/held - *mean/held // see addScalar
		if held >= each {
			held = 0
		}
		return nil
	})
	return c, err
}

// chart says how curves are shown.
type chart struct {
	Key     string         `json:"key"`
	Samples int            `json:"samples"`
	Metrics []metricFilter `json:"metrics"`
}

func (r *chart) check() error {
	if r.Key == "" {
		r.Key = keyIter
	}
	if !oneOf(r.Key, keyIter, keyTimestamp, keyISO) {
		return invalid("key", "value is not iter, timestamp or iso_time")
	}
	if r.Samples <= 0 {
		r.Samples = defaultSamples
	}
	r.Samples = min(r.Samples, maxSamples)
	return nil
}

// histogram gives all curves of a task: metric → variant → points.
func histogram(c *call, req *struct {
	sourceRequest
	chart
}) (any, error) {
	if err := req.check(); err != nil {
		return nil, err
	}
	s, err := req.find(c.read())
	if err != nil {
		return nil, err
	}
	return curves(c.read(), s.stream, &req.chart)
}

func curves(v *view, stream int64, req *chart) (map[string]map[string]*curve, error) {
	all, err := seriesOf(v, stream, req.Metrics)
	if err != nil {
		return nil, err
	}
	out := map[string]map[string]*curve{}
	for _, s := range all {
		points, err := readCurve(v, s, req.Key, req.Samples)
		if err != nil {
			return nil, err
		}
		if len(points.X) == 0 { // a single value is no curve
			continue
		}
		if out[s.metric] == nil {
			out[s.metric] = map[string]*curve{}
		}
		out[s.metric][s.variant] = points
	}
	return out, nil
}

type rawRequest struct {
	sourceRequest
	Metric   metricFilter `json:"metric"`
	Key      string       `json:"key"`
	Batch    int          `json:"batch_size"`
	Count    bool         `json:"count_total"`
	ScrollID string       `json:"scroll_id"`
}

// rawScalars gives the points of one metric unthinned, in pages.
func rawScalars(c *call, req *rawRequest) (any, error) {
	if req.Metric.Metric == "" {
		return nil, missing("metric")
	}
	h := chart{Key: req.Key}
	if err := h.check(); err != nil {
		return nil, err
	}
	s, err := req.find(c.read())
	if err != nil {
		return nil, err
	}
	all, err := seriesOf(c.read(), s.stream, []metricFilter{req.Metric})
	if err != nil {
		return nil, err
	}
	p, err := readScroll(req.ScrollID)
	if err != nil {
		return nil, err
	}
	reply, err := rawPage(c.read(), all, h.Key, pageSize(req.Batch, 10_000), p)
	if err != nil || !req.Count {
		return reply, err
	}
	var total int64
	_, err = c.read().one(`SELECT count(*) FROM scalar WHERE series IN (SELECT value FROM json_each(?))`, args(numbers(lo.Map(all, func(s *series, _ int) int64 { return s.n }))), &total)
	reply["total"] = total
	return reply, err
}

// rawPage reads the points behind a place, which is a series and an iteration.
func rawPage(v *view, all []*series, key string, size int, from scroll) (map[string]any, error) {
	// In the order of places, which is not that of names: a page begins behind the last.
	slices.SortFunc(all, func(a, b *series) int { return cmp.Compare(a.n, b.n) })
	variants, returned, next := map[string]any{}, 0, from.String()
	for _, s := range all {
		if s.n < from.A || returned >= size {
			continue
		}
		after := int64(-1 << 62)
		if s.n == from.A {
			after = from.B
		}
		x, y, iters := []any{}, []float64{}, []int64{}
		err := v.each(`SELECT iter, ts, value FROM scalar WHERE series = ? AND iter > ? ORDER BY iter LIMIT ?`, args(s.n, after, size-returned),
			func(scan func(...any) error) error {
				var iter, ts int64
				var value float64
				if err := scan(&iter, &ts, &value); err != nil {
					return err
				}
				x, y, iters = append(x, xOf(key, iter, ts)), append(y, value), append(iters, iter)
				return nil
			})
		if err != nil {
			return nil, err
		}
		if len(x) > 0 {
			variants[s.variant] = map[string]any{key: x, "y": y}
			returned, next = returned+len(x), scroll{s.n, iters[len(iters)-1]}.String()
		}
	}
	return map[string]any{"variants": variants, "returned": returned, "scroll_id": next}, nil
}

// scroll is a place in a long answer that a client hands back.
type scroll struct{ A, B int64 }

func (s scroll) String() string {
	data, _ := json.Marshal([]int64{s.A, s.B}) // numbers always encode
	return string(data)
}

var errScroll = refuse(400, 1104, "Invalid scroll id")

func readScroll(text string) (scroll, error) {
	if text == "" {
		return scroll{}, nil
	}
	var n []int64
	if json.Unmarshal([]byte(text), &n) != nil || len(n) != 2 {
		return scroll{}, errScroll
	}
	return scroll{n[0], n[1]}, nil
}

func pageSize(asked, fallback int) int {
	if asked <= 0 {
		return fallback
	}
	return min(asked, 10_000)
}
