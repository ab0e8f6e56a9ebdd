package server

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A backup of a server that works is a server with all that was acknowledged
// before it began.
func TestBackupWhileRunning(t *testing.T) {
	s := newServer(t)
	queue := s.newQueue("kept")
	id := s.newTask("kept")
	s.call("tasks.enqueue", m{"task": id, "queue": queue})
	s.do("events.add_batch", batchOf(m{"type": "log", "task": id, "msg": "a line", "timestamp": 1}))
	s.upload("/p/a", "bytes")
	s.upload("/p/b", "bytes")
	busy, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; busy.Err() == nil; i++ {
			s.do("events.add_batch", batchOf(m{"type": "log", "task": id, "msg": fmt.Sprint(i), "timestamp": i + 2}))
			s.upload(fmt.Sprint("/q/", i%5), "changing")
		}
	}()
	dest := filepath.Join(t.TempDir(), "copy")
	err := Backup(t.Context(), s.cfg.Dir, dest)
	stop()
	<-done
	if err != nil {
		t.Fatal(err)
	}
	if err := Backup(t.Context(), s.cfg.Dir, dest); err == nil {
		t.Error("a backup was overwritten")
	}
	other := openServer(t, dest, Config{})
	if got := other.waiting(queue); len(got) != 1 || got[0] != id {
		t.Errorf("the queue has %v", got)
	}
	if got := msgs(other.call("events.get_task_log", m{"task": id, "navigate_earlier": false})); len(got) == 0 || got[0] != "a line" {
		t.Errorf("the console begins with %v", got)
	}
	if a := other.as(s.token).send("tasks.get_by_id", m{"task": id}); a.Code != 200 {
		t.Errorf("a token of the server: %d %s", a.Code, a.Msg)
	}
	a, errA := os.Stat(filepath.Join(dest, "files", "p", "a"))
	b, errB := os.Stat(filepath.Join(dest, "files", "p", "b"))
	if errA != nil || errB != nil || !os.SameFile(a, b) {
		t.Errorf("files: %v, %v; the same content is there twice", errA, errB)
	}
	if info, err := os.Stat(filepath.Join(dest, storeFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode of the store: %v, %v", info.Mode(), err)
	}
}

func TestVerifyFindsDamage(t *testing.T) {
	s := newServer(t)
	id := s.newTask("console")
	for i := range 50 {
		s.do("events.add_batch", batchOf(m{"type": "log", "task": id, "msg": noise(3000), "timestamp": i + 1}))
	}
	if err := Verify(t.Context(), s.cfg.Dir); err != nil {
		t.Fatal(err)
	}
	dest := filepath.Join(t.TempDir(), "copy")
	if err := Backup(t.Context(), s.cfg.Dir, dest); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dest, storeFile))
	if err != nil {
		t.Fatal(err)
	}
	for name, damage := range map[string]func([]byte) []byte{
		"cut":     func(d []byte) []byte { return d[:len(d)/2] },
		"content": func(d []byte) []byte { copy(d[len(d)*3/4:], strings.Repeat("x", 8000)); return d },
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, storeFile), damage(append([]byte(nil), data...)), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := Verify(t.Context(), dir); err == nil {
			t.Errorf("%s: no damage found", name)
		}
	}
}
