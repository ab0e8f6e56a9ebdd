package envcache

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// indexed is a cache and a request that need nothing but a local index.
func indexed(t *testing.T, packages ...string) (*Cache, Request) {
	t.Helper()
	x := newIndexServer(t, "", "")
	for _, name := range packages {
		x.add(wheel(name, "1.0"))
	}
	c := newCache(t, Options{})
	return c, Request{Python: hostPython(t, SameUser), IndexURL: x.url(), UID: SameUser, GID: SameUser}
}

func (r Request) with(lines ...string) Request {
	r.Requirements = lines
	return r
}

func TestAnUnpinnedListAges(t *testing.T) {
	t.Parallel()
	x := newIndexServer(t, "", "")
	x.add(wheel("free", "1.0"))
	x.add(wheel("fixed", "1.0"))
	c := newCache(t, Options{})
	req := Request{Python: hostPython(t, SameUser), IndexURL: x.url(), UID: SameUser, GID: SameUser}
	now := time.Now()
	c.now = func() time.Time { return now }
	first, fixed := acquire(t, c, req.with("free")), acquire(t, c, req.with("fixed==1.0"))
	now = now.Add(6 * 24 * time.Hour)
	if l := acquire(t, c, req.with("free")); l.Key != first.Key || !l.Hit {
		t.Fatalf("after 6 days: %s", l.Why)
	}
	now = now.Add(2 * 24 * time.Hour)
	if l := acquire(t, c, req.with("free")); l.Key != first.Key || !l.Hit || !strings.Contains(l.Why, "resolved to the same packages") {
		t.Fatalf("after 8 days, nothing new in the index: hit %v, %s", l.Hit, l.Why)
	}
	x.add(wheel("free", "2.0"))
	if l := acquire(t, c, req.with("free")); l.Key != first.Key {
		t.Fatalf("resolved anew before its time: %s", l.Why)
	}
	now = now.Add(8 * 24 * time.Hour)
	l := acquire(t, c, req.with("free"))
	if l.Key == first.Key || l.Hit || !strings.Contains(l.Why, "older than 7 days") {
		t.Fatalf("after 16 days: hit %v, %s", l.Hit, l.Why)
	}
	if again := acquire(t, c, req.with("free")); again.Key != l.Key || !again.Hit {
		t.Fatalf("then: %s", again.Why)
	}
	if l := acquire(t, c, req.with("fixed==1.0")); l.Key != fixed.Key || !l.Hit {
		t.Fatalf("pinned: %s", l.Why)
	}
	shorter := req.with("free")
	shorter.ResolveAge = time.Hour
	now = now.Add(2 * time.Hour)
	if again := acquire(t, c, req.with("free")); again.Key != l.Key || strings.Contains(again.Why, "resolved") {
		t.Fatalf("within the cache's age: %s", again.Why)
	}
	if again := acquire(t, c, shorter); again.Key != l.Key || !strings.Contains(again.Why, "resolved to the same packages") {
		t.Fatalf("beyond the request's age, nothing new in the index: %s", again.Why)
	}
	c.opts.MaxAge = -1
	now = now.Add(1000 * 24 * time.Hour)
	if again := acquire(t, c, req.with("free")); again.Key != l.Key {
		t.Fatalf("for ever: %s", again.Why)
	}
}

func TestAMissIsExplained(t *testing.T) {
	t.Parallel()
	c, req := indexed(t, "one", "two")
	acquire(t, c, req.with("one==1.0"))
	l := acquire(t, c, req.with("one==1.0", "two==1.0"))
	if l.Why != "the nearest environment differs: requirements: +two==1.0" {
		t.Fatalf("why: %s", l.Why)
	}
	entries, err := c.Entries()
	if err != nil || len(entries) != 2 || entries[0].Manager != "pip" || entries[0].Python != req.Python.Version || !entries[0].InUse || len(entries[0].Parts) == 0 {
		t.Fatalf("%+v, %v", entries, err)
	}
}

func TestThinEnvironment(t *testing.T) {
	t.Parallel()
	c, req := indexed(t, "shown", "added", "replaced")
	x := newIndexServer(t, "", "")
	x.add(wheel("replaced", "2.0"))
	uid := SameUser
	if os.Geteuid() == 0 {
		uid = 65534
		req.Python, req.UID, req.GID = hostPython(t, uid), uid, uid
	}
	l := acquire(t, c, req.with("shown==1.0", "replaced==1.0"))
	dir := filepath.Join(newState(t), "child")
	child, err := c.Child(t.Context(), l, dir, uid, uid)
	if err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) string {
		t.Helper()
		var out strings.Builder
		exit, err := HostExec{}.Run(t.Context(), Cmd{
			Args: args, Dir: "/", UID: uid, GID: uid, Stdout: &out, Stderr: &out,
			Env: []string{"HOME=/nonexistent", "PATH=" + strings.Join(append(child.PathDirs, defaultPath), ":")},
		})
		if err != nil || exit.Code != 0 {
			t.Fatalf("%q: %+v, %v\n%s", args, exit, err, out.String())
		}
		return strings.TrimSpace(out.String())
	}
	if got := run("python", "-c", "import sys, shown; print(sys.prefix, shown.version)"); got != dir+" 1.0" {
		t.Fatalf("the child says %q", got)
	}
	if got := run("shown"); got != "shown 1.0" {
		t.Fatalf("the base's program says %q", got)
	}
	// A task installs what it likes, from the index of the environment or another.
	run("pip", "install", "-q", "added")
	run("python", "-m", "pip", "install", "-q", "--index-url", x.url(), "replaced==2.0")
	if got := run("python", "-c", "import added, replaced; print(added.version, replaced.version)"); got != "1.0 2.0" {
		t.Fatalf("after installing, the child says %q", got)
	}
	if err := c.Verify(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	if got := python(t, l.Python, "-c", "import replaced; print(replaced.version)"); got != "1.0" {
		t.Fatalf("the base says %q", got)
	}
	if exec.Command(l.Python, "-c", "import added").Run() == nil {
		t.Fatal("the base has what the task installed")
	}
	if _, err := c.Child(t.Context(), l, dir, uid, uid); !errors.Is(err, os.ErrExist) {
		t.Fatalf("err = %v", err)
	}
}

// A task spoils the environment; the next one gets a clean one.
func TestSpoiledEnvironmentIsThrownAway(t *testing.T) {
	t.Parallel()
	c, req := indexed(t, "clean")
	req = req.with("clean==1.0")
	l, other := acquire(t, c, req), acquire(t, c, req)
	spoil := filepath.Join(l.Path, "lib")
	if err := filepath.WalkDir(spoil, func(path string, _ os.DirEntry, err error) error {
		if filepath.Base(path) == "clean.py" {
			return os.WriteFile(path, []byte("version = 'evil'"), 0o644)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	var changed *Changed
	if err := c.Verify(t.Context(), l); !errors.As(err, &changed) || !strings.Contains(err.Error(), "clean.py") {
		t.Fatalf("err = %v", err)
	}
	_ = l.Close()
	if err := c.Discard(t.Context(), l.Key); err != nil {
		t.Fatal(err)
	}
	next := acquire(t, c, req) // while another task still leases the spoiled one
	if next.Hit || next.Path == l.Path || python(t, next.Python, "-c", "import clean; print(clean.version)") != "1.0" {
		t.Fatalf("next: %+v", next)
	}
	if again := acquire(t, c, req); !again.Hit || again.Key != next.Key {
		t.Fatalf("again: %+v", again)
	}
	_ = other.Close()
	if done, err := c.Collect(t.Context(), Limits{}); err != nil || !slices.Equal(done.Removed, []string{l.Key}) {
		t.Fatalf("collected %+v, %v", done, err)
	}
	if _, err := os.Stat(l.Path); err == nil {
		t.Fatal("the spoiled environment is still there")
	}
	if err := c.Discard(t.Context(), l.Key); err != nil { // twice is no harm
		t.Fatal(err)
	}
}

func TestCollectEnvironments(t *testing.T) {
	t.Parallel()
	c, req := indexed(t, "one", "two", "three")
	for _, name := range []string{"one", "two", "three"} {
		l := acquire(t, c, req.with(name))
		_ = l.Close()
		used := time.Now().Add(-time.Hour * time.Duration(10-len(name)))
		_ = os.Chtimes(l.Path+".lock", used, used)
	}
	held := acquire(t, c, req.with("one"))
	done, err := c.Collect(t.Context(), Limits{MaxEntries: 1})
	if err != nil || len(done.Removed) != 2 || done.Kept != 1 || done.Freed == 0 {
		t.Fatalf("%+v, %v", done, err)
	}
	if python(t, held.Python, "-c", "import one; print(one.version)") != "1.0" {
		t.Fatal("a leased environment was harmed")
	}
	if bad := litter(t, c.state); bad != nil {
		t.Fatalf("left over: %v", bad)
	}
	c.now = func() time.Time { return time.Now().Add(30 * 24 * time.Hour) }
	if _, err := c.Collect(t.Context(), Limits{}); err != nil {
		t.Fatal(err)
	}
	if ages, _ := filepath.Glob(filepath.Join(c.state, "envs", "?*.age")); len(ages) != 1 {
		t.Fatalf("age files: %q", ages)
	}
}

func TestOpenRefusesWhatCantWork(t *testing.T) {
	for _, dir := range []string{"relative", "/tmp/with\nbreak", "/tmp/" + strings.Repeat("long/", 20), "/dev/null/x"} {
		if c, err := Open(dir, Options{}); err == nil {
			t.Errorf("%q was taken: %+v", dir, c)
		}
	}
}

func TestAcquireRefusesWhatCantWork(t *testing.T) {
	t.Parallel()
	c, req := indexed(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Acquire(ctx, req.with("x"), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v", err)
	}
	for _, r := range []Request{{Manager: "$(x)", Python: req.Python}, {}, {Python: req.Python, Requirements: []string{"\x00"}}} {
		if _, err := c.Acquire(t.Context(), r, nil); err == nil {
			t.Errorf("%+v was taken", r)
		}
	}
	if bad := litter(t, c.state); bad != nil {
		t.Fatalf("left over: %v", bad)
	}
}

func TestDownloadsGoByAgeAndForSpace(t *testing.T) {
	t.Parallel()
	c, req := indexed(t, "one")
	_ = acquire(t, c, req.with("one")).Close()
	cache := filepath.Join(c.state, "cache", fmt.Sprintf("pip-%d", os.Geteuid()))
	writeFiles(t, cache, map[string]string{"http-v2/a/old": "12345", "http-v2/b/new": "12345"})
	before := time.Now().Add(-48 * time.Hour)
	_ = os.Chtimes(filepath.Join(cache, "http-v2/a/old"), before, before)
	_ = os.Symlink("/etc", filepath.Join(cache, "out"))
	if _, err := c.Collect(t.Context(), Limits{MaxAge: 24 * time.Hour}); err != nil {
		t.Fatal(err)
	}
	_, old := os.Stat(filepath.Join(cache, "http-v2/a/old"))
	_, young := os.Stat(filepath.Join(cache, "http-v2/b/new"))
	if !errors.Is(old, os.ErrNotExist) || young != nil {
		t.Fatalf("old: %v, new: %v", old, young)
	}
	done, err := c.Collect(t.Context(), Limits{MinFree: 1 << 61})
	if _, serr := os.Stat(filepath.Join(cache, "http-v2/b/new")); err != nil || !errors.Is(serr, os.ErrNotExist) || done.Freed < 5 {
		t.Fatalf("%+v, %v, %v", done, err, serr)
	}
}

// BenchmarkHit is the whole way of a task that finds its environment: the
// interpreter, the key, the lease.
func BenchmarkHit(b *testing.B) {
	for _, packages := range []int{10, 200} {
		b.Run(fmt.Sprintf("packages=%d", packages), func(b *testing.B) {
			x := newIndexServer(b, "", "")
			var lines []string
			for i := range packages {
				name := fmt.Sprintf("package-%d", i)
				x.add(wheel(name, "1.0"))
				lines = append(lines, name+"==1.0")
			}
			c := newCache(b, Options{})
			f, err := NewFinder(c.state, Options{})
			if err != nil {
				b.Fatal(err)
			}
			once := func() *Lease {
				py, _, err := f.Find(b.Context(), "", OnMissingFail, SameUser, SameUser)
				if err != nil {
					b.Fatal(err)
				}
				l, err := c.Acquire(b.Context(), Request{Python: py, IndexURL: x.url(), Requirements: lines, UID: SameUser, GID: SameUser}, nil)
				if err != nil {
					b.Fatal(err)
				}
				return l
			}
			_ = once().Close()
			for b.Loop() {
				_ = once().Close()
			}
		})
	}
}
