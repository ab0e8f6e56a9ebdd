package server

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("AGENTCTL_TEST_SERVE"); dir != "" {
		serveUntilKilled(dir)
	}
	goleak.VerifyTestMain(m)
}

// clock is a time that a test moves.
type clock struct{ offset atomic.Int64 }

func (c *clock) now() time.Time          { return time.Now().Add(time.Duration(c.offset.Load())) }
func (c *clock) advance(d time.Duration) { c.offset.Add(int64(d)) }

// testServer is a server without ports: requests go to its handlers directly.
type testServer struct {
	*Server
	t     testing.TB
	api   http.Handler
	clock *clock
	token string // the caller; the operator's unless changed
}

func newServer(t testing.TB) *testServer {
	t.Helper()
	return openServer(t, t.TempDir(), Config{})
}

func openServer(t testing.TB, dir string, cfg Config) *testServer {
	t.Helper()
	c := &clock{}
	cfg.Dir, cfg.Now = dir, c.now
	if testing.Verbose() {
		cfg.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	s, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	background, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { s.janitor.run(background); close(done) }()
	t.Cleanup(func() {
		stop()
		<-done
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	ts := &testServer{Server: s, t: t, api: newAPI(s), clock: c}
	ts.token, err = s.keys.issue(tokenLife, "")
	if err != nil {
		t.Fatal(err)
	}
	return ts
}

// as is the same server for a caller with another token.
func (s *testServer) as(token string) *testServer {
	other := *s
	other.token = token
	return &other
}

type answer struct {
	Code, Sub int
	Msg       string
	Data      map[string]any
}

// do sends one request; body is JSON, or lines of it.
func (s *testServer) do(action, body string) answer {
	s.t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/"+action, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+s.token)
	w := httptest.NewRecorder()
	s.api.ServeHTTP(w, r)
	return readAnswer(s.t, w)
}

func readAnswer(t testing.TB, w *httptest.ResponseRecorder) answer {
	t.Helper()
	var env struct {
		Meta struct {
			Code int    `json:"result_code"`
			Sub  int    `json:"result_subcode"`
			Msg  string `json:"result_msg"`
			ID   string `json:"id"`
			Trx  string `json:"trx"`
		}
		Data json.RawMessage
	}
	if err := json.Unmarshal(w.Body.Bytes(), &env); err != nil {
		t.Fatalf("no envelope: %v: %.300s", err, w.Body)
	}
	if env.Meta.Code != w.Code || env.Meta.ID == "" || env.Meta.Trx == "" {
		t.Errorf("envelope %+v with HTTP status %d", env.Meta, w.Code)
	}
	a := answer{Code: env.Meta.Code, Sub: env.Meta.Sub, Msg: env.Meta.Msg}
	dec := json.NewDecoder(bytes.NewReader(env.Data))
	if err := dec.Decode(&a.Data); err != nil {
		t.Fatalf("data is no object: %v: %.300s", err, w.Body)
	}
	return a
}

// call is do for a request that must succeed; req is encoded as JSON.
func (s *testServer) call(action string, req any) map[string]any {
	s.t.Helper()
	a := s.send(action, req)
	if a.Code != 200 {
		s.t.Fatalf("%s %v: %d/%d %s", action, req, a.Code, a.Sub, a.Msg)
	}
	return a.Data
}

func (s *testServer) send(action string, req any) answer {
	s.t.Helper()
	body, err := json.Marshal(req)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.do(action, string(body))
}

// refused sends a request that must be refused with the given code and subcode.
func (s *testServer) refused(code, sub int, action string, req any) {
	s.t.Helper()
	if a := s.send(action, req); a.Code != code || a.Sub != sub {
		s.t.Errorf("%s %v: got %d/%d %s, want %d/%d", action, req, a.Code, a.Sub, a.Msg, code, sub)
	}
}

type m = map[string]any

func (s *testServer) newTask(name string) string {
	s.t.Helper()
	return s.call("tasks.create", m{"name": name, "type": "training"})["id"].(string)
}

func (s *testServer) newQueue(name string) string {
	s.t.Helper()
	return s.call("queues.create", m{"name": name})["id"].(string)
}

func (s *testServer) task(id string) map[string]any {
	s.t.Helper()
	return s.call("tasks.get_by_id", m{"task": id})["task"].(map[string]any)
}

func (s *testServer) status(id string) string {
	s.t.Helper()
	return s.task(id)["status"].(string)
}

// waiting lists the tasks in a queue.
func (s *testServer) waiting(queue string) []string {
	s.t.Helper()
	q := s.call("queues.get_by_id", m{"queue": queue})["queue"].(map[string]any)
	ids := []string{}
	for _, e := range q["entries"].([]any) {
		ids = append(ids, e.(map[string]any)["task"].(string))
	}
	return ids
}

// eventually waits for a condition that other goroutines bring about.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("not within a minute: %s", what)
}
