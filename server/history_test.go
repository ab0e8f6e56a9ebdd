package server

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// download reads a console as text.
func (s *testServer) download(req string) (string, int) {
	s.t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/events.download_task_log", strings.NewReader(req))
	r.Header.Set("Authorization", "Bearer "+s.token)
	w := httptest.NewRecorder()
	s.api.ServeHTTP(w, r)
	return w.Body.String(), w.Code
}

func TestDownloadOfAConsole(t *testing.T) {
	s := newServer(t)
	id := s.newTask("console")
	var events []m
	for i := range 2500 { // more than a page
		events = append(events, m{"type": "log", "task": id, "msg": fmt.Sprint("line ", i), "timestamp": 1000 + i, "worker": "w", "level": "DEBUG"})
	}
	s.do("events.add_batch", batchOf(events...))
	text, _ := s.download(`{"task": "` + id + `", "line_type": "text", "line_format": "{{{asctime}}} {level} {msg}"}`)
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if len(lines) != 2500 || lines[0] != "{1000} DEBUG line 0" || lines[2499] != "{3499} DEBUG line 2499" {
		t.Errorf("%d lines: %.200q", len(lines), text)
	}
	text, _ = s.download(`{"task": "` + id + `"}`)
	if first, _, _ := strings.Cut(text, "\n"); !strings.Contains(first, `"asctime":1000`) || !strings.Contains(first, `"msg":"line 0"`) {
		t.Errorf("as JSON: %.200q", first)
	}
	for _, format := range []string{"", "{what}", "{msg!r}", "{"} {
		if _, code := s.download(`{"task": "` + id + `", "line_type": "text", "line_format": "` + format + `"}`); code != 400 {
			t.Errorf("format %q: %d", format, code)
		}
	}
}

// A line of the time 0 is read once, not again and again.
func TestConsoleOfTimeZero(t *testing.T) {
	s := newServer(t)
	id := s.newTask("console")
	s.do("events.add_batch", batchOf(m{"type": "log", "task": id, "msg": "only", "timestamp": 0}))
	req := m{"task": id, "order": "asc"}
	for _, want := range []float64{1, 0} {
		reply := s.call("v1.5/events.get_task_log", req)
		if req["scroll_id"] = reply["scroll_id"]; reply["returned"] != want {
			t.Fatalf("%v lines, want %v", reply["returned"], want) // a download would not end
		}
	}
	if text, _ := s.download(`{"task": "` + id + `", "line_type": "text", "line_format": "{msg}"}`); text != "only\n" {
		t.Errorf("got %q", text)
	}
}

// Of each plot the newest iterations are kept, and the console says that others go.
func TestOldPlotsGo(t *testing.T) {
	s := newServer(t)
	id := s.newTask("plots")
	plot := func(metric string, iters ...int) {
		t.Helper()
		var events []m
		for _, i := range iters {
			events = append(events, m{"type": "plot", "task": id, "metric": metric, "variant": "v", "iter": i, "plot_str": "{}", "timestamp": 1})
		}
		s.do("events.add_batch", batchOf(events...))
	}
	var all []int
	for i := range keptIters {
		all = append(all, i)
	}
	plot("m", all...)
	plot("n", 1)
	total := func(want float64) {
		t.Helper()
		if got := s.call("events.get_task_events", m{"task": id, "event_type": "plot"})["total"]; got != want {
			t.Errorf("%v plots, want %v", got, want)
		}
	}
	total(keptIters + 1)
	if got := msgs(s.call("events.get_task_log", m{"task": id})); len(got) != 0 {
		t.Errorf("nothing is gone yet: %q", got)
	}
	plot("m", keptIters, keptIters+1)
	plot("m", keptIters+2, 0) // the last is older than what is kept
	total(keptIters + 1)
	got := s.call("events.get_plot_sample", m{"task": id, "metric": "m"})
	if got["min_iteration"] != 3.0 || got["max_iteration"] != keptIters+2.0 {
		t.Errorf("kept from %v to %v", got["min_iteration"], got["max_iteration"])
	}
	if got := msgs(s.call("events.get_task_log", m{"task": id})); len(got) != 1 || !strings.Contains(got[0], "newest 1000 iterations are kept") {
		t.Errorf("console: %q", got)
	}
}

// The events of a deleted model leave the store.
func TestEventsOfADeletedModelGo(t *testing.T) {
	s := newServer(t)
	id := s.call("models.create", m{"name": "model", "uri": "u"})["id"]
	s.do("events.add_batch", batchOf(m{"type": "training_stats_scalar", "task": id, "model_event": true, "metric": "m", "variant": "v", "iter": 1, "value": 1}))
	s.call("models.delete", m{"model": id})
	eventually(t, "no scalar is left", func() bool {
		n := 0
		_, err := s.store.read.one(`SELECT count(*) FROM scalar`, nil, &n)
		return err == nil && n == 0
	})
}

// A task's token reports for the models of its own task, not for others.
func TestModelEventsOfAToken(t *testing.T) {
	s := newServer(t)
	task := s.newTask("own")
	own := s.call("models.create", m{"name": "own", "uri": "u", "task": task})["id"]
	foreign := s.call("models.create", m{"name": "foreign", "uri": "u"})["id"]
	token := s.call("auth.task_token", m{"task": task})["token"].(string)
	event := func(model any) string {
		return batchOf(m{"type": "plot", "task": model, "model_event": true, "metric": "m", "variant": "v", "iter": 1, "plot_str": "{}"})
	}
	if a := s.as(token).do("events.add_batch", event(own)); a.Code != 200 {
		t.Errorf("its own: %+v", a)
	}
	if a := s.as(token).do("events.add_batch", event(foreign)); a.Code != 400 || a.Sub != 131 {
		t.Errorf("another's: %+v", a)
	}
	s.as(token).refused(403, 20, "models.update_for_task", m{"task": task, "override_model_id": foreign, "uri": "http://evil"})
	s.as(token).call("models.update_for_task", m{"task": task, "override_model_id": own, "uri": "http://f/new"})
	for _, action := range []string{"projects.move", "projects.merge", "projects.delete", "queues.clear_queue"} {
		s.as(token).refused(403, 20, action, m{})
	}
}

// A delete names the files that images and plots show: nobody else knows them.
func TestFilesOfEvents(t *testing.T) {
	s := newServer(t)
	id := s.newTask("files")
	s.do("events.add_batch", batchOf(
		m{"type": "training_debug_image", "task": id, "metric": "m", "variant": "v", "iter": 1, "url": "http://files/a.png"},
		m{"type": "plot", "task": id, "metric": "p", "variant": "v", "iter": 1, "plot_str": `{"layout": {"images": [{"source": "http://files/b.png"}]}}`},
	))
	urls := s.call("tasks.delete", m{"task": id, "return_file_urls": true})["urls"].(map[string]any)
	if got := fmt.Sprint(urls["event_urls"]); got != "[http://files/a.png http://files/b.png]" {
		t.Error(got)
	}
}
