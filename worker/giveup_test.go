package worker

import (
	"cmp"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"agentctl/clearml"
	"agentctl/runtime"
	"agentctl/spec"
)

// taskServer answers for one task, and notes what is asked of it.
type taskServer struct {
	mu      sync.Mutex
	status  string
	message string
	started string
	queued  bool   // it is in its queue
	then    string // status from the second look on
	asked   []string
}

func (s *taskServer) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	action := strings.TrimPrefix(req.URL.Path, "/")
	_, _ = io.Copy(io.Discard, req.Body)
	data := map[string]any{}
	switch action {
	case "auth.login":
		data["token"] = "x.y.z"
	case "tasks.get_by_id":
		data["task"] = map[string]any{"id": "t", "status": s.status, "status_message": s.message, "started": s.started}
		s.status = cmp.Or(s.then, s.status)
	case "tasks.get_all", "tasks.get_all_ex":
		data["tasks"] = []any{map[string]any{"id": "t", "status": s.status}}
	case "queues.get_all", "queues.get_all_ex":
		entries := []any{}
		if s.queued {
			entries = []any{map[string]any{"task": "t"}}
		}
		data["queues"] = []any{map[string]any{"id": "q", "entries": entries}}
	case "tasks.stop":
		s.status = clearml.StatusStopped
		fallthrough
	default:
		s.asked = append(s.asked, action)
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"meta": map[string]any{"result_code": 200}, "data": data})
}

// leasing is a run whose pop is not certain, of a server that says so of the task.
func leasing(t *testing.T, status string) (*run, *taskServer) {
	t.Helper()
	s := &taskServer{status: status}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	client, err := clearml.New(clearml.Config{URL: server.URL, Credentials: func(context.Context) (clearml.Credentials, error) {
		return clearml.Credentials{AccessKey: "a", SecretKey: "b"}, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	p := NewPool(Config{State: t.TempDir(), Log: discard, Connect: func(context.Context, spec.Server) (Conn, error) { return Conn{Client: client}, nil }})
	r := newRun(p, "w/0", &Record{Task: "t", Queue: "q", Phase: PhaseIntent, Since: time.Now().Add(-time.Hour)})
	if err := r.dirs.create(); err != nil {
		t.Fatal(err)
	}
	if r.journal, err = openJournal(r.dirs.root); err != nil {
		t.Fatal(err)
	}
	r.conn = Conn{Client: client}
	return r, s
}

// An operator's stop that comes while a new agent looks whether an old one had popped
// the task holds on the server too: else the task would be put back, and run.
func TestStoppedWhileReclaimed(t *testing.T) {
	t.Parallel()
	for status, want := range map[string]bool{clearml.StatusQueued: true, clearml.StatusInProgress: false, clearml.StatusCompleted: false} {
		r, s := leasing(t, status)
		r.stop(Final{Status: clearml.StatusStopped, Reason: "stopped by agentctl"})
		if rec, err := readRecord(r.dirs.root); err != nil || rec.Stop == nil {
			t.Errorf("the order is not on the disk: %+v, %v", rec, err)
		}
		r.giveUp(t.Context(), r.reclaim(t.Context()))
		if got := slices.Contains(s.asked, "tasks.stop"); got != want {
			t.Errorf("%s: the server was asked for %v", status, s.asked)
		}
		if slices.Contains(s.asked, "tasks.enqueue") {
			t.Errorf("%s: put back first, where another agent takes it: %v", status, s.asked)
		}
		if _, err := os.Stat(r.dirs.root); !os.IsNotExist(err) {
			t.Errorf("%s: its folder is left: %v", status, err)
		}
	}
	r, s := leasing(t, clearml.StatusQueued)
	r.giveUp(t.Context(), r.reclaim(t.Context()))
	if slices.Contains(s.asked, "tasks.stop") || !slices.Contains(s.asked, "tasks.enqueue") {
		t.Errorf("without an order the server was asked for %v", s.asked)
	}
}

// A stop that comes before the first step of a task is part of that step's record.
func TestStoppedBeforeTheFirstStep(t *testing.T) {
	p := NewPool(Config{State: t.TempDir(), Log: discard})
	r := newRun(p, "w/0", &Record{Task: "t", Phase: PhaseIntent})
	r.stop(Final{Status: clearml.StatusStopped, Reason: "early"})
	if err := os.MkdirAll(filepath.Join(p.tasks, "t"), 0o700); err != nil {
		t.Fatal(err)
	}
	var err error
	if r.journal, err = openJournal(r.dirs.root); err != nil {
		t.Fatal(err)
	}
	defer r.journal.close()
	if err := r.enter(PhaseIntent, false); err != nil {
		t.Fatal(err)
	}
	if rec, err := readRecord(r.dirs.root); err != nil || rec.Stop == nil || rec.Stop.Reason != "early" {
		t.Errorf("%+v, %v", rec, err)
	}
}

// A task may be in no queue since another agent has just popped it: however old the
// intent is, it is put back only after a while.
func TestReclaimWaitsForOthers(t *testing.T) {
	t.Parallel()
	r, s := leasing(t, clearml.StatusQueued)
	s.then = clearml.StatusInProgress
	r.giveUp(t.Context(), r.reclaim(t.Context()))
	if len(s.asked) > 0 {
		t.Errorf("the server was asked for %v", s.asked)
	}
}

// A stop of a task that an earlier agent had popped, and that the embedded server has
// put back since, holds there.
func TestStoppedAfterItsLease(t *testing.T) {
	r, s := leasing(t, clearml.StatusQueued)
	s.queued = true
	r.rec.Phase, r.resumed = PhaseLeased, true
	r.task = &clearml.Task{ID: "t", Status: clearml.StatusQueued}
	r.stop(Final{Status: clearml.StatusStopped, Reason: "stopped by agentctl"})
	r.again(t.Context())
	if !slices.Equal(s.asked, []string{"tasks.stop"}) {
		t.Errorf("the server was asked for %v", s.asked)
	}
}

// A full disk does not lose a task that is off its queue.
func TestLeasedOnAFullDisk(t *testing.T) {
	r, s := leasing(t, clearml.StatusQueued)
	r.journal.close() // no line of it can be written any more
	r.task, r.rec.Worker.ID = &clearml.Task{ID: "t", Status: clearml.StatusQueued}, "n:w:0"
	if err := r.started(t.Context()); err != nil || !slices.Equal(s.asked, []string{"tasks.started"}) {
		t.Errorf("%v, the server was asked for %v", err, s.asked)
	}
}

// An order to stop is carried out, or refused: never taken and forgotten.
func TestStopOfATaskThatGoes(t *testing.T) {
	stop := func(r *run) error {
		r.pool.workers["w/0"] = &slot{run: r}
		defer delete(r.pool.workers, "w/0")
		return r.pool.StopTask("t")
	}
	r, s := leasing(t, clearml.StatusQueued)
	if err := r.stopWaiting(t.Context()); err != nil || len(s.asked) > 0 {
		t.Fatalf("%v, asked for %v", err, s.asked)
	}
	if err := stop(r); err == nil || r.final != nil {
		t.Errorf("a stop that comes too late is taken: %v, %+v", err, r.final)
	}
	r, _ = leasing(t, clearml.StatusInProgress)
	r.stop(Final{Status: clearml.StatusQueued, Reason: "requeued by agentctl"})
	if err := stop(r); err != nil {
		t.Error(err)
	}
	r.stop(Final{Status: clearml.StatusQueued, Reason: "requeued by agentctl"})
	if got := r.outcome(runtime.Exit{Reason: runtime.Stopped}); got.Status != clearml.StatusStopped {
		t.Errorf("what was to be put back, and then stopped, ends as %+v", got)
	}
	if rec, err := readRecord(r.dirs.root); err != nil || rec.Stop == nil || rec.Stop.Status != clearml.StatusStopped {
		t.Errorf("recorded %+v, %v", rec, err)
	}
	r, _ = leasing(t, clearml.StatusInProgress)
	r.rec.Phase, r.rec.Final = PhaseEnded, &Final{Status: clearml.StatusQueued}
	if err := stop(r); err == nil {
		t.Error("a stop of what goes back to its queue is taken")
	}
	r.rec.Final = &Final{Status: clearml.StatusCompleted}
	if err := stop(r); err != nil {
		t.Errorf("a task that has just ended: %v", err)
	}
}
