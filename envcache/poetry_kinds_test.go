package envcache

import (
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Without a lock poetry resolves anew; where nothing but the resulting lock is
// left, pip installs that.
func TestPoetryProjectWithoutLock(t *testing.T) {
	t.Parallel()
	x, y := newIndexServer(t, "", ""), newIndexServer(t, "", "")
	x.add(wheel("top-level", "1.0", "below>=1"))
	y.add(wheel("top-level", "1.0", "below>=1"))
	y.add(wheel("below", "1.0"))
	y.add(sdist("fromsource", "1.0", nil))
	repo := filepath.Join(newState(t), "repo")
	writeFiles(t, repo, map[string]string{"sub/pyproject.toml": "[tool.poetry]\npackage-mode = false\n[tool.poetry.requires-plugins]\nshouting = '*'\n[tool.poetry.dependencies]\npython = '>=3.8'\ntop-level = '*'\nfromsource = '*'\n"})
	c := poetryCache(t, Options{})
	req := poetryRequest(t, x, repo)
	req.Project.File, req.ExtraIndexURLs = "sub/pyproject.toml", []string{y.url()}
	var s said
	l, err := c.Acquire(t.Context(), req, s.hear)
	if err != nil {
		t.Fatalf("%v\n%s", err, s.text())
	}
	defer l.Close()
	if !slices.Equal(l.Frozen, []string{"below==1.0", "fromsource==1.0", "top-level==1.0"}) || l.Lock == nil || !l.Lock.Built {
		t.Fatalf("%+v\n%s", l, s.text())
	}
	for _, want := range []string{"has no sub/poetry.lock", "plugins that the project asks for are not loaded: shouting", "download: 3 files", "building fromsource-1.0", "install: 3 packages"} {
		if !strings.Contains(s.text(), want) {
			t.Errorf("the progress lacks %q:\n%s", want, s.text())
		}
	}
	if again := acquire(t, c, req); !again.Hit {
		t.Fatalf("no hit: %s", again.Why)
	}
	req.Lock, req.BaseDir, req.Project = l.Lock, "", Project{}
	if same := acquire(t, newCache(t, Options{}), req); same.Hit || !slices.Equal(same.Frozen, l.Frozen) {
		t.Fatalf("%+v", same)
	}
}

// What can't be built gives the likely cause and poetry's own last lines, and
// leaves nothing behind.
func TestPoetryFailures(t *testing.T) {
	t.Parallel()
	c := poetryCache(t, Options{})
	x, private := poetryIndex(t), newIndexServer(t, "user", "hunter22")
	x.add(sdist("broken", "1.0", map[string]string{"fail.txt": ""}))
	private.add(wheel("secretive", "1.0"))
	const head = "[project]\nname = 'demo'\nversion = '1'\nrequires-python = '>=3.8'\n"
	locked := lockedProject(t, c, x, map[string]string{"pyproject.toml": poetryDemo})
	lock, err := os.ReadFile(filepath.Join(locked, poetryLockFile))
	if err != nil {
		t.Fatal(err)
	}
	corp := "[[tool.poetry.source]]\nname = 'corp'\nurl = '" + private.url() + "'\n"
	py := hostPython(t, SameUser)
	for name, tc := range map[string]struct {
		pyproject, lock string
		change          func(*Request)
		cause, says     string
	}{
		"another Python":    {strings.Replace(poetryDemo, ">=3.8", "<3.8", 1), "", nil, "needs Python <3.8, and the environment is made with " + py.String(), "not allowed by the project"},
		"stale lock":        {strings.Replace(poetryDemo, "Top_Level>=1", "Top_Level>=1.5", 1), string(lock), nil, "does not fit pyproject.toml", "changed significantly"},
		"another file":      {poetryDemo, strings.ReplaceAll(string(lock), `hash = "sha256:`, `hash = "sha256:00`), nil, "not the one whose hash is in poetry.lock", "known checksums"},
		"index is down":     {poetryDemo, string(lock), func(r *Request) { r.IndexURL = "http://127.0.0.1:1/simple" }, "can't be reached: no answer from 127.0.0.1:1", ""},
		"no credentials":    {head + "dependencies = ['secretive']\n" + corp, "", nil, "refuses the credentials", ""},
		"contradiction":     {head + "dependencies = ['top-level', 'below>1']\n", "", nil, "contradict each other", "version solving failed"},
		"build fails":       {head + "dependencies = ['broken']\n", "", nil, "could not be built from its source", "the compiler of broken is not happy"},
		"another poetry":    {head + "[tool.poetry]\nrequires-poetry = '<1'\n", "", nil, "set packageManager.versions.poetry", "you are using Poetry"},
		"no such group":     {poetryDemo, string(lock), func(r *Request) { r.Groups = []string{"nosuch"} }, "", `no dependency group "nosuch"; it has: docs, lint, main`},
		"no such extra":     {poetryDemo, string(lock), func(r *Request) { r.Extras = []string{"nosuch"} }, "", `no extra "nosuch"; it has: fast`},
		"outside":           {head + "[tool.poetry.dependencies]\nx = {path = '../x'}\n", "", nil, "", "takes a package from outside the repository: ../x"},
		"outside, absolute": {head + "dependencies = ['x @ file:///srv/x']\n", "", nil, "", "takes a package from outside the repository: ///srv/x"},
		"not valid":         {"[tool.poetry\n", "", nil, "", "pyproject.toml is not valid: line 1"},
		"an old poetry":     {poetryDemo, "", func(r *Request) { r.Versions = map[string]string{ManagerPoetry: "1.8.5"} }, "", "poetry 1.8.5 is too old: 2.0 is the oldest"},
		"another manager's": {"", "", func(r *Request) { r.Project = Project{ProjectUV, "uv.lock"} }, "", `can't read "uv.lock"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			repo := filepath.Join(newState(t), "repo")
			writeFiles(t, repo, map[string]string{"pyproject.toml": tc.pyproject})
			if tc.lock != "" {
				writeFiles(t, repo, map[string]string{poetryLockFile: tc.lock})
			}
			req := poetryRequest(t, x, repo)
			if tc.change != nil {
				tc.change(&req)
			}
			_, err := c.Acquire(t.Context(), req, nil)
			var failed *BuildError
			if err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Fatalf("err = %v", err)
			}
			if errors.As(err, &failed) != (tc.cause != "") || failed != nil && !strings.Contains(failed.Cause, tc.cause) {
				t.Fatalf("err = %v\ncause = %+v", err, failed)
			}
		})
	}
	t.Cleanup(func() {
		if bad := litter(t, c.state); bad != nil {
			t.Errorf("left over: %v", bad)
		}
	})
}

// An index that gives other bytes than it says is refused, and is not refused any
// more when it is well again.
func TestPoetryChecksDownloads(t *testing.T) {
	t.Parallel()
	x, c := poetryIndex(t), poetryCache(t, Options{})
	repo := lockedProject(t, c, x, map[string]string{"pyproject.toml": poetryDemo})
	tampering := true // read by requests that come while Acquire waits
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if tampering && strings.HasPrefix(r.URL.Path, "/files/below") {
			_, data := wheel("below", "1.0", "more>=1")
			_, _ = w.Write(data)
			return
		}
		x.ServeHTTP(w, r)
	}))
	defer front.Close()
	req := poetryRequest(t, x, repo)
	req.IndexURL = front.URL + "/simple"
	_, err := c.Acquire(t.Context(), req, nil)
	if err == nil || !strings.Contains(err.Error(), "not the one whose hash is in poetry.lock") {
		t.Fatalf("err = %v", err)
	}
	tampering = false
	acquire(t, c, req)
}

// Packages of the repository are built from a copy of it.
func TestPoetryTakesPackagesOfTheRepository(t *testing.T) {
	t.Parallel()
	x, c := newIndexServer(t, "", ""), poetryCache(t, Options{})
	vcs, commit := gitRepo(t, project("fromgit", "4.0", nil))
	files := map[string]string{
		"app/pyproject.toml": "[project]\nname = 'app'\nversion = '1'\nrequires-python = '>=3.8'\n[tool.poetry.dependencies]\nbuilt = {path = '../libs/built'}\nedited = {path = '../libs/edited', develop = true}\nfromgit = {git = 'file://" + vcs + "', rev = '" + commit + "'}\n",
		"app/poetry.toml":    "[virtualenvs]\nin-project = true\n[installer]\nno-binary = ['nothing']\n",
	}
	for name, text := range project("built", "2.0", nil) {
		files["libs/built/"+name] = text
	}
	for name, text := range project("edited", "3.0", nil) {
		files["libs/edited/"+name] = text
	}
	repo := filepath.Join(newState(t), "repo")
	writeFiles(t, repo, files)
	req := poetryRequest(t, x, repo)
	req.Project.File = "app/pyproject.toml"
	before := listing(t, repo)
	l := acquire(t, c, req)
	if got := listing(t, repo); got != before {
		t.Errorf("the repository was changed:\n%s\nbefore:\n%s", got, before)
	}
	if f := l.Frozen; len(f) != 3 || f[0] != "-e ./libs/edited" || f[1] != "./libs/built" || !strings.HasSuffix(f[2], vcs+"@"+commit) || l.Lock != nil {
		t.Fatalf("%q, lock %+v", l.Frozen, l.Lock)
	}
	got := python(t, l.Python, "-c", "import built, edited, fromgit; print(built.version, fromgit.version, edited.__file__)")
	if got != "2.0 4.0 "+filepath.Join(l.Path, checkout, "libs/edited/edited.py") {
		t.Fatalf("the environment says %q", got)
	}
	if found, _ := filepath.Glob(filepath.Join(l.Path, "src/*/.git")); len(found) > 0 {
		t.Errorf("repositories stayed: %q", found)
	}
	if again := acquire(t, c, req); !again.Hit {
		t.Fatalf("no hit: %s", again.Why)
	}
}

// Credentials of a project's own source, and of a repository, reach poetry and git
// by files that are gone afterwards.
func TestPoetryPrivateSource(t *testing.T) {
	t.Parallel()
	x := newIndexServer(t, "user", privatePassword)
	x.add(wheel("secretive", "1.0"))
	x.add(sdist("tooled", "1.0", map[string]string{
		// Its build needs a package of the source.
		"pyproject.toml": "[build-system]\nrequires = [\"secretive\"]\nbuild-backend = \"backend\"\nbackend-path = [\".\"]\n",
		"look.txt":       "",
		"looking.py":     looking,
	}))
	vcs, commit := gitRepo(t, project("fromgit", "8.0", map[string]string{"look.txt": "", "looking.py": looking}))
	g := newGitServer(t, privatePassword, vcs)
	link := g.URL + "/" + filepath.Base(vcs) + "/.git"
	repo := lockedProject(t, poetryCache(t, Options{}), x, map[string]string{
		"pyproject.toml": "[project]\nname = 'demo'\nversion = '1'\nrequires-python = '>=3.8'\ndependencies = ['secretive', 'tooled', 'fromgit @ git+" + link + "@" + commit + "']\n[[tool.poetry.source]]\nname = 'corp'\nurl = '" + x.url() + "'\n",
	})
	vault, _ := answering(t, "user", privatePassword)
	for name, req := range map[string]Request{
		"in a file":    {CredentialsFile: writeNetrc(t, "machine 127.0.0.1\n login user\n password "+privatePassword+"\n")},
		"by a program": {CredentialsCommand: []string{vault}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			watch := &spy{Exec: HostExec{}}
			c := poetryCache(t, Options{Exec: watch})
			all := poetryRequest(t, newIndexServer(t, "", ""), repo)
			all.CredentialsFile, all.CredentialsCommand = req.CredentialsFile, req.CredentialsCommand
			var s said
			l, err := c.Acquire(t.Context(), all, s.hear)
			if err != nil {
				t.Fatalf("%v\n%s", err, s.text())
			}
			defer l.Close()
			if f := l.Frozen; len(f) != 3 || f[0] != "fromgit @ git+"+link+"@"+commit || !slices.Equal(l.Lock.Indexes, []string{"--extra-index-url " + x.url()}) {
				t.Fatalf("%q, %+v", l.Frozen, l.Lock)
			}
			for _, bad := range []string{privatePassword, "hunter22", base64.StdEncoding.EncodeToString([]byte("user:" + privatePassword))} {
				for _, cmd := range watch.ran() {
					if text := strings.Join(append(cmd.Args, cmd.Env...), "\n"); strings.Contains(text, bad) {
						t.Errorf("a command holds the password:\n%s", text)
					}
				}
				if strings.Contains(s.text(), bad) {
					t.Errorf("the progress holds the password:\n%s", s.text())
				}
				if out, err := exec.Command("grep", "-rlF", bad, c.state).Output(); err == nil {
					t.Errorf("files hold the password: %s", out)
				}
			}
		})
	}
}
