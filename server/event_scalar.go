package server

// series is one curve of a task, with what is shown of it without reading it.
type series struct {
	n               int64
	metric, variant string
	ts, iter        int64
	value           float64
	low             float64
	lowIter         int64
	high            float64
	highIter        int64
	first           float64
	firstIter       int64
	count           int64
	mean            float64
}

const seriesColumns = `n, metric, variant, ts, iter, value, min, min_iter, max, max_iter, first, first_iter, count, mean`

func (s *series) dest() []any {
	return []any{
		&s.n, &s.metric, &s.variant, &s.ts, &s.iter, &s.value, &s.low, &s.lowIter, &s.high, &s.highIter,
		&s.first, &s.firstIter, &s.count, &s.mean,
	}
}

// lastMetric is a series in a task's last_metrics.
func (s *series) lastMetric() map[string]any {
	return map[string]any{
		"metric": s.metric, "variant": s.variant, "value": s.value,
		"min_value": s.low, "min_value_iteration": s.lowIter, "max_value": s.high, "max_value_iteration": s.highIter,
		"first_value": s.first, "first_value_iteration": s.firstIter, "count": s.count, "mean_value": s.mean,
	}
}

// addScalar stores a point of a curve. The same metric, variant and iteration
// again replaces the value.
func (t *tx) addScalar(stream int64, e *event) error {
	var n int64
	// The mean: of the largest numbers a difference or a sum is none, and no JSON.
	// last value by iteration: a late point of an earlier one does not replace it.
	_, err := t.one(`INSERT INTO series(stream, metric, variant, ts, iter, value, min, min_iter, max, max_iter, first, first_iter, count, mean)
		VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?6, ?5, ?6, ?5, ?6, ?5, 1, ?6)
		ON CONFLICT(stream, metric, variant) DO UPDATE SET
		  value = CASE WHEN ?5 >= iter THEN ?6 ELSE value END,
		  ts = CASE WHEN ?5 >= iter THEN ?4 ELSE ts END,
		  iter = max(iter, ?5),
		  min_iter = CASE WHEN ?6 < min THEN ?5 ELSE min_iter END, min = min(min, ?6),
		  max_iter = CASE WHEN ?6 > max THEN ?5 ELSE max_iter END, max = max(max, ?6),
		  first = CASE WHEN ?5 < first_iter THEN ?6 ELSE first END, first_iter = min(first_iter, ?5),
		  count = count + 1, mean = mean + (?6 / (count + 1) - mean / (count + 1))
		RETURNING n`, args(stream, e.Metric, e.Variant, e.ts, e.iter, e.num), &n)
	if err != nil {
		return err
	}
	_, err = t.exec(`INSERT INTO scalar(series, iter, ts, value) VALUES(?,?,?,?)
		ON CONFLICT(series, iter) DO UPDATE SET ts = excluded.ts, value = excluded.value`, n, e.iter, e.ts, e.num)
	return err
}
