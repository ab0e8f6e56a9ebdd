package server

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"agentctl/internal/fsx"
)

// Backup copies the folder of a server to dest, which must not exist: the store as
// it is at one moment, then the uploaded files, the keys and what tokens are signed
// with. The server may run, and is not held up. The copy is verified before it
// gets its name, and serves as a server's folder as it is.
func Backup(ctx context.Context, dir, dest string) (err error) {
	if _, err := os.Lstat(dest); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot back up to %s: it exists", dest)
	}
	part := dest + ".partial"
	if err := os.RemoveAll(part); err != nil { // of a backup that died
		return fmt.Errorf("cannot back up: %w", err)
	}
	if err := os.Mkdir(part, 0o700); err != nil {
		return fmt.Errorf("cannot back up: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(part))
		}
	}()
	if err := copyStore(ctx, filepath.Join(dir, storeFile), filepath.Join(part, storeFile)); err != nil {
		return err
	}
	for _, name := range []string{credentialsFile, tokenKeyFile, retentionFile} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = fsx.WriteFile(filepath.Join(part, name), data, 0o600)
		}
		if err != nil {
			return fmt.Errorf("cannot back up: %w", err)
		}
	}
	if err := copyFiles(ctx, filepath.Join(dir, filesDir), filepath.Join(part, filesDir)); err != nil {
		return fmt.Errorf("cannot back up the uploaded files: %w", err)
	}
	if err := Verify(ctx, part); err != nil {
		return err
	}
	if err := fsx.SyncAll(part); err != nil {
		return err
	}
	if err := os.Rename(part, dest); err != nil {
		return fmt.Errorf("cannot back up: %w", err)
	}
	return fsx.SyncDir(filepath.Dir(dest))
}

// copyStore makes a copy of the store by a reader of it, beside the server.
func copyStore(ctx context.Context, from, to string) error {
	if _, err := os.Stat(from); err != nil { // opening would create it
		return fmt.Errorf("cannot back up the store: %w", err)
	}
	f, err := os.OpenFile(filepath.Clean(to), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600) // SQLite would go by the umask
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		return fmt.Errorf("cannot back up the store: %w", err)
	}
	return withStore(ctx, from, func(db *sql.DB) error {
		if _, err := db.ExecContext(ctx, `PRAGMA query_only(0)`); err != nil { // it forbids the copy too
			return err
		}
		_, err := db.ExecContext(ctx, `VACUUM INTO ?`, to)
		return err
	})
}

func withStore(ctx context.Context, path string, f func(*sql.DB) error) error {
	db, err := sql.Open("sqlite", dsn(path, false))
	if err == nil {
		db.SetMaxOpenConns(1)
		err = f(db)
		err = errors.Join(err, db.Close())
	}
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("cannot read the store %s: %w", path, err)
	}
	return errors.Join(err, context.Cause(ctx))
}

// copyFiles copies a tree of uploaded files. What was one file under several names
// is one again; what is deleted meanwhile is not there.
func copyFiles(ctx context.Context, from, to string) error {
	src, err := os.OpenRoot(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = src.Close() }()
	if err := os.Mkdir(to, 0o700); err != nil {
		return err
	}
	dst, err := os.OpenRoot(to)
	if err != nil {
		return err
	}
	copied := map[uint64]string{} // by inode
	err = fs.WalkDir(src.FS(), ".", func(p string, d fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, fs.ErrNotExist), err == nil && p == ".":
			return nil
		case err != nil:
			return err
		case p == receivedDir:
			return fs.SkipDir
		case d.IsDir():
			return dst.Mkdir(p, 0o700)
		case !d.Type().IsRegular():
			return nil
		}
		return copyFile(src, dst, p, copied)
	})
	return errors.Join(err, dst.Close())
}

func copyFile(src, dst *os.Root, name string, copied map[uint64]string) (err error) {
	in, err := src.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Nlink > 1 {
		if first := copied[st.Ino]; first != "" && dst.Link(first, name) == nil {
			return nil
		}
		copied[st.Ino] = name
	}
	out, err := dst.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// Verify checks a server's folder, or a backup of one: the store's structure, and
// that each piece of a console can be read.
func Verify(ctx context.Context, dir string) error {
	path := filepath.Join(dir, storeFile)
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("cannot verify the store: %w", err)
	}
	return withStore(ctx, path, func(db *sql.DB) error {
		var result string
		if err := db.QueryRowContext(ctx, `PRAGMA integrity_check(1)`).Scan(&result); err != nil {
			return err
		}
		if result != "ok" {
			return fmt.Errorf("it is damaged: %s", result)
		}
		return verifyChunks(ctx, db)
	})
}

func verifyChunks(ctx context.Context, db *sql.DB) error {
	var have int
	if err := db.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_master WHERE name = 'log_chunk'`).Scan(&have); err != nil || have == 0 {
		return err // a store of an older release has none
	}
	rows, err := db.QueryContext(ctx, `SELECT n, events, data FROM log_chunk`)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var n, events int
		var data []byte
		if err := rows.Scan(&n, &events, &data); err != nil {
			return err
		}
		lines, err := openChunk(data)
		if err != nil {
			return fmt.Errorf("piece %d of a console is damaged: %w", n, err)
		}
		if len(lines) != events {
			return fmt.Errorf("piece %d of a console is damaged: it has %d of %d lines", n, len(lines), events)
		}
	}
	return rows.Err()
}
