package envcache

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const uvProjectText = `[project]
name = "thing"
version = "0.1"
requires-python = ">=3.8"
dependencies = ["here"]
[project.optional-dependencies]
x = ["extra-only"]
[dependency-groups]
dev = ["other"]
`

// uvLock makes the uv.lock of a project as its author does.
func uvLock(t *testing.T, c *Cache, index, dir string) {
	t.Helper()
	tools, err := filepath.Glob(filepath.Join(c.tools.dir, "uv-*", "bin", "uv"))
	if err != nil || len(tools) == 0 {
		t.Fatalf("%q, %v", tools, err)
	}
	cmd := exec.Command(tools[0], "lock", "--quiet", "--default-index", index, "--python", hostPython(t, SameUser).Path, "--no-cache")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "UV_PYTHON_DOWNLOADS=never")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("uv lock: %v\n%s", err, out)
	}
}

func TestUVProject(t *testing.T) {
	t.Parallel()
	x := newIndexServer(t, "", "")
	x.add(wheel("here", "1.0"))
	x.add(wheel("other", "1.0"))
	x.add(wheel("extra-only", "1.0"))
	c := newUVCache(t, Options{})
	repo := filepath.Join(newState(t), "repo")
	writeFiles(t, repo, map[string]string{"sub/pyproject.toml": uvProjectText})
	sub := filepath.Join(repo, "sub")
	uvLock(t, c, x.url(), sub)
	writeFiles(t, repo, map[string]string{"uv.toml": "what stands above the project does not count"})
	req := uvRequest(t, "", "ignored")
	req.BaseDir, req.Project = repo, Project{ProjectUV, "sub/uv.lock"}
	l := acquire(t, c, req)
	if !slices.Equal(l.Frozen, []string{"here==1.0"}) || l.Lock == nil || l.Lock.File != "sub/uv.lock" || len(l.Lock.SHA256) != 64 {
		t.Errorf("frozen %q, lock %+v", l.Frozen, l.Lock)
	}
	if got := python(t, l.Python, "-c", "import here, os, pip; print(os.path.exists(here.__cached__))"); got != "True" {
		t.Errorf("the environment says %q", got)
	}
	// A host that has got it elsewhere needs no uv.
	away := imported(t, awayFromIndexes(t, x), export(t, c, l.Key), req, ImportOptions{UID: SameUser, GID: SameUser})
	if got := python(t, filepath.Join(away.Path, "bin", "here")); got != "here 1.0" {
		t.Errorf("the program of the imported environment says %q", got)
	}
	// The same lock elsewhere is the same environment, whatever else is there.
	twin := filepath.Join(newState(t), "twin")
	writeFiles(t, twin, map[string]string{"sub/pyproject.toml": uvProjectText + "[tool.ruff]\n", "sub/uv.lock": readFile(t, sub+"/uv.lock"), "train.py": ""})
	again := req
	again.BaseDir, again.Lock = twin, l.Lock
	if l := acquire(t, c, again); !l.Hit {
		t.Errorf("no hit: %s", l.Why)
	}
	for name, groups := range map[string][2][]string{
		"all":   {{"*"}, {"*"}},
		"named": {{"dev"}, {"x"}},
	} {
		more := req
		more.Groups, more.Extras = groups[0], groups[1]
		if l := acquire(t, c, more); !slices.Equal(l.Frozen, []string{"extra-only==1.0", "here==1.0", "other==1.0"}) {
			t.Errorf("%s: %q", name, l.Frozen)
		}
	}
	t.Run("mirror", func(t *testing.T) { uvProjectFromMirror(t, x, req) })
	entries, err := os.ReadDir(sub)
	if err != nil || len(entries) != 2 {
		t.Errorf("the repository has %v, %v", entries, err)
	}
	t.Run("failures", func(t *testing.T) { uvProjectFails(t, c, x.url(), req) })
}

// uvProjectFromMirror takes the packages from an index that the lock does not know.
func uvProjectFromMirror(t *testing.T, x *indexServer, req Request) {
	mirror := newIndexServer(t, "", "")
	mirror.add(wheel("here", "1.0"))
	asked := x.requests()
	req.IndexURL = mirror.url()
	if l := acquire(t, newUVCache(t, Options{}), req); !slices.Equal(l.Frozen, []string{"here==1.0"}) || x.requests() != asked {
		t.Errorf("frozen %q, %d requests to the index of the lock", l.Frozen, x.requests()-asked)
	}
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func uvProjectFails(t *testing.T, c *Cache, index string, good Request) {
	uvProjectText := uvProjectText + "[[tool.uv.index]]\nurl = \"" + index + "\"\ndefault = true\n"
	lock := readFile(t, filepath.Join(good.BaseDir, "sub/uv.lock"))
	for name, tc := range map[string]struct {
		project, lock string
		groups        []string
		lockOf        string // digest that a task's lock names
		says          string
	}{
		"stale":           {strings.Replace(uvProjectText, `"here"`, `"here", "other"`, 1), lock, nil, "", "run `uv lock` and commit it"},
		"wrong Python":    {strings.Replace(uvProjectText, ">=3.8", ">=3.99", 1), lock, nil, "", "the project needs another Python than 3."},
		"no such group":   {uvProjectText, lock, []string{"nosuch"}, "", "no such group"},
		"no project":      {"", lock, nil, "", "needs its pyproject.toml"},
		"another lock":    {uvProjectText, lock, nil, strings.Repeat("0", 64), "is not the one of the lock"},
		"wrong hash":      {uvProjectText, sumInLock.ReplaceAllString(lock, "sha256:"+strings.Repeat("0", 64)), nil, "", "not the one whose hash"},
		"out of the tree": {uvProjectText, lock + "\n[[package]]\nname = \"y\"\nsource = { directory = \"../../y\" }\n", nil, "", "leads out of the repository"},
		"a host's file":   {uvProjectText, strings.ReplaceAll(lock, `registry = "http`, `registry = "file`), nil, "", "can't be installed from a lock"},
		"not TOML":        {"[", lock, nil, "", "pyproject.toml is not valid"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			repo := filepath.Join(newState(t), "repo")
			writeFiles(t, repo, map[string]string{"uv.lock": tc.lock})
			if tc.project != "" {
				writeFiles(t, repo, map[string]string{"pyproject.toml": tc.project})
			}
			req := good
			req.BaseDir, req.Project, req.Groups = repo, Project{ProjectUV, "uv.lock"}, tc.groups
			if tc.lockOf != "" {
				req.Lock = &Lock{Manager: ManagerUV, Python: req.Python.Version, File: "uv.lock", SHA256: tc.lockOf}
			}
			if l, err := c.Acquire(t.Context(), req, nil); err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("%+v, %v", l, err)
			}
		})
	}
}

var sumInLock = regexp.MustCompile(`sha256:[0-9a-f]{64}`)

// A project that depends on folders of its repository uses a copy of them.
func TestUVProjectWithMembers(t *testing.T) {
	t.Parallel()
	x := newIndexServer(t, "", "")
	x.add(wheel("here", "1.0"))
	c := newUVCache(t, Options{})
	repo := filepath.Join(newState(t), "repo")
	files := map[string]string{
		"pyproject.toml": "[project]\nname = \"top\"\nversion = \"1\"\nrequires-python = \">=3.8\"\ndependencies = [\"member\", \"here\"]\n[tool.uv.sources]\nmember = { workspace = true }\n[tool.uv.workspace]\nmembers = [\"libs/*\"]\n",
	}
	for name, text := range project("member", "2.0", nil) {
		files["libs/member/"+name] = text
	}
	files["libs/member/pyproject.toml"] += "requires-python = \">=3.8\"\n"
	writeFiles(t, repo, files)
	uvLock(t, c, x.url(), repo)
	req := uvRequest(t, "")
	req.BaseDir, req.Project = repo, Project{ProjectUV, "uv.lock"}
	l := acquire(t, c, req)
	if !slices.Equal(l.Frozen, []string{"-e ./libs/member", "here==1.0"}) {
		t.Errorf("frozen %q", l.Frozen)
	}
	if got := python(t, l.Python, "-c", "import member; print(member.__file__)"); got != filepath.Join(l.Path, checkout, "libs/member/member.py") {
		t.Errorf("member is %q", got)
	}
	if _, err := os.Stat(filepath.Join(repo, "libs/member/left-behind-by-the-build.txt")); err == nil {
		t.Error("building wrote into the repository")
	}
	if _, err := os.Stat(filepath.Join(l.Path, "src", uvOwn)); err == nil {
		t.Error("a uv.toml is left in the environment")
	}
}

func TestUVInstallsPylock(t *testing.T) {
	t.Parallel()
	x := newIndexServer(t, "", "")
	lock := "lock-version = \"1.0\"\ncreated-by = \"test\"\nrequires-python = \">=3.8\"\nextras = [\"x\"]\ndependency-groups = [\"dev\"]\n"
	for name, marker := range map[string]string{"here": "", "extra-only": "'x' in extras", "grouped": "'dev' in dependency_groups", "never": "python_version < '3'"} {
		file, data := wheel(name, "1.0")
		x.add(file, data)
		lock += fmt.Sprintf("[[packages]]\nname = %q\nversion = \"1.0\"\nmarker = %q\nwheels = [{ url = \"%s/files/%s\", hashes = { sha256 = \"%x\" } }]\n", name, marker, x.URL, file, sha256.Sum256(data))
	}
	lock = strings.ReplaceAll(lock, "marker = \"\"\n", "")
	repo := filepath.Join(newState(t), "repo")
	writeFiles(t, repo, map[string]string{"pylock.toml": lock, "pylock.bad.toml": sumInPylock.ReplaceAllString(lock, strings.Repeat("0", 64)), "pylock.far.toml": lock + "[[packages]]\nname = \"z\"\ndirectory = { path = \"../z\" }\n"})
	c := newUVCache(t, Options{})
	req := uvRequest(t, "")
	req.BaseDir, req.Project = repo, Project{ProjectPylock, "pylock.toml"}
	l := acquire(t, c, req)
	if !slices.Equal(l.Frozen, []string{"here==1.0"}) || l.Lock.File != "pylock.toml" {
		t.Errorf("frozen %q, lock %+v", l.Frozen, l.Lock)
	}
	replay := Request{Manager: ManagerUV, Python: req.Python, BaseDir: repo, Lock: l.Lock, UID: SameUser, GID: SameUser}
	if l := acquire(t, c, replay); !l.Hit {
		t.Errorf("no hit: %s", l.Why)
	}
	req.Groups, req.Extras = []string{"*"}, []string{"x"}
	if l := acquire(t, c, req); !slices.Equal(l.Frozen, []string{"extra-only==1.0", "grouped==1.0", "here==1.0"}) {
		t.Errorf("frozen %q", l.Frozen)
	}
	for file, says := range map[string]string{"pylock.bad.toml": "not the one whose hash", "pylock.far.toml": "leads out of the repository", "pylock.none.toml": "cannot read"} {
		req.Project.File = file
		if _, err := c.Acquire(t.Context(), req, nil); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", file, err)
		}
	}
}

var sumInPylock = regexp.MustCompile(`[0-9a-f]{64}`)
