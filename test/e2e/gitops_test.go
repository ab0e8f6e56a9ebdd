package e2e_test

import (
	"io"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"agentctl/reconcile"
	"agentctl/test/e2e/harness"
)

// The script that shows GitOps to a new user does what it says.
func TestGitOpsExample(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("bash", filepath.Join(harness.Root(t), "examples", "gitops", "run.sh"))
	cmd.Env = append(os.Environ(), "AGENTCTL="+harness.Program(t, ""), "TMPDIR="+t.TempDir())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// A repository is named by apply, shown before, kept over a restart, and gives way
// only when that is said; a commit that rewrites the past is refused with a code of
// its own.
func TestApplyGit(t *testing.T) {
	t.Parallel()
	n := harness.New(t)
	n.StartAgent()
	r := n.NewRepository(map[string]string{"nodes/base.yaml": node(oneWorker)})
	first := r.Head()
	url, credentials := serveGit(t, r.Bare)
	out := n.Must("plan", filepath.Join(r.Folder, "nodes"))
	if !strings.Contains(out, "w/0") {
		t.Errorf("plan of a folder:\n%s", out)
	}
	n.Must("apply", "--yes", "--git", url, "--git-credentials", credentials, "--path", "nodes", "--interval", "1h")
	s := n.Snapshot()
	if c := s.LastApplied.Commit; c == nil || c.Hash != first || s.LastApplied.Origin != (reconcile.Origin{Kind: "git", URL: url, Path: "nodes"}) {
		t.Fatalf("applied: %+v, %+v", s.LastApplied, c)
	}
	if _, said, code := n.Run("apply", "--yes", filepath.Join(r.Folder, "nodes")); code != 1 || !strings.Contains(said, "--take-over") {
		t.Errorf("another source: %d, %s", code, said)
	}
	n.KillAgent()
	n.StartAgent()
	r.Push(map[string]string{"nodes/base.yaml": node(oneWorker, "{name: x, queues: [x]}")})
	n.Must("reconcile", "--now")
	if got := len(n.Workers()); got != 2 {
		t.Errorf("%d workers after a push, want 2", got)
	}
	r.Rewrite()
	if _, said, code := n.Run("reconcile", "--now"); code != 6 || !strings.Contains(said, "--accept-rewind") {
		t.Errorf("a rewritten history: %d, %s", code, said)
	}
	n.Must("reconcile", "--now", "--accept-rewind")
	if out, _, code := n.Run("diff"); code != 0 {
		t.Errorf("diff with what is in force: %d, %s", code, out)
	}
	n.Must("apply", "--yes", "--take-over", filepath.Join(r.Folder, "nodes"))
	if got := n.Snapshot().LastApplied.Origin.Kind; got != "folder" {
		t.Errorf("the source is a %s", got)
	}
}

// serveGit serves a repository by git's own http-backend behind a password; it returns
// the URL, and a file with the password.
func serveGit(t *testing.T, bare string) (url, credentials string) {
	t.Helper()
	git, err := exec.LookPath("git")
	if err != nil {
		t.Fatal(err)
	}
	backend := &cgi.Handler{
		Path: git, Args: []string{"http-backend"}, Stderr: io.Discard,
		Env: []string{"GIT_PROJECT_ROOT=" + filepath.Dir(bare), "GIT_HTTP_EXPORT_ALL=1"},
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, password, _ := r.BasicAuth(); password != "token" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		backend.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	credentials = filepath.Join(t.TempDir(), "credentials")
	if err := os.WriteFile(credentials, []byte("http://reader:token@"+s.Listener.Addr().String()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return s.URL + "/" + filepath.Base(bare), credentials
}
