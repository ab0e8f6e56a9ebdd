package shelf

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"agentctl/internal/fsx"
)

// child is what this test's program does when it is started to be killed: it
// makes entry 1, and removes entry 2.
func child(dir string) {
	s, err := Open[note](dir, Options{Name: "shelf", Side: []string{".side"}})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	l, err := s.Get(context.Background(), key(1), nil, fill("one", 3))
	if err == nil {
		fmt.Println(l.Hit)
		err = s.Remove(key(2))
	}
	if err == nil {
		err = s.DoubtAll()
	}
	if err == nil {
		if l, err = s.Examine(key(1)); err == nil {
			err = s.Trust(l)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// crashing builds this test's program with crash points.
func crashing(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "crashing")
	out, err := exec.Command("go", "test", "-c", "-tags", "crashpoints", "-o", bin, ".").CombinedOutput()
	if err != nil {
		t.Fatalf("cannot build with crash points: %v\n%s", err, out)
	}
	return bin
}

func TestKilledAtEachPoint(t *testing.T) {
	bin := crashing(t)
	points := []string{
		"locked", "swept", "marked", "made", "recorded", "synced", "published", "leased",
		"remove.marked", "remove.moved", "remove.forgotten", "doubted", "trusted",
	}
	for _, p := range points {
		t.Run(p, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir)
			_ = get(t, s, key(2), fill("two", 3)).Close()
			cmd := exec.Command(bin)
			cmd.Env = append(os.Environ(), "SHELF_TEST_CHILD="+dir, "AGENTCTL_CRASH_AT=shelf."+p)
			out, err := cmd.CombinedOutput()
			var failed *exec.ExitError
			if !errors.As(err, &failed) || failed.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
				t.Fatalf("the child was not killed at %s: %v\n%s", p, err, out)
			}
			// Without a sweep: a process that was running all along finds it so.
			if l, err := s.Peek(key(1)); err == nil {
				if data, err := os.ReadFile(filepath.Join(l.Path, "data")); err != nil || string(data) != "one" {
					t.Errorf("leased, but %q, %v", data, err)
				}
				_ = l.Close()
			}
			s = open(t, dir)
			doubtful, err := s.Doubtful()
			if err != nil {
				t.Fatal(err)
			}
			for _, k := range doubtful {
				l, err := s.Examine(k)
				if err != nil || s.Trust(l) != nil || l.Close() != nil {
					t.Fatalf("%s can't be examined: %v", k, err)
				}
			}
			if bad := litter(t, dir); bad != nil {
				t.Fatalf("left over: %v", bad)
			}
			for n, text := range map[int]string{1: "one", 2: "two"} {
				l := get(t, s, key(n), fill(text, 3))
				if data, err := os.ReadFile(filepath.Join(l.Path, "data")); err != nil || string(data) != text {
					t.Errorf("entry %d: %q, %v", n, data, err)
				}
				_ = l.Close()
			}
		})
	}
}

// A builder's lock that a child of it inherited keeps others out after the
// builder was killed.
func TestAnOrphanKeepsTheKey(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	l, err := s.lock(key(1), fsx.TryLock)
	if err != nil {
		t.Fatal(err)
	}
	orphan := exec.Command("sleep", "600")
	orphan.ExtraFiles = []*os.File{l.File()}
	if err := orphan.Start(); err != nil {
		t.Fatal(err)
	}
	_ = l.Close() // the builder is gone, its child is not
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := s.Get(ctx, key(1), nil, fill("one", 1)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("err = %v", err)
	}
	_ = orphan.Process.Kill()
	_ = orphan.Wait()
	_ = get(t, s, key(1), fill("one", 1)).Close()
}
