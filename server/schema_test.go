package server

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"testing"
)

// A store of version 3 is brought up to date with what lies in it, whatever it is.
func TestUpgradeFromVersion3(t *testing.T) {
	path := filepath.Join(t.TempDir(), storeFile)
	db, err := sql.Open("sqlite", dsn(path, true))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	exec := func(text string, args ...any) {
		t.Helper()
		_, err := conn.ExecContext(t.Context(), text, args...)
		must(err)
	}
	exec(`CREATE TABLE schema_version(version INTEGER PRIMARY KEY, applied INTEGER NOT NULL)`)
	for i := 1; i <= 3; i++ {
		must(step(t.Context(), conn, fmt.Sprintf("migrations/%04d.sql", i), i))
	}
	for i, doc := range []string{`{"input":[{"name":"in","model":"m1"},{"model":"m1"},{"model":"m2"}],"output":[]}`, `{"input":5}`, `{"input":[null,"x",{"model":7},{}]}`, `null`, `{}`} {
		exec(`INSERT INTO task(n, id, name, type, status, status_changed, created, last_update, last_change, last_changed_by, user, tags, system_tags, stream)
			VALUES(?1, ?2, 'name', 'training', 'created', 1, 1, 1, 1, 'u', 'u', '[]', '[]', ?1)`, i+1, fmt.Sprint("task", i))
		exec(`INSERT INTO task_part(task, part, doc) VALUES(?, 'models', ?)`, i+1, doc)
	}
	exec(`INSERT INTO model(id, name, user, created, last_update, tags, system_tags, doc) VALUES('m1', 'model', 'u', 1, 1, '[]', '[]', '{}')`)
	must(conn.Close())
	must(db.Close())

	s := openServer(t, filepath.Dir(path), Config{})
	s.refused(400, 205, "models.delete", m{"model": "m1"})
	if got := s.call("models.get_by_id", m{"model": "m1"})["model"].(map[string]any); got["name"] != "model" {
		t.Error(got)
	}
	s.call("models.delete", m{"model": "m1", "force": true})
}
