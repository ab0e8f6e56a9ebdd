package front

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"agentctl/clearml"
	"agentctl/server"
)

// Call is one request as it came.
type Call struct {
	Action string
	Body   map[string]any // nil for events
}

// Upstream answers as a ClearML Server of the community does.
type Upstream struct {
	// User speaks to the server as its operator, past all that stands before it.
	User *clearml.Client
	// Keys log in.
	Keys server.Credentials

	back string
	http http.Client

	mu    sync.Mutex
	after map[string]func(Call)
	wiped map[string]bool // tasks whose request to stop a transition has wiped
	calls []Call
}

// missing are endpoints of the embedded server that a ClearML Server does not have.
var missing = []string{"auth.task_token", "workers.get_runtime_properties", "workers.set_runtime_properties", "queues.get_or_create"}

// New starts an embedded server behind an Upstream; it ends with the test. now is the
// server's clock, nil for the right one.
func New(t testing.TB, now func() time.Time) *Upstream {
	t.Helper()
	// A lease of a year: what is popped and not started never comes back.
	s, err := server.Open(t.Context(), server.Config{Dir: t.TempDir(), Lease: 365 * 24 * time.Hour, Now: now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	u := &Upstream{back: s.Endpoints().API, after: map[string]func(Call){}, wiped: map[string]bool{}}
	keys := s.Credentials()
	u.Keys = keys
	u.User, err = clearml.New(clearml.Config{URL: u.back, UserAgent: "user", Credentials: func(context.Context) (clearml.Credentials, error) {
		return clearml.Credentials{AccessKey: keys.AccessKey, SecretKey: keys.SecretKey}, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(u.User.Close)
	t.Cleanup(u.http.CloseIdleConnections)
	return u
}

// Hook has a function called when a request of an action has taken effect, before its
// answer is given; nil for none.
func (u *Upstream) Hook(action string, f func(Call)) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.after[action] = f
}

// Calls are the requests so far.
func (u *Upstream) Calls() []Call {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.calls)
}

// ServeHTTP answers one request.
func (u *Upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	c := Call{Action: strings.TrimPrefix(r.URL.Path, "/")}
	_ = json.Unmarshal(body, &c.Body) // events are no object
	u.mu.Lock()
	u.calls = append(u.calls, c)
	after := u.after[c.Action]
	u.mu.Unlock()
	if slices.Contains(missing, c.Action) {
		text := fmt.Sprintf("Unable to find endpoint for name %s and version 2.34", c.Action)
		write(w, 404, map[string]any{"meta": map[string]any{"result_code": 404, "result_subcode": 0, "result_msg": text}, "data": map[string]any{}})
		return
	}
	if c.Body != nil {
		sent := c
		sent.Body = maps.Clone(c.Body) // the one that came stays as it was
		if body, err = json.Marshal(u.request(r.Context(), sent)); err != nil {
			return
		}
	}
	code, answer, err := u.forward(r, body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if after != nil {
		after(c)
	}
	write(w, code, u.reply(c, code, answer))
}

func write(w http.ResponseWriter, code int, answer map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(answer)
}

func (u *Upstream) forward(r *http.Request, body []byte) (code int, answer map[string]any, err error) {
	// What the server has begun it ends, whether its client is there or not.
	req, err := http.NewRequestWithContext(context.WithoutCancel(r.Context()), r.Method, u.back+r.URL.Path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	for _, name := range []string{"Authorization", "Content-Type", "X-Clearml-Worker"} {
		req.Header.Set(name, r.Header.Get(name))
	}
	resp, err := u.http.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	return resp.StatusCode, answer, json.NewDecoder(resp.Body).Decode(&answer)
}

// startable are the statuses from which a ClearML Server starts a task without force.
var startable = []string{clearml.StatusCreated, clearml.StatusQueued, clearml.StatusStopped, clearml.StatusCompleted, clearml.StatusInProgress}

// request is what goes to the embedded server.
func (u *Upstream) request(ctx context.Context, c Call) map[string]any {
	delete(c.Body, "agentctl_since")
	delete(c.Body, "agentctl_wait_ms")
	task, _ := c.Body["task"].(string)
	if c.Action == "tasks.started" {
		// No lease refuses the start of a task that was stopped or taken back after the pop.
		if found, err := u.User.Task(context.WithoutCancel(ctx), task); err == nil && slices.Contains(startable, found.Status) {
			c.Body["force"] = true
		}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	switch c.Action {
	case "tasks.started", "tasks.dequeue":
		u.wiped[task] = true // the next request to stop is a new one
	case "tasks.stop":
		delete(u.wiped, task)
	}
	return c.Body
}

// reply is what the client gets.
func (u *Upstream) reply(c Call, code int, answer map[string]any) map[string]any {
	data, ok := answer["data"].(map[string]any)
	if !ok || code != http.StatusOK {
		return answer
	}
	delete(data, "agentctl_revision")
	u.mu.Lock()
	defer u.mu.Unlock()
	one, _ := data["task"].(map[string]any)
	u.wipe(one)
	tasks, _ := data["tasks"].([]any)
	for _, t := range tasks {
		one, _ := t.(map[string]any)
		u.wipe(one)
	}
	return answer
}

// wipe hides a request to stop that a transition has wiped on a ClearML Server.
func (u *Upstream) wipe(task map[string]any) {
	id, _ := task["id"].(string)
	if u.wiped[id] && task["status_message"] == clearml.MessageStopping {
		task["status_message"] = ""
	}
}

// Stop is what a user's tasks.stop does; it is known to the Upstream, so that a later
// transition of an agent wipes it.
func (u *Upstream) Stop(ctx context.Context, task string) error {
	u.mu.Lock()
	delete(u.wiped, task)
	u.mu.Unlock()
	return u.User.StopTask(ctx, task, "", "")
}
