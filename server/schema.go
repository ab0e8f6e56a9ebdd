package server

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"slices"
	"time"
)

//go:embed migrations/*.sql
var migrations embed.FS

// migrate brings the store to the newest schema, one transaction per step. A
// store of a newer program is left alone: writing to it would break it.
func migrate(ctx context.Context, conn *sql.Conn) error {
	names, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return fmt.Errorf("cannot list the store's migrations: %w", err)
	}
	slices.Sort(names)
	const table = `CREATE TABLE IF NOT EXISTS schema_version(version INTEGER PRIMARY KEY, applied INTEGER NOT NULL)`
	if _, err := conn.ExecContext(ctx, table); err != nil {
		return fmt.Errorf("cannot read the store's version: %w", err)
	}
	var have int
	if err := conn.QueryRowContext(ctx, `SELECT coalesce(max(version), 0) FROM schema_version`).Scan(&have); err != nil {
		return fmt.Errorf("cannot read the store's version: %w", err)
	}
	if have > len(names) {
		return fmt.Errorf("cannot use the store: it is of version %d, written by a newer agentctl; this one knows %d", have, len(names))
	}
	for i := have; i < len(names); i++ {
		if err := step(ctx, conn, names[i], i+1); err != nil {
			return fmt.Errorf("cannot bring the store to version %d: %w", i+1, err)
		}
	}
	return nil
}

func step(ctx context.Context, conn *sql.Conn, name string, version int) error {
	text, err := fs.ReadFile(migrations, name)
	if err != nil {
		return err
	}
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.ExecContext(ctx, string(text)); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO schema_version VALUES(?, ?)`, version, time.Now().UnixMicro()); err != nil {
		return err
	}
	return tx.Commit()
}
