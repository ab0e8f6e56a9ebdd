package control

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"agentctl/reconcile"
)

// values finds the lines of the metrics that begin so.
func values(t *testing.T, c *Client, beginnings ...string) string {
	t.Helper()
	_, text := get200(t, c, "/metrics")
	var found []string
	for line := range strings.Lines(text) {
		for _, b := range beginnings {
			if strings.HasPrefix(line, b) {
				found = append(found, strings.TrimSpace(line))
			}
		}
	}
	return strings.Join(found, "\n")
}

func TestMetricsOfTheSnapshot(t *testing.T) {
	n := newNode(worker("a/0", "a", "t1"), worker("a/1", "a", ""))
	n.snap.LastApplied = reconcile.Revision{Digest: "d1", Time: time.UnixMilli(1500)}
	n.snap.Conditions = []reconcile.Condition{{Type: reconcile.SpecAccepted, Status: "True"}}
	c, _ := serve(t, n)
	want := `agentctl_build_info{goversion=`
	if got := values(t, c, "agentctl_build_info"); !strings.HasPrefix(got, want) || !strings.Contains(got, `version="test"} 1`) {
		t.Errorf("%s", got)
	}
	want = `agentctl_config_last_applied_timestamp_seconds{revision="d1"} 1.5
agentctl_config_last_attempt_success 1
agentctl_tasks_running 1
agentctl_workers{state="idle"} 1
agentctl_workers{state="leasing"} 0
agentctl_workers{state="preparing"} 0
agentctl_workers{state="running"} 1`
	if got := values(t, c, "agentctl_config", "agentctl_workers", "agentctl_tasks_running"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestTasksAreCountedWhenTheyEnd(t *testing.T) {
	n := newNode(worker("a/0", "a", ""))
	at := time.UnixMilli(1000)
	task := func(id, status, reason string) reconcile.TaskStatus {
		return reconcile.TaskStatus{
			ID: id, Worker: "a/0", Queue: "q", Status: status, Reason: reason, Environment: "hit",
			Started: at, Ended: at.Add(2 * time.Second), Times: []reconcile.PhaseTime{{Name: "prepare", Took: time.Second}},
		}
	}
	n.snap.Tasks = []reconcile.TaskStatus{task("before", "completed", "")}
	m := NewMetrics("test", n)
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	state := &counted{State: n, ready: make(chan struct{}, 100)}
	go func() { ran <- m.Run(ctx, state) }()
	<-state.ready
	s := snapshot(worker("a/0", "a", ""))
	s.Tasks = []reconcile.TaskStatus{
		task("before", "completed", ""), task("1", "completed", ""), task("2", "failed", "exit code 1"),
		task("3", "failed", "time limit reached"), task("4", "stopped", "by an operator"), task("5", "stopped", "agent lost"),
	}
	n.set(s)
	<-state.ready
	n.set(s) // the same again must not count twice
	<-state.ready
	cancel()
	if err := <-ran; err != nil {
		t.Error(err)
	}
	got := gather(t, m)
	for _, want := range []string{
		`agentctl_tasks_total{outcome="aborted",queue="q"} 1`, `agentctl_tasks_total{outcome="agent_lost",queue="q"} 1`,
		`agentctl_tasks_total{outcome="completed",queue="q"} 1`, `agentctl_tasks_total{outcome="failed",queue="q"} 1`,
		`agentctl_tasks_total{outcome="timeout",queue="q"} 1`, `agentctl_env_cache_requests_total{manager="pip",result="hit"} 5`,
		`agentctl_task_phase_seconds_sum{phase="prepare"} 5`, `agentctl_task_phase_seconds_sum{phase="run"} 10`,
	} {
		if !strings.Contains(got, want+"\n") {
			t.Errorf("%s is not in\n%s", want, got)
		}
	}
}

// counted tells after each snapshot that it has been dealt with.
type counted struct {
	State
	ready chan struct{}
}

func (c *counted) Watch(ctx context.Context) <-chan *reconcile.Snapshot {
	out := make(chan *reconcile.Snapshot)
	go func() {
		defer close(out)
		for s := range c.State.Watch(ctx) {
			for range 2 { // taking the second means that the first is dealt with
				select {
				case out <- s:
				case <-ctx.Done():
					return
				}
			}
			c.ready <- struct{}{}
		}
	}()
	return out
}

func gather(t *testing.T, m *Metrics) string {
	t.Helper()
	w := &recorder{header: http.Header{}}
	m.Handler().ServeHTTP(w, &http.Request{Method: http.MethodGet, Header: http.Header{}})
	return w.body.String()
}

type recorder struct {
	header http.Header
	body   strings.Builder
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) Write(p []byte) (int, error) { return r.body.Write(p) }
func (r *recorder) WriteHeader(int)             {}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestRequestsAndSpecsAreCounted(t *testing.T) {
	m := NewMetrics("test", newNode())
	answers := []int{200, 200, 401, 0}
	transport := m.Transport(roundTrip(func(*http.Request) (*http.Response, error) {
		code := answers[0]
		if answers = answers[1:]; code == 0 {
			return nil, errors.New("refused")
		}
		return &http.Response{StatusCode: code, Body: http.NoBody}, nil
	}))
	for range 4 {
		if resp, err := transport.RoundTrip(&http.Request{}); err == nil {
			_ = resp.Body.Close()
		}
	}
	m.Reconciled(reconcile.Result{Accepted: true})
	m.Reconciled(reconcile.Result{Accepted: true, Unchanged: true})
	m.Reconciled(reconcile.Result{})
	got := gather(t, m)
	for _, want := range []string{
		`agentctl_api_requests_total{code="200"} 2`, `agentctl_api_requests_total{code="401"} 1`, `agentctl_api_requests_total{code="0"} 1`,
		`agentctl_reconcile_total{result="accepted"} 1`, `agentctl_reconcile_total{result="unchanged"} 1`, `agentctl_reconcile_total{result="rejected"} 1`,
	} {
		if !strings.Contains(got, want+"\n") {
			t.Errorf("%s is not in\n%s", want, got)
		}
	}
}

func TestGPUsAreCounted(t *testing.T) {
	m := NewMetrics("test", newNode())
	m.CountGPUs(func() GPUs {
		return GPUs{GPUs: []GPU{
			{Device: "0", Holders: []GPUHolder{{Slot: "0", Worker: "a/0", Task: "t"}}}, {Device: "1", Holders: []GPUHolder{{Slot: "1", Worker: "a/1"}}},
			{Device: "2"}, {Device: "3", Problem: "lost"},
		}}
	})
	text := gather(t, m)
	for _, want := range []string{`agentctl_gpus{state="held"} 1`, `agentctl_gpus{state="free"} 2`, `agentctl_gpus{state="broken"} 1`} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is missing in\n%s", want, text)
		}
	}
}
