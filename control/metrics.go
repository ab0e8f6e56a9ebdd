package control

import (
	"context"
	"net/http"
	goruntime "runtime"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"agentctl/reconcile"
)

// Metrics are the agent's counters, and the figures of the snapshot. No label
// holds what a task or a server can choose freely.
type Metrics struct {
	registry  *prometheus.Registry
	reconcile *prometheus.CounterVec
	tasks     *prometheus.CounterVec
	phases    *prometheus.HistogramVec
	envs      *prometheus.CounterVec
	api       *prometheus.CounterVec
}

// phaseBuckets reach from a cache hit to a day of training, in seconds.
var phaseBuckets = []float64{.001, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 3600, 14400, 86400}

// NewMetrics makes the metrics of an agent of that version over state.
func NewMetrics(version string, state State) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		reconcile: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "agentctl_reconcile_total", Help: "Specs that were handed to the reconciler, by result: accepted, unchanged or rejected.",
		}, []string{"result"}),
		tasks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "agentctl_tasks_total", Help: "Tasks that ended, by queue and outcome: completed, failed, timeout, aborted or agent_lost.",
		}, []string{"queue", "outcome"}),
		phases: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "agentctl_task_phase_seconds", Help: "Time that tasks which ended spent in each phase.", Buckets: phaseBuckets,
		}, []string{"phase"}),
		envs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "agentctl_env_cache_requests_total", Help: "Environments that tasks which ended had, by package manager and result: hit or built.",
		}, []string{"manager", "result"}),
		api: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "agentctl_api_requests_total", Help: "Requests to ClearML servers by HTTP status; 0 for those without an answer.",
		}, []string{"code"}),
	}
	build := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "agentctl_build_info", Help: "Always 1; the labels say what runs.",
		ConstLabels: prometheus.Labels{"version": version, "goversion": goruntime.Version()},
	}, func() float64 { return 1 })
	m.registry.MustRegister(m.reconcile, m.tasks, m.phases, m.envs, m.api, build, snapshotMetrics{state},
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Handler serves the metrics in Prometheus' format.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// Reconciled counts a spec that the reconciler has judged.
func (m *Metrics) Reconciled(r reconcile.Result) {
	result := "rejected"
	switch {
	case r.Unchanged:
		result = "unchanged"
	case r.Accepted:
		result = "accepted"
	}
	m.reconcile.WithLabelValues(result).Inc()
}

// Transport counts the requests that go through next.
func (m *Metrics) Transport(next http.RoundTripper) http.RoundTripper { return counting{next, m.api} }

type counting struct {
	next  http.RoundTripper
	total *prometheus.CounterVec
}

func (c counting) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := c.next.RoundTrip(r)
	code := 0
	if err == nil {
		code = resp.StatusCode
	}
	c.total.WithLabelValues(strconv.Itoa(code)).Inc()
	return resp, err
}

// CloseIdleConnections is what http.Client looks for in its transport.
func (c counting) CloseIdleConnections() {
	if t, ok := c.next.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}

// ended names one run of a task: the same task may run here again.
type ended struct {
	task string
	at   time.Time
}

// Run counts the tasks that end until ctx ends. Those that had ended before are
// of an earlier agent, which has counted them.
func (m *Metrics) Run(ctx context.Context, state State) error {
	var seen map[ended]bool
	for snap := range state.Watch(ctx) {
		now := map[ended]bool{}
		for _, t := range snap.Tasks {
			if t.Ended.IsZero() || active(snap, t.ID) {
				continue
			}
			run := ended{t.ID, t.Ended}
			now[run] = true
			if seen != nil && !seen[run] {
				m.count(snap, t)
			}
		}
		seen = now
	}
	return nil
}

func (m *Metrics) count(snap *reconcile.Snapshot, t reconcile.TaskStatus) {
	m.tasks.WithLabelValues(t.Queue, outcome(t)).Inc()
	for _, p := range t.Times {
		m.phases.WithLabelValues(p.Name).Observe(p.Took.Seconds())
	}
	if !t.Started.IsZero() {
		m.phases.WithLabelValues("run").Observe(t.Ended.Sub(t.Started).Seconds())
	}
	if t.Environment != "" {
		m.envs.WithLabelValues(manager(snap, t.Worker), t.Environment).Inc()
	}
}

// outcome tells what the task did from what was done to it. The reasons are those
// that the worker reports.
func outcome(t reconcile.TaskStatus) string {
	switch {
	case t.Reason == "agent lost":
		return "agent_lost"
	case t.Reason == "time limit reached":
		return "timeout"
	case t.Status == "stopped":
		return "aborted"
	}
	return t.Status
}

func manager(snap *reconcile.Snapshot, worker string) string {
	for _, w := range snap.Workers {
		if w.Name == worker {
			return w.Spec.PackageManager.Type
		}
	}
	return "unknown" // the worker is gone
}
