package server

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"agentctl/clearml"
)

// serve runs a server on ports of its own until stop is called.
func serve(t *testing.T, dir string) (s *Server, stop func()) {
	t.Helper()
	s, err := Open(t.Context(), Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return s, stop
}

func TestServe(t *testing.T) {
	dir := t.TempDir()
	s, stop := serve(t, dir)
	for _, url := range []string{s.Endpoints().API, s.Endpoints().Files, s.Endpoints().Web} {
		resp, err := http.Get(url + "/healthz")
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatal(resp, err)
		}
		_ = resp.Body.Close()
	}
	c := client(t, dir)
	id, err := c.ResolveQueue(t.Context(), "default", false)
	if err != nil {
		t.Fatal(err)
	}
	_, revision, err := c.Queues(t.Context(), []string{id}, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	// A server that ends answers those who wait.
	answered := make(chan error, 1)
	go func() {
		_, _, err := c.Queues(t.Context(), []string{id}, revision, time.Hour)
		answered <- err
	}()
	eventually(t, "the poll is held", func() bool { return len((&testServer{Server: s}).topics()) > 0 })
	stop()
	if err := <-answered; err != nil {
		t.Error(err)
	}
	if _, alive, err := ReadEndpoint(dir); alive || err != nil {
		t.Errorf("after the end: alive %v, %v", alive, err)
	}
	if err := c.Ping(t.Context(), "x"); err == nil || clearml.IsRefused(err) {
		t.Errorf("after the end: %v", err)
	}
	c.Close()
	http.DefaultClient.CloseIdleConnections()
}

// topics are what is waited for.
func (s *testServer) topics() (out []string) {
	s.notify.mu.Lock()
	defer s.notify.mu.Unlock()
	for topic := range s.notify.waiters {
		out = append(out, topic)
	}
	return out
}

func TestFilesOfTheServerArePrivate(t *testing.T) {
	s := newServer(t)
	for name, mode := range map[string]os.FileMode{".": 0o700, "server.db": 0o600, "server.db-wal": 0o600, credentialsFile: 0o600, tokenKeyFile: 0o600, endpointFile: 0o600, "files": 0o700} {
		info, err := os.Stat(filepath.Join(s.cfg.Dir, name))
		if name == "." { // the test's folder was there before
			continue
		}
		if err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v %v, want %v", name, info.Mode(), err, mode)
		}
	}
}

func TestStoreOfANewerProgram(t *testing.T) {
	dir := t.TempDir()
	s := openServer(t, dir, Config{})
	err := s.store.update(t.Context(), func(t *tx) error {
		_, err := t.exec(`INSERT INTO schema_version VALUES(99, 0)`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Config{Dir: dir}); err == nil || !strings.Contains(err.Error(), "written by a newer agentctl") {
		t.Errorf("got %v", err)
	}
}

func TestLargeReplies(t *testing.T) {
	s := newServer(t)
	id := s.call("tasks.create", m{"name": "large", "type": "training", "script": m{"diff": strings.Repeat("line\n", 10_000)}})["id"]
	get := func(accept string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodGet, "/tasks.get_by_id", strings.NewReader(`{"task":"`+id.(string)+`"}`))
		r.Header.Set("Authorization", "Bearer "+s.token)
		r.Header.Set("Accept-Encoding", accept)
		w := httptest.NewRecorder()
		s.api.ServeHTTP(w, r)
		return w
	}
	plain, packed := get(""), get("deflate, gzip;q=0.5")
	if packed.Header().Get("Content-Encoding") != "gzip" || packed.Body.Len() > plain.Body.Len()/10 || get("gzip;q=0").Header().Get("Content-Encoding") != "" {
		t.Errorf("%d bytes packed, %d plain", packed.Body.Len(), plain.Body.Len())
	}
	z, err := gzip.NewReader(packed.Body)
	if err != nil {
		t.Fatal(err)
	}
	if data, err := io.ReadAll(z); err != nil || !json.Valid(data) {
		t.Error(err)
	}
}

// deadlines is a connection that notes until when it waits for bytes.
type deadlines struct {
	*httptest.ResponseRecorder
	last time.Time
}

func (d *deadlines) SetReadDeadline(at time.Time) error { d.last = at; return nil }

// No body is waited for without a bound, that of a refused request and that of an
// upload among them; a request that is there whole may be held.
func TestBodiesAreNotWaitedForWithoutABound(t *testing.T) {
	s := newServer(t)
	form := http.Header{"Content-Type": {"multipart/form-data; boundary=b"}, "Authorization": {"Bearer " + s.token}}
	for name, tc := range map[string]struct {
		listener int
		header   http.Header
		bounded  bool
	}{
		"an upload": {1, form, true}, "without a token": {0, nil, true}, "a page": {2, nil, true}, "a request": {0, bearer(s.token), false},
	} {
		w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
		r := httptest.NewRequest(http.MethodPost, "/debug.no", strings.NewReader("{}"))
		if tc.header != nil {
			r.Header = tc.header
			r.URL.Path = "/tasks.get_all"
		}
		s.handlers()[tc.listener].ServeHTTP(w, r)
		if w.last.IsZero() == tc.bounded {
			t.Errorf("%s: waits until %v", name, w.last)
		}
	}
}

func TestLimits(t *testing.T) {
	s := newServer(t)
	a, _ := s.request(http.MethodPost, "/tasks.create", `{"comment":"`+strings.Repeat("x", maxBody)+`"}`, bearer(s.token))
	if a.Code != 413 {
		t.Errorf("a body of more than %d bytes: %d %s", maxBody, a.Code, a.Msg)
	}
	r := httptest.NewRequest(http.MethodPost, "/tasks.create", io.MultiReader(bytes.NewReader(make([]byte, maxBody)), strings.NewReader("x")))
	r.ContentLength = -1
	r.Header = bearer(s.token)
	w := httptest.NewRecorder()
	s.api.ServeHTTP(w, r)
	if a := readAnswer(t, w); a.Code != 400 {
		t.Errorf("a body of unknown length that is too long: %d %s", a.Code, a.Msg)
	}
	if a, _ := s.request(http.MethodDelete, "/tasks.create", "", bearer(s.token)); a.Code != 405 {
		t.Errorf("another method: %d", a.Code)
	}
}

// One request's panic or error must leave others, and the writer, as they are.
func TestWriterSurvives(t *testing.T) {
	s := newServer(t)
	boom := errors.New("boom")
	before := s.newTask("before")
	for _, f := range []func(t *tx) error{
		func(*tx) error { panic("boom") },
		func(t *tx) error {
			if _, err := t.exec(`UPDATE task SET name = 'spoilt'`); err != nil {
				return err
			}
			t.touch(taskTopic(before))
			return boom
		},
		func(t *tx) error {
			_, err := t.exec(`INSERT INTO entry VALUES('no such queue', 1, 'x', 1)`)
			return err
		},
		func(t *tx) error { _, err := t.exec(`no SQL`); return err },
	} {
		if err := s.store.update(t.Context(), f); err == nil {
			t.Error("no error")
		}
	}
	if got := s.task(before)["name"]; got != "before" {
		t.Errorf("a failed request has changed the task: %v", got)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	err := s.store.update(gone, func(*tx) error { t.Error("a request that had gone was run"); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	s.newTask("after")
}

// A disk that is full refuses with 503, which clients wait for, and leaves
// nothing half done; with room again the server goes on.
func TestFullDisk(t *testing.T) {
	s := newServer(t)
	limit := func(pages int) {
		err := s.store.update(t.Context(), func(t *tx) error {
			var now int
			_, err := t.one(fmt.Sprintf(`PRAGMA max_page_count = %d`, pages), nil, &now)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	id := s.newTask("before")
	limit(1) // SQLite takes the present size for less
	large := m{"name": "large", "type": "training", "script": m{"diff": strings.Repeat("x", 1<<20)}}
	for range 3 {
		s.refused(503, 0, "tasks.create", large)
	}
	if got := len(s.call("tasks.get_all", m{})["tasks"].([]any)); got != 1 {
		t.Errorf("%d tasks, want 1", got)
	}
	limit(1 << 30)
	s.call("tasks.create", large)
	s.call("tasks.enqueue", m{"task": id})
}

// The port of the last run is waited for: the tasks that run know no other.
func TestPortThatIsFreeSoon(t *testing.T) {
	dir := t.TempDir()
	first, stop := serve(t, dir)
	was := first.Endpoints()
	stop()
	held, err := net.Listen("tcp", strings.TrimPrefix(was.API, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(50*time.Millisecond, func() { _ = held.Close() })
	again, _ := serve(t, dir)
	if got := again.Endpoints(); got.API != was.API {
		t.Errorf("it serves at %s, did at %s", got.API, was.API)
	}
}
