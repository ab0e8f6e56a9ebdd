package source

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// tried is a manager in a bubble on which text "new" is tried for an hour.
func tried(t *testing.T, do func(m *Manager, follow func(*Manager) (stop func()))) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		m := accepted(t, dir, Options{}, "one", "two")
		follow := func(m *Manager) func() {
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() { defer close(done); _ = m.Run(ctx) }()
			go func() {
				for {
					select {
					case <-ctx.Done():
						return
					case u := <-m.Updates():
						settle(t, m, u)
					}
				}
			}()
			return func() { cancel(); <-done }
		}
		u, err := m.ApplyText("-", text("new"), Order{Try: time.Hour, By: "me"})
		must(t, err)
		settle(t, m, u)
		if got := force(m); got != "new, try, Trying" {
			t.Fatal(got)
		}
		do(m, follow)
	})
}

func TestTrialReverts(t *testing.T) {
	tried(t, func(m *Manager, follow func(*Manager) func()) {
		stop := follow(m)
		time.Sleep(time.Hour - time.Second)
		synctest.Wait()
		if got := force(m); got != "new, try, Trying" {
			t.Errorf("before its time: %s", got)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got := force(m); got != "two, revert, Reverted" {
			t.Errorf("after its time: %s", got)
		}
		if r, _, _ := m.LastGood(); r.From != 2 || r.Number != 4 || !strings.Contains(r.Message, "what me tried was not confirmed by") {
			t.Errorf("the record: %+v", r)
		}
		stop()
		if _, err := m.Confirm(); !errors.Is(err, ErrNothingTo) || !strings.Contains(err.Error(), "not confirmed by") {
			t.Errorf("confirmed too late: %v", err)
		}
	})
}

func TestTrialConfirmed(t *testing.T) {
	tried(t, func(m *Manager, follow func(*Manager) func()) {
		for name, do := range map[string]func() (Update, error){
			"suspend": func() (Update, error) { return m.Suspend("me", "") },
			"resume":  m.Resume,
			"apply":   func() (Update, error) { return m.Pin("-", text("x"), false) },
		} {
			var suspended *SuspendedError
			if _, err := do(); !errors.As(err, &suspended) {
				t.Errorf("%s during a trial: %v", name, err)
			}
		}
		stop := follow(m)
		defer func() { stop() }()
		_, err := m.Confirm()
		must(t, err)
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if got := force(m); got != "new, try" || m.Current().String() != "a pinned spec (-)" {
			t.Errorf("%s from %s", got, m.Current())
		}
	})
}

// An agent that does not live when the time is over reverts at its next start.
func TestTrialRevertsAfterARestart(t *testing.T) {
	tried(t, func(m *Manager, follow func(*Manager) func()) {
		time.Sleep(30 * time.Hour)
		again := open(t, m.dir)
		if s := again.Current().Suspended; s.Reason != ReasonReverted {
			t.Errorf("an agent that has just started acts on %+v", s)
		}
		if _, err := again.Confirm(); !errors.Is(err, ErrNothingTo) {
			t.Errorf("confirmed after its time: %v", err)
		}
		stop := follow(again)
		synctest.Wait()
		stop()
		if got := force(again); got != "two, revert, Reverted" {
			t.Errorf("after a restart: %s", got)
		}
	})
}

// A revert that can't be recorded is tried again.
func TestRevertOnAFullDisk(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Log("root may write anywhere: a folder in the record's place stands in for the full disk")
	}
	tried(t, func(m *Manager, follow func(*Manager) func()) {
		record := m.sourceFile()
		must(t, os.Rename(record, record+".kept"))
		must(t, os.MkdirAll(filepath.Join(record, "x"), 0o700))
		stop := follow(m)
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if got := force(m); got != "new, try, Trying" {
			t.Errorf("without its record: %s", got)
		}
		must(t, os.RemoveAll(record))
		time.Sleep(retryRevert + time.Second)
		synctest.Wait()
		stop()
		if got := force(m); got != "two, revert, Reverted" {
			t.Errorf("with the disk back: %s", got)
		}
	})
}

// A file that was edited during its trial is not confirmed unseen.
func TestConfirmAnEditedFile(t *testing.T) {
	m, path := accepted(t, t.TempDir(), Options{}, "one"), filepath.Join(t.TempDir(), "node.yaml")
	put(t, path, string(text("new")))
	u, err := m.ApplyFile(path, nil, Order{Try: time.Hour})
	must(t, err)
	settle(t, m, u)
	put(t, path, string(text("newer")))
	var changed *ChangedError
	if _, err := m.Confirm(); !errors.As(err, &changed) {
		t.Errorf("got %v", err)
	}
	put(t, path, string(text("new")))
	_, err = m.Confirm()
	must(t, err)
	if got := open(t, m.dir).Current(); got.String() != "the file "+path || got.Suspended != nil {
		t.Errorf("the source is %s", got)
	}
	if _, err := open(t, t.TempDir()).ApplyFile(path, nil, Order{Try: time.Hour}); !errors.Is(err, ErrNothingTo) {
		t.Errorf("a trial with nothing to go back to: %v", err)
	}
}
