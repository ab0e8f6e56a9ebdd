package shelf

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"agentctl/internal/fsx"
)

// doubted is a shelf with entries 1 to n, all in doubt; entry 1 was used last.
func doubted(t *testing.T, n int) *Shelf[note] {
	t.Helper()
	s := open(t, t.TempDir())
	for i := 1; i <= n; i++ {
		_ = get(t, s, key(i), fill(key(i), 3)).Close()
		used := time.Now().Add(-time.Duration(i) * time.Hour)
		_ = os.Chtimes(s.at(key(i), lockSuffix), used, used)
	}
	if err := s.DoubtAll(); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestWhatIsInDoubtIsNotLeased(t *testing.T) {
	s := doubted(t, 2)
	if _, err := s.Peek(key(1)); !errors.Is(err, ErrDoubt) {
		t.Errorf("Peek: %v", err)
	}
	making := func(context.Context, Making) (note, int64, error) {
		t.Error("made anew")
		return note{}, 0, errors.New("made anew")
	}
	if _, err := s.Get(t.Context(), key(1), nil, making); !errors.Is(err, ErrDoubt) {
		t.Errorf("Get: %v", err)
	}
	s = open(t, s.dir) // a sweep is no examination
	all, err := s.Entries()
	if err != nil || len(all) != 2 || !all[0].Doubt || all[0].Entry.Text != key(1) {
		t.Fatalf("%+v, %v", all, err)
	}
	if keys, err := s.Doubtful(); err != nil || !slices.Equal(keys, []string{key(1), key(2)}) {
		t.Fatalf("%q, %v", keys, err)
	}
	l, err := s.Examine(key(1))
	if err != nil || l.Entry.Text != key(1) {
		t.Fatalf("%+v, %v", l, err)
	}
	if err := s.Remove(key(1)); !errors.Is(err, fsx.ErrLocked) {
		t.Errorf("removed while it is examined: %v", err)
	}
	for range 2 { // the second time by somebody who was as fast
		if err := s.Trust(l); err != nil {
			t.Fatal(err)
		}
	}
	_ = l.Close()
	if l := get(t, s, key(1), making); !l.Hit || l.Close() != nil {
		t.Fatalf("%+v", l)
	}
	if _, err := s.Examine(key(1)); !errors.Is(err, ErrGone) {
		t.Errorf("examined again: %v", err)
	}
	if bad := litter(t, s.dir); len(bad) != 4 { // entry 2, its lock, its side file and a record by another name
		t.Errorf("left over: %v", bad)
	}
}

func TestWhatIsInDoubtCanGo(t *testing.T) {
	s := doubted(t, 3)
	if err := s.MarkDirty(key(1)); err != nil {
		t.Fatal(err)
	}
	done, err := s.Collect(t.Context(), Limits{MaxEntries: 1}, time.Now())
	if err != nil || !slices.Equal(done.Removed, []string{key(1), key(3)}) || done.Kept != 1 {
		t.Fatalf("%+v, %v", done, err)
	}
	if err := s.Remove(key(2)); err != nil {
		t.Fatal(err)
	}
	if bad := litter(t, s.dir); bad != nil {
		t.Fatalf("left over: %v", bad)
	}
}

// A record that the power cut damaged is no entry.
func TestADamagedRecordIsSwept(t *testing.T) {
	s := open(t, t.TempDir())
	_ = get(t, s, key(1), fill("one", 3)).Close()
	if err := os.WriteFile(s.at(key(1), recordSuffix), make([]byte, 100), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.DoubtAll(); err != nil {
		t.Fatal(err)
	}
	s = open(t, s.dir)
	if bad := litter(t, s.dir); bad != nil {
		t.Fatalf("left over: %v", bad)
	}
	if l := get(t, s, key(1), fill("new", 3)); l.Hit || l.Close() != nil {
		t.Fatalf("%+v", l)
	}
}

// Who looks whether an entry is in use makes nobody else miss it.
func TestALookIsNoMiss(t *testing.T) {
	s := open(t, t.TempDir())
	_ = get(t, s, key(1), fill("one", 3)).Close()
	l, err := s.lock(key(1), fsx.TryLock)
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(20*time.Millisecond, func() { _ = l.Close() })
	held, err := s.Peek(key(1))
	if err != nil {
		t.Fatalf("missed: %v", err)
	}
	_ = held.Close()
}

// A process that a build left behind has the build's lock, but no say any more.
func TestWhatABuildLeavesBehindKeepsNobodyOut(t *testing.T) {
	s := open(t, t.TempDir())
	var kept *os.File
	l := get(t, s, key(1), func(ctx context.Context, m Making) (note, int64, error) {
		kept = dup(t, m.Lock)
		return fill("one", 3)(ctx, m)
	})
	defer kept.Close()
	if l.Hit || l.Close() != nil {
		t.Fatalf("%+v", l)
	}
	if err := s.Remove(key(1)); err != nil {
		t.Fatal(err)
	}
}

// A lock file that was made for an entry which vanished goes, too.
func TestNoLockStaysAlone(t *testing.T) {
	s := open(t, t.TempDir())
	_ = get(t, s, key(1), fill("one", 3)).Close()
	if err := os.RemoveAll(s.Path(key(1))); err != nil {
		t.Fatal(err)
	}
	if s.Stands(key(1)) || s.Stands(key(2)) || s.Stands("../x") {
		t.Error("what is not there stands")
	}
	_ = os.Mkdir(s.Path(key(3)), 0o700) // half an entry, of nobody
	if _, err := s.Peek(key(3)); err == nil {
		t.Error("half an entry was leased")
	}
	_ = os.Remove(s.Path(key(3)))
	s.tidy(key(3))
	s = open(t, s.dir)
	files, err := filepath.Glob(filepath.Join(s.dir, "*"))
	if err != nil || len(files) > 0 {
		t.Fatalf("left over: %q, %v", files, err)
	}
}
