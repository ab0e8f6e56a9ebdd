package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"agentctl/clearml"
	"agentctl/reconcile"
	"agentctl/server"
	"agentctl/spec"
	"agentctl/worker"
)

// servers makes the ways to ClearML servers, and keeps the embedded one alive.
type servers struct {
	*app
	listen string
	log    *slog.Logger
	count  func(http.RoundTripper) http.RoundTripper // nil: not counted

	starting sync.Mutex
	mu       sync.Mutex
	clients  map[string]*clearml.Client // by URL and file: a token is kept over reconnects
}

// connect returns the way to sv; with no URL to the embedded server, which is
// started if it does not run.
func (s *servers) connect(ctx context.Context, sv spec.Server) (worker.Conn, error) {
	if sv.URL == "" {
		return s.embedded(ctx)
	}
	c, err := s.client(sv.URL, func(context.Context) (clearml.Credentials, error) { return readCredentials(sv.CredentialsFile) }, sv.CredentialsFile)
	if err != nil {
		return worker.Conn{}, err
	}
	return worker.Conn{Client: c, Endpoints: endpointsOf(sv)}, nil
}

func (s *servers) embedded(ctx context.Context) (worker.Conn, error) {
	s.starting.Lock()
	defer s.starting.Unlock()
	dir := s.serverFolder()
	at, alive, err := server.ReadEndpoint(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return worker.Conn{}, err
	}
	if !alive {
		if at, err = s.start(ctx, dir); err != nil {
			return worker.Conn{}, err
		}
	}
	c, err := s.client(at.API, func(context.Context) (clearml.Credentials, error) {
		keys, err := server.ReadCredentials(dir)
		return clearml.Credentials{AccessKey: keys.AccessKey, SecretKey: keys.SecretKey}, err
	}, "")
	if err != nil {
		return worker.Conn{}, err
	}
	return worker.Conn{Client: c, Endpoints: worker.Endpoints{API: at.API, Web: at.Web, Files: at.Files}, Embedded: true}, nil
}

// lookAfter is how often the embedded server is looked at. Workers find out sooner,
// by their calls; this is for a node without any, whose server users still need.
const lookAfter = 5 * time.Second

// keep has the embedded server run while the spec in force names no other, until
// the channel of snapshots is closed.
func (s *servers) keep(ctx context.Context, snapshots <-chan *reconcile.Snapshot) error {
	t := time.NewTicker(lookAfter)
	defer t.Stop()
	var wanted bool
	var generation int64
	said := ""
	for {
		select {
		case <-t.C:
		case snap, ok := <-snapshots:
			if !ok {
				return nil
			}
			if snap.Generation == generation {
				continue
			}
			generation, wanted = snap.Generation, snap.Node != nil && snap.Node.Spec.Server.URL == ""
			if wanted {
				s.retain(snap.Node.Spec.Server)
			}
		}
		if !wanted {
			continue
		}
		if _, err := s.embedded(ctx); err == nil {
			said = ""
		} else if ctx.Err() == nil && err.Error() != said {
			said = err.Error()
			s.log.Error("embedded server does not run", "error", err)
		}
	}
}

// retain tells the embedded server what to keep.
func (s *servers) retain(sv spec.Server) {
	r := server.Retention{LogAge: time.Duration(sv.LogAge), LogBytes: int64(sv.LogSize)}
	if err := server.WriteRetention(s.serverFolder(), r); err != nil {
		s.log.Error("retention of the embedded server not set", "error", err)
	}
}

func (s *servers) client(at string, keys func(context.Context) (clearml.Credentials, error), file string) (*clearml.Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := at + "\x00" + file
	if c := s.clients[id]; c != nil {
		return c, nil
	}
	c, err := clearml.New(clearml.Config{URL: at, Credentials: keys, UserAgent: "agentctl-" + version, Log: s.log, HTTP: s.counted()})
	if err != nil {
		return nil, err
	}
	if s.clients == nil {
		s.clients = map[string]*clearml.Client{}
	}
	s.clients[id] = c
	return c, nil
}

// counted is an HTTP client as clearml's own, whose requests are counted; nil for
// clearml's own.
func (s *servers) counted() *http.Client {
	if s.count == nil {
		return nil
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	// Idle connections are kept for less long than servers and proxies do, so that
	// a write seldom meets one that the other side is just closing.
	t.MaxIdleConnsPerHost, t.IdleConnTimeout = 32, 30*time.Second
	return &http.Client{
		Transport:     s.count(t),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// startTimeout bounds the start of the embedded server, which may have to
// migrate its store.
const startTimeout = 60 * time.Second

// start runs the embedded server in a session of its own, so that it outlives
// this agent, and waits until it answers.
func (s *servers) start(ctx context.Context, dir string) (server.Endpoints, error) {
	self, err := os.Executable()
	if err != nil {
		return server.Endpoints{}, fmt.Errorf("cannot start the embedded server: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return server.Endpoints{}, fmt.Errorf("cannot start the embedded server: %w", err)
	}
	logPath := filepath.Join(dir, "server.log")
	exited, err := spawn(logPath, nil, self, "server", "--state", s.state, "--listen", s.listen)
	if err != nil {
		return server.Endpoints{}, fmt.Errorf("cannot start the embedded server: %w", err)
	}
	s.log.Info("embedded server started", "log", logPath)
	deadline := time.NewTimer(startTimeout)
	defer deadline.Stop()
	for {
		if at, alive, err := server.ReadEndpoint(dir); err == nil && alive {
			return at, nil
		}
		select {
		case <-ctx.Done():
			return server.Endpoints{}, context.Cause(ctx)
		case <-exited:
			if at, alive, err := server.ReadEndpoint(dir); err == nil && alive {
				return at, nil // another agent's child was faster
			}
			return server.Endpoints{}, fmt.Errorf("the embedded server did not start: %s", lastLine(logPath))
		case <-deadline.C:
			return server.Endpoints{}, fmt.Errorf("the embedded server did not start within %s; see %s", startTimeout, logPath)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// spawn runs a program in a session of its own with its output in logPath
// (0600), and more variables than this process has. The channel is closed at its end.
func spawn(logPath string, environ []string, program string, args ...string) (<-chan struct{}, error) {
	out, err := os.OpenFile(logPath, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { _ = out.Close() }()
	cmd := exec.Command(program, args...)
	cmd.Dir = "/" // or it would hold the folder of whoever started it
	cmd.Stdout, cmd.Stderr, cmd.Env = out, out, append(os.Environ(), environ...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	exited := make(chan struct{})
	go func() { // reaps the child for as long as this process lives; both ends are fine
		defer close(exited)
		_ = cmd.Wait()
	}()
	return exited, nil
}

// lastLine is what a program said last, for an error message.
func lastLine(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := bytes.Split(bytes.TrimSpace(data), []byte("\n"))
	return string(lines[len(lines)-1])
}

// endpointsOf names the web and file servers of a ClearML Server. Those that the spec
// does not name follow from the API server's address by ClearML's own two customs: the
// ports 8008, 8080 and 8081 of one host, or the host names api., app. and files. of one
// domain.
func endpointsOf(sv spec.Server) worker.Endpoints {
	e := worker.Endpoints{API: sv.URL, Web: sv.URL, Files: sv.URL}
	u, err := url.Parse(sv.URL)
	if err != nil {
		return e
	}
	with := func(host string) string {
		v := *u
		v.Host = host
		return v.String()
	}
	if base, ok := strings.CutSuffix(u.Host, ":8008"); ok {
		e.Web, e.Files = with(base+":8080"), with(base+":8081")
	} else if base, ok := strings.CutPrefix(u.Host, "api."); ok {
		e.Web, e.Files = with("app."+base), with("files."+base)
	}
	e.Web, e.Files = cmp.Or(sv.WebURL, e.Web), cmp.Or(sv.FilesURL, e.Files)
	return e
}
