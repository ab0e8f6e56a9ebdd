package source

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"agentctl/spec"
)

// settle does what the loop does with what waits to be taken: it accepts what is held
// in place of a suspended source's text.
func settle(t *testing.T, m *Manager, u Update) {
	t.Helper()
	want := u.Text
	if s := u.Source.Suspended; s != nil {
		if want = nil; s.Held != nil {
			want = s.Held.Text
		}
	}
	if _, good, _ := m.LastGood(); want != nil && string(good) != string(want) {
		_, err := m.Accept(Accepted{Seq: u.Seq, Text: want, Time: time.Now()})
		must(t, err)
	}
}

// force says in a line what is in force, and why.
func force(m *Manager) string {
	r, good, _ := m.LastGood()
	out := word(good)
	if r.Cause != CauseSource {
		out += ", " + r.Cause
	}
	if s := m.Current().Suspended; s != nil {
		out += ", " + s.Reason
	}
	return out
}

// What a suspended source says is not accepted, over restarts, until it is resumed.
func TestSuspend(t *testing.T) {
	dir := t.TempDir()
	m, path := open(t, filepath.Join(dir, "spec")), filepath.Join(dir, "node.yaml")
	if _, err := m.Suspend("me", ""); !errors.Is(err, ErrNothingTo) {
		t.Errorf("without a source: %v", err)
	}
	put(t, path, string(text("one")))
	u, err := m.ApplyFile(path, nil, Order{By: "me", Message: "first"})
	must(t, err)
	settle(t, m, u)
	if r, _, _ := m.LastGood(); r.By != "me" || r.Message != "first" || r.Cause != CauseApply {
		t.Errorf("the record: %+v", r)
	}
	late, err := m.Reload(t.Context(), false)
	must(t, err)
	u, err = m.Suspend("me", "benchmark")
	must(t, err)
	if !u.Unread || u.Source.Suspended == nil {
		t.Errorf("the update: %+v", u)
	}
	for _, seq := range []int64{late.Seq, u.Seq, u.Seq + 5} {
		if _, err := m.Accept(Accepted{Seq: seq, Text: text("two"), Time: time.Now()}); err == nil {
			t.Errorf("a text was accepted while suspended, seq %d", seq)
		}
	}
	m = open(t, m.dir)
	put(t, path, string(text("two")))
	if s := m.Current().Suspended; s == nil || s.Message != "benchmark" || s.By != "me" {
		t.Fatalf("after a restart: %+v", s)
	}
	_, err = m.SetFile(path, nil, false)
	var suspended *SuspendedError
	if !errors.As(err, &suspended) || !strings.Contains(err.Error(), "benchmark") || !strings.Contains(err.Error(), "--resume") {
		t.Errorf("apply: %v", err)
	}
	_, err = m.Resume()
	must(t, err)
	u, err = m.Reload(t.Context(), false)
	must(t, err)
	settle(t, m, u)
	if got := force(m); got != "two" {
		t.Errorf("after resume %s is in force", got)
	}
	if _, err := m.Resume(); !errors.Is(err, ErrNothingTo) {
		t.Errorf("resumed twice: %v", err)
	}
}

func TestRollback(t *testing.T) {
	m := accepted(t, t.TempDir(), Options{}, "one", "two", "two again", "three")
	for number, want := range map[int64]string{4: "is what is in force", 17: "is not kept"} {
		if _, err := m.Rollback(number, Order{}); !errors.Is(err, ErrNothingTo) || !strings.Contains(err.Error(), want) {
			t.Errorf("revision %d: %v", number, err)
		}
	}
	if _, err := m.Rollback(1, Order{Base: "3"}); err == nil || !strings.Contains(err.Error(), "moved") {
		t.Errorf("another base: %v", err)
	}
	u, err := m.Rollback(0, Order{By: "me", Message: "bad image", Base: "4"})
	must(t, err)
	settle(t, m, u)
	r, _, _ := m.LastGood()
	if r.Number != 5 || r.From != 3 || r.By != "me" || r.Message != "bad image" || force(m) != "two again, rollback, RolledBack" {
		t.Errorf("%s: %+v", force(m), r)
	}
	u, err = m.Rollback(1, Order{})
	must(t, err)
	m = open(t, m.dir) // died before the text came into force
	settle(t, m, Update{Source: m.Current(), Seq: 1})
	if got := force(m); got != "one, rollback, RolledBack" || u.Source.Suspended.Held.Number != 1 {
		t.Errorf("after a restart: %s", got)
	}
	held, err := filepath.Glob(filepath.Join(m.dir, "pinned-*.yaml"))
	if must(t, err); len(held) != 2 {
		t.Errorf("stored texts: %v", held)
	}
	u, err = m.Resume()
	must(t, err)
	settle(t, m, u)
	if got := force(m); got != "pin" {
		t.Errorf("after resume: %s", got)
	}
}

func TestCheckBase(t *testing.T) {
	m := accepted(t, t.TempDir(), Options{}, "one", "two")
	sum := digest(text("two"))
	for base, ok := range map[string]bool{"": true, "2": true, sum: true, sum[:12]: true, sum[:8] + "…": true, "1": false, "0": false, sum[:4]: false, digest(text("one")): false} {
		var moved *MovedError
		if err := m.checkBase(base); (err == nil) != ok || !ok && !errors.As(err, &moved) {
			t.Errorf("%q: %v", base, err)
		}
	}
	if err := open(t, t.TempDir()).checkBase("0"); err != nil {
		t.Errorf("no spec yet: %v", err)
	}
}

// A record that names a text which is not there is an error, as of a pinned source.
func TestHeldTextIsChecked(t *testing.T) {
	m := accepted(t, t.TempDir(), Options{}, "one", "two")
	_, err := m.Rollback(1, Order{})
	must(t, err)
	must(t, os.Remove(m.pinnedFile(digest(text("one")))))
	if _, err := Open(m.dir, Options{Log: slog.New(slog.DiscardHandler)}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

// What is kept of a revision is bounded.
func TestRecordsAreBounded(t *testing.T) {
	var a Accepted
	for range maxChanges + 1 {
		a.Changes = append(a.Changes, change("x", strings.Repeat("é", 1000)))
		a.Plan = append(a.Plan, Step{Reason: strings.Repeat("x", 1000)})
	}
	var r Revision
	r.bounded(a)
	if len(r.Changes) != maxChanges || !r.Partial || len(r.Plan) != maxSteps || len(r.Plan[0].Reason) > maxValue+3 {
		t.Errorf("%d changes, %d steps, partial %v", len(r.Changes), len(r.Plan), r.Partial)
	}
	if diff := cmp.Diff(strings.Repeat("é", maxValue/2)+"…", r.Changes[0].New); diff != "" {
		t.Error(diff)
	}
}

// Blame finds what a revision changed that is not kept any more, also after a kill
// between the two.
func TestOlderRevisionsAreBlamed(t *testing.T) {
	m := accepted(t, t.TempDir(), Options{Keep: 2})
	for i, path := range []string{"a", "b", "a", "c", "d"} {
		_, err := m.Accept(Accepted{Seq: 1, Text: text(path), Time: time.Unix(int64(i), 0), Changes: []spec.Change{change(path, "x")}})
		must(t, err)
	}
	must(t, m.fold(4)) // and died
	m = open(t, m.dir)
	history, err := m.History()
	must(t, err)
	older, err := m.Older()
	must(t, err)
	for path, want := range map[string]int64{"a": 3, "b": 2, "c": 4, "d": 5} {
		if r := Blame(path, append(history, older...)); r == nil || r.Number != want {
			t.Errorf("%s: %+v, want revision %d", path, r, want)
		}
	}
}

// What an earlier release wrote of a revision is read.
func TestOldRecords(t *testing.T) {
	m := accepted(t, t.TempDir(), Options{}, "one")
	put(t, m.revisionFile(1, ".json"), `{"version":1,"number":1,"digest":"`+digest(text("one"))+`","kind":"file","path":"/a","time":"2026-01-02T03:04:05Z","result":"converged"}`)
	history, err := open(t, m.dir).History()
	if must(t, err); len(history) != 1 || history[0].Cause != "" || history[0].Result != "converged" {
		t.Errorf("%+v", history)
	}
}

// Going back to the revision of an older commit lets no other commit after that one in:
// what was applied from the repository last counts.
func TestRollbackOfARepository(t *testing.T) {
	n, _ := newGitNode(t)
	first := n.repo.commit("one", "node.yaml", string(text("one")))
	n.set(false)
	second := n.repo.commit("two", "node.yaml", string(text("two")))
	n.expect("two", "two")
	n.stop() // what the source says is handed on here, by the test
	u, err := n.m.Rollback(0, Order{By: "me"})
	must(t, err)
	settle(t, n.m, u)
	r, _, _ := n.m.LastGood()
	if r.Commit == nil || r.Commit.Hash != first || r.URL != n.g.URL || r.From != 1 || r.Cause != CauseRollback {
		t.Errorf("the record: %+v", r)
	}
	u, err = n.m.Reload(t.Context(), false)
	must(t, err)
	if settle(t, n.m, u); said(u) != "two" || u.Commit.Hash != second || force(n.m) != "one, rollback, RolledBack" {
		t.Errorf("the source says %s, in force is %s", said(u), force(n.m))
	}
	n.repo.git("reset", "-q", "--hard", first)
	n.repo.commit("beside two", "node.yaml", string(text("three")))
	for _, do := range []func() (Update, error){nil, n.m.Resume} {
		if do != nil {
			_, err := do()
			must(t, err)
		}
		if u, err = n.m.Reload(t.Context(), false); err != nil || said(u) != "NotDescendant" {
			t.Errorf("a commit that does not come after two: %s, %v", said(u), err)
		}
	}
	n.repo.git("reset", "-q", "--hard", second)
	n.repo.push()
	n.start()
	n.expect("two", "two")
}
