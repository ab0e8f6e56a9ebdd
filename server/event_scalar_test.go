package server

import (
	"fmt"
	"math"
	"strings"
	"testing"
)

func TestScalarsAreThinned(t *testing.T) {
	s := newServer(t)
	id := s.newTask("long curve")
	var events []m
	for i := range 1000 {
		events = append(events, m{"type": "training_stats_scalar", "task": id, "metric": "m", "variant": "v", "iter": i, "value": 1, "timestamp": i})
	}
	s.do("events.add_batch", batchOf(events...))
	got := s.call("events.scalar_metrics_iter_histogram", m{"task": id, "samples": 100})["m"].(map[string]any)["v"].(map[string]any)
	if n := len(got["x"].([]any)); n != 100 || len(got["y"].([]any)) != n {
		t.Errorf("%d points", n)
	}
	// Unthinned, in pages.
	var x []any
	req := m{"task": id, "metric": m{"metric": "m"}, "batch_size": 300}
	for {
		reply := s.call("events.scalar_metrics_iter_raw", req)
		if reply["returned"] == 0.0 {
			break
		}
		x = append(x, reply["variants"].(map[string]any)["v"].(map[string]any)["iter"].([]any)...)
		req["scroll_id"] = reply["scroll_id"]
	}
	if len(x) != 1000 || x[999] != 999.0 {
		t.Errorf("%d raw points", len(x))
	}
}

// The largest numbers have a mean, which a reply can hold.
func TestLargestScalars(t *testing.T) {
	s := newServer(t)
	id := s.newTask("curve")
	var events []m
	for i, v := range []float64{math.MaxFloat64, -math.MaxFloat64, math.MaxFloat64, math.MaxFloat64} {
		events = append(events, m{"type": "training_stats_scalar", "task": id, "metric": "m", "variant": "v", "iter": i, "value": v})
	}
	if a := s.do("events.add_batch", batchOf(events...)); a.Code != 200 {
		t.Fatal(a)
	}
	last := s.task(id)["last_metrics"].(map[string]any)[metricKey("m")].(map[string]any)[metricKey("v")].(map[string]any)
	curve := s.call("events.scalar_metrics_iter_histogram", m{"task": id, "samples": 1})["m"].(map[string]any)["v"].(map[string]any)
	for name, mean := range map[string]any{"last_metrics": last["mean_value"], "a thinned curve": curve["y"].([]any)[0]} {
		if diff := mean.(float64)/math.MaxFloat64 - 0.5; math.Abs(diff) > 1e-9 {
			t.Errorf("mean of %s: %v", name, mean)
		}
	}
}

// Pages have every point once, whatever the order of variants in names and in time.
func TestRawScalarsInPages(t *testing.T) {
	s := newServer(t)
	id := s.newTask("curves")
	var events []m
	for _, variant := range []string{"b", "c", "a"} {
		for i := range 5 {
			events = append(events, m{"type": "training_stats_scalar", "task": id, "metric": "m", "variant": variant, "iter": i, "value": i})
		}
	}
	s.do("events.add_batch", batchOf(append(events, events[0])...)) // the last replaces a point
	got := map[string]int{}
	req := m{"task": id, "metric": m{"metric": "m"}, "batch_size": 4, "count_total": true}
	for range 10 {
		reply := s.call("events.scalar_metrics_iter_raw", req)
		if reply["total"] != 15.0 {
			t.Errorf("total %v", reply["total"])
		}
		for variant, points := range reply["variants"].(map[string]any) {
			got[variant] += len(points.(map[string]any)["y"].([]any))
		}
		req["scroll_id"] = reply["scroll_id"]
	}
	if got["a"] != 5 || got["b"] != 5 || got["c"] != 5 {
		t.Errorf("points by variant: %v", got)
	}
}

// Scalars as events, forward and backward.
func TestScalarEventsInPages(t *testing.T) {
	s := newServer(t)
	id := s.newTask("curves")
	var events []m
	for _, variant := range []string{"b", "a"} {
		for i := range 5 {
			events = append(events, m{"type": "training_stats_scalar", "task": id, "metric": "m", "variant": variant, "iter": i - 2, "value": i})
		}
	}
	s.do("events.add_batch", batchOf(events...))
	for order, want := range map[string]string{"": "b-2 b-1 b0 b1 b2 a-2 a-1 a0 a1 a2", "desc": "a2 a1 a0 a-1 a-2 b2 b1 b0 b-1 b-2"} {
		var got []string
		req := m{"task": id, "event_type": "training_stats_scalar", "order": order, "batch_size": 4}
		for range 4 {
			reply := s.call("events.get_task_events", req)
			for _, e := range reply["events"].([]any) {
				got = append(got, fmt.Sprint(e.(m)["variant"], e.(m)["iter"]))
			}
			req["scroll_id"] = reply["scroll_id"]
		}
		if strings.Join(got, " ") != want {
			t.Errorf("order %q: %v", order, got)
		}
	}
}
