package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"agentctl/internal/fsx"
)

// Server is an embedded ClearML server. Open it, then Serve.
type Server struct {
	cfg     Config
	log     *slog.Logger
	now     func() time.Time
	lock    *fsx.Lock
	store   *store
	notify  *notifier
	keys    *keyring
	workers *workers
	stats   stats

	queueStats queueStats

	files   *fileStore
	janitor *janitor

	listeners []net.Listener // API, files, web
	endpoints Endpoints
	draining  chan struct{} // closed when the server ends: who waits is answered
	closed    sync.Once
	closeErr  error
}

// Open takes the folder's lock, opens the store and the ports, and writes the
// endpoint file. The server answers from Serve on; requests that come before
// wait. Close it, also after a failed Serve.
func Open(ctx context.Context, cfg Config) (s *Server, err error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	s = &Server{cfg: cfg, log: cfg.Log, now: cfg.Now, draining: make(chan struct{})}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
			s = nil
		}
	}()
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return s, fmt.Errorf("cannot make the server's folder: %w", err)
	}
	if s.lock, err = takeLock(ctx, cfg.Dir); err != nil {
		return s, err
	}
	if err := s.openState(ctx); err != nil {
		return s, err
	}
	if err := s.listen(ctx); err != nil {
		return s, err
	}
	return s, fsx.WriteJSON(filepath.Join(cfg.Dir, endpointFile), s.endpoints, 0o600)
}

// takeLock makes sure that one server alone uses the folder. It tries for a
// moment, since ReadEndpoint holds the lock for an instant.
func takeLock(ctx context.Context, dir string) (*fsx.Lock, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	lock, err := fsx.WaitLock(ctx, filepath.Join(dir, lockFile))
	if err != nil {
		if e, alive, rerr := ReadEndpoint(dir); rerr == nil && alive {
			return nil, fmt.Errorf("cannot start the server: process %d already serves %s at %s", e.PID, dir, e.API)
		}
		return nil, fmt.Errorf("cannot start the server: %w", err)
	}
	return lock, nil
}

func (s *Server) openState(ctx context.Context) error {
	dir := s.cfg.Dir
	creds, err := loadCredentials(dir)
	if err != nil {
		return fmt.Errorf("cannot start the server: %w", err)
	}
	key, err := loadTokenKey(dir)
	if err != nil {
		return fmt.Errorf("cannot start the server: %w", err)
	}
	s.keys = &keyring{creds: creds, key: key, now: s.now}
	s.notify = newNotifier(s.now())
	if s.store, err = openStore(ctx, filepath.Join(dir, storeFile), s.notify, s.now, s.log); err != nil {
		return err
	}
	if s.workers, err = loadWorkers(&s.store.read, s.now().UnixMicro()); err != nil {
		return fmt.Errorf("cannot read the workers: %w", err)
	}
	if s.files, err = openFiles(filepath.Join(dir, filesDir)); err != nil {
		return err
	}
	s.janitor = newJanitor(s)
	return s.ensureDefaultQueue(ctx)
}

func (s *Server) ensureDefaultQueue(ctx context.Context) error {
	err := s.store.update(ctx, func(t *tx) error {
		if n, err := t.one(`SELECT 1 FROM queue`, nil, new(int)); n || err != nil {
			return err
		}
		_, err := t.createQueue("default", nil, list{defaultTag})
		return err
	})
	if err != nil {
		return fmt.Errorf("cannot create the default queue: %w", err)
	}
	return nil
}

// Endpoints are the addresses that the server listens on.
func (s *Server) Endpoints() Endpoints { return s.endpoints }

// Credentials are the operator's keys to this server.
func (s *Server) Credentials() Credentials { return s.keys.creds }

// Timeouts of connections. Requests and answers have deadlines of their own,
// since some are held and some are large; keep-alive is longer than what clients
// keep an idle connection for.
const (
	headerTime   = 15 * time.Second
	idleTime     = 2 * time.Minute
	shutdownTime = 10 * time.Second
)

// handlers are those of the listeners, in their order.
func (s *Server) handlers() []http.Handler {
	return []http.Handler{timed(newAPI(s)), timed(s.filesHandler()), timed(s.webHandler())}
}

// Serve answers requests until ctx ends, then lets running ones finish, and
// closes the server.
func (s *Server) Serve(ctx context.Context) error {
	handlers := s.handlers()
	servers := make([]*http.Server, len(handlers))
	failed := make(chan error, len(handlers))
	var running sync.WaitGroup
	for i, h := range handlers {
		servers[i] = &http.Server{
			Handler: h, ReadHeaderTimeout: headerTime, IdleTimeout: idleTime,
			ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		}
		running.Go(func() {
			if err := servers[i].Serve(s.listeners[i]); !errors.Is(err, http.ErrServerClosed) {
				failed <- fmt.Errorf("cannot serve %s: %w", s.listeners[i].Addr(), err)
			}
		})
	}
	background, stop := context.WithCancel(ctx)
	running.Go(func() { s.janitor.run(background) })
	s.log.Info("server listens", "api", s.endpoints.API, "files", s.endpoints.Files, "web", s.endpoints.Web)

	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	stop()
	close(s.draining)
	shutdown(servers)
	running.Wait()
	return errors.Join(err, s.Close())
}

// shutdown lets requests finish for a while, then cuts them off.
func shutdown(servers []*http.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTime)
	defer cancel()
	var all sync.WaitGroup
	for _, srv := range servers {
		all.Go(func() {
			if srv.Shutdown(ctx) != nil {
				_ = srv.Close()
			}
		})
	}
	all.Wait()
}

// Close frees what Open took. Serve does it too; twice is no harm.
func (s *Server) Close() error {
	s.closed.Do(func() {
		for _, l := range s.listeners {
			_ = l.Close() // closed already after Serve
		}
		if s.store != nil {
			s.closeErr = s.store.close()
		}
		if s.files != nil {
			s.closeErr = errors.Join(s.closeErr, s.files.close())
		}
		if s.lock != nil {
			s.closeErr = errors.Join(s.closeErr, s.lock.Close())
		}
	})
	return s.closeErr
}
