package server

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// store is the database: one writer, many readers. Its methods may be called
// from any goroutine.
type store struct {
	log     *slog.Logger
	notify  *notifier
	now     func() time.Time
	readers *sql.DB
	writers *sql.DB   // a pool of one
	conn    *sql.Conn // that one

	jobs    chan *job
	stopped chan struct{} // closed when the writer has ended
	stop    sync.Once
	closing chan struct{}

	read  view // over readers
	write view // over conn; the writer goroutine's alone
}

// dsn names the database with the settings of each connection: a PRAGMA sent
// by Exec would reach one connection of a pool only.
func dsn(path string, writer bool) string {
	q := url.Values{}
	for _, p := range []string{
		"journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)", "busy_timeout(10000)",
		"journal_size_limit(67108864)", "temp_store(MEMORY)",
	} {
		q.Add("_pragma", p)
	}
	if writer {
		q.Set("_txlock", "immediate") // a read that turns into a write fails at once with 517
		q.Add("_pragma", "cache_size(-8192)")
		// SQLite's own number of pages: the commit that writes them back keeps all others
		// waiting, and that the longer the more there are and the larger the store is.
		q.Add("_pragma", "wal_autocheckpoint(1000)")
	} else {
		q.Add("_pragma", "query_only(1)")
		q.Add("_pragma", "cache_size(-2048)")
	}
	return (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: q.Encode()}).String()
}

const readConns = 8

// openStore opens the database at path, creating it, and starts its writer.
func openStore(ctx context.Context, path string, n *notifier, now func() time.Time, log *slog.Logger) (*store, error) {
	// SQLite would create the file with the umask's mode; it holds consoles and tokens' tasks.
	f, err := os.OpenFile(filepath.Clean(path), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot open the store: %w", err)
	}
	if err := f.Close(); err != nil {
		return nil, fmt.Errorf("cannot open the store: %w", err)
	}
	s := &store{
		log: log, notify: n, now: now,
		jobs: make(chan *job, 1024), stopped: make(chan struct{}), closing: make(chan struct{}),
	}
	if err := s.connect(ctx, path); err != nil {
		_ = s.closeAll()
		return nil, fmt.Errorf("cannot open the store %s: %w", path, err)
	}
	go s.writer()
	return s, nil
}

func (s *store) connect(ctx context.Context, path string) (err error) {
	if s.writers, err = sql.Open("sqlite", dsn(path, true)); err != nil {
		return err
	}
	s.writers.SetMaxOpenConns(1)
	if s.conn, err = s.writers.Conn(ctx); err != nil {
		return err
	}
	if err := migrate(ctx, s.conn); err != nil {
		return err
	}
	if s.readers, err = sql.Open("sqlite", dsn(path, false)); err != nil {
		return err
	}
	s.readers.SetMaxOpenConns(readConns)
	s.readers.SetMaxIdleConns(readConns)
	s.read = view{prepare: s.readers.PrepareContext, cache: &stmtCache{}}
	s.write = view{prepare: s.conn.PrepareContext, cache: &stmtCache{}}
	return s.readers.PingContext(ctx)
}

// close ends the writer after what waits has been written.
func (s *store) close() error {
	s.stop.Do(func() { close(s.closing) })
	<-s.stopped
	return s.closeAll()
}

func (s *store) closeAll() error {
	s.read.close()
	s.write.close()
	var first error
	keep := func(err error) {
		if first == nil {
			first = err
		}
	}
	if s.readers != nil {
		keep(s.readers.Close())
	}
	if s.conn != nil {
		keep(s.conn.Close())
	}
	if s.writers != nil {
		keep(s.writers.Close())
	}
	return first
}
