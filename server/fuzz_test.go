package server

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/samber/lo"
)

// hostileBodies are what requests are tried with; what they name exists.
func hostileBodies(s *testServer, q string) []string {
	id := s.newTask("victim")
	p := s.call("projects.create", m{"name": "project of " + q, "description": ""})["id"].(string)
	model := s.call("models.create", m{"name": "victim", "uri": "u", "task": id, "project": p})["id"].(string)
	place := base64.RawURLEncoding.EncodeToString([]byte(`{"t":"` + id + `","m":"m","i":9223372036854775807,"f":true}`))
	return []string{
		`{"model":"` + model + `"}`, `{"ids":["` + model + `","` + model + `"],"publish_task":true,"force_publish_task":true,"force":true}`, `{"ids":["` + model + `"],"project":5}`, `{"ids":["` + model + `"],"project":null}`,
		`{"ids":["` + model + `"],"add_tags":["a",null],"remove_tags":[]}`, `{"ids":` + manyOf(id) + `,"project_name":"a/b"}`, `{"model":"` + model + `","metadata":[{"key":"a"},null,5]}`,
		`{"project":"` + p + `"}`, `{"project":"` + p + `","destination_project":"` + p + `"}`, `{"project":"` + p + `","new_location":"////"}`, `{"project":"` + p + `","new_location":"a/` + strings.Repeat("b/", 90) + `"}`,
		`{"project":"` + p + `","page":9223372036854775807,"page_size":-5,"tasks_state":{}}`, `{"projects":["` + p + `","__$not"],"section":"\u0000","name":"\"","key":"$[","pattern":"("}`, `{"project":"` + p + `","ids":["` + id + `"],"force":true,"delete_contents":true}`,
		`{"task":"` + model + `","model_events":true,"metric":"m","variant":"v"}`, `{"tasks":["` + model + `"],"model_events":true,"iters":-1}`, `{"metrics":[{"task":"` + model + `"},{"task":"` + id + `"}],"model_events":true}`,
		`{"type":"plot","model":"` + model + `","model_event":true,"plot_str":"x"}` + "\n" + `{"type":"training stats scalar","task":"` + model + `","model_event":true,"value":1,"iter":-9223372036854775808}`,
		`{"type":"training_debug_image","task":"` + id + `","metric":"m","url":5}` + "\n" + `{"type":"training_debug_image","task":"` + id + `","metric":"m","url":"u","iter":1}`,
		`{"task":"` + id + `","metric":"m","variant":"","scroll_id":"` + place + `"}`, `{"task":"` + id + `","scroll_id":"` + place + `","navigate_earlier":false}`, `{"task":"` + id + `","scroll_id":"e30","next_iteration":true}`,
		`{"task":"` + id + `","metric":"m","variant":"v","iteration":-9223372036854775808}`, `{"task":"` + id + `","line_type":"text","line_format":"{{{msg}}} {level!r}"}`, `{"task":"` + id + `","line_type":"text","line_format":"{msg}"}`,
		`{"task":"` + id + `","threshold_sec":9223372036854775807}`, `{"task":"` + id + `","threshold_sec":1}`, `{"task":"` + id + `","add_or_update":{"a":null,"b":{"c":[]}},"remove":["a"]}`,
		`{"task":"` + id + `","args":[{"name":"a"},{"name":"b","value":{"c":1}},null],"queue":"` + q + `"}`, `[{"task":"` + id + `","comment":"x"},null,5]`, `{"task":"` + id + `"}` + "\n[]\n[null]",
		`{"task":"` + id + `","models":{"input":[{"model":5},null,"x",{"model":"\u0000"}]},"force":true}`, `{"queue_ids":["` + q + `","nope"],"from_date":1,"to_date":4000,"interval":1}`,

		``, `{}`, `null`, `[]`, `5`, `"x"`, `{"task":null}`, `{"task":5}`, `{"task":{"a":1}}`, `{"task":"` + id + `"}`, `{"tasks":["` + id + `"]}`, `{"ids":["` + id + `"]}`,
		`{"queue":"` + q + `","task":"` + id + `"}`, `{"queue":"` + q + `","task":"` + id + `","count":-9223372036854775808}`,
		`{"task":"` + id + `","hyperparams":{"":{"":{}}},"configuration":{"a":null},"script":{"requirements":5},"execution":{"artifacts":5},"models":{"input":5},"tags":["\u0000"],"force":true}`,
		`{"task":"` + id + `","hyperparams":[{"section":"s","name":5},null],"force":true}`,
		`{"task":"` + id + `","artifacts":[{"key":"a"},null,{"key":null}],"force":true}`,
		`{"name":"aaaa","type":"training","project":"","parent":"","hyperparams":{"a":{"b":null}}}`,
		`{"name":"(","id":["a"],"only_fields":["script.a.b.c"],"order_by":["-last_update"],"page":0,"page_size":9999999999}`,
		`{"_any_":{"pattern":"a","fields":["name"]},"tags":["__$not","-"],"status_changed":[">=2026-01-01"]}`,
		`{"type":"log","task":"` + id + `","msg":"x","timestamp":1e400}`, `{"type":"log","task":"` + id + `","msg":"x","timestamp":1e15}`,
		`{"type":"training_stats_scalar","task":"` + id + `","metric":"m","variant":"v","iter":1e10,"value":1e308}`,
		`{"type":"plot","task":"` + id + `","plot_str":"x"}` + "\n" + `{"type":"training_debug_image","task":"` + id + `","metric":"m"}`,
		`{"task":"` + id + `","metric":{"metric":"m"},"scroll_id":"[1]","batch_size":-1}`, `{"task":"` + id + `","from_timestamp":"x"}`,
		`{"worker":"w","timestamp":"x","machine_stats":{"a":[]}}`, `{"worker":"w","queues":["` + q + `"],"timeout":-1}`,
		`{"model":"x","metadata":{"a":5}}`, `{"name":"m","uri":"u","metadata":[{"key":5}],"labels":null}`, `{"project":"x","name":"a//b"}`, `{"name":"////"}`,
		`{"order_by":` + manyOf("-created") + `}`, `{"order_by":` + manyOf("last_metrics."+strings.Repeat("a", 32)+"."+strings.Repeat("b", 32)+".value") + `}`,
		`{"tags":` + manyOf("__$and", "x") + `}`, `{"tags":` + manyOf("x", "-y") + `,"type":["__$or","__$not"],"status":["__$"]}`, `{"created":` + manyOf(">2020-01-01") + `}`,
		`{"_all_":{"pattern":"x","fields":` + manyOf("name") + `}}`, `{"_any_":{"pattern":"x","fields":["runtime.\"a","runtime..","hyperparams.$[0]"]}}`, `{"name":"a","tags":` + manyOf("__$not", "x") + `}`,
		`{"size":1,"scroll_id":"[-9223372036854775808,1]"}`, `{"size":9223372036854775807}`, `{"size":5,"scroll_id":"[9223372036854775807,1]"}`,
		`{"worker":"w","runtime_properties":[{"key":"k","value":"v","expiry":1e400}]}`, `{"worker":"w","timestamp":1,"machine_stats":{"cpu_usage":[1,null,1e308,1e308],"a":{"b":1},"":1}}`,
		`{"from_date":1,"to_date":1e300,"interval":9223372036854775807,"items":[{"key":"cpu_usage","category":"avg"}]}`, `{"from_date":1,"to_date":1000,"interval":1,"items":[{"key":"","category":"max"}]}`,
		`{"tasks":` + manyOf(id) + `,"task":"` + id + `","metric":"m","variant":"v"}`,
		`{"agentctl_wait_ms":1,"agentctl_since":9223372036854775807,"id":["` + q + `"]}`, `{"expiration_sec":9223372036854775807}`,
	}
}

// manyOf is a list that is longer than what a statement takes.
func manyOf(values ...string) string {
	data, _ := json.Marshal(slices.Repeat(values, 3000/len(values))) // strings always encode
	return string(data)
}

// attack sends a body to an endpoint: no panic, no 500, always an envelope.
func (s *testServer) attack(t *testing.T, name, body, query string) {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, "/"+name, strings.NewReader(body))
	r.URL.RawQuery = query
	r.Header.Set("Authorization", "Bearer "+s.token)
	w := httptest.NewRecorder()
	s.api.ServeHTTP(w, r)
	if w.Code == http.StatusOK && strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain") {
		return // a console as text
	}
	if a := readAnswer(t, w); a.Code >= 500 {
		t.Errorf("%s %q ? %q: %d/%d %s", name, body, query, a.Code, a.Sub, a.Msg)
	}
}

func endpointNames(s *testServer) []string {
	names := lo.Keys(newAPI(s.Server).endpoints)
	slices.Sort(names)
	return names
}

func TestEveryEndpointTakesAnyBody(t *testing.T) {
	s := newServer(t)
	for _, name := range endpointNames(s) {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // they share the disk's flushes
			sub := *s
			sub.t = t
			for _, body := range hostileBodies(&sub, sub.newQueue(name)) {
				sub.attack(t, name, body, "")
			}
		})
	}
}

func FuzzRequests(f *testing.F) {
	s := newServer(f)
	names := endpointNames(s)
	for i, body := range hostileBodies(s, s.newQueue("seed")) {
		f.Add(3*i, body, "")
	}
	f.Add(3, "", "task=a&task=b&page=x&force=1")
	f.Fuzz(func(t *testing.T, endpoint int, body, query string) {
		if strings.Contains(body+query, "agentctl_wait_ms") && !strings.Contains(body, `"agentctl_wait_ms":1,`) {
			t.Skip("would wait for long")
		}
		s.attack(t, names[uint(endpoint)%uint(len(names))], body, query)
	})
}

// FuzzEvents reads any batch of events.
func FuzzEvents(f *testing.F) {
	s := newServer(f)
	id := s.newTask("seed")
	for _, b := range []string{
		``, "\n\n", `{}`, `[[]]`, `{"task":"` + id + `"}`, `{"type":"log","task":"` + id + `","msg":"a\u0000b","timestamp":-5}`,
		`{"type":"training_stats_vector","task":"` + id + `","values":[1,2],"iter":"5"}`, `{"type":"log","task":"` + id + `"` + "\n", `nan`, `{"value":NaN}`,
		`{"type":"training_stats_scalar","task":"` + id + `","value":-0.0,"iter":-2147483648}`,
	} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, body string) {
		sub := *s
		sub.t = t
		if a := sub.do("events.add_batch", body); a.Code >= 500 {
			t.Errorf("%q: %d/%d %s", body, a.Code, a.Sub, a.Msg)
		}
	})
}

// FuzzChunk reads what lies on the disk, whatever it is, and gives back what was
// packed.
func FuzzChunk(f *testing.F) {
	f.Add([]byte{}, "w", "m", int64(1))
	f.Add(packLines([]logLine{{1, 2, "w", "l", "m"}, {3, 4, "", "", ""}}), "", "", int64(-5))
	f.Fuzz(func(t *testing.T, raw []byte, worker, msg string, ts int64) {
		if lines, err := unpackLines(string(raw)); err == nil && len(lines) > len(raw) {
			t.Errorf("%d lines of %d bytes", len(lines), len(raw))
		}
		_, _ = openChunk(raw)
		want := []logLine{{5, ts, worker, "DEBUG", msg}, {6, -ts, "", "", worker + msg}}
		if got, err := unpackLines(string(packLines(want))); err != nil || !slices.Equal(got, want) {
			t.Errorf("%v, %v: want %v", got, err, want)
		}
	})
}
