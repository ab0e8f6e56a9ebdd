package envcache

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// From the real index: built, then hit; the hit starts no program.
func TestBuildThenHit(t *testing.T) {
	t.Parallel()
	watch := &spy{Exec: HostExec{}}
	c := newCache(t, Options{Exec: watch})
	req := Request{
		Python: hostPython(t, SameUser), UID: SameUser, GID: SameUser,
		Requirements: []string{"# Python 3\n\ncolorama == 0.4.6\n", "six==1.16.0 ; python_version >= '3'", "iniconfig==2.0.0; python_version < '3'"},
	}
	var s said
	first, err := c.Acquire(t.Context(), req, s.hear)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if first.Hit || !slices.Equal(first.Frozen, []string{"colorama==0.4.6", "six==1.16.0"}) || first.Bytes == 0 || first.Why != "no environment was built before" {
		t.Fatalf("%+v", first)
	}
	for _, want := range []string{"building: no environment was built before", "venv: done (", "resolve: 2 packages (", "download: ", "install: 2 packages (", "compile: done ("} {
		if !strings.Contains(s.text(), want) {
			t.Errorf("the progress lacks %q:\n%s", want, s.text())
		}
	}
	if strings.Contains(s.text(), ".work-") {
		t.Errorf("the progress shows scratch paths:\n%s", s.text())
	}
	programs := len(watch.ran())
	second := acquire(t, c, req)
	if !second.Hit || second.Path != first.Path || !strings.Contains(second.Why, "same parts") || len(watch.ran()) != programs {
		t.Fatalf("%+v, %d programs", second, len(watch.ran())-programs)
	}
	t.Logf("built in %s, hit in %s", first.Took, second.Took)
	got := python(t, first.Python, "-c", "import six, colorama, sys, os; print(six.__version__, sys.prefix, os.path.exists(six.__cached__))")
	if got != "1.16.0 "+first.Path+" True" {
		t.Fatalf("the environment says %q", got)
	}
	if err := c.VerifyFully(t.Context(), first); err != nil {
		t.Fatal(err)
	}
}

func TestAnEmptyListGivesABareEnvironment(t *testing.T) {
	t.Parallel()
	c := newCache(t, Options{})
	l := acquire(t, c, Request{Python: hostPython(t, SameUser), Requirements: []string{"# nothing\n"}, UID: SameUser, GID: SameUser})
	if len(l.Frozen) != 0 {
		t.Fatalf("%q", l.Frozen)
	}
	if got := python(t, l.Python, "-m", "pip", "--version"); !strings.HasPrefix(got, "pip "+pipVersion) {
		t.Fatalf("pip says %q", got)
	}
	if got := python(t, filepath.Join(l.Path, "bin", "pip"), "--version"); !strings.HasPrefix(got, "pip "+pipVersion) {
		t.Fatalf("bin/pip says %q", got)
	}
}

// Everything that may stand in a list, without the real index.
func TestKindsOfRequirements(t *testing.T) {
	t.Parallel()
	x := newIndexServer(t, "", "")
	x.add(wheel("Plain-Thing", "1.0", "dependency>=1"))
	x.add(wheel("Dependency", "1.5"))
	x.add(wheel("Dependency", "2.5"))
	x.add(sdist("fromsource", "3.0", nil))
	x.add(wheel("direct", "4.0"))
	repo := filepath.Join(newState(t), "repo")
	file, data := wheel("local", "5.0")
	files := map[string]string{
		"requirements.txt": "Plain.Thing==1.0\n-r more/r.txt\n", "more/r.txt": "fromsource\n-c ../c.txt\n", "c.txt": "dependency<2\n",
		"wheels/" + file: string(data),
	}
	for name, text := range project("inrepo", "6.0", nil) {
		files["libs/inrepo/"+name] = text
	}
	for name, text := range project("editable", "7.0", nil) {
		files[name] = text
	}
	writeFiles(t, repo, files)
	vcs, commit := gitRepo(t, project("fromgit", "8.0", nil))
	other, otherCommit := gitRepo(t, project("editedgit", "9.0", nil))
	c := newCache(t, Options{})
	direct, _ := wheel("direct", "4.0")
	req := Request{
		Python: hostPython(t, SameUser), IndexURL: x.url(), BaseDir: repo, UID: SameUser, GID: SameUser,
		Requirements: []string{
			"-r requirements.txt", "./wheels/" + file, "./libs/inrepo", "-e .",
			"fromgit @ git+file://" + vcs + "@" + commit, "direct @ " + x.URL + "/files/" + direct,
			"-e git+file://" + other + "@main#egg=editedgit",
		},
	}
	l := acquire(t, c, req)
	want := []string{
		"-e .", "./libs/inrepo", "./wheels/" + file, "Dependency==1.5", "direct @ " + x.URL + "/files/" + direct,
		"fromgit @ git+file://" + vcs + "@" + commit, "fromsource==3.0", "Plain-Thing==1.0",
		"-e git+file://" + other + "@" + otherCommit + "#egg=editedgit",
	}
	for _, w := range want {
		if !slices.ContainsFunc(l.Frozen, func(f string) bool { return f == w || strings.HasPrefix(f, w+"#sha256=") }) {
			t.Errorf("frozen %q lacks %q", l.Frozen, w)
		}
	}
	got := python(t, l.Python, "-c", "import plain_thing, dependency, fromsource, direct, local, inrepo, editable, fromgit, editedgit; print(dependency.version, editable.__file__)")
	if got != "1.5 "+filepath.Join(l.Path, checkout, "editable.py") && !strings.HasPrefix(got, "1.5 ") {
		t.Fatalf("the environment says %q", got)
	}
	for _, f := range []string{"left-behind-by-the-build.txt", "libs/inrepo/left-behind-by-the-build.txt"} {
		if _, err := os.Stat(filepath.Join(repo, f)); err == nil {
			t.Errorf("building wrote %s into the repository", f)
		}
	}
	if again := acquire(t, c, req); !again.Hit {
		t.Fatalf("no hit: %s", again.Why)
	}
	if got := python(t, filepath.Join(l.Path, "bin", "Plain-Thing")); got != "Plain-Thing 1.0" {
		t.Fatalf("the program says %q", got)
	}
}

// gitRepo makes a git repository with one commit.
func gitRepo(t *testing.T, files map[string]string) (dir, commit string) {
	t.Helper()
	dir = filepath.Join(newState(t), "vcs")
	writeFiles(t, dir, files)
	for _, args := range [][]string{
		{"init", "-q", "-b", "main"}, {"add", "."}, {"-c", "user.name=n", "-c", "user.email=e@x", "commit", "-q", "-m", "one"},
	} {
		cmd := exec.Command("git", append([]string{"-C", dir}, args...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %q: %v\n%s", args, err, out)
		}
	}
	out, err := exec.Command("git", "-C", dir, "rev-parse", "HEAD").Output()
	if err != nil {
		t.Fatal(err)
	}
	return dir, strings.TrimSpace(string(out))
}

// Nothing of the agent's environment that could steer or leak reaches a build.
func TestTheAgentsEnvironmentStaysOut(t *testing.T) {
	for _, name := range []string{"PYTHONPATH", "PYTHONSTARTUP", "PIP_TARGET", "PIP_NO_BINARY", "LD_PRELOAD", "GIT_DIR", "CLEARML_API_SECRET_KEY"} {
		t.Setenv(name, "hostile-value")
	}
	watch := &spy{Exec: HostExec{}}
	c := newCache(t, Options{Exec: watch, Getenv: os.Getenv})
	x := newIndexServer(t, "", "")
	x.add(wheel("here", "1.0"))
	acquire(t, c, Request{Python: hostPython(t, SameUser), IndexURL: x.url(), Requirements: []string{"here"}, UID: SameUser, GID: SameUser})
	for _, cmd := range watch.ran() {
		if all := strings.Join(append(cmd.Args, cmd.Env...), "\n"); strings.Contains(all, "hostile-value") {
			t.Errorf("leaked:\n%s", all)
		}
	}
}

func TestThePipOfThePythonIsUsedWhereTheIndexHasNone(t *testing.T) {
	t.Parallel()
	state := newState(t)
	x := newIndexServer(t, "", "") // it has no pip
	x.add(wheel("here", "1.0"))
	c, err := Open(state, Options{Getenv: environ(nil)})
	if err != nil {
		t.Fatal(err)
	}
	py := hostPython(t, SameUser)
	if py.PipWheel == "" && py.PipFolder == "" {
		t.Skip("the Python of this host carries no pip")
	}
	req := Request{Python: py, IndexURL: x.url(), Requirements: []string{"here"}, UID: SameUser, GID: SameUser}
	var s said
	l, err := c.Acquire(t.Context(), req, s.hear)
	if err != nil {
		t.Fatalf("%v\n%s", err, s.text())
	}
	_ = l.Close()
	if !strings.Contains(s.text(), "of this Python is used") || python(t, l.Python, "-c", "import here; print(here.version)") != "1.0" {
		t.Fatalf("progress:\n%s", s.text())
	}
	asked := x.requests()
	if again := acquire(t, c, req); !again.Hit || x.requests() != asked {
		t.Fatalf("hit = %v, %d requests", again.Hit, x.requests()-asked)
	}
}

func TestAPipWithAnotherDigestIsRefused(t *testing.T) {
	t.Parallel()
	x := newIndexServer(t, "", "")
	_, data := wheel("pip", pipVersion)
	x.add(pipWheel, data)
	index, err := newIndex(pipSettings{}, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := index.fetch(t.Context(), x.url(), "pip", pipSHA256, pipWheel); err == nil || !strings.Contains(err.Error(), "has the digest") {
		t.Fatalf("err = %v", err)
	}
}

// Another version of pip than the pinned one comes from the index, by the digest
// that the index gives.
func TestAnotherVersionOfPip(t *testing.T) {
	t.Parallel()
	py := hostPython(t, SameUser)
	if py.PipWheel == "" {
		t.Skip("the Python of this host carries no pip as a wheel")
	}
	data, err := os.ReadFile(py.PipWheel)
	if err != nil {
		t.Fatal(err)
	}
	version := wheelVersion.FindStringSubmatch(filepath.Base(py.PipWheel))[1]
	py.PipWheel, py.PipFolder = "", "" // it comes from the index only
	x := newIndexServer(t, "", "")
	x.add("pip-"+version+"-py3-none-any.whl", data)
	x.add(wheel("here", "1.0"))
	c, err := Open(newState(t), Options{Getenv: environ(nil)})
	if err != nil {
		t.Fatal(err)
	}
	req := Request{
		Python: py, IndexURL: x.url(), UID: SameUser, GID: SameUser, Versions: map[string]string{ManagerPip: version},
	}.with("here")
	l := acquire(t, c, req)
	if got := python(t, l.Python, "-m", "pip", "--version"); !strings.HasPrefix(got, "pip "+version+" ") || len(l.Frozen) != 1 {
		t.Fatalf("%s, %q", got, l.Frozen)
	}
	if again := acquire(t, c, req); !again.Hit {
		t.Fatalf("%+v", again)
	}
	for _, bad := range []string{"1.0", "../x", "25.3"} { // none of them is in the index, or may be fetched
		req.Versions = map[string]string{ManagerPip: bad}
		if _, err := c.Acquire(t.Context(), req, nil); err == nil || !strings.Contains(err.Error(), bad) {
			t.Errorf("pip %s: %v", bad, err)
		}
	}
	for page, says := range map[string]string{
		`<a href="/pip-9.9-py3-none-any.whl#sha256=` + strings.Repeat("0", 64) + `">`: "has the digest", `<a href="/pip-9.9-py3-none-any.whl">`: "gives no sha256",
	} {
		bad := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(page)) }))
		defer bad.Close()
		other, err := Open(newState(t), Options{Getenv: environ(nil)})
		if err != nil {
			t.Fatal(err)
		}
		req.IndexURL, req.Versions = bad.URL, map[string]string{ManagerPip: "9.9"}
		if _, err := other.Acquire(t.Context(), req, nil); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", page, err)
		}
	}
}

func TestOlderPythonGetsAnOlderPip(t *testing.T) {
	t.Parallel()
	f, err := NewFinder(newState(t), Options{})
	if err != nil {
		t.Fatal(err)
	}
	py, _, err := f.Find(t.Context(), "3.8", OnMissingFail, SameUser, SameUser)
	if err != nil {
		t.Skipf("no Python 3.8 on this host: %v", err)
	}
	x := newIndexServer(t, "", "")
	x.add(wheel("here", "1.0"))
	l := acquire(t, newCache(t, Options{}), Request{Python: py, IndexURL: x.url(), Requirements: []string{"here"}, UID: SameUser, GID: SameUser})
	if !slices.Equal(l.Frozen, []string{"here==1.0"}) {
		t.Fatalf("%q", l.Frozen)
	}
}

// Built by, and for, the user of the tasks.
func TestAnotherUsersEnvironment(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root builds for other users")
	}
	const nobody = 65534
	x := newIndexServer(t, "", "")
	x.add(wheel("here", "1.0"))
	x.add(sdist("fromsource", "1.0", nil))
	c := newCache(t, Options{})
	l := acquire(t, c, Request{Python: hostPython(t, nobody), IndexURL: x.url(), Requirements: []string{"here", "fromsource"}, UID: nobody, GID: nobody})
	out, err := exec.Command("find", l.Path, "!", "-user", "nobody").Output()
	if err != nil || len(out) > 0 {
		t.Fatalf("not nobody's: %s, %v", out, err)
	}
	exit, err := HostExec{}.Run(t.Context(), Cmd{
		Args: []string{l.Python, "-m", "pip", "install", "--no-deps", "--force-reinstall", "here"}, Env: []string{"HOME=/nonexistent"}, Dir: "/", UID: nobody, GID: nobody,
	})
	if err != nil || exit.Code != 0 {
		t.Fatalf("pip in the environment: %+v, %v", exit, err)
	}
	locked := newState(t)
	withTools(t, locked)
	if c, err = Open(filepath.Join(locked, "deep"), Options{}); err != nil {
		t.Fatal(err)
	}
	_ = os.Chmod(locked, 0o700)
	_, err = c.Acquire(t.Context(), Request{Python: hostPython(t, nobody), UID: nobody, GID: nobody, IndexURL: x.url()}, nil)
	if err == nil || !strings.Contains(err.Error(), "can't pass through "+locked) {
		t.Fatalf("err = %v", err)
	}
}
