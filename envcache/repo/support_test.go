package repo

import (
	"context"
	"errors"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"agentctl/envcache"
	"agentctl/internal/tree"
)

func newState(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ac")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tree.Remove(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func newStore(t *testing.T, opts Options) *Store {
	t.Helper()
	s, err := Open(newState(t), opts)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// upstream is a repository that people push to.
type upstream struct {
	t   *testing.T
	dir string
}

func newUpstream(t *testing.T, files map[string]string) *upstream {
	t.Helper()
	u := &upstream{t, filepath.Join(newState(t), "up")}
	u.write(files)
	u.git("init", "-q", "-b", "main")
	u.commit("one")
	return u
}

func (u *upstream) write(files map[string]string) {
	u.t.Helper()
	for name, text := range files {
		path := filepath.Join(u.dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			u.t.Fatal(err)
		}
	}
}

// git runs git as the person who owns the repository.
func (u *upstream) git(args ...string) string {
	u.t.Helper()
	cmd := exec.Command("git", append([]string{
		"-C", u.dir, "-c", "user.name=n", "-c", "user.email=e@x", "-c", "protocol.file.allow=always", "-c", "core.autocrlf=false",
	}, args...)...)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		u.t.Fatalf("git %q: %v\n%s", args, err, out)
	}
	return strings.TrimRight(string(out), "\n")
}

// commit commits everything and gives the id.
func (u *upstream) commit(message string) string {
	u.t.Helper()
	u.git("add", "-A")
	u.git("commit", "-q", "--allow-empty", "-m", message)
	return u.git("rev-parse", "HEAD")
}

func (u *upstream) source() Source {
	return Source{URL: u.dir, UID: envcache.SameUser, GID: envcache.SameUser}
}

func acquire(t *testing.T, s *Store, src Source) *Checkout {
	t.Helper()
	c, err := s.Acquire(t.Context(), src, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func read(t *testing.T, c *Checkout, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(c.Path, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func there(c *Checkout, name string) bool {
	_, err := os.Lstat(filepath.Join(c.Path, name))
	return err == nil
}

// in runs git in a checkout, as a task would.
func in(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", append([]string{"-C", dir}, args...)...)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %q: %v\n%s", args, err, out)
	}
	return strings.TrimRight(string(out), "\n")
}

// spy is an Exec that remembers what was run.
type spy struct {
	envcache.Exec
	mu   sync.Mutex
	cmds []envcache.Cmd
}

func newSpy() *spy { return &spy{Exec: envcache.HostExec{}} }

func (s *spy) Run(ctx context.Context, c envcache.Cmd) (envcache.Exit, error) {
	s.mu.Lock()
	s.cmds = append(s.cmds, c)
	s.mu.Unlock()
	return s.Exec.Run(ctx, c)
}

func (s *spy) ran() []envcache.Cmd {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]envcache.Cmd(nil), s.cmds...)
}

// times counts the runs of a git command.
func (s *spy) times(command string) (n int) {
	for _, c := range s.ran() {
		for _, a := range c.Args {
			if a == command {
				n++
			}
		}
	}
	return n
}

type said struct {
	mu    sync.Mutex
	lines []string
}

func (s *said) hear(p envcache.Progress) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, p.String())
}

func (s *said) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.lines, "\n")
}

// gitServer serves the repositories below a folder over HTTP, with basic
// authentication if a user is given, and remembers who came with credentials.
type gitServer struct {
	*httptest.Server
	mu     sync.Mutex
	logins []string
}

func newGitServer(t *testing.T, root, user, password string) *gitServer {
	t.Helper()
	out, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		t.Fatal(err)
	}
	backend := filepath.Join(strings.TrimSpace(string(out)), "git-http-backend")
	if _, err := os.Stat(backend); err != nil {
		t.Skipf("this git has no HTTP server: %v", err)
	}
	handler := &cgi.Handler{Path: backend, Env: []string{
		"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_CONFIG_COUNT=2", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*",
		"GIT_CONFIG_KEY_1=uploadpack.allowAnySHA1InWant", "GIT_CONFIG_VALUE_1=true",
	}}
	g := &gitServer{}
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u, p, ok := r.BasicAuth()
		if ok {
			g.mu.Lock()
			g.logins = append(g.logins, u+":"+p)
			g.mu.Unlock()
		}
		if user != "" && (u != user || p != password) {
			w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(g.Close)
	return g
}

func (g *gitServer) seen() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return strings.Join(g.logins, " ")
}

func (g *gitServer) with(userinfo, path string) string {
	return strings.Replace(g.URL, "http://", "http://"+userinfo+"@", 1) + path
}

// serve publishes a repository bare as NAME.git below root.
func (u *upstream) serve(root, name string) {
	u.t.Helper()
	u.git("clone", "-q", "--bare", "--no-local", u.dir, filepath.Join(root, name+".git"))
}
