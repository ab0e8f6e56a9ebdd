package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"agentctl/reconcile"
)

// State is what is read.
type State interface {
	Snapshot() *reconcile.Snapshot
	// Watch gives the present snapshot and then newer ones until ctx ends, when
	// the channel is closed.
	Watch(ctx context.Context) <-chan *reconcile.Snapshot
}

// Specs takes and judges specs. An Error that it returns keeps its code.
type Specs interface {
	Preview(r PlanRequest) reconcile.Preview
	Apply(ctx context.Context, r ApplyRequest) (reconcile.Result, error)
	// Reload reads the source again.
	Reload(ctx context.Context, r ReloadRequest) (reconcile.Result, error)
	// Fetch reads a repository, or the source, and changes nothing.
	Fetch(ctx context.Context, r FetchRequest) (FetchReply, error)
}

// Revisions are the accepted specs, and the orders about which of them is in force.
type Revisions interface {
	// History lists those that are kept, newest first.
	History() ([]Revision, error)
	Revision(number int64) (RevisionText, error)
	// Blame tells of each field of the spec in force what set it.
	Blame() ([]Blame, error)
	Suspend(ctx context.Context, message string) (reconcile.Result, error)
	Resume(ctx context.Context) (reconcile.Result, error)
	Confirm(ctx context.Context) (reconcile.Result, error)
	Rollback(ctx context.Context, r RollbackRequest) (RollbackReply, error)
}

// Operator takes orders about workers and tasks, which exist when it is asked.
type Operator interface {
	// Order is for one worker, or for the whole node when the name is empty; nil takes
	// back what was ordered.
	Order(worker string, order *reconcile.Order) error
	StopTask(id string) error
	// Execute returns once the task is this node's.
	Execute(ctx context.Context, r ExecuteRequest) error
	Build(ctx context.Context, r BuildRequest) (BuildReply, error)
}

// Consoles opens the console of a task from an offset on.
type Consoles interface {
	Open(task string, from int64) (Console, error)
}

// Console is read by one goroutine; Finish may come from another.
type Console interface {
	// Next waits for a frame; io.EOF after the last one.
	Next(ctx context.Context) (Frame, error)
	// Finish says that nothing more will be written.
	Finish()
	Close() error
}

// Tasks tells what running tasks use, and what tasks reach.
type Tasks interface {
	Usages() []Usage
	Audit(names []string) ([]Reach, error)
}

// Environments lists the environment cache.
type Environments interface {
	Environments() ([]Environment, error)
}

// Config is what a Server shows and orders. All fields but Metrics are needed.
type Config struct {
	// Agent says who answers; it is asked each time.
	Agent     func() Agent
	State     State
	Specs     Specs
	Revisions Revisions
	Operator  Operator
	// Contributions are asked for where workers are added to those of the spec.
	Contributions Contributions
	Consoles      Consoles
	Environments  Environments
	// GPUs tells which there are; it may be nil.
	GPUs  func() GPUs
	Tasks Tasks
	// Shutdown asks the program to end; it returns at once.
	Shutdown func()
	Metrics  *Metrics
	Log      *slog.Logger
}

// Server answers on the socket. Its handlers may run at once.
type Server struct {
	cfg Config
	mux *http.ServeMux
}

// New returns a server that does not listen yet.
func New(cfg Config) *Server {
	s := &Server{cfg: cfg, mux: http.NewServeMux()}
	s.mux.HandleFunc("GET "+pathAgent, get(s, func(*http.Request) (any, error) { return cfg.Agent(), nil }))
	s.mux.HandleFunc("GET "+pathStatus, get(s, func(*http.Request) (any, error) { return cfg.State.Snapshot(), nil }))
	s.mux.HandleFunc("GET "+pathEnvironments, get(s, s.environments))
	s.mux.HandleFunc("GET "+pathGPUs, get(s, s.gpus))
	s.mux.HandleFunc("GET "+pathHistory, get(s, func(*http.Request) (any, error) { return cfg.Revisions.History() }))
	s.mux.HandleFunc("GET "+pathRevision, get(s, s.revision))
	s.mux.HandleFunc("GET "+pathBlame, get(s, func(*http.Request) (any, error) { return cfg.Revisions.Blame() }))
	s.mux.HandleFunc("GET "+pathUsage, get(s, s.usages))
	s.mux.HandleFunc("GET "+pathWatch, s.watch)
	s.mux.HandleFunc("GET "+pathLogs, s.logs)
	s.mux.HandleFunc("POST "+pathAudit, post(s, s.audit))
	s.mux.HandleFunc("POST "+pathPlan, post(s, s.plan))
	s.mux.HandleFunc("POST "+pathApply, post(s, s.apply))
	s.mux.HandleFunc("POST "+pathOrder, post(s, s.order))
	s.mux.HandleFunc("POST "+pathStop, post(s, s.stop))
	s.mux.HandleFunc("POST "+pathExecute, post(s, s.execute))
	s.mux.HandleFunc("POST "+pathBuild, post(s, func(ctx context.Context, r BuildRequest) (any, error) { return cfg.Operator.Build(ctx, r) }))
	s.mux.HandleFunc("POST "+pathReload, post(s, s.reload))
	s.mux.HandleFunc("POST "+pathSuspend, post(s, s.suspend))
	s.mux.HandleFunc("POST "+pathResume, post(s, s.resume))
	s.mux.HandleFunc("POST "+pathConfirm, post(s, s.confirm))
	s.mux.HandleFunc("POST "+pathRollback, post(s, s.rollback))
	s.mux.HandleFunc("GET "+pathContributions, get(s, func(*http.Request) (any, error) { return cfg.Contributions.Contributions(), nil }))
	s.mux.HandleFunc("POST "+pathContribute, post(s, s.contribute))
	s.mux.HandleFunc("POST "+pathWithdraw, post(s, s.withdraw))
	s.mux.HandleFunc("POST "+pathFetch, post(s, s.fetch))
	s.mux.HandleFunc("POST "+pathShutdown, post(s, s.shutdown))
	s.mux.HandleFunc("GET /healthz", s.healthz)
	s.mux.HandleFunc("GET /readyz", s.readyz)
	if cfg.Metrics != nil {
		s.mux.Handle("GET /metrics", cfg.Metrics.Handler())
	}
	s.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, &Error{Code: CodeNotFound, Message: fmt.Sprintf("this agent has no %s %.100q; is it older than the command?", r.Method, r.URL.Path)})
	})
	return s
}

// lastWords is how long requests that are under way at the end may still take.
const lastWords = 3 * time.Second

// Serve answers on l until ctx ends, then closes it. Streams end with ctx.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	srv := &http.Server{
		Handler:           s.mux,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ConnContext:       withCaller,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelDebug),
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	select {
	case err := <-served:
		return fmt.Errorf("cannot serve the control socket: %w", err)
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer cancel()
	if err := srv.Shutdown(last); err != nil {
		_ = srv.Close()
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("cannot serve the control socket: %w", err)
	}
	return nil
}

// get answers with what read returns.
func get(s *Server, read func(*http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v, err := read(r)
		if err != nil {
			s.fail(w, err)
			return
		}
		s.reply(w, http.StatusOK, v)
	}
}

// post decodes the body, strictly, and answers with what do returns.
func post[T any](s *Server, do func(context.Context, T) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var req T
		if err := decode(w, r, &req); err != nil {
			s.fail(w, err)
			return
		}
		v, err := do(r.Context(), req)
		if err != nil {
			s.fail(w, err)
			return
		}
		s.reply(w, http.StatusOK, v)
	}
}

// slowBody is how long a body may take. It is no ReadTimeout of the server, which
// would end streams as well.
const slowBody = 30 * time.Second

// decode reads one JSON value and nothing behind it. A field that this version
// does not know is refused: ignoring it would do less than was asked for.
func decode(w http.ResponseWriter, r *http.Request, into any) error {
	deadline := http.NewResponseController(w)
	_ = deadline.SetReadDeadline(time.Now().Add(slowBody)) // fails in no server of ours
	defer func() { _ = deadline.SetReadDeadline(time.Time{}) }()
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	d.DisallowUnknownFields()
	err := d.Decode(into)
	if err == nil {
		if _, more := d.Token(); more != io.EOF {
			err = errors.New("something follows the value")
		}
	}
	if err == nil {
		return nil
	}
	if e := asError(err); e.Code != CodeInternal {
		return e
	}
	return &Error{Code: CodeBadRequest, Message: "cannot read the request: " + err.Error()}
}

func (s *Server) fail(w http.ResponseWriter, err error) {
	e := asError(err)
	if e.Code == CodeInternal {
		s.cfg.Log.Warn("request on the control socket failed", "error", err)
	}
	s.reply(w, e.status(), e)
}

func (s *Server) reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(v); err != nil {
		s.cfg.Log.Debug("answer on the control socket not sent", "error", err)
	}
}
