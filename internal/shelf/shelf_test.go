package shelf

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"agentctl/internal/fsx"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("SHELF_TEST_CHILD"); dir != "" {
		child(dir)
	}
	goleak.VerifyTestMain(m)
}

type note struct{ Text string }

func open(t *testing.T, dir string) *Shelf[note] {
	t.Helper()
	s, err := Open[note](dir, Options{Name: "shelf", Side: []string{".side"}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func key(n int) string { return fmt.Sprintf("%032x", n) }

// fill makes an entry of one file with size bytes.
func fill(text string, size int) Maker[note] {
	return func(_ context.Context, m Making) (note, int64, error) {
		if err := os.Mkdir(m.Path, 0o755); err != nil {
			return note{}, 0, err
		}
		if err := os.WriteFile(m.Path+".side", nil, 0o600); err != nil {
			return note{}, 0, err
		}
		return note{text}, int64(size), os.WriteFile(filepath.Join(m.Path, "data"), []byte(text), 0o600)
	}
}

func get(t *testing.T, s *Shelf[note], k string, make Maker[note]) *Lease[note] {
	t.Helper()
	l, err := s.Get(t.Context(), k, nil, make)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func dup(t *testing.T, f *os.File) *os.File {
	t.Helper()
	fd, err := syscall.Dup(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	return os.NewFile(uintptr(fd), f.Name())
}

// litter lists what is in the folder besides whole entries and their locks.
func litter(t *testing.T, dir string) []string {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var bad []string
	for _, f := range files {
		k, suffix, _ := strings.Cut(f.Name(), ".")
		_, err := os.Stat(filepath.Join(dir, k+".json"))
		if whole := err == nil && k != "" && suffix != "partial"; !whole && f.Name() != ".collect" {
			bad = append(bad, f.Name())
		}
	}
	return bad
}

func TestMadeOnceThenHit(t *testing.T) {
	s := open(t, t.TempDir())
	l := get(t, s, key(1), fill("one", 3))
	if l.Hit || l.Entry.Text != "one" || l.Bytes != 3 {
		t.Fatalf("made: %+v", l)
	}
	again := get(t, s, key(1), func(context.Context, Making) (note, int64, error) {
		t.Fatal("made twice")
		return note{}, 0, nil
	})
	if !again.Hit || again.Entry.Text != "one" {
		t.Fatalf("hit: %+v", again)
	}
	for _, l := range []*Lease[note]{l, again} {
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFailedMakingLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	boom := errors.New("boom")
	_, err := s.Get(t.Context(), key(1), nil, func(_ context.Context, m Making) (note, int64, error) {
		_ = os.MkdirAll(filepath.Join(m.Path, "deep", "er"), 0o500)
		_ = os.WriteFile(filepath.Join(m.Work, "scratch"), nil, 0o600)
		return note{}, 0, boom
	})
	if !errors.Is(err, boom) {
		t.Fatalf("err = %v", err)
	}
	if bad := litter(t, dir); bad != nil {
		t.Fatalf("left over: %v", bad)
	}
	l := get(t, s, key(1), fill("one", 3))
	defer l.Close()
	if l.Hit {
		t.Fatal("a failed making was hit")
	}
}

func TestAWaiterIsNotHeldUpByTheBuildersLease(t *testing.T) {
	s := open(t, t.TempDir())
	begun, finish := make(chan struct{}), make(chan struct{})
	done := make(chan *Lease[note])
	go func() {
		l, _ := s.Get(t.Context(), key(1), nil, func(ctx context.Context, m Making) (note, int64, error) {
			close(begun)
			<-finish
			return fill("one", 3)(ctx, m)
		})
		done <- l
	}()
	<-begun
	waited := make(chan struct{})
	second := make(chan *Lease[note])
	go func() {
		l, _ := s.Get(t.Context(), key(1), func() { close(waited) }, fill("two", 3))
		second <- l
	}()
	<-waited
	close(finish)
	first := <-done // kept, as by a task that runs for days
	l := <-second
	if l == nil || !l.Hit || l.Entry.Text != "one" {
		t.Fatalf("second: %+v", l)
	}
	_ = first.Close()
	_ = l.Close()
}

func TestWaitingEndsWithTheContext(t *testing.T) {
	s := open(t, t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	_, err := s.Get(t.Context(), key(1), nil, func(context.Context, Making) (note, int64, error) {
		_, err := s.Get(ctx, key(1), cancel, fill("inner", 1))
		if !errors.Is(err, context.Canceled) {
			t.Errorf("inner err = %v", err)
		}
		return note{}, 0, errors.New("enough")
	})
	if err == nil {
		t.Fatal("no error")
	}
}

func TestDirtyIsNeverLeasedAgain(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	l := get(t, s, key(1), fill("one", 3))
	if err := s.MarkDirty(key(1)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(t.Context(), key(1), nil, fill("two", 3)); !errors.Is(err, ErrDirty) {
		t.Fatalf("err = %v", err)
	}
	if err := s.Remove(key(1)); !errors.Is(err, fsx.ErrLocked) {
		t.Fatalf("removed under a lease: %v", err)
	}
	got, err := s.Collect(t.Context(), Limits{}, time.Now())
	if err != nil || len(got.Removed) != 0 {
		t.Fatalf("collected under a lease: %+v, %v", got, err)
	}
	_ = l.Close()
	if got, err = s.Collect(t.Context(), Limits{}, time.Now()); err != nil || len(got.Removed) != 1 || got.Kept != 0 {
		t.Fatalf("not collected: %+v, %v", got, err)
	}
	if bad := litter(t, dir); bad != nil {
		t.Fatalf("left over: %v", bad)
	}
}

func TestHostileKeysAreRefused(t *testing.T) {
	s := open(t, t.TempDir())
	for _, k := range []string{"", "..", "../../etc/passwd", strings.Repeat("a", 33), strings.Repeat("A", 32), key(1) + "\x00", "/" + key(1)} {
		if _, err := s.Peek(k); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Peek(%q) = %v", k, err)
		}
		if err := errors.Join(s.Remove(k), s.MarkDirty(k)); err == nil {
			t.Errorf("%q was taken", k)
		}
	}
}

func TestCollectTakesTheLeastRecentlyUsed(t *testing.T) {
	now := time.Now()
	for _, tc := range []struct {
		name   string
		limits Limits
		want   []string
	}{
		{"entries", Limits{MaxEntries: 2}, []string{key(1), key(2)}},
		{"bytes", Limits{MaxBytes: 200}, []string{key(1), key(2)}},
		{"age", Limits{MaxAge: 150 * time.Minute}, []string{key(1)}},
		{"free space that no disk has", Limits{MinFree: 1 << 61}, []string{key(1), key(2)}},
		{"no limit", Limits{}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir)
			for n := 1; n <= 4; n++ {
				l := get(t, s, key(n), fill("x", 100))
				if n == 3 { // leased: it stays whatever the limits say
					defer l.Close()
				} else {
					_ = l.Close()
				}
				used := now.Add(-time.Duration(4-n) * time.Hour)
				_ = os.Chtimes(filepath.Join(dir, key(n)+".lock"), used, used)
			}
			preview, perr := s.Preview(t.Context(), tc.limits, now)
			got, err := s.Collect(t.Context(), tc.limits, now)
			if perr != nil || !slices.Equal(preview.Removed, got.Removed) || preview.Kept != got.Kept || preview.Freed != got.Freed {
				t.Errorf("preview %+v, %v; then %+v", preview, perr, got)
			}
			if err != nil || strings.Join(got.Removed, " ") != strings.Join(tc.want, " ") || got.Kept != 4-len(tc.want) {
				t.Fatalf("got %+v, %v, want %v", got, err, tc.want)
			}
			if bad := litter(t, dir); bad != nil {
				t.Fatalf("left over: %v", bad)
			}
		})
	}
}

func TestEntriesLastUsedFirst(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	for n := 1; n <= 3; n++ {
		_ = get(t, s, key(n), fill("x", n)).Close()
		used := time.Now().Add(time.Duration(n-10) * time.Hour)
		_ = os.Chtimes(filepath.Join(dir, key(n)+".lock"), used, used)
	}
	l := get(t, s, key(1), nil) // a hit is a use
	defer l.Close()
	all, err := s.Entries()
	if err != nil || len(all) != 3 || all[0].Key != key(1) || !all[0].InUse || all[1].Key != key(3) || all[1].InUse {
		t.Fatalf("entries: %+v, %v", all, err)
	}
}

// Whatever leases, makers and collectors do at once: a leased entry is whole.
func TestNothingLeasedIsCollected(t *testing.T) {
	s := open(t, t.TempDir())
	var wg sync.WaitGroup
	var made atomic.Int64
	stop := make(chan struct{})
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				_, _ = s.Collect(t.Context(), Limits{MaxEntries: 1}, time.Now())
			}
		}
	})
	var workers sync.WaitGroup
	for w := range 8 {
		workers.Go(func() {
			for i := range 40 {
				n := (w + i) % 3
				l, err := s.Get(t.Context(), key(n), nil, func(ctx context.Context, m Making) (note, int64, error) {
					made.Add(1)
					return fill(key(n), 1)(ctx, m)
				})
				if err != nil {
					t.Error(err)
					return
				}
				if data, err := os.ReadFile(filepath.Join(l.Path, "data")); err != nil || string(data) != key(n) {
					t.Errorf("leased, but %q, %v", data, err)
				}
				_ = l.Close()
			}
		})
	}
	workers.Wait()
	close(stop)
	wg.Wait()
	t.Logf("made %d times", made.Load())
}

// Who knows of an entry no more than its folder keeps it from being removed as well.
func TestHold(t *testing.T) {
	s := open(t, t.TempDir())
	made := get(t, s, key(1), fill("x", 1))
	if err := made.Close(); err != nil {
		t.Fatal(err)
	}
	l, err := Hold(s.Path(key(1)))
	if err != nil {
		t.Fatal(err)
	}
	if done, err := s.Collect(t.Context(), Limits{MaxAge: 1}, time.Now().Add(time.Hour)); err != nil || len(done.Removed) > 0 {
		t.Errorf("removed %v, %v", done.Removed, err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if done, err := s.Collect(t.Context(), Limits{MaxAge: 1}, time.Now().Add(time.Hour)); err != nil || len(done.Removed) != 1 {
		t.Errorf("removed %v, %v", done.Removed, err)
	}
	if _, err := Hold(s.Path(key(1))); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an entry that is gone is held: %v", err)
	}
}
