package server

import (
	"math"
	"slices"
	"strings"

	"github.com/samber/lo"
)

// span is the time and the step of a report.
type span struct {
	From     float64 `json:"from_date"`
	To       float64 `json:"to_date"`
	Interval int64   `json:"interval"`
}

// maxPoints bounds a curve of an answer.
const maxPoints = 5000

func (s *span) check() error {
	switch {
	case s.From == 0:
		return missing("from_date")
	case s.To == 0:
		return missing("to_date")
	case s.Interval < 1:
		return invalid("interval", "must be 1 or more seconds")
	case s.To <= s.From || s.From < 0 || s.To > math.MaxInt32*100:
		return invalid("to_date", "must be after from_date")
	case (s.To-s.From)/float64(s.Interval) > maxPoints:
		return invalid("interval", "more than %d points", maxPoints)
	}
	return nil
}

// flush makes what was just reported part of an answer.
func (c *call) flush() { c.srv.janitor.writeStats(c.ctx) }

// activity counts the workers that reported, and those of them that had a task.
func activity(c *call, req *span) (any, error) {
	if err := req.check(); err != nil {
		return nil, err
	}
	c.flush()
	type series struct {
		Dates  []int64 `json:"dates"`
		Counts []int64 `json:"counts"`
	}
	total, active := series{[]int64{}, []int64{}}, series{[]int64{}, []int64{}}
	from := int64(req.From)
	err := c.read().each(`SELECT (at - ?1) / ?2, count(DISTINCT worker), count(DISTINCT CASE WHEN max > 0 THEN worker END)
		FROM worker_stat WHERE metric = '' AND at >= ?1 AND at <= ?3 GROUP BY 1 ORDER BY 1`, args(from, req.Interval, int64(req.To)),
		func(scan func(...any) error) error {
			var i, all, busy int64
			err := scan(&i, &all, &busy)
			total.Dates, total.Counts = append(total.Dates, 1000*(from+i*req.Interval)), append(total.Counts, all)
			active.Dates, active.Counts = append(active.Dates, 1000*(from+i*req.Interval)), append(active.Counts, busy)
			return err
		})
	return map[string]any{"total": total, "active": active}, err
}

// metricKeys lists the metrics that workers have reported, by what comes before
// the first _ of their names.
func metricKeys(c *call, req *struct {
	Workers texts `json:"worker_ids"`
}) (any, error) {
	c.flush()
	var keys []string
	err := c.read().each(`SELECT DISTINCT metric FROM worker_stat WHERE metric <> '' AND (?1 = '[]' OR worker IN (SELECT value FROM json_each(?1))) ORDER BY metric`,
		args(jsonList(req.Workers)), func(scan func(...any) error) error {
			var key string
			defer func() { keys = append(keys, key) }()
			return scan(&key)
		})
	groups := lo.GroupBy(keys, func(key string) string { name, _, _ := strings.Cut(key, "_"); return name })
	names := lo.Keys(groups)
	slices.Sort(names)
	return map[string]any{"categories": lo.Map(names, func(name string, _ int) any {
		return map[string]any{"name": name, "metric_keys": groups[name]}
	})}, err
}

type statsRequest struct {
	span
	Items []struct {
		Key      string `json:"key"`
		Category string `json:"category"`
	} `json:"items" need:"1"`
	Workers texts `json:"worker_ids"`
	Split   bool  `json:"split_by_variant"`
}

type metricStats struct {
	Metric  string           `json:"metric"`
	Variant string           `json:"variant,omitempty"`
	Dates   []int64          `json:"dates"` // ms, as the real server has them
	Stats   []map[string]any `json:"stats"`

	values [3][]float64 // avg, min, max
}

var aggregations = []string{"avg", "min", "max"}

// workerStats gives the curves of workers' metrics.
func workerStats(c *call, req *statsRequest) (any, error) {
	if err := req.check(); err != nil {
		return nil, err
	}
	for _, item := range req.Items {
		if !oneOf(item.Category, aggregations...) {
			return nil, invalid("category", "value is not avg, min or max")
		}
	}
	c.flush()
	workers, order, err := req.read(c.read())
	if err != nil {
		return nil, err
	}
	out := []any{}
	for _, id := range order {
		for _, m := range workers[id] {
			for _, item := range req.Items {
				if item.Key == m.Metric {
					m.Stats = append(m.Stats, map[string]any{"aggregation": item.Category, "dates": m.Dates, "values": m.values[slices.Index(aggregations, item.Category)]})
				}
			}
		}
		out = append(out, map[string]any{"worker": id, "metrics": workers[id]})
	}
	return map[string]any{"workers": out}, nil
}

func (req *statsRequest) read(v *view) (workers map[string][]*metricStats, order []string, err error) {
	workers = map[string][]*metricStats{}
	keys := lo.Map(req.Items, func(i struct {
		Key      string `json:"key"`
		Category string `json:"category"`
	}, _ int) string {
		return i.Key
	})
	variant := "''"
	if req.Split {
		variant = "variant"
	}
	from := int64(req.From)
	err = v.each(`SELECT worker, metric, `+variant+` AS part, (at - ?1) / ?2 AS i, sum(sum) / sum(n), min(min), max(max) FROM worker_stat
		WHERE metric IN (SELECT value FROM json_each(?3)) AND metric <> '' AND at >= ?1 AND at <= ?4 AND (?5 = '[]' OR worker IN (SELECT value FROM json_each(?5)))
		GROUP BY worker, metric, part, i ORDER BY worker, metric, part, i LIMIT 200000`,
		args(from, req.Interval, jsonList(keys), int64(req.To), jsonList(req.Workers)), func(scan func(...any) error) error {
			var worker, metric, part string
			var i int64
			var value [3]float64
			if err := scan(&worker, &metric, &part, &i, &value[0], &value[1], &value[2]); err != nil {
				return err
			}
			if len(order) == 0 || order[len(order)-1] != worker {
				order = append(order, worker)
			}
			all := workers[worker]
			if len(all) == 0 || all[len(all)-1].Metric != metric || all[len(all)-1].Variant != part {
				all = append(all, &metricStats{Metric: metric, Variant: part})
				workers[worker] = all
			}
			m := all[len(all)-1]
			m.Dates = append(m.Dates, 1000*(from+i*req.Interval))
			for k := range value {
				m.values[k] = append(m.values[k], value[k])
			}
			return nil
		})
	return workers, order, err
}
