package server

import (
	"crypto/rand"
	"database/sql"
	"fmt"
	mathrand "math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// oldLine stores a console line as releases before the chunks did.
func (s *testServer) oldLine(id string, ts int64, msg string) {
	s.t.Helper()
	err := s.store.update(s.t.Context(), func(t *tx) error {
		row, err := needTask(t.view, id)
		if err != nil {
			return err
		}
		n, err := t.insert(`INSERT INTO log(stream, ts, worker, level, msg) VALUES(?, ?, 'w', '', ?)`, row.stream, ts, msg)
		if err != nil {
			return err
		}
		_, err = t.exec(`UPDATE stream SET next = ? WHERE n = ?`, n+1, row.stream)
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// Lines come late, in small batches and large ones, some from an older release:
// every page in both directions is as if they lay in one sorted list.
func TestChunksReadAsOneConsole(t *testing.T) {
	s := newServer(t)
	for seed := range uint64(6) {
		draw := mathrand.New(mathrand.NewPCG(seed, 0))
		id := s.newTask("console")
		type line struct {
			ts  int64
			msg string
		}
		var want []line
		next := func(kind string) line {
			want = append(want, line{draw.Int64N(60) + 1, fmt.Sprint(kind, " ", len(want))})
			return want[len(want)-1]
		}
		for range draw.IntN(20) {
			l := next("old")
			s.oldLine(id, l.ts, l.msg)
		}
		for range 50 {
			var events []m
			for range 1 + draw.IntN(4) {
				l := next("line")
				events = append(events, m{"type": "log", "task": id, "msg": l.msg, "timestamp": l.ts})
			}
			if a := s.do("events.add_batch", batchOf(events...)); a.Code != 200 {
				t.Fatal(a)
			}
		}
		if seed%2 == 0 {
			s.janitor.pack(t.Context())
		}
		slices.SortStableFunc(want, func(a, b line) int { return int(a.ts - b.ts) })
		var text []string
		for _, l := range want {
			text = append(text, l.msg)
		}
		for _, size := range []int{1 + draw.IntN(30), 200} {
			for _, back := range []bool{false, true} {
				if got := s.pages(id, size, back); !slices.Equal(got, text) {
					t.Fatalf("seed %d, pages of %d, back %v:\n%v, want\n%v", seed, size, back, got, text)
				}
			}
			if got := s.scrolled(id, size); !slices.Equal(got, text) {
				t.Fatalf("seed %d, scrolled by %d: %v", seed, size, got)
			}
		}
	}
}

// However small the batches are, a console is a few large pieces after a while,
// and takes a fraction of its text.
func TestSmallChunksArePutTogether(t *testing.T) {
	s := newServer(t)
	id := s.newTask("console")
	line := strings.Repeat("a line like many others ", 20)
	for i := range 500 {
		s.do("events.add_batch", batchOf(m{"type": "log", "task": id, "msg": fmt.Sprint(line, i), "timestamp": i + 1}))
	}
	var chunks, events, size int
	if _, err := s.store.read.one(`SELECT count(*), sum(events), sum(size) FROM log_chunk`, nil, &chunks, &events, &size); err != nil {
		t.Fatal(err)
	}
	if chunks > 2*mergeChunks || events != 500 || size > 500*len(line)/4 {
		t.Errorf("%d chunks of %d events in %d bytes", chunks, events, size)
	}
	if got := s.call("events.clear_task_log", m{"task": id})["deleted"]; got != 500.0 {
		t.Errorf("cleared %v", got)
	}
	if got := s.call("events.get_task_log", m{"task": id}); got["total"] != 0.0 || len(got["events"].([]any)) != 0 {
		t.Errorf("after it: %v", got)
	}
}

// A page of large lines, which lie compressed, is read only as far as it is answered.
func TestPagesAreBounded(t *testing.T) {
	text := strings.Repeat("x", maxMsg)
	r := &logReader{from: logBegin, n: 1000}
	for i := range int64(50) {
		r.add([]logLine{{N: i, TS: 100 - i%2, Msg: text}})
	}
	if want := maxLogBytes / maxMsg; len(r.lines) != want || r.lines[0].TS != 99 || !r.full(scroll{100, 0}) || r.full(scroll{98, 0}) {
		t.Errorf("%d lines are held, want %d", len(r.lines), want)
	}
}

// What retention removes leaves a line that says how much, once, and in its place.
func TestRetentionByAge(t *testing.T) {
	s := newServer(t)
	if err := WriteRetention(s.cfg.Dir, Retention{LogAge: time.Hour}); err != nil {
		t.Fatal(err)
	}
	id := s.newTask("console")
	for round := range 3 {
		for i := range 40 {
			s.do("events.add_batch", batchOf(m{"type": "log", "task": id, "msg": fmt.Sprint("round ", round), "timestamp": 1000*round + i + 1}))
		}
		s.clock.advance(50 * time.Minute)
		s.janitor.retain(t.Context())
	}
	got := s.call("events.get_task_log", m{"task": id, "navigate_earlier": false, "batch_size": 1000})
	all := msgs(got)
	if len(all) != 41 || !strings.Contains(all[0], "80 lines up to here were removed: the server keeps consoles for 1h0m0s") || all[1] != "round 2" || got["total"] != 41.0 {
		t.Errorf("%d lines, total %v, the first: %q", len(all), got["total"], all[:min(3, len(all))])
	}
	s.janitor.retain(t.Context())
	if again := msgs(s.call("events.get_task_log", m{"task": id, "navigate_earlier": false, "batch_size": 1000})); !slices.Equal(again, all) {
		t.Errorf("a second look changed it: %v", again[:min(3, len(again))])
	}
}

func TestRetentionBySize(t *testing.T) {
	s := newServer(t)
	const limit = 60 << 10
	if err := WriteRetention(s.cfg.Dir, Retention{LogBytes: limit}); err != nil {
		t.Fatal(err)
	}
	old, fresh := s.newTask("old"), s.newTask("fresh")
	for _, id := range []string{old, fresh} {
		for i := range 40 {
			s.do("events.add_batch", batchOf(m{"type": "log", "task": id, "msg": noise(2000), "timestamp": i + 1}))
		}
		s.clock.advance(time.Minute)
	}
	s.janitor.retain(t.Context())
	var size int
	if _, err := s.store.read.one(`SELECT sum(size) FROM log_chunk`, nil, &size); err != nil || size > limit {
		t.Errorf("%d bytes are left, %v", size, err)
	}
	if first := msgs(s.call("events.get_task_log", m{"task": old, "navigate_earlier": false}))[0]; !strings.Contains(first, "were removed") {
		t.Errorf("the oldest console begins with %q", first)
	}
	if n := len(msgs(s.call("events.get_task_log", m{"task": fresh, "navigate_earlier": false, "batch_size": 100}))); n == 0 {
		t.Error("nothing is left of the newest console")
	}
}

// noise is text that does not compress.
func noise(n int) string {
	var b strings.Builder
	for b.Len() < n {
		b.WriteString(rand.Text())
	}
	return b.String()
}

// A store of the release before the chunks: its lines are there, and come before
// those of the same time that are new.
func TestStoreOfRowsIsMigrated(t *testing.T) {
	dir := t.TempDir()
	first, err := migrations.ReadFile("migrations/0001.sql")
	if err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", dsn(filepath.Join(dir, "server.db"), true))
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		string(first), `CREATE TABLE schema_version(version INTEGER PRIMARY KEY, applied INTEGER NOT NULL)`, `INSERT INTO schema_version VALUES(1, 1)`,
		`INSERT INTO stream(n) VALUES(7)`,
		`INSERT INTO task(id, name, type, status, status_changed, created, last_update, last_change, last_changed_by, user, tags, system_tags, stream, log_events)
			VALUES('old', 'old', 'training', 'in_progress', 1, 1, 1, 1, '', '', '[]', '[]', 7, 2)`,
		`INSERT INTO log(n, stream, ts, worker, level, msg) VALUES(5, 7, 1000, 'w', '', 'one'), (9, 7, 1000, 'w', '', 'two')`,
	} {
		if _, err := db.Exec(text); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	s := openServer(t, dir, Config{})
	s.do("events.add_batch", batchOf(m{"type": "log", "task": "old", "msg": "three", "timestamp": 1000}))
	for _, packed := range []bool{false, true} {
		if packed {
			s.janitor.pack(t.Context())
		}
		got := s.call("events.get_task_log", m{"task": "old", "navigate_earlier": false})
		if all := msgs(got); !slices.Equal(all, []string{"one", "two", "three"}) || got["total"] != 3.0 {
			t.Errorf("packed %v: %v", packed, got)
		}
	}
}
