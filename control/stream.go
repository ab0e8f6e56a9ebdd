package control

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"

	"agentctl/reconcile"
)

// lines sends one JSON value per line, each at once.
type lines struct {
	enc   *json.Encoder
	flush *http.ResponseController
}

func newLines(w http.ResponseWriter) lines {
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.WriteHeader(http.StatusOK)
	return lines{json.NewEncoder(w), http.NewResponseController(w)}
}

func (l lines) send(v any) error {
	if err := l.enc.Encode(v); err != nil {
		return err
	}
	return l.flush.Flush()
}

// watch sends snapshots until the client goes or the agent ends. One that reads
// slowly misses those in between, never the last.
func (s *Server) watch(w http.ResponseWriter, r *http.Request) {
	out := newLines(w)
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	for snap := range s.cfg.State.Watch(ctx) {
		if out.send(snap) != nil {
			return // the client is gone
		}
	}
}

// logs sends a console from an offset on, and follows it if asked to until the
// task has left its worker: what the agent says at the very end comes after the
// end of the process.
func (s *Server) logs(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	from, err := strconv.ParseInt(q.Get("from"), 10, 64)
	if q.Has("from") && (err != nil || from < 0) {
		s.fail(w, &Error{Code: CodeBadRequest, Message: "from is no offset"})
		return
	}
	task, err := FindTask(s.cfg.State.Snapshot(), q.Get("task"))
	if err != nil {
		s.fail(w, err)
		return
	}
	first, err := s.cfg.Consoles.Open(task.ID, from)
	if err != nil {
		s.fail(w, err)
		return
	}
	c := &copier{out: newLines(w), at: from}
	err = s.copyConsole(r.Context(), c, first, task.ID, q.Get("follow") == "true")
	if err == nil {
		_ = c.out.send(Frame{EOF: true, End: c.at})
	} else if r.Context().Err() == nil {
		s.cfg.Log.Warn("console not sent whole", "task", task.ID, "error", err)
	}
}

func (s *Server) copyConsole(ctx context.Context, c *copier, first Console, task string, follow bool) error {
	if !follow || !active(s.cfg.State.Snapshot(), task) {
		first.Finish()
		return c.all(ctx, first)
	}
	left, cancel := context.WithCancel(ctx)
	defer cancel()
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		if s.untilLeft(left, task) {
			first.Finish()
		}
	}()
	err := c.all(ctx, first)
	if err != nil {
		cancel()
	}
	<-gone
	if err == nil && ctx.Err() != nil { // the agent ends, not the task
		err = context.Cause(ctx)
	}
	if err != nil {
		return err
	}
	rest, err := s.cfg.Consoles.Open(task, c.at)
	if err != nil {
		return err
	}
	rest.Finish()
	return c.all(ctx, rest)
}

// untilLeft waits until no worker has the task; false if ctx ended before. An agent
// that ends lets go of its tasks, so ctx counts more than the snapshot.
func (s *Server) untilLeft(ctx context.Context, task string) bool {
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	for snap := range s.cfg.State.Watch(watching) {
		if !active(snap, task) {
			return ctx.Err() == nil
		}
	}
	return false
}

// copier sends frames and keeps where it is.
type copier struct {
	out lines
	at  int64
}

// all sends what c gives until its end, and closes it.
func (c *copier) all(ctx context.Context, console Console) (err error) {
	defer func() { err = errors.Join(err, console.Close()) }()
	for {
		f, err := console.Next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := c.out.send(f); err != nil {
			return err
		}
		c.at = f.End
	}
}

var _ State = (*reconcile.Loop)(nil)
