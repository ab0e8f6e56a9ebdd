package server

import (
	"github.com/samber/lo"
)

func eventEndpoints() []*endpoint {
	return []*endpoint{
		raw("events.add_batch", addEvents),
		raw("events.add", addEvents),
		from(1, 5, on("events.get_task_log", taskLogScroll)),
		from(1, 7, on("events.get_task_log", taskLogFrom)),
		from(2, 9, on("events.get_task_log", taskLog)),
		on("events.download_task_log", downloadLog),
		on("events.clear_task_log", clearTaskLog),
		on("events.clear_scroll", clearScroll),
		on("events.scalar_metrics_iter_histogram", histogram),
		on("events.multi_task_scalar_metrics_iter_histogram", multiHistogram),
		on("events.scalar_metrics_iter_raw", rawScalars),
		on("events.get_scalar_metric_data", scalarData),
		on("events.get_vector_metrics_and_variants", vectorMetrics),
		on("events.vector_metrics_iter_histogram", vectorHistogram),
		on("events.get_multi_task_plots", multiPlots),
		on("events.get_multi_task_metrics", multiMetrics),
		on("events.get_task_latest_scalar_values", latestScalars),
		on("events.get_task_single_value_metrics", singleValues),
		on("events.get_scalar_metrics_and_variants", metricsAndVariants),
		on("events.get_task_metrics", taskMetrics),
		on("events.get_task_plots", taskPlots),
		on("events.get_task_events", taskEvents),
		on("events.debug_images", taskImages),
		from(2, 7, on("events.debug_images", debugImages)),
		on("events.plots", plots),
		on("events.get_debug_image_sample", imageHistory.sample),
		on("events.next_debug_image_sample", imageHistory.next),
		on("events.get_plot_sample", plotHistory.sample),
		on("events.next_plot_sample", plotHistory.next),
		on("events.delete_for_task", deleteEvents),
		on("events.delete_for_model", deleteModelEvents),
	}
}

func multiHistogram(c *call, req *struct {
	sourcesRequest
	chart
}) (any, error) {
	if err := req.check(); err != nil {
		return nil, err
	}
	sources, err := req.find(c.read(), maxCharts)
	if err != nil {
		return nil, err
	}
	out := map[string]map[string]map[string]*curve{}
	for _, s := range sources {
		all, err := curves(c.read(), s.stream, &req.chart)
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
				points.Name = s.name
				out[metric][variant][s.id] = points
			}
		}
	}
	return map[string]any{"metrics": out}, nil
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
	metrics, last := []map[string]any{}, int64(0)
	for _, s := range all {
		last = max(last, s.ts)
		if len(metrics) == 0 || metrics[len(metrics)-1]["name"] != s.metric {
			metrics = append(metrics, map[string]any{"name": s.metric, "variants": []any{}})
		}
		m := metrics[len(metrics)-1]
		m["variants"] = append(m["variants"].([]any), map[string]any{ //nolint:forcetypeassert // made above
			"name": s.variant, "last_value": s.value, "last_iteration": s.iter, "last_timestamp": s.ts,
		})
	}
	return map[string]any{"metrics": metrics, "last_iter": t.lastIteration, "name": t.Name, "status": t.Status, "last_timestamp": last}, nil
}

func singleValues(c *call, req *sourcesRequest) (any, error) {
	sources, err := req.find(c.read(), maxMany)
	if err != nil {
		return nil, err
	}
	out := []any{}
	for _, s := range sources {
		values := []any{}
		err := c.read().each(`SELECT s.metric, s.variant, c.value, c.ts FROM series s JOIN scalar c ON c.series = s.n AND c.iter = ?
			WHERE s.stream = ? ORDER BY s.metric, s.variant`, args(singleIter, s.stream), func(scan func(...any) error) error {
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
			out = append(out, map[string]any{"task": s.id, "task_name": s.name, "values": values})
		}
	}
	return map[string]any{"tasks": out}, nil
}

func metricsAndVariants(c *call, req *sourceRequest) (any, error) {
	s, err := req.find(c.read())
	if err != nil {
		return nil, err
	}
	all, err := seriesOf(c.read(), s.stream, nil)
	groups := lo.GroupByMap(all, func(s *series) (string, string) { return s.metric, s.variant })
	return map[string]any{"metrics": groups}, err
}

// taskMetrics lists the metrics that tasks have events of one type for.
func taskMetrics(c *call, req *struct {
	sourcesRequest
	Type string `json:"event_type"`
}) (any, error) {
	sources, err := req.find(c.read(), maxMany)
	if err != nil {
		return nil, err
	}
	out := []any{}
	for _, s := range sources {
		text, a := `SELECT DISTINCT metric FROM sample WHERE stream = ? AND kind = ? ORDER BY metric`, args(s.stream, req.Type)
		if req.Type == "" || req.Type == typeScalar {
			text, a = `SELECT DISTINCT metric FROM series WHERE stream = ? ORDER BY metric`, args(s.stream)
		}
		metrics := []string{}
		err := c.read().each(text, a, func(scan func(...any) error) error {
			var m string
			defer func() { metrics = append(metrics, m) }()
			return scan(&m)
		})
		if err != nil {
			return nil, err
		}
		out = append(out, map[string]any{"task": s.id, "metrics": metrics})
	}
	return map[string]any{"metrics": out}, nil
}
