package control

import (
	"github.com/prometheus/client_golang/prometheus"

	"agentctl/reconcile"
)

// snapshotMetrics reads its figures from the snapshot when they are asked for.
type snapshotMetrics struct{ state State }

var (
	lastApplied = prometheus.NewDesc("agentctl_config_last_applied_timestamp_seconds",
		"When the spec in force was accepted.", []string{"revision"}, nil)
	lastAttempt = prometheus.NewDesc("agentctl_config_last_attempt_success",
		"1 if the spec that was last read is the one in force, 0 if it was refused.", nil, nil)
	workersByState = prometheus.NewDesc("agentctl_workers",
		"Workers of this node by what they do.", []string{"state"}, nil)
	tasksRunning = prometheus.NewDesc("agentctl_tasks_running",
		"Tasks that a worker has now, whether they run yet or not.", nil, nil)
	ready = prometheus.NewDesc("agentctl_ready",
		"1 if the node is as its spec wants it.", nil, nil)
	suspended = prometheus.NewDesc("agentctl_suspended",
		"1 if the source of the spec is not followed, by reason: Suspended, RolledBack, Trying or Reverted; else 0 without one.", []string{"reason"}, nil)
	serverReachable = prometheus.NewDesc("agentctl_server_reachable",
		"1 if the ClearML server answers.", nil, nil)
)

func (snapshotMetrics) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{lastApplied, lastAttempt, workersByState, tasksRunning, ready, suspended, serverReachable} {
		to <- d
	}
}

func (m snapshotMetrics) Collect(to chan<- prometheus.Metric) {
	snap := m.state.Snapshot()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	if snap.LastApplied.Digest != "" {
		gauge(lastApplied, float64(snap.LastApplied.Time.UnixMilli())/1000, snap.LastApplied.Digest)
	}
	gauge(lastAttempt, truth(holds(snap, reconcile.SpecAccepted)))
	gauge(ready, truth(holds(snap, reconcile.Ready)))
	why := ""
	if snap.Suspension != nil {
		why = snap.Suspension.Reason
	}
	gauge(suspended, truth(snap.Suspension != nil), why)
	gauge(serverReachable, truth(snap.Server.Reachable))
	states := map[reconcile.WorkerState]int{
		reconcile.StateIdle: 0, reconcile.StateLeasing: 0, reconcile.StatePreparing: 0, reconcile.StateRunning: 0,
	}
	tasks := 0
	for _, w := range snap.Workers {
		states[w.State]++
		if w.Task != nil {
			tasks++
		}
	}
	for state, n := range states {
		gauge(workersByState, float64(n), string(state))
	}
	gauge(tasksRunning, float64(tasks))
}

func holds(snap *reconcile.Snapshot, condition string) bool {
	c, ok := snap.Condition(condition)
	return ok && c.Status == "True"
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
