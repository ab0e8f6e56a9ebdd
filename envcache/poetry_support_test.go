package envcache

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// sharedPoetry is the poetry that all tests use, in the shared tools.
var sharedPoetry struct {
	once   sync.Once
	finder *Finder
	tool   tool
	err    error
}

// withPoetry gives the cache the poetry that all tests share, got from the host's
// index. It runs, if possible, on a Python that all users may run.
func withPoetry(t testing.TB, c *Cache) tool {
	t.Helper()
	s := &sharedPoetry
	s.once.Do(func() {
		everyones := environ(map[string]string{"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "", "PYENV_ROOT": ""})
		for _, getenv := range []func(string) string{everyones, os.Getenv} {
			if s.finder, s.err = NewFinder(shared.dir, Options{Getenv: getenv}); s.err != nil {
				return
			}
			tools := &toolbox{&pipTools{dir: shared.dir, exec: HostExec{}, env: CleanEnv(os.Getenv), now: time.Now}, s.finder}
			if py, err := tools.interpreter(context.Background(), products[ManagerPoetry], Request{UID: SameUser}); err != nil || !strings.HasPrefix(py.Path, "/usr/") && getenv("HOME") == "" {
				continue
			}
			s.tool, s.err = tools.get(context.Background(), ManagerPoetry, Request{UID: SameUser}, newAccess(os.Getenv, Request{}, nil), func(Progress) {})
			return
		}
	})
	if s.err != nil {
		t.Fatal(s.err)
	}
	c.tools.finder = s.finder
	return s.tool
}

// poetryCache is a cache with the shared pip and poetry.
func poetryCache(t testing.TB, opts Options) *Cache {
	t.Helper()
	c := newCache(t, opts)
	withPoetry(t, c)
	return c
}

// lockedProject makes the files a repository with the lock that poetry gives them.
func lockedProject(t *testing.T, c *Cache, x *indexServer, files map[string]string) string {
	t.Helper()
	dir := filepath.Join(newState(t), "repo")
	writeFiles(t, dir, files)
	home := t.TempDir()
	settings, err := json.Marshal(poetrySettings{Indexes: []string{x.url()}, Sources: "test"})
	if err != nil {
		t.Fatal(err)
	}
	writeFiles(t, home, map[string]string{"poetry.py": poetryScript, "poetry.json": string(settings)})
	cmd := exec.Command(withPoetry(t, c).python(), "-I", filepath.Join(home, "poetry.py"), filepath.Join(home, "poetry.json"), "lock", "--no-interaction", "--no-plugins")
	cmd.Dir = dir
	cmd.Env = []string{
		"HOME=" + home, "PATH=" + os.Getenv("PATH"), "POETRY_VIRTUALENVS_CREATE=false", "POETRY_KEYRING_ENABLED=false",
		"NETRC=" + filepath.Join(home, ".netrc"), "POETRY_SYSTEM_GIT_CLIENT=true",
	}
	if x.user != "" {
		writeFiles(t, home, map[string]string{".netrc": "machine 127.0.0.1 login " + x.user + " password " + x.password + "\n"})
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("poetry lock: %v\n%s", err, out)
	}
	return dir
}
