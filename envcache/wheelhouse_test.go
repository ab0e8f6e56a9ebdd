package envcache

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// forget removes an environment and all names that lead to it.
func forget(t *testing.T, c *Cache, l *Lease) {
	t.Helper()
	_ = l.Close()
	if err := c.Discard(t.Context(), l.Key); err != nil {
		t.Fatal(err)
	}
}

// What was downloaded once is enough to install a lock when the index is gone,
// sources among them: pip has the wheels that it built of those.
func TestALockIsInstalledWithoutTheIndex(t *testing.T) {
	t.Parallel()
	x := newIndexServer(t, "", "")
	x.add(wheel("top", "1.0", "below>=1"))
	x.add(wheel("below", "1.0+local.1"))
	x.add(sdist("source", "2.0", nil))
	c := newCache(t, Options{Getenv: environ(map[string]string{"PIP_RETRIES": "0"})})
	req := Request{Python: hostPython(t, SameUser), IndexURL: x.url(), UID: SameUser, GID: SameUser}
	for name, lines := range map[string][]string{"wheels": {"top"}, "sources": {"top", "source"}} {
		first := acquire(t, c, req.with(lines...))
		if built := name == "sources"; first.Lock == nil || first.Lock.Built != built {
			t.Fatalf("%s: lock %+v", name, first.Lock)
		}
		forget(t, c, first)
		asked := x.requests()
		x.close(true)
		again := req
		again.Lock = first.Lock
		second := acquire(t, c, again)
		x.close(false)
		if second.Hit || !slices.Equal(second.Frozen, first.Frozen) || second.LockKey != first.LockKey || second.LockKey == "" || x.requests() != asked {
			t.Fatalf("%s: %+v after %+v, %d requests", name, second, first, x.requests()-asked)
		}
		if got := python(t, second.Python, "-c", "import top, below; print(top.version, below.version)"); got != "1.0 1.0+local.1" {
			t.Fatalf("%s: the environment says %q", name, got)
		}
		if found, _ := filepath.Glob(filepath.Join(second.Path, "lib/*/site-packages/*/direct_url.json")); found != nil {
			t.Fatalf("%s: packages seem to come from files: %q", name, found)
		}
	}
}

// A file that is not what it was kept for is not installed, and is replaced.
func TestADamagedDownloadIsFetchedAgain(t *testing.T) {
	t.Parallel()
	c, req := indexed(t, "sound")
	first := acquire(t, c, req.with("sound"))
	forget(t, c, first)
	file := house(t, c)
	if len(file) != 1 {
		t.Fatalf("kept: %q", file)
	}
	if err := os.WriteFile(file[0], []byte("damaged"), 0o644); err != nil {
		t.Fatal(err)
	}
	again := req
	again.Lock = first.Lock
	second := acquire(t, c, again)
	if python(t, second.Python, "-c", "import sound; print(sound.version)") != "1.0" {
		t.Fatal("not installed")
	}
	if data, err := os.ReadFile(file[0]); err != nil || string(data) == "damaged" {
		t.Fatalf("the damaged file was not replaced: %v", err)
	}
}

// No lock of what was built from source leads to an environment; what it was resolved
// from does, if it still is that environment.
func TestALockOfSourcesHitsWhatWasAskedFor(t *testing.T) {
	t.Parallel()
	x := newIndexServer(t, "", "")
	x.add(sdist("source", "2.0", nil))
	x.add(wheel("other", "1.0"))
	c := newCache(t, Options{})
	req := Request{Python: hostPython(t, SameUser), IndexURL: x.url(), UID: SameUser, GID: SameUser}
	words := req.with("source")
	first := acquire(t, c, words)
	again := req
	again.Lock, again.Asked = first.Lock, &words
	if l := acquire(t, c, again); !l.Hit || l.Key != first.Key || l.LockKey != first.LockKey || !strings.Contains(l.Why, "same lock") {
		t.Fatalf("%+v", l)
	}
	elsewhere := req.with("source", "other")
	acquire(t, c, elsewhere)
	again.Asked = &elsewhere
	built := acquire(t, c, again)
	if built.Hit || !slices.Equal(built.Frozen, first.Frozen) {
		t.Fatalf("the environment of another request: %+v", built)
	}
	if l := acquire(t, c, again); !l.Hit || l.Key != built.Key {
		t.Fatalf("%+v", l)
	}
}

func house(t *testing.T, c *Cache) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(c.state, "cache", "wheels-*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// Commits and digests stand side by side in a lock; pip takes them only one kind
// after the other.
func TestALockOfDigestsAndCommits(t *testing.T) {
	t.Parallel()
	c, req := indexed(t, "digested")
	vcs, _ := gitRepo(t, project("committed", "8.0", nil))
	first := acquire(t, c, req.with("digested", "committed @ git+file://"+vcs))
	if first.Lock == nil || len(first.Lock.Packages) != 2 {
		t.Fatalf("%+v", first.Lock)
	}
	forget(t, c, first)
	again := req
	again.Lock = first.Lock
	if second := acquire(t, c, again); !slices.Equal(second.Frozen, first.Frozen) {
		t.Fatalf("%q, then %q", first.Frozen, second.Frozen)
	}
}

// A lock that says that it has wheels only must have no code run: its key says
// nothing of where that comes from.
func TestALockOfWheelsBuildsNothing(t *testing.T) {
	t.Parallel()
	x := newIndexServer(t, "", "")
	x.add(sdist("source", "2.0", nil))
	c := newCache(t, Options{})
	req := Request{Python: hostPython(t, SameUser), IndexURL: x.url(), UID: SameUser, GID: SameUser}
	first := acquire(t, c, req.with("source"))
	lie := *first.Lock
	lie.Built = false
	req.Lock = &lie
	if l, err := c.Acquire(t.Context(), req, nil); err == nil {
		t.Fatalf("built %+v", l)
	}
}

func TestLocksFromElsewhereAreChecked(t *testing.T) {
	t.Parallel()
	sum := strings.Repeat("ab", 32)
	good := Lock{
		Manager: ManagerPip, Python: "3.11.7", For: sum,
		Packages: []string{
			"six==1.16.0 --hash=sha256:" + sum, "a[b,c]==1!2.0+cu121 --hash=sha256:" + sum + " --hash=sha256:" + sum,
			"m==1 ; python_version >= '3.8' and sys_platform == \"linux\" --hash=sha256:" + sum,
			"w @ https://host/w-1-py3-none-any.whl --hash=sha256:" + sum,
			"g @ git+https://host/g.git@" + sum[:40] + "#subdirectory=x", "s @ git+ssh://git@host/s@" + sum[:40],
		},
		Conda:   []string{"https://host/conda-forge/linux-64/a-1-0.conda#sha256:" + sum, "file:///c/noarch/b-1-0.tar.bz2#" + sum[:32]},
		Indexes: []string{"--index-url https://host/simple"}, File: "sub/uv.lock", SHA256: sum, Groups: []string{"dev"}, Extras: []string{"*"},
		Source: "a@b/poetry.lock@" + sum,
	}
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Lock){
		"manager":          func(l *Lock) { l.Manager = "apt" },
		"python":           func(l *Lock) { l.Python = "3.11; rm" },
		"for":              func(l *Lock) { l.For = "x" },
		"file":             func(l *Lock) { l.File = "../uv.lock" },
		"file's digest":    func(l *Lock) { l.SHA256 = "" },
		"source":           func(l *Lock) { l.Source = "../x@" + sum },
		"source's digest":  func(l *Lock) { l.Source = "x" },
		"group":            func(l *Lock) { l.Groups = []string{"--all"} },
		"no digest":        func(l *Lock) { l.Packages = []string{"six==1.16.0"} },
		"another digest":   func(l *Lock) { l.Packages = []string{"six==1.16.0 --hash=md5:" + sum[:32]} },
		"no version":       func(l *Lock) { l.Packages = []string{"six --hash=sha256:" + sum} },
		"a range":          func(l *Lock) { l.Packages = []string{"six>=1 --hash=sha256:" + sum} },
		"an option":        func(l *Lock) { l.Packages = []string{"--index-url https://evil"} },
		"option in a line": func(l *Lock) { l.Packages = []string{"six==1 --config-settings=a=b --hash=sha256:" + sum} },
		"two lines":        func(l *Lock) { l.Packages = []string{"six==1 --hash=sha256:" + sum + "\n-e ."} },
		"a continued line": func(l *Lock) { l.Packages = []string{"six==1 --hash=sha256:" + sum + " \\"} },
		"editable":         func(l *Lock) { l.Packages = []string{"-e ."} },
		"a path":           func(l *Lock) { l.Packages = []string{"./x.whl --hash=sha256:" + sum} },
		"a file":           func(l *Lock) { l.Packages = []string{"x @ file:///etc/x.whl --hash=sha256:" + sum} },
		"a branch":         func(l *Lock) { l.Packages = []string{"x @ git+https://host/x@main"} },
		"another program":  func(l *Lock) { l.Packages = []string{"x @ git+ext::sh@" + sum[:40]} },
		"a password":       func(l *Lock) { l.Packages = []string{"x @ https://u:pw@host/x.whl --hash=sha256:" + sum} },
		"a marker":         func(l *Lock) { l.Packages = []string{"x==1 ; $(x) --hash=sha256:" + sum} },
		"a channel's file": func(l *Lock) { l.Conda = []string{"https://host/a.conda"} },
		"a channel's user": func(l *Lock) { l.Conda = []string{"https://u:pw@host/a.conda#" + sum[:32]} },
		"an index":         func(l *Lock) { l.Indexes = []string{"--global-option x"} },
		"many":             func(l *Lock) { l.Packages = slices.Repeat(good.Packages[:1], mostLocked+1) },
	} {
		bad := good
		change(&bad)
		if err := bad.Check(); err == nil {
			t.Errorf("%s: accepted", name)
		} else if strings.Contains(err.Error(), "u:pw") {
			t.Errorf("%s: the error shows a password: %v", name, err)
		}
	}
}

func FuzzLockLine(f *testing.F) {
	sum := strings.Repeat("ab", 32)
	for _, s := range []string{"six==1 --hash=sha256:" + sum, "g @ git+https://h/g@" + sum[:40] + "#a", "x==1 ;python_version>'3' --hash=sha256:" + sum, "-r x", "x @ http://h/%zz", "; --hash=sha256:" + sum} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		if checkLocked(line) != nil {
			return
		}
		// What is let through is one requirement for pip's reader too.
		if l := parseLine(line); l.kind != lineName && l.kind != lineURL && l.kind != lineVCS || l.name == "" || !l.pinned() && l.kind != lineURL {
			t.Fatalf("%q is taken for a locked package: %+v", line, l)
		}
		if got := logicalLines(line); len(got) != 1 {
			t.Fatalf("%q is %d lines", line, len(got))
		}
	})
}
