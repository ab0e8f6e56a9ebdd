package server

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
)

// view runs statements over a connection or a pool, preparing each text once.
// No request's context reaches SQLite: an interrupt would roll back what other
// requests share, and every statement here is short.
type view struct {
	prepare func(context.Context, string) (*sql.Stmt, error)
	cache   *stmtCache
}

// stmtCache holds prepared statements by their text. The texts of filters have
// many forms, so what comes after the cache is full is prepared for one use.
type stmtCache struct {
	mu    sync.Mutex
	stmts map[string]*sql.Stmt
}

const maxStmts = 300

// stmt gives the prepared statement of text and what to call after its use.
func (v *view) stmt(text string) (s *sql.Stmt, release func(), err error) {
	c := v.cache
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.stmts[text]; s != nil {
		return s, func() {}, nil
	}
	s, err = v.prepare(context.Background(), text)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot prepare a statement: %w", err)
	}
	if c.stmts == nil {
		c.stmts = map[string]*sql.Stmt{}
	}
	if len(c.stmts) < maxStmts {
		c.stmts[text] = s
		return s, func() {}, nil
	}
	return s, func() { _ = s.Close() }, nil
}

func (v *view) close() {
	if v.cache == nil {
		return
	}
	v.cache.mu.Lock()
	defer v.cache.mu.Unlock()
	for _, s := range v.cache.stmts {
		_ = s.Close()
	}
	v.cache.stmts = nil
}

// exec runs a statement and tells how many rows it changed.
func (v *view) exec(text string, args ...any) (int64, error) {
	s, release, err := v.stmt(text) //nolint:sqlclosecheck // release closes it unless the cache keeps it
	if err != nil {
		return 0, err
	}
	defer release()
	res, err := s.ExecContext(context.Background(), args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// insert runs an INSERT and gives the new row's number.
func (v *view) insert(text string, args ...any) (int64, error) {
	s, release, err := v.stmt(text) //nolint:sqlclosecheck // release closes it unless the cache keeps it
	if err != nil {
		return 0, err
	}
	defer release()
	res, err := s.ExecContext(context.Background(), args...)
	if err != nil {
		return 0, err
	}
	return res.LastInsertId()
}

// one reads one row into dest and tells whether there was one.
func (v *view) one(text string, args []any, dest ...any) (bool, error) {
	s, release, err := v.stmt(text) //nolint:sqlclosecheck // release closes it unless the cache keeps it
	if err != nil {
		return false, err
	}
	defer release()
	err = s.QueryRowContext(context.Background(), args...).Scan(dest...)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// each calls row for every row of the result.
func (v *view) each(text string, args []any, row func(scan func(...any) error) error) error {
	s, release, err := v.stmt(text) //nolint:sqlclosecheck // release closes it unless the cache keeps it
	if err != nil {
		return err
	}
	defer release()
	rows, err := s.QueryContext(context.Background(), args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := row(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

// texts reads a column of texts.
func (v *view) texts(text string, args ...any) ([]string, error) {
	all := []string{}
	err := v.each(text, args, func(scan func(...any) error) error {
		var s string
		err := scan(&s)
		all = append(all, s)
		return err
	})
	return all, err
}

// args spares a cast at each call.
func args(a ...any) []any { return a }
