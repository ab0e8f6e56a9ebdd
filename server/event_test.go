package server

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// lines makes a batch body.
func batchOf(events ...m) string {
	var b strings.Builder
	for _, e := range events {
		data, _ := json.Marshal(e)
		b.Write(data)
		b.WriteByte('\n')
	}
	return b.String()
}

func msgs(reply map[string]any) []string {
	out := []string{}
	for _, e := range reply["events"].([]any) {
		out = append(out, e.(map[string]any)["msg"].(string))
	}
	return out
}

func TestAddBatch(t *testing.T) {
	s := newServer(t)
	id := s.newTask("events")
	for name, tc := range map[string]struct {
		body      string
		code, sub int
		msg       string
		added     float64
	}{
		"empty":              {"", 400, 17, "", 0},
		"no JSON":            {"{", 400, 0, "", 0},
		"unknown task":       {`{"type":"log","task":"nope","msg":"x"}`, 400, 131, "Events not added: Invalid task id nope=1", 0},
		"unknown type":       {batchOf(m{"type": "what", "task": id}), 400, 131, "", 0},
		"no task":            {`{"type":"log","msg":"x"}`, 400, 131, "", 0},
		"value is no number": {batchOf(m{"type": "training_stats_scalar", "task": id, "metric": "m", "variant": "v", "iter": 1, "value": "abc"}), 400, 131, "", 0},
		"not an object":      {"5\n\"x\"\nnull", 400, 131, "", 0},
		"one of two":         {batchOf(m{"type": "log", "task": id, "msg": "x"}, m{"type": "log", "task": "nope"}), 200, 0, "", 1},
		"a list":             {"[" + batchOf(m{"type": "log", "task": id, "msg": "x"}) + "]", 200, 0, "", 1},
		"time as text":       {batchOf(m{"type": "log", "task": id, "msg": "x", "timestamp": "5"}), 200, 0, "", 1},
		"time with a point":  {batchOf(m{"type": "log", "task": id, "msg": "x", "timestamp": 5.0}), 200, 0, "", 1},
	} {
		a := s.do("events.add_batch", tc.body)
		if a.Code != tc.code || a.Sub != tc.sub || tc.msg != "" && a.Msg != tc.msg {
			t.Errorf("%s: %d/%d %s", name, a.Code, a.Sub, a.Msg)
		}
		if tc.code == 200 {
			if _, ok := a.Data["errors_info"].(map[string]any); !ok || a.Data["added"] != tc.added {
				t.Errorf("%s: %v", name, a.Data)
			}
		}
	}
}

func TestEventsOfPublishedTasks(t *testing.T) {
	s := newServer(t)
	published, completed := s.inState("published"), s.inState("completed")
	event := m{"type": "log", "task": published, "msg": "x"}
	if a := s.do("events.add_batch", batchOf(event)); a.Code != 400 || a.Sub != 131 {
		t.Errorf("published: %+v", a)
	}
	event["allow_locked"] = true
	if a := s.do("events.add_batch", batchOf(event)); a.Code != 200 {
		t.Errorf("published with allow_locked: %+v", a)
	}
	if a := s.do("events.add_batch", batchOf(m{"type": "log", "task": completed, "msg": "x"})); a.Code != 200 {
		t.Errorf("completed: %+v", a)
	}
}

// A console is read in the order it was written, in pages of any size, in both
// directions, by all versions of the call.
func TestLogOrder(t *testing.T) {
	s := newServer(t)
	rapid.Check(t, func(rt *rapid.T) {
		id := s.newTask("console")
		var want []string
		ts := int64(1000)
		for range rapid.IntRange(1, 4).Draw(rt, "batches") {
			var events []m
			for range rapid.IntRange(1, 15).Draw(rt, "lines") {
				ts += int64(rapid.IntRange(0, 2).Draw(rt, "gap")) // several may share a time
				want = append(want, fmt.Sprint("line ", len(want)))
				events = append(events, m{"type": "log", "task": id, "msg": want[len(want)-1], "timestamp": ts, "worker": "w"})
			}
			if a := s.do("events.add_batch", batchOf(events...)); a.Code != 200 {
				rt.Fatal(a)
			}
		}
		size := rapid.IntRange(1, 9).Draw(rt, "page")
		for _, back := range []bool{false, true} {
			if got := s.pages(id, size, back); !slices.Equal(got, want) {
				rt.Fatalf("pages of %d, back %v: %v, want %v", size, back, got, want)
			}
		}
		if got := s.scrolled(id, size); !slices.Equal(got, want) {
			rt.Fatalf("scrolled by %d: %v", size, got)
		}
		tail := s.call("v1.7/events.get_task_log", m{"task": id, "from": "tail", "order": "asc", "batch_size": size})
		if got := msgs(tail); !slices.Equal(got, want[max(0, len(want)-size):]) {
			rt.Fatalf("tail of %d: %v", size, got)
		}
		if tail["total"] != float64(len(want)) {
			rt.Fatalf("total %v", tail["total"])
		}
	})
}

// pages reads a console page by page and gives it in order.
func (s *testServer) pages(id string, size int, back bool) []string {
	var all []string
	req := m{"task": id, "batch_size": size, "navigate_earlier": back}
	for {
		reply := s.call("events.get_task_log", req)
		events := reply["events"].([]any)
		if len(events) == 0 {
			if back {
				slices.Reverse(all)
			}
			return all
		}
		all = append(all, msgs(reply)...)
		req["from_timestamp"] = events[len(events)-1].(map[string]any)["timestamp"]
	}
}

func (s *testServer) scrolled(id string, size int) []string {
	var all []string
	req := m{"task": id, "batch_size": size, "order": "asc"}
	for {
		reply := s.call("v1.5/events.get_task_log", req)
		if len(reply["events"].([]any)) == 0 {
			return all
		}
		all = append(all, msgs(reply)...)
		req["scroll_id"] = reply["scroll_id"]
	}
}

func TestScalars(t *testing.T) {
	s := newServer(t)
	id := s.newTask("scalars")
	point := func(variant string, iter int, value float64) m {
		return m{"type": "training_stats_scalar", "task": id, "metric": "loss", "variant": variant, "iter": iter, "value": value, "timestamp": 1000 + iter}
	}
	s.do("events.add_batch", batchOf(point("train", 0, 4), point("train", 2, 1), point("train", 1, 3), point("train", 1, 7), point("test", 5, 2),
		m{"type": "training_stats_scalar", "task": id, "metric": "Summary", "variant": "final", "iter": singleIter, "value": 42}))

	got := s.call("events.scalar_metrics_iter_histogram", m{"task": id})
	if text := fmt.Sprint(got); text != "map[loss:map[test:map[name:test x:[5] y:[2]] train:map[name:train x:[0 1 2] y:[4 7 1]]]]" {
		t.Errorf("curves: %s", text)
	}
	byTime := s.call("events.scalar_metrics_iter_histogram", m{"task": id, "key": "timestamp", "metrics": []m{{"metric": "loss", "variants": []string{"test"}}}})
	if text := fmt.Sprint(byTime); text != "map[loss:map[test:map[name:test x:[1005] y:[2]]]]" {
		t.Errorf("by time: %s", text)
	}
	last := s.task(id)["last_metrics"].(map[string]any)[metricKey("loss")].(map[string]any)[metricKey("train")].(map[string]any)
	for k, want := range (m{"value": 1.0, "min_value": 1.0, "min_value_iteration": 2.0, "max_value": 7.0, "max_value_iteration": 1.0, "first_value": 4.0, "metric": "loss", "variant": "train"}) {
		if last[k] != want {
			t.Errorf("last_metrics %s = %v, want %v", k, last[k], want)
		}
	}
	if it := s.task(id)["last_iteration"]; it != 5.0 {
		t.Errorf("last_iteration %v", it)
	}
	single := s.call("events.get_task_single_value_metrics", m{"tasks": []string{id}})["tasks"].([]any)[0].(map[string]any)["values"].([]any)[0].(map[string]any)
	if single["variant"] != "final" || single["value"] != 42.0 {
		t.Errorf("single value %v", single)
	}
	latest := s.call("events.get_task_latest_scalar_values", m{"task": id})["metrics"].([]any)
	if len(latest) != 2 {
		t.Errorf("latest %v", latest)
	}
}

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

func TestSamples(t *testing.T) {
	s := newServer(t)
	id := s.newTask("plots")
	plot := func(iter int, text string) m {
		return m{"type": "plot", "task": id, "metric": "m", "variant": "v", "iter": iter, "plot_str": text, "timestamp": 1}
	}
	s.do("events.add_batch", batchOf(plot(0, "old"), plot(0, "new"), plot(1, "next"),
		m{"type": "training_debug_image", "task": id, "metric": "img", "variant": "a", "iter": 3, "url": "http://f/x.png"}))
	plots := s.call("events.get_task_plots", m{"task": id, "iters": 5})["plots"].([]any)
	if len(plots) != 2 || plots[0].(map[string]any)["plot_str"] != "next" || plots[1].(map[string]any)["plot_str"] != "new" {
		t.Errorf("plots %v", plots)
	}
	images := s.call("events.debug_images", m{"metrics": []m{{"task": id}}, "iters": 2})["metrics"].([]any)[0].(map[string]any)
	if images["task"] != id || len(images["iterations"].([]any)) != 1 {
		t.Errorf("images %v", images)
	}
}

func TestClearTaskLog(t *testing.T) {
	s := newServer(t)
	id, other := s.newTask("cleared"), s.newTask("kept")
	var events []m
	for range purgeRows + 5 {
		events = append(events, m{"type": "log", "task": id, "msg": "x"})
	}
	s.do("events.add_batch", batchOf(append(events, m{"type": "log", "task": other, "msg": "y"})...))
	if got := s.call("events.clear_task_log", m{"task": id}); got["deleted"] != float64(purgeRows+5) {
		t.Error(got)
	}
	for task, want := range map[string]float64{id: 0, other: 1} {
		if got := s.call("events.get_task_log", m{"task": task}); got["total"] != want || got["returned"] != want {
			t.Errorf("%v events left, want %v", got["total"], want)
		}
	}
}
