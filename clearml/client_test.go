package clearml

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestNewRefusesURLs(t *testing.T) {
	creds := func(context.Context) (Credentials, error) { return Credentials{}, nil }
	for _, url := range []string{"", "x", "ftp://h", "http://", "http://u:hunter2@h", "http://h?a=hunter2", "http://h/%zzhunter2"} {
		_, err := New(Config{URL: url, Credentials: creds})
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", url, err)
		}
	}
	if _, err := New(Config{URL: "http://h"}); err == nil {
		t.Error("no credentials: no error")
	}
}

// A read is repeated, a write whose answer is lost is not: a queue must not be
// popped twice.
func TestLostAnswers(t *testing.T) {
	f := newFake(t)
	c := f.client(nil)
	for _, action := range []string{"tasks.get_by_id", "queues.get_next_task", "events.add_batch"} {
		f.on(action, cutOff)
	}
	_, err := c.Task(t.Context(), "t")
	if n := len(f.of("tasks.get_by_id")); n < 4 || IsAmbiguous(err) || IsRefused(err) {
		t.Errorf("read: %d attempts, %v", n, err)
	}
	_, err = c.NextTask(t.Context(), "q", "t")
	if n := len(f.of("queues.get_next_task")); n != 1 || !IsAmbiguous(err) {
		t.Errorf("pop: %d attempts, %v", n, err)
	}
	err = c.AddEvents(t.Context(), []LogEvent{{Task: "t", Msg: "x"}})
	if n := len(f.of("events.add_batch")); n != 1 || !IsAmbiguous(err) {
		t.Errorf("events: %d attempts, %v", n, err)
	}
}

func TestReadComesThroughAtLast(t *testing.T) {
	f := newFake(t)
	var n atomic.Int32
	f.on("tasks.get_by_id", func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1) < 3 {
			cutOff(w, r)
		}
		ok(w, map[string]any{"task": map[string]any{"id": "t"}})
	})
	if task, err := f.client(nil).Task(t.Context(), "t"); err != nil || task.ID != "t" {
		t.Errorf("%v %v", task, err)
	}
}

// What a server turned away without looking at it is sent again, write or not.
func TestOverload(t *testing.T) {
	f := newFake(t)
	for _, code := range []int{429, 503} {
		var n atomic.Int32
		f.on("queues.get_next_task", func(w http.ResponseWriter, _ *http.Request) {
			if n.Add(1) < 3 {
				envelopeOf(w, code, 0, "maintenance", nil)
				return
			}
			ok(w, map[string]any{"entry": map[string]any{"task": "t"}})
		})
		if popped, err := f.client(nil).NextTask(t.Context(), "q", "t"); err != nil || popped != "t" {
			t.Errorf("%d: %v %v", code, popped, err)
		}
	}
}

func TestNobodyListens(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "http://" + l.Addr().String()
	_ = l.Close()
	c, err := New(Config{URL: url, Credentials: func(context.Context) (Credentials, error) {
		return Credentials{Token: token(time.Now(), time.Hour, 1)}, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	err = c.Started(t.Context(), "t", "", "", false)
	var u *Unreachable
	if !errors.As(err, &u) || u.Ambiguous {
		t.Errorf("got %v", err)
	}
}

func TestHostileReplies(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"no JSON":   func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) },
		"no meta":   func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"data":{}}`)) },
		"null meta": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"meta":null}`)) },
		"half a reply": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"meta":{"result_code":200},"da`))
		},
		"data is a list": func(w http.ResponseWriter, _ *http.Request) { ok(w, []int{1}) },
		"too long": func(w http.ResponseWriter, _ *http.Request) {
			chunk := []byte(strings.Repeat(" ", 1<<20))
			for range maxReply/len(chunk) + 2 {
				if _, err := w.Write(chunk); err != nil {
					return
				}
			}
		},
		"bad gateway": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "nginx", http.StatusBadGateway) },
		"a redirection": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://elsewhere/", http.StatusFound)
		},
	} {
		f := newFake(t)
		f.on("tasks.started", h)
		f.on("tasks.get_by_id", h)
		c := f.client(func(cfg *Config) { cfg.Attempts = 2 })
		err := c.Call(t.Context(), "tasks.started", nil, &struct{}{})
		if n := len(f.of("tasks.started")); !IsAmbiguous(err) || n != 1 {
			t.Errorf("write, %s: %d attempts, %v", name, n, err)
		}
		_, err = c.Task(t.Context(), "t")
		var u *Unreachable
		if n := len(f.of("tasks.get_by_id")); !errors.As(err, &u) || u.Ambiguous || n != 2 {
			t.Errorf("read, %s: %d attempts, %v", name, n, err)
		}
		if name == "a redirection" && !strings.Contains(err.Error(), "https://elsewhere/") {
			t.Errorf("the redirection is not named: %v", err)
		}
	}
}

func TestErrors(t *testing.T) {
	f := newFake(t)
	for _, tc := range []struct {
		code, sub                             int
		refused, gone, notFound, conflict, un bool
	}{
		{400, 101, true, true, true, false, false},
		{400, 110, true, false, false, true, false},
		{400, 121, true, false, false, true, false},
		{400, 706, true, false, false, true, false},
		{400, 701, true, false, true, false, false},
		{400, 703, true, false, false, false, false},
		{400, 12, true, false, false, false, false},
		{401, 20, false, false, false, false, true},
		{403, 20, true, false, false, false, false},
		{404, 0, true, false, true, false, false},
		{500, 0, false, false, false, false, false},
	} {
		f.on("tasks.started", refused(tc.code, tc.sub, "a\nb\x1b[31m"+strings.Repeat("x", 5000)))
		err := f.client(nil).Started(t.Context(), "t", "", "", false)
		got := []bool{IsRefused(err), errors.Is(err, ErrTaskGone), IsNotFound(err), IsStatusConflict(err), IsUnauthorized(err)}
		want := []bool{tc.refused, tc.gone, tc.notFound, tc.conflict, tc.un}
		for i := range got {
			if got[i] != want[i] {
				t.Errorf("%d/%d: %v, want %v (%v)", tc.code, tc.sub, got, want, err)
				break
			}
		}
		var e *Error
		if !errors.As(err, &e) || e.Action != "tasks.started" || strings.ContainsAny(e.Message, "\n\x1b") || len(e.Message) > maxMessage+10 {
			t.Errorf("%d/%d: %#v", tc.code, tc.sub, err)
		}
	}
}

func TestContextEndsACall(t *testing.T) {
	f := newFake(t)
	arrived := make(chan struct{})
	f.on("queues.get_all", func(_ http.ResponseWriter, r *http.Request) { close(arrived); <-r.Context().Done() })
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-arrived; cancel() }()
	if _, _, err := f.client(nil).Queues(ctx, []string{"q"}, 1, time.Minute); err == nil || len(f.of("queues.get_all")) != 1 {
		t.Errorf("%v after %d calls", err, len(f.of("queues.get_all")))
	}
}

func TestRequestForm(t *testing.T) {
	f := newFake(t)
	c := f.client(func(cfg *Config) { cfg.UserAgent = "agentctl-1" })
	f.on("queues.get_all", answer(map[string]any{"queues": []any{map[string]any{
		"id": "q", "entries": []any{map[string]any{"task": "a", "added": "2026-11-23T20:50:08.171000+00:00"}, map[string]any{"task": "b"}},
	}}, "agentctl_revision": 7}))
	qs, rev, err := c.Queues(t.Context(), []string{"q"}, 5, 2*time.Second)
	if err != nil || rev != 7 || strings.Join(qs[0].Tasks(), "") != "ab" || qs[0].Entries[0].Added.Year() != 2026 {
		t.Errorf("%v %d %v", qs, rev, err)
	}
	call := f.of("queues.get_all")[0]
	if call.Method != http.MethodGet || call.Body != `{"id":["q"],"only_fields":["id","name","entries","tags"],"search_hidden":true,"max_task_entries":256,"agentctl_since":5,"agentctl_wait_ms":2000}` {
		t.Errorf("%+v", call)
	}
	if err := c.Started(t.Context(), "t", "r", "m", true); err != nil {
		t.Error(err)
	}
	if call := f.of("tasks.started")[0]; call.Method != http.MethodPost || call.Body != `{"task":"t","status_reason":"r","status_message":"m","force":true}` {
		t.Errorf("%+v", call)
	}
}

func TestResolveQueue(t *testing.T) {
	f := newFake(t)
	c := f.client(nil)
	f.on("queues.get_all", answer(map[string]any{"queues": []any{map[string]any{"id": "1", "name": "A.B"}, map[string]any{"id": "2", "name": "a.b"}}}))
	if id, err := c.ResolveQueue(t.Context(), "a.b", false); err != nil || id != "2" {
		t.Errorf("%q %v", id, err)
	}
	if body := f.of("queues.get_all")[0].Body; !strings.Contains(body, `"name":"^a\\.b$"`) {
		t.Error(body)
	}
	if id, _ := c.ResolveQueue(t.Context(), "0123456789abcdef0123456789abcdef", false); id != "0123456789abcdef0123456789abcdef" {
		t.Errorf("an id is not left alone: %q", id)
	}
	f.on("queues.get_all", answer(map[string]any{"queues": []any{}}))
	if _, err := c.ResolveQueue(t.Context(), "none", false); !IsNotFound(err) {
		t.Errorf("missing: %v", err)
	}
	f.on("queues.create", answer(map[string]any{"id": "3"}))
	if id, err := c.ResolveQueue(t.Context(), "none", true); err != nil || id != "3" {
		t.Errorf("created: %q %v", id, err)
	}
}

func TestAddEvents(t *testing.T) {
	f := newFake(t)
	c := f.client(nil)
	events := []LogEvent{{Task: "t", Msg: "<a>\nb", Timestamp: 5}, {Task: "t", Msg: "c", Timestamp: 6}}
	f.on("events.add_batch", answer(map[string]any{"added": 2, "errors": 0, "errors_info": map[string]any{}}))
	if err := c.AddEvents(t.Context(), events); err != nil {
		t.Error(err)
	}
	want := `{"type":"log","task":"t","msg":"<a>\nb","timestamp":5,"allow_locked":true}` + "\n" + `{"type":"log","task":"t","msg":"c","timestamp":6,"allow_locked":true}` + "\n"
	if got := f.of("events.add_batch")[0].Body; got != want {
		t.Errorf("got %s", got)
	}
	f.on("events.add_batch", answer(map[string]any{"added": 1, "errors": 1, "errors_info": map[string]any{"bad": 1}}))
	if err := c.AddEvents(t.Context(), events); !IsRefused(err) {
		t.Errorf("a part refused: %v", err)
	}
	f.on("events.add_batch", refused(400, 131, "Events not added: Invalid task id t=2"))
	if err := c.AddEvents(t.Context(), events); !errors.Is(err, ErrTaskGone) {
		t.Errorf("task gone: %v", err)
	}
}

func TestTaskDecoding(t *testing.T) {
	for body, check := range map[string]func(*Task) bool{
		`{"script":{"requirements":{"pip":"a\nb\n","org_pip":["c\n",5,"d"]},"diff":null}}`: func(t *Task) bool {
			r := t.Script.Requirements
			return strings.Join(r.Pip, ",") == "a,b" && strings.Join(r.OrgPip, ",") == "c,d" && t.Script.Diff == ""
		},
		`{"script":{"requirements":"a\nb"}}`: func(t *Task) bool { return len(t.Script.Requirements.Pip) == 2 },
		`{"script":{"requirements":null}}`:   func(t *Task) bool { return t.Script.Requirements.Pip == nil },
		`{"script":{"requirements":{}},"execution":null,"runtime":null,"hyperparams":{"a":{"b":{"value":5}}}}`: func(t *Task) bool {
			return t.Hyperparams["a"]["b"].Value == "5" && t.Script.Requirements.Pip == nil
		},
		`{"created":"2026-11-23T20:50:08.171000+00:00","started":null,"completed":"garbage","last_update":5}`: func(t *Task) bool {
			return t.Created.UnixMilli() == 1795467008171 && t.Started.IsZero() && t.Completed.IsZero()
		},
	} {
		var task Task
		if err := json.Unmarshal([]byte(body), &task); err != nil || !check(&task) {
			t.Errorf("%s: %+v %v", body, task, err)
		}
	}
}

// What other clients keep beside the lists outlives an agent's writing of them.
func TestRequirementsAsInstalled(t *testing.T) {
	var r Requirements
	if err := json.Unmarshal([]byte(`{"pip":["a"],"poetry":{"x":1},"conda":["c"]}`), &r); err != nil {
		t.Fatal(err)
	}
	for range 2 { // a task that runs again keeps what was asked for first
		data, err := json.Marshal(r.Installed([]string{"a==1"}, []string{"c=1"}, `{"manager":"conda"}`))
		if err != nil {
			t.Fatal(err)
		}
		want := `{"agentctl_lock":"{\"manager\":\"conda\"}","conda":["c=1"],"org_conda":["c"],"org_pip":["a"],"pip":["a==1"],"poetry":{"x":1}}`
		if string(data) != want {
			t.Fatalf("got %s", data)
		}
		if err := json.Unmarshal(data, &r); err != nil {
			t.Fatal(err)
		}
	}
	if data, err := json.Marshal((Requirements{Pip: Lines{"a"}}).Installed([]string{"a==1"}, nil, "")); err != nil || string(data) != `{"pip":["a==1"],"org_pip":["a"]}` {
		t.Fatalf("got %s, %v", data, err)
	}
}

func FuzzEnvelope(f *testing.F) {
	for _, s := range []string{``, `{}`, `{"meta":{"result_code":200},"data":{"a":1}}`, `{"meta":{"result_code":"x"}}`, `{"meta":[]}`, `[`, `{"meta":{"result_code":1e99}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		env, err := decodeEnvelope(data)
		if err == nil && (env.Meta == nil || !json.Valid(env.Data)) {
			t.Errorf("%q: %+v", data, env)
		}
		var v struct {
			Task   Task
			Queues []Queue
		}
		if err == nil {
			_ = json.Unmarshal(env.Data, &v)
		}
	})
}

func FuzzTokenLife(f *testing.F) {
	f.Add(token(time.Now(), time.Hour, 1))
	f.Add("a.b.c")
	f.Add("e30.eyJleHAiOjFlOTl9.x")
	f.Fuzz(func(t *testing.T, text string) {
		h := holdGiven(text, time.Unix(1e9, 0))
		if h.renew.After(h.end) {
			t.Errorf("%q is renewed after its end: %v", text, h)
		}
	})
}
