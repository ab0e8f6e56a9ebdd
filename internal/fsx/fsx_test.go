package fsx

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

func TestWriteFileReplacesWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	for _, text := range []string{"first", "a longer second", ""} {
		if err := WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != text {
			t.Fatalf("read %q, %v; want %q", got, err, text)
		}
	}
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", fi.Mode(), err)
	}
	// A folder in the way: the old file stays and nothing is left beside it.
	dir := filepath.Join(filepath.Dir(path), "dir")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(dir, []byte("x"), 0o600); err == nil {
		t.Error("a folder was replaced by a file")
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 2 {
		t.Errorf("left beside it: %v, %v", entries, err)
	}
}

func TestJSONRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.json")
	type rec struct{ A string }
	for _, write := range []func(string, any, fs.FileMode) error{WriteJSON, ReplaceJSON} {
		if err := write(path, rec{"x"}, 0o600); err != nil {
			t.Fatal(err)
		}
		var got rec
		if err := ReadJSON(path, &got); err != nil || got.A != "x" {
			t.Errorf("%+v, %v", got, err)
		}
	}
	if err := ReadJSON(path+"x", &rec{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file gives %v", err)
	}
}

func TestLocksExcludeAndShare(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	one, err := TryLockShared(path)
	if err != nil {
		t.Fatal(err)
	}
	two, err := TryLockShared(path)
	if err != nil {
		t.Fatalf("a second shared lock: %v", err)
	}
	if _, err := TryLock(path); !errors.Is(err, ErrLocked) {
		t.Fatalf("an exclusive lock beside shared ones: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := WaitLock(ctx, path); !errors.Is(err, context.Canceled) {
		t.Fatalf("waiting did not end with its context: %v", err)
	}
	got := make(chan error, 1)
	go func() { // ends by the closes below; awaited at the end
		l, err := WaitLock(t.Context(), path)
		if err == nil {
			err = l.Downgrade()
		}
		if err == nil {
			var again *Lock
			if again, err = TryLockShared(path); err == nil {
				err = errors.Join(again.Close(), l.Close())
			}
		}
		got <- err
	}()
	if err := errors.Join(one.Close(), two.Close()); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-got:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Fatal("the lock was freed and not taken")
	}
}

// A lock whose file goes with its holder: who waited for the old file takes the new
// one, and a copy of the descriptor keeps nobody out after Unlock.
func TestPassingLocks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	first, err := Passing(path, TryLock)
	if err != nil {
		t.Fatal(err)
	}
	taken := make(chan error, 1)
	opened := make(chan struct{})
	go func() { // ends by the Remove below; awaited at the end
		late, err := Passing(path, func(path string) (*Lock, error) {
			l, err := TryLock(path)
			for ; errors.Is(err, ErrLocked); l, err = TryLock(path) {
				select {
				case <-opened:
				default:
					close(opened)
				}
			}
			return l, err
		})
		if err == nil {
			if _, serr := os.Stat(path); serr != nil {
				err = serr
			}
			err = errors.Join(err, late.Remove())
		}
		taken <- err
	}()
	<-opened
	if err := first.Remove(); err != nil {
		t.Fatal(err)
	}
	if err := <-taken; err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("the file stayed: %v", err)
	}
	held, err := TryLock(path)
	if err != nil {
		t.Fatal(err)
	}
	fd, err := syscall.Dup(int(held.File().Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Close(fd) }()
	if err := held.Unlock(); err != nil {
		t.Fatal(err)
	}
	again, err := TryLock(path)
	if err != nil {
		t.Fatalf("a copy of the descriptor kept the lock: %v", err)
	}
	_ = again.Close()
}

func FuzzSafeJoin(f *testing.F) {
	for _, s := range []string{"a/b", "../x", "/etc", "a/../../b", "a\x00b", "", "."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		got, err := SafeJoin("/root/dir", path)
		if err != nil {
			return
		}
		rel, err := filepath.Rel("/root/dir", got)
		if err != nil || !filepath.IsLocal(rel) {
			t.Errorf("SafeJoin(%q) = %q leads out", path, got)
		}
	})
}
