package repo

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"agentctl/envcache"
	"agentctl/internal/tree"
)

// fakeBox is a box of this host whose git belongs to another user, if that can be.
type fakeBox struct {
	*spy
	uid   int
	ended int
}

func newBox() (*Box, *fakeBox) {
	f := &fakeBox{spy: newSpy(), uid: envcache.SameUser}
	if os.Geteuid() == 0 {
		f.uid = 65534
	}
	return &Box{Exec: f, End: func() error { f.ended++; return nil }, UID: f.uid, GID: f.uid}, f
}

// Run sees to it that the command says all that it needs.
func (f *fakeBox) Run(ctx context.Context, c envcache.Cmd) (envcache.Exit, error) {
	if c.UID != f.uid || len(c.Files) > 0 || len(c.Writes) == 0 || len(c.Reads) == 0 {
		return envcache.Exit{}, errors.New("a command that a box can't run")
	}
	for _, path := range append(slices.Clone(c.Writes), c.Reads...) {
		// What a box shows is there by its mounts, wherever it is.
		for dir := filepath.Dir(path); dir != "/"; dir = filepath.Dir(dir) {
			if info, err := os.Stat(dir); err == nil && info.Mode().Perm()&1 == 0 {
				if err := os.Chmod(dir, 0o711); err != nil {
					return envcache.Exit{}, err
				}
			}
		}
	}
	return f.spy.Run(ctx, c)
}

// In a box git makes the very checkout that it makes outside, with mirrors of its own,
// and without a descriptor, an argument or a file that tells the password.
func TestGitInABox(t *testing.T) {
	root, other := newState(t), newState(t)
	newUpstream(t, map[string]string{"lib.py": "lib\n"}).serve(root, "lib")
	newUpstream(t, map[string]string{"ext.py": "ext\n"}).serve(other, "ext")
	server, foreign := newGitServer(t, root, "user", "hunter22"), newGitServer(t, other, "", "")
	u := newUpstream(t, map[string]string{"a.py": "one\n", "dir/b.py": "two\n"})
	u.git("submodule", "add", "-q", filepath.Join(root, "lib.git"), "lib")
	u.git("submodule", "add", "-q", foreign.URL+"/ext.git", "ext")
	u.git("config", "-f", ".gitmodules", "submodule.lib.url", "../lib.git")
	u.commit("submodules")
	u.serve(root, "super")
	host := newSpy()
	s := newStore(t, Options{Exec: host})
	src := Source{URL: server.with("user:hunter22", "/super.git"), Branch: "main", UID: envcache.SameUser, Diff: "diff --git a/a.py b/a.py\n--- a/a.py\n+++ b/a.py\n@@ -1 +1 @@\n-one\n+changed\n"}
	box, inside := newBox()
	src.Box = box
	c := acquire(t, s, src)
	if n := len(host.ran()); n > 0 || inside.ended == 0 {
		t.Errorf("%d commands ran on the host, ended %d times", n, inside.ended)
	}
	for _, cmd := range inside.ran() {
		if strings.Contains(strings.Join(cmd.Args, "\n"), "hunter22") {
			t.Errorf("an argument holds the password: %q", cmd.Args)
		}
	}
	if out, err := exec.Command("grep", "-rl", "hunter22", s.state).Output(); err == nil {
		t.Errorf("files hold the password: %s", out)
	}
	if !strings.Contains(server.seen(), "user:hunter22") || foreign.seen() != "" {
		t.Errorf("credentials went to %q and %q", server.seen(), foreign.seen())
	}
	if !linked(t, c.Path) {
		t.Error("the objects were copied")
	}
	src.Commit, src.Branch = c.Commit, ""
	before := len(inside.ran())
	if again := acquire(t, s, src); !again.Hit || again.Path != c.Path || len(inside.ran()) != before {
		t.Errorf("%+v", again)
	}
	src.Box = nil
	outside := acquire(t, newStore(t, Options{}), src)
	if a, b := tracked(t, c.Path), tracked(t, outside.Path); a != b {
		t.Errorf("in a box\n%s\noutside\n%s", a, b)
	}
	src.Diff = "" // the same mirror on the host would be read with the host's rights
	if acquire(t, s, src); host.times("fetch") == 0 {
		t.Error("git on the host took what git in a box had written")
	}
	src.Box, src.Diff = box, "diff --git a/a.py b/a.py\n--- a/a.py\n+++ b/a.py\n@@ -1 +1 @@\n-other\n+changed\n"
	if _, err := s.Acquire(t.Context(), src, nil); err == nil {
		t.Error("a patch that does not fit was applied")
	}
	if left, _ := filepath.Glob(filepath.Join(s.mirrors.Dir(), "*", boxFolder, placePrefix+"*")); left != nil {
		t.Errorf("left %q", left)
	}
	local := newUpstream(t, map[string]string{"a.py": "one\n"}).source()
	local.Box = box
	before = len(inside.ran())
	if acquire(t, s, local); len(inside.ran()) != before {
		t.Error("a repository of this host was looked for in the box")
	}
}

// linked tells whether there are objects that the mirror has as well.
func linked(t *testing.T, dir string) (yes bool) {
	t.Helper()
	err := tree.Walk(filepath.Join(dir, ".git", "objects"), func(n tree.Node) error {
		st, ok := n.Info.Sys().(*syscall.Stat_t)
		yes = yes || ok && n.Info.Mode().IsRegular() && st.Nlink > 1
		return nil
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return yes
}

// tracked are the files of a checkout with what is in them, and git's own word.
func tracked(t *testing.T, dir string) string {
	t.Helper()
	var all strings.Builder
	err := tree.Walk(dir, func(n tree.Node) error {
		if n.Name == ".git" && n.Info.IsDir() {
			return tree.SkipDir
		}
		all.WriteString(n.Rel + " " + n.Info.Mode().String())
		if n.Info.Mode().IsRegular() {
			data, err := fs.ReadFile(n.Dir.FS(), n.Name)
			all.WriteString(" " + string(data))
			return err
		}
		all.WriteString("\n")
		return nil
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"remote", "get-url", "origin"}, {"rev-parse", "HEAD"}, {"-c", "safe.directory=*", "status", "--short"}} {
		all.WriteString(in(t, dir, append([]string{"-c", "safe.directory=*"}, args...)...) + "\n")
	}
	return all.String()
}

// A checkout that a dead process left unfinished goes; one that is being made stays.
func TestUnfinishedCheckoutsInABox(t *testing.T) {
	root := newState(t)
	newUpstream(t, map[string]string{"a.py": "one\n"}).serve(root, "code")
	server := newGitServer(t, root, "", "")
	s := newStore(t, Options{})
	src := Source{URL: server.URL + "/code.git", UID: envcache.SameUser}
	src.Box, _ = newBox()
	acquire(t, s, src)
	addr, err := parseAddress(src.URL)
	if err != nil {
		t.Fatal(err)
	}
	shared := filepath.Join(s.mirrors.Path(mirrorKey(src.Box, addr)), boxFolder)
	dead, busy := filepath.Join(shared, placePrefix+"dead"), filepath.Join(shared, placePrefix+"busy")
	if err := errors.Join(os.MkdirAll(filepath.Join(dead, "sub"), 0o755), os.Mkdir(busy, 0o755)); err != nil {
		t.Fatal(err)
	}
	lock, err := lockFolder(busy)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	acquire(t, s, src) // asks the remote what its HEAD is
	if _, err := os.Lstat(dead); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
	if _, err := os.Lstat(busy); err != nil {
		t.Error(err)
	}
}
