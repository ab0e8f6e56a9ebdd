package envcache

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// uvRequest is a request to uv, by this process.
func uvRequest(t testing.TB, index string, lines ...string) Request {
	t.Helper()
	return Request{Manager: ManagerUV, Python: hostPython(t, SameUser), IndexURL: index, Requirements: lines, UID: SameUser, GID: SameUser}
}

// newUVCache opens a cache that has uv: the indexes of most tests don't.
func newUVCache(t testing.TB, opts Options) *Cache {
	t.Helper()
	c := newCache(t, opts)
	needUV(t, c, SameUser)
	return c
}

// needUV installs uv for the builds of a user.
func needUV(t testing.TB, c *Cache, uid int) {
	t.Helper()
	req := Request{UID: uid, GID: uid}
	tools := toolbox{&pipTools{dir: c.tools.dir, exec: HostExec{}, env: CleanEnv(os.Getenv), now: time.Now}, c.finder}
	if _, err := tools.get(t.Context(), ManagerUV, req, newAccess(environ(nil), req, nil), func(Progress) {}); err != nil {
		t.Fatal(err)
	}
}

// From the real index: built, then hit; the hit starts no program.
func TestUVBuildsThenHits(t *testing.T) {
	t.Parallel()
	watch := &spy{Exec: HostExec{}}
	c := newUVCache(t, Options{Exec: watch})
	req := uvRequest(t, "", "colorama == 0.4.6\n", "Six==1.16.0 ; python_version >= '3'", "iniconfig==2.0.0; python_version < '3'")
	var s said
	first, err := c.Acquire(t.Context(), req, s.hear)
	if err != nil {
		t.Fatalf("%v\n%s", err, s.text())
	}
	defer first.Close()
	if first.Hit || !slices.Equal(first.Frozen, []string{"colorama==0.4.6", "six==1.16.0"}) {
		t.Fatalf("%+v", first)
	}
	noLinks(t, filepath.Join(first.Path, "lib"))
	for _, want := range []string{"building: no environment was built before", "resolve: 2 packages", "install: 2 packages", "compile: "} {
		if !strings.Contains(s.text(), want) {
			t.Errorf("the progress lacks %q:\n%s", want, s.text())
		}
	}
	if l := first.Lock; l == nil || l.Built || len(l.Packages) != 2 || !strings.HasPrefix(l.Packages[1], "six==1.16.0 --hash=sha256:") {
		t.Errorf("lock %+v", l)
	}
	programs := len(watch.ran())
	if second := acquire(t, c, req); !second.Hit || second.Path != first.Path || len(watch.ran()) != programs {
		t.Fatalf("%+v, %d programs", second, len(watch.ran())-programs)
	}
	// Other words, one lock: it is seen before anything is installed.
	req.Requirements = []string{"six<1.17,>=1.16.0", "colorama==0.4.*"}
	if l := acquire(t, c, req); !l.Hit || l.Path != first.Path || !strings.Contains(l.Why, "resolved to the same") {
		t.Errorf("%+v", l)
	}
	got := python(t, first.Python, "-c", "import six, sys, os; print(six.__version__, sys.prefix, os.path.exists(six.__cached__))")
	if got != "1.16.0 "+first.Path+" True" {
		t.Errorf("the environment says %q", got)
	}
	if got := python(t, filepath.Join(first.Path, "bin", "pip"), "--version"); !strings.HasPrefix(got, "pip "+pipVersion) {
		t.Errorf("bin/pip says %q", got)
	}
	for _, name := range []string{".lock", ".gitignore", "CACHEDIR.TAG"} {
		if _, err := os.Lstat(filepath.Join(first.Path, name)); err == nil {
			t.Errorf("%s is left", name)
		}
	}
	if err := c.VerifyFully(t.Context(), first); err != nil {
		t.Error(err)
	}
}

// Everything that may stand in a list and be locked, without the real index.
func TestUVKindsOfRequirements(t *testing.T) {
	t.Parallel()
	x := newIndexServer(t, "", "")
	x.add(wheel("Plain-Thing", "1.0", "dependency>=1", "extra-only; extra == 'more'"))
	x.add(wheel("Dependency", "1.5"))
	x.add(wheel("Dependency", "2.5"))
	x.add(wheel("extra-only", "1.0"))
	x.add(wheel("early", "2.0rc1"))
	x.add(sdist("fromsource", "3.0", nil))
	x.add(wheel("both", "1.0"))
	x.add(sdist("both", "1.0", nil))
	x.add(wheel("direct", "4.0"))
	other := newIndexServer(t, "", "")
	other.add(wheel("elsewhere", "1.0"))
	other.add(wheel("Dependency", "1.6")) // better, though on the second index
	repo := filepath.Join(newState(t), "repo")
	writeFiles(t, repo, map[string]string{
		"requirements.txt": "PLAIN.thing[More]==1.0\n-r more/r.txt\n", "more/r.txt": "fromsource\n-c ../c.txt\n", "c.txt": "dependency<2\n",
	})
	vcs, commit := gitRepo(t, project("fromgit", "8.0", nil))
	direct, _ := wheel("direct", "4.0")
	c := newUVCache(t, Options{})
	req := uvRequest(
		t, x.url(), "--extra-index-url "+other.url(), "-r requirements.txt", "--no-binary both", "--pre", "-e git+file://"+vcs+"#egg=fromgit",
		"direct @ "+x.URL+"/files/"+direct, "both", "elsewhere", "early", "nothing; python_version < '3'",
	)
	req.BaseDir = repo
	l := acquire(t, c, req)
	want := []string{
		"both==1.0", "Dependency==1.6", "early==2.0rc1", "elsewhere==1.0", "extra-only==1.0", "fromsource==3.0", "Plain-Thing==1.0",
		"direct @ " + x.URL + "/files/" + direct, "fromgit @ git+file://" + vcs + "@" + commit,
	}
	for _, w := range want {
		if !slices.ContainsFunc(l.Frozen, func(f string) bool { return f == w || strings.HasPrefix(f, w+"#sha256=") }) {
			t.Errorf("frozen %q lacks %q", l.Frozen, w)
		}
	}
	if len(l.Frozen) != len(want) || !l.Lock.Built || !slices.Equal(l.Lock.Indexes, []string{"--extra-index-url " + other.url()}) {
		t.Errorf("frozen %q, lock %+v", l.Frozen, l.Lock)
	}
	if again := acquire(t, c, req); !again.Hit {
		t.Errorf("no hit: %s", again.Why)
	}
	if got := python(t, filepath.Join(l.Path, "bin", "Plain-Thing")); got != "Plain-Thing 1.0" {
		t.Errorf("the program says %q", got)
	}
	req.BaseDir = ""
	uvLockElsewhere(t, req, l, func() { x.Close(); other.Close() })
}

// uvLockElsewhere installs from the lock of an environment alone.
func uvLockElsewhere(t *testing.T, req Request, l *Lease, indexesGo func()) {
	t.Helper()
	// Elsewhere the lock alone gives the very same packages, without the repository.
	second := newUVCache(t, Options{})
	req.Requirements, req.Lock = nil, l.Lock
	same := acquire(t, second, req)
	if same.Hit || !slices.Equal(same.Frozen, l.Frozen) || !slices.Equal(same.Lock.Packages, l.Lock.Packages) {
		t.Errorf("from the lock: %+v", same)
	}
	// And where it was built before, without any index.
	indexesGo()
	req.SystemSite = true // another key
	offline := acquire(t, second, req)
	if offline.Hit || !slices.Equal(offline.Frozen, l.Frozen) {
		t.Errorf("from the lock, without an index: %+v", offline)
	}
	lying := *l.Lock
	lying.Built, lying.Packages = false, slices.DeleteFunc(slices.Clone(lying.Packages), func(p string) bool { return strings.Contains(p, "git+") })
	req.Lock = &lying
	if l, err := second.Acquire(t.Context(), req, nil); err == nil {
		_ = l.Close()
		t.Error("a lock of wheels built from source")
	}
}

// What comes from the repository itself is used from a copy of it.
func TestUVInstallsFromTheRepository(t *testing.T) {
	t.Parallel()
	x := newIndexServer(t, "", "")
	x.add(wheel("dependency", "1.0"))
	file, data := wheel("local", "5.0")
	found, foundData := wheel("found", "1.0")
	files := map[string]string{"wheels/" + file: string(data), "links/" + found: string(foundData)}
	for name, text := range project("inrepo", "6.0", nil) {
		files["libs/inrepo/"+name] = text
	}
	for name, text := range project("editable", "7.0", nil) {
		files[name] = text
	}
	repo := filepath.Join(newState(t), "repo")
	writeFiles(t, repo, files)
	c := newUVCache(t, Options{})
	req := uvRequest(t, x.url(), "./wheels/"+file, "./libs/inrepo", "-e .", "--find-links links", "found", "dependency")
	req.BaseDir = repo
	l := acquire(t, c, req)
	if want := []string{"-e .", "./libs/inrepo", "./wheels/" + file, "dependency==1.0", "found==1.0"}; !slices.Equal(l.Frozen, want) || l.Lock != nil {
		t.Errorf("frozen %q, not %q; lock %+v", l.Frozen, want, l.Lock)
	}
	if got := python(t, l.Python, "-c", "import dependency, found, local, inrepo, editable; print(editable.__file__)"); got != filepath.Join(l.Path, checkout, "editable.py") {
		t.Errorf("the environment says %q", got)
	}
	for _, f := range []string{"left-behind-by-the-build.txt", "libs/inrepo/left-behind-by-the-build.txt"} {
		if _, err := os.Stat(filepath.Join(repo, f)); err == nil {
			t.Errorf("building wrote %s into the repository", f)
		}
	}
	if again := acquire(t, c, req); !again.Hit {
		t.Errorf("no hit: %s", again.Why)
	}
}

func TestUVScript(t *testing.T) {
	t.Parallel()
	x := newIndexServer(t, "", "")
	x.add(wheel("six", "1.0"))
	x.add(wheel("six", "2.0"))
	repo := filepath.Join(newState(t), "repo")
	writeFiles(t, repo, map[string]string{"run.py": header, "new.py": strings.Replace(header, ">=3.9", ">=3.99", 1), "bad.py": header + header})
	c := newUVCache(t, Options{})
	req := uvRequest(t, x.url(), "ignored")
	req.BaseDir, req.Project = repo, Project{ProjectScript, "run.py"}
	l := acquire(t, c, req)
	if !slices.Equal(l.Frozen, []string{"six==1.0"}) || l.Lock == nil || len(l.Lock.Packages) != 1 {
		t.Errorf("frozen %q, lock %+v", l.Frozen, l.Lock)
	}
	// The same as a list is the same environment.
	if l := acquire(t, c, uvRequest(t, x.url(), "six < 2")); !l.Hit {
		t.Errorf("no hit: %s", l.Why)
	}
	for file, says := range map[string]string{"new.py": "asks for Python >=3.99, and this is 3.", "bad.py": "2 blocks", "none.py": "cannot read the script", "../run.py": "cannot read the script"} {
		req.Project.File = file
		if _, err := c.Acquire(t.Context(), req, nil); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// Built by, and for, the user of the tasks.
func TestUVAnotherUsersEnvironment(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root builds for other users")
	}
	const nobody = 65534
	x := newIndexServer(t, "", "")
	x.add(wheel("here", "1.0"))
	x.add(sdist("fromsource", "1.0", nil))
	c := newUVCache(t, Options{})
	needUV(t, c, nobody)
	repo := filepath.Join(newState(t), "repo")
	writeFiles(t, repo, map[string]string{"pyproject.toml": uvProjectText})
	x.add(wheel("other", "1.0"))
	x.add(wheel("extra-only", "1.0"))
	uvLock(t, c, x.url(), repo)
	for _, req := range []Request{
		{Requirements: []string{"here", "fromsource"}, IndexURL: x.url()},
		{BaseDir: repo, Project: Project{ProjectUV, "uv.lock"}},
	} {
		req.Manager, req.Python, req.UID, req.GID = ManagerUV, hostPython(t, nobody), nobody, nobody
		l := acquire(t, c, req)
		out, err := exec.Command("find", l.Path, "!", "-user", "nobody").Output()
		if err != nil || len(out) > 0 {
			t.Errorf("not nobody's: %s, %v", out, err)
		}
		exit, err := HostExec{}.Run(t.Context(), Cmd{
			Args: []string{l.Python, "-m", "pip", "install", "--no-deps", "--force-reinstall", "-i", x.url(), "here"},
			Env:  []string{"HOME=/nonexistent"}, Dir: "/", UID: nobody, GID: nobody,
		})
		if err != nil || exit.Code != 0 {
			t.Errorf("pip in the environment: %+v, %v", exit, err)
		}
	}
}

// What uv unpacked goes as a whole and not under an installation, or later ones
// would lack files.
func TestUVDownloadsAreTrimmed(t *testing.T) {
	t.Parallel()
	x := newIndexServer(t, "", "")
	x.add(wheel("here", "1.0"))
	c := newUVCache(t, Options{})
	req := uvRequest(t, x.url(), "here")
	_ = acquire(t, c, req).Close()
	cache := filepath.Join(c.state, "cache", fmt.Sprintf("uv-%d", os.Geteuid()))
	unpacked, err := filepath.Glob(filepath.Join(cache, "archive-v*", "*"))
	if err != nil || len(unpacked) != 1 {
		t.Fatalf("%q, %v", unpacked, err)
	}
	past := time.Now().Add(-48 * time.Hour)
	for _, f := range []string{filepath.Join(unpacked[0], "here.py"), filepath.Join(cache, ".lock")} {
		if err := os.Chtimes(f, past, past); err != nil {
			t.Fatal(err)
		}
	}
	collect := func(kept bool) {
		t.Helper()
		if _, err := c.Collect(t.Context(), Limits{MaxAge: 24 * time.Hour}); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(unpacked[0], "here.py")); (err == nil) != kept {
			t.Fatalf("kept = %v: %v", kept, err)
		}
	}
	collect(true) // it was unpacked today
	if err := os.Chtimes(unpacked[0], past, past); err != nil {
		t.Fatal(err)
	}
	held, err := os.Open(filepath.Join(cache, ".lock"))
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Flock(int(held.Fd()), unix.LOCK_SH); err != nil { // as uv holds it
		t.Fatal(err)
	}
	collect(true)
	_ = held.Close()
	collect(false)
	req.SystemSite = true // another environment
	if got := python(t, acquire(t, c, req).Python, "-c", "import here; print(here.version)"); got != "1.0" {
		t.Errorf("here is %q", got)
	}
}
