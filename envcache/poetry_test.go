package envcache

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const poetryDemo = `[project]
name = "demo"
version = "0.1.0"
requires-python = ">=3.8"
dependencies = ["Top_Level>=1", "ancient; python_version < '3'"]
[project.optional-dependencies]
fast = ["speedy>=1"]
[dependency-groups]
lint = ["linter>=1"]
[tool.poetry]
packages = [{include = "demo", from = "src"}]
[tool.poetry.group.docs]
optional = true
[tool.poetry.group.docs.dependencies]
writer = "*"
`

// poetryIndex has the packages of poetryDemo.
func poetryIndex(t *testing.T) *indexServer {
	t.Helper()
	x := newIndexServer(t, "", "")
	x.add(wheel("top-level", "1.0", "below>=1"))
	x.add(wheel("top-level", "1.5", "below>=1"))
	for _, name := range []string{"below", "ancient", "speedy", "linter", "writer"} {
		x.add(wheel(name, "1.0"))
	}
	return x
}

func poetryRequest(t *testing.T, x *indexServer, repo string) Request {
	t.Helper()
	return Request{
		Manager: ManagerPoetry, Python: hostPython(t, SameUser), IndexURL: x.url(), BaseDir: repo, UID: SameUser, GID: SameUser,
		Project: Project{Kind: ProjectPoetry, File: poetryLockFile},
	}
}

// A project with a lock: its main dependencies, once for all commits; groups and
// extras where they are asked for.
func TestPoetryProject(t *testing.T) {
	t.Parallel()
	x, watch := poetryIndex(t), &spy{Exec: HostExec{}}
	c := poetryCache(t, Options{Exec: watch})
	repo := lockedProject(t, c, x, map[string]string{"pyproject.toml": poetryDemo, "src/demo/__init__.py": ""})
	before := listing(t, repo)
	req := poetryRequest(t, x, repo)
	first := acquire(t, c, req)
	if first.Hit || !slices.Equal(first.Frozen, []string{"below==1.0", "top-level==1.5"}) {
		t.Fatalf("%+v", first)
	}
	if got := listing(t, repo); got != before {
		t.Errorf("the repository was changed:\n%s\nbefore:\n%s", got, before)
	}
	got := python(t, first.Python, "-c", "import top_level, below, sys, os; print(sys.prefix, os.path.exists(below.__cached__))")
	if got != first.Path+" True" {
		t.Fatalf("the environment says %q", got)
	}
	if got := python(t, first.Python, "-m", "pip", "--version"); !strings.HasPrefix(got, "pip "+pipVersion) {
		t.Fatalf("pip says %q", got)
	}
	if l := first.Lock; l == nil || len(l.Packages) != 2 || !strings.HasPrefix(l.Packages[1], "top-level==1.5 --hash=sha256:") || l.Built || l.File != "" {
		t.Fatalf("lock %+v", l)
	}

	archive, asIs := export(t, c, first.Key), req

	// Another commit with the same dependencies.
	other := filepath.Join(newState(t), "repo")
	lock, err := os.ReadFile(filepath.Join(repo, poetryLockFile))
	if err != nil {
		t.Fatal(err)
	}
	writeFiles(t, other, map[string]string{
		"pyproject.toml": strings.Replace(poetryDemo, "0.1.0", "0.2.0", 1) + "[tool.ruff]\nline-length = 100\n",
		poetryLockFile:   string(lock), "src/demo/__init__.py": "changed = True\n",
	})
	programs, asked := len(watch.ran()), x.requests()
	for _, base := range []string{repo, other} {
		req.BaseDir = base
		if again := acquire(t, c, req); !again.Hit || again.Path != first.Path {
			t.Fatalf("%+v", again)
		}
	}
	replay := req
	replay.Lock = first.Lock
	if again := acquire(t, c, replay); !again.Hit || again.Path != first.Path {
		t.Fatalf("%+v", again)
	}
	if len(watch.ran()) != programs || x.requests() != asked {
		t.Fatalf("the hits ran %d programs and asked %d times", len(watch.ran())-programs, x.requests()-asked)
	}

	// A lock that differs in what is not installed leads to the same environment.
	req.BaseDir = lockedProject(t, c, x, map[string]string{"pyproject.toml": strings.Replace(poetryDemo, `writer = "*"`, `speedy = "*"`, 1)})
	if again := acquire(t, c, req); !again.Hit || again.Path != first.Path || !strings.Contains(again.Why, "resolved to the same packages") {
		t.Fatalf("%+v", again)
	}

	req.BaseDir, req.Groups, req.Extras = repo, []string{"Docs"}, []string{"fast"}
	more := acquire(t, c, req)
	if more.Hit || !slices.Equal(more.Frozen, []string{"below==1.0", "speedy==1.0", "top-level==1.5", "writer==1.0"}) {
		t.Fatalf("%+v", more)
	}

	// What was downloaded once is installed without an index, by poetry and by the lock.
	for _, l := range []*Lease{first, more} {
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if err := c.Discard(t.Context(), l.Key); err != nil {
			t.Fatal(err)
		}
	}
	x.Close()
	// A host that has got the environment elsewhere needs neither poetry nor an index.
	imported(t, awayFromIndexes(t, x), archive, asIs, ImportOptions{UID: SameUser, GID: SameUser})
	if offline := acquire(t, c, req); offline.Hit || !slices.Equal(offline.Frozen, more.Frozen) {
		t.Fatalf("%+v", offline)
	}
	replay.BaseDir, replay.Project = "", Project{}
	if offline := acquire(t, c, replay); offline.Hit || !slices.Equal(offline.Frozen, first.Frozen) {
		t.Fatalf("%+v", offline)
	}
}

// listing describes all files of a folder.
func listing(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		b.WriteString(path + " " + info.Mode().String() + " " + info.ModTime().String() + "\n")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}
