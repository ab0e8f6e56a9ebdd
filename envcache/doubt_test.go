package envcache

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

const checking = "the machine went down while environments were in use"

// powerCut ends the use of the cache as a machine does that goes down, and opens it
// after the next start.
func powerCut(t *testing.T, c *Cache) *Cache {
	t.Helper()
	leave(t, c)
	if err := os.WriteFile(filepath.Join(c.state, "envs", bootFile), []byte("the last uptime\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return reopen(t, c)
}

// leave ends the use of a cache without closing it.
func leave(t *testing.T, c *Cache) {
	t.Helper()
	if err := c.users.Unlock(); err != nil {
		t.Fatal(err)
	}
}

func reopen(t *testing.T, c *Cache) *Cache {
	t.Helper()
	next, err := Open(c.state, c.opts)
	if err != nil {
		t.Fatal(err)
	}
	return next
}

// zero is what a file system makes of a file whose bytes did not reach the disk.
func zero(t *testing.T, env, name string) {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(env, "lib", "*", "site-packages", name))
	if err != nil || len(found) != 1 {
		t.Fatalf("%q, %v", found, err)
	}
	info, err := os.Stat(found[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(found[0], make([]byte, info.Size()), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestAfterAPowerCutEnvironmentsAreCheckedOnce(t *testing.T) {
	t.Parallel()
	c, req := indexed(t, "good", "harmed")
	good, harmed := acquire(t, c, req.with("good==1.0")), acquire(t, c, req.with("harmed==1.0"))
	zero(t, harmed.Path, "harmed.py")
	_, _ = good.Close(), harmed.Close()
	c = powerCut(t, c)
	var all sync.WaitGroup
	var s said
	for range 8 {
		all.Go(func() {
			l, err := c.Acquire(t.Context(), req.with("good==1.0"), s.hear)
			if err != nil || !l.Hit || l.Key != good.Key {
				t.Errorf("%+v, %v", l, err)
				return
			}
			_ = l.Close()
		})
	}
	all.Wait()
	if n := strings.Count(s.text(), checking); n != 1 {
		t.Errorf("checked %d times:\n%s", n, s.text())
	}
	var heard said
	l, err := c.Acquire(t.Context(), req.with("harmed==1.0"), heard.hear)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if l.Hit || l.Key == harmed.Key || python(t, l.Python, "-c", "import harmed; print(harmed.version)") != "1.0" {
		t.Fatalf("%+v", l)
	}
	if text := heard.text(); !strings.Contains(text, checking) || !strings.Contains(text, `changed "lib/`) || !strings.Contains(text, "thrown away") {
		t.Errorf("said:\n%s", text)
	}
	if bad := litter(t, c.state); bad != nil {
		t.Errorf("left over: %v", bad)
	}
	leave(t, c)
	var again said
	if l, err := reopen(t, c).Acquire(t.Context(), req.with("good==1.0"), again.hear); err != nil || !l.Hit || strings.Contains(again.text(), checking) || l.Close() != nil {
		t.Errorf("an agent that was killed put environments in doubt: %+v, %v\n%s", l, err, again.text())
	}
}

func TestRecheckFindsAll(t *testing.T) {
	t.Parallel()
	c, req := indexed(t, "good", "harmed", "unlisted")
	keys := map[string]string{}
	for _, name := range []string{"good", "harmed", "unlisted"} {
		l := acquire(t, c, req.with(name+"==1.0"))
		keys[name] = l.Key
		_ = l.Close()
	}
	zero(t, c.shelf.Path(keys["harmed"]), "harmed.py")
	if err := os.WriteFile(c.shelf.Path(keys["unlisted"])+manifestSuffix, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c = powerCut(t, c)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Recheck(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v", err)
	}
	done, err := c.Recheck(t.Context())
	slices.Sort(done.Removed)
	want := []string{keys["harmed"], keys["unlisted"]}
	slices.Sort(want)
	if err != nil || done.Whole != 1 || !slices.Equal(done.Removed, want) {
		t.Fatalf("%+v, %v", done, err)
	}
	if done, err = c.Recheck(t.Context()); err != nil || done.Whole+len(done.Removed) > 0 {
		t.Fatalf("again: %+v, %v", done, err)
	}
	if l := acquire(t, c, req.with("good==1.0")); !l.Hit {
		t.Fatal(l.Why)
	}
	if bad := litter(t, c.state); bad != nil {
		t.Errorf("left over: %v", bad)
	}
}

func TestTheLastOneToCloseLeavesNoDoubt(t *testing.T) {
	t.Parallel()
	c, req := indexed(t, "kept")
	_ = acquire(t, c, req.with("kept")).Close()
	other := reopen(t, c)
	if err := c.Close(); err != nil || other.mark() == closed {
		t.Fatalf("closed while in use: %v", err)
	}
	if err := errors.Join(other.Close(), other.Close()); err != nil || c.mark() != closed {
		t.Fatalf("not closed: %v", err)
	}
	c = reopen(t, c) // the machine may have started anew, who knows
	if keys, err := c.shelf.Doubtful(); err != nil || len(keys) > 0 || c.mark() == closed {
		t.Fatalf("%q, %v, mark %q", keys, err, c.mark())
	}
	// A full disk had no room for the mark.
	leave(t, c)
	if err := os.Remove(filepath.Join(c.state, "envs", bootFile)); err != nil {
		t.Fatal(err)
	}
	if keys, err := reopen(t, c).shelf.Doubtful(); err != nil || len(keys) != 1 {
		t.Fatalf("%q, %v", keys, err)
	}
}

// Many open and close at once: as long as there is a user, the mark says so.
func TestOpenAndCloseAtOnce(t *testing.T) {
	t.Parallel()
	c := newCache(t, Options{})
	var all sync.WaitGroup
	for range 6 {
		all.Go(func() {
			for range 20 {
				mine, err := Open(c.state, c.opts)
				if err != nil {
					t.Error(err)
					return
				}
				if mine.mark() == closed {
					t.Error("in use, but marked as closed")
				}
				if err := mine.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	_ = c.Close()
	all.Wait()
	if c.mark() != closed {
		t.Errorf("mark %q", c.mark())
	}
}
