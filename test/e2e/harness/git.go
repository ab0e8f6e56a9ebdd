package harness

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Repository is a small git repository: a bare one that tasks clone, and a working
// copy of it.
type Repository struct {
	n      *Node
	Bare   string
	Folder string
}

// NewRepository makes a repository with one commit of the files on branch main.
func (n *Node) NewRepository(files map[string]string) *Repository {
	n.T.Helper()
	dir, err := os.MkdirTemp(n.Dir, "repository-")
	if err != nil {
		n.T.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		n.T.Fatal(err)
	}
	r := &Repository{n: n, Bare: filepath.Join(dir, "code.git"), Folder: filepath.Join(dir, "code")}
	n.git(dir, "init", "--quiet", "--bare", "--initial-branch=main", r.Bare)
	n.git(dir, "clone", "--quiet", r.Bare, r.Folder)
	r.Push(files)
	return r
}

// Push writes files into the working copy, commits all that is there and pushes the
// commit.
func (r *Repository) Push(files map[string]string) {
	r.n.T.Helper()
	r.Write(files)
	r.n.git(r.Folder, "add", "-A")
	r.n.git(r.Folder, "commit", "--quiet", "-m", "files")
	r.n.git(r.Folder, "push", "--quiet", "origin", "HEAD:main")
}

// Rewrite replaces the newest commit by another with the same files.
func (r *Repository) Rewrite() {
	r.n.T.Helper()
	r.n.git(r.Folder, "commit", "--quiet", "--amend", "-m", "rewritten")
	r.n.git(r.Folder, "push", "--quiet", "--force", "origin", "HEAD:main")
}

// Write writes files into the working copy, without committing them.
func (r *Repository) Write(files map[string]string) {
	r.n.T.Helper()
	for name, text := range files {
		path := filepath.Join(r.Folder, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			r.n.T.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			r.n.T.Fatal(err)
		}
	}
}

func (n *Node) git(dir string, args ...string) {
	n.T.Helper()
	cmd := exec.Command("git", append([]string{"-c", "user.name=Test", "-c", "user.email=test@example.com", "-c", "init.defaultBranch=main"}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		n.T.Fatalf("git %v: %v\n%s", args, err, out)
	}
}

// Head is the id of the repository's commit.
func (r *Repository) Head() string {
	r.n.T.Helper()
	out, err := exec.Command("git", "-C", r.Bare, "rev-parse", "main").Output()
	if err != nil {
		r.n.T.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}
