package server

import (
	"regexp"
	"slices"
	"strings"
)

// taskExpr is what a field of a task is in a statement: a column, something below
// a subtree, or a value of last_metrics.
func taskExpr(name string) expr {
	part, below, deep := strings.Cut(name, ".")
	switch {
	case name == "execution.queue":
		return expr{text: "t.queue"}
	case name == "company" || name == "active_duration":
		return expr{text: "''"}
	case slices.Contains(rowNames, name):
		return expr{text: "t." + name}
	case part == metricsName:
		return metricExpr(below)
	case !slices.Contains(partNames, part):
		return expr{}
	case !deep:
		return expr{text: "t.n"} // known to the protocol, but no order of ours
	case strings.ContainsAny(below, "\"\x00"):
		return expr{} // can't be quoted in a path
	}
	return expr{
		text: `(SELECT CAST(json_extract(p.doc, ?) AS TEXT) FROM task_part p WHERE p.task = t.n AND p.part = '` + part + `')`,
		args: args(`$."` + strings.ReplaceAll(below, ".", `"."`) + `"`),
	}
}

var metricPath = regexp.MustCompile(`^([0-9a-f]{32})\.([0-9a-f]{32})\.(\w+)$`)

// metricValues are the columns of a value of last_metrics.
var metricValues = map[string]string{
	"value": "value", "min_value": "min", "max_value": "max", "first_value": "first", "mean_value": "mean", "count": "count",
	"min_value_iteration": "min_iter", "max_value_iteration": "max_iter", "first_value_iteration": "first_iter",
}

// metricExpr is a value of last_metrics, by which optimizers order their tasks.
func metricExpr(path string) expr {
	m := metricPath.FindStringSubmatch(path)
	if m == nil || metricValues[m[3]] == "" {
		return expr{text: "t.n"}
	}
	return expr{
		text: `(SELECT s.` + metricValues[m[3]] + ` FROM series s WHERE s.stream = t.stream AND metric_key(s.metric) = ? AND metric_key(s.variant) = ?)`,
		args: args(m[1], m[2]),
	}
}
