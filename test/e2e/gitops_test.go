package e2e_test

import (
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
	out := n.Must("plan", filepath.Join(r.Folder, "nodes"))
	if !strings.Contains(out, "w/0") {
		t.Errorf("plan of a folder:\n%s", out)
	}
	n.Must("apply", "--yes", "--git", r.Bare, "--path", "nodes", "--interval", "1h")
	s := n.Snapshot()
	if c := s.LastApplied.Commit; c == nil || c.Hash != first || s.LastApplied.Origin != (reconcile.Origin{Kind: "git", URL: r.Bare, Path: "nodes"}) {
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
