package worker

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"agentctl/clearml"
	"agentctl/reconcile"
	"agentctl/runtime"
	"agentctl/spec"
)

// distant is a server in memory, which can be away: so it works in virtual time.
type distant struct {
	mu     sync.Mutex
	down   bool
	asked  int // while it was away
	last   map[string]time.Time
	known  []string
	events []clearml.LogEvent
	final  string
}

func (d *distant) RoundTrip(req *http.Request) (*http.Response, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var body []byte
	if req.Body != nil {
		body, _ = io.ReadAll(req.Body)
		_ = req.Body.Close()
	}
	if d.down {
		d.asked++
		return nil, errors.New("no route to host")
	}
	action := strings.TrimPrefix(req.URL.Path, "/")
	d.last[action] = time.Now()
	w := httptest.NewRecorder()
	_ = json.NewEncoder(w).Encode(map[string]any{"meta": map[string]any{"result_code": 200}, "data": d.answer(action, body)})
	return w.Result(), nil
}

func (d *distant) answer(action string, body []byte) map[string]any {
	switch action {
	case "auth.login":
		return map[string]any{"token": "x.y.z"}
	case "queues.get_all":
		return map[string]any{"queues": []any{map[string]any{"id": "q", "name": "jobs", "entries": []any{}}}}
	case "tasks.get_all":
		return map[string]any{"tasks": []any{map[string]any{"id": "t", "status": clearml.StatusInProgress, "started": "2026-11-26T10:00:00+00:00"}}}
	case "workers.register":
		var w clearml.Worker
		_ = json.Unmarshal(body, &w)
		d.known = append(d.known, w.ID)
	case "tasks.completed":
		d.final = clearml.StatusCompleted
	case "events.add_batch":
		for line := range strings.Lines(string(body)) {
			var e clearml.LogEvent
			_ = json.Unmarshal([]byte(line), &e)
			d.events = append(d.events, e)
		}
	}
	return map[string]any{}
}

func (d *distant) set(down bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.down, d.known = down, nil
}

func (d *distant) asks() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.asked
}

// A server that is away for 30 minutes ends no task and loses no line. It is not asked
// all the time meanwhile, and when it is back all goes on soon, with the workers known.
func TestHalfAnHourAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &distant{last: map[string]time.Time{}}
		p, r := distantPool(t, d)
		for i := range 100 {
			if err := runtime.AppendConsole(r.dirs.root, "stdout", []byte(strings.Repeat("x", i)+"\n")); err != nil {
				t.Fatal(err)
			}
		}
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		var loops sync.WaitGroup
		for _, loop := range []func(context.Context){p.dispatch, p.watchTasks, p.heartbeat} {
			loops.Go(func() { loop(ctx) })
		}
		time.Sleep(5 * time.Minute)
		d.set(true)
		reported := make(chan struct{})
		loops.Go(func() { // the task ends in the middle
			time.Sleep(10 * time.Minute)
			r.report(ctx, Final{Status: clearml.StatusCompleted, Reason: "done"})
			close(reported)
		})
		time.Sleep(30 * time.Minute)
		if asked := d.asks(); asked > 2500 {
			t.Errorf("a server that is away was asked %d times in 30 minutes", asked)
		}
		r.mu.Lock()
		if r.final != nil {
			t.Errorf("the task was stopped: %+v", r.final)
		}
		r.mu.Unlock()
		d.set(false)
		back := time.Now()
		time.Sleep(31 * time.Second)
		<-reported
		d.mu.Lock()
		defer d.mu.Unlock()
		slices.Sort(d.known)
		if !slices.Equal(slices.Compact(d.known), []string{"n:w:0", "n:w:1"}) {
			t.Errorf("workers that registered again: %v", d.known)
		}
		if !d.last["queues.get_all"].After(back) || d.final != clearml.StatusCompleted {
			t.Errorf("the queues were looked at %s, the task's end is %q", d.last["queues.get_all"], d.final)
		}
		var text strings.Builder
		for _, e := range d.events {
			text.WriteString(e.Msg + "\n")
		}
		if n := strings.Count(text.String(), "\n"); n != 100 {
			t.Errorf("%d lines of 100", n)
		}
		stop()
		loops.Wait()
	})
}

// distantPool is a node with one worker that has a task, without a process, and one that
// is idle.
func distantPool(t *testing.T, d *distant) (*Pool, *run) {
	t.Helper()
	client, err := clearml.New(clearml.Config{URL: "http://distant", HTTP: &http.Client{Transport: d}, Credentials: func(context.Context) (clearml.Credentials, error) {
		return clearml.Credentials{AccessKey: "a", SecretKey: "b"}, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	conn := Conn{Client: client}
	p := NewPool(Config{State: t.TempDir(), Log: discard, Connect: func(context.Context, spec.Server) (Conn, error) { return conn, nil }})
	server := spec.Server{URL: "http://distant", PollInterval: spec.DefaultPollInterval}
	p.node = &spec.Node{Spec: spec.NodeSpec{Server: server}}
	worker := func(id string) spec.Worker {
		return spec.Worker{Name: strings.ReplaceAll(strings.TrimPrefix(id, "n:"), ":", "/"), ID: id, Queues: []string{"jobs"}}
	}
	r := newRun(p, "w/0", &Record{Task: "t", Queue: "q", QueueName: "jobs", Server: server, Worker: worker("n:w:0"), Phase: PhaseRunning, Started: time.Now()})
	if err := r.dirs.create(); err != nil {
		t.Fatal(err)
	}
	if err := r.open(); err != nil {
		t.Fatal(err)
	}
	r.conn = conn
	p.workers["w/0"] = &slot{spec: r.rec.Worker, state: reconcile.StateRunning, run: r}
	p.workers["w/1"] = &slot{spec: worker("n:w:1"), state: reconcile.StateIdle}
	hint(p.begun)
	return p, r
}
