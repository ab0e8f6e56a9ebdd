package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// userRepo is a checkout with a remote, both the test's.
type userRepo struct {
	t       *testing.T
	dir     string
	remotes string
}

func newRepo(t *testing.T) *userRepo {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("there is no git")
	}
	t.Setenv("GIT_CONFIG_GLOBAL", os.DevNull)
	t.Setenv("GIT_CONFIG_NOSYSTEM", "1")
	for _, who := range []string{"AUTHOR", "COMMITTER"} {
		t.Setenv("GIT_"+who+"_NAME", "t")
		t.Setenv("GIT_"+who+"_EMAIL", "t@example.com")
	}
	base := t.TempDir()
	r := &userRepo{t, filepath.Join(base, "code"), filepath.Join(base, "remote.git")}
	r.run(base, "init", "-q", "-b", "main", "--bare", r.remotes)
	r.run(base, "init", "-q", "-b", "main", r.dir)
	r.write("a.py", "one\ntwo\nthree\n")
	r.write("sub/b.py", "b\n")
	r.write(".gitignore", "*.secret\n")
	r.write("bin", "\x00\x01\x02")
	r.git("add", "-A")
	r.git("commit", "-q", "-m", "first")
	r.git("remote", "add", "origin", r.remotes)
	r.git("push", "-q", "origin", "main")
	return r
}

func (r *userRepo) run(dir string, args ...string) string {
	r.t.Helper()
	out, err := git(r.t.Context(), dir, nil, nil, args...)
	if err != nil {
		r.t.Fatal(err)
	}
	return line(out)
}

func (r *userRepo) git(args ...string) string { r.t.Helper(); return r.run(r.dir, args...) }

func (r *userRepo) write(name, text string) {
	r.t.Helper()
	path := filepath.Join(r.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		r.t.Fatal(err)
	}
}

func (r *userRepo) code(script string) (code, error) {
	r.t.Helper()
	c, err := openCheckout(r.t.Context(), r.dir)
	if err != nil || c == nil {
		r.t.Fatalf("no checkout: %v", err)
	}
	return c.code(r.t.Context(), r.dir, script, "")
}

// contents is what a folder holds, but for git's own.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		name, _ := filepath.Rel(dir, path)
		switch {
		case err != nil:
			return err
		case d.IsDir() && d.Name() == ".git":
			return filepath.SkipDir
		case d.Type()&os.ModeSymlink != 0:
			target, err := os.Readlink(path)
			out[name] = "-> " + target
			return err
		case !d.IsDir():
			data, err := os.ReadFile(path)
			fi, _ := d.Info()
			out[name] = fi.Mode().Perm().String()[3:4] + string(data)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// What an agent makes of the commit and the diff is what lies here, whatever state
// it is in, and the checkout is as it was.
func TestWhatIsSentIsWhatLiesHere(t *testing.T) {
	for about, change := range map[string]func(r *userRepo){
		"nothing":   func(*userRepo) {},
		"a change":  func(r *userRepo) { r.write("a.py", "one\n2\nthree\n") },
		"staged":    func(r *userRepo) { r.write("a.py", "x\n"); r.git("add", "a.py") },
		"then more": func(r *userRepo) { r.write("a.py", "x\n"); r.git("add", "a.py"); r.write("a.py", "y\n") },
		"new files": func(r *userRepo) { r.write("new/c.py", "c\n"); r.write("ü x.txt", "no line break") },
		"gone":      func(r *userRepo) { r.git("rm", "-q", "sub/b.py") },
		"removed by hand": func(r *userRepo) {
			if err := os.Remove(filepath.Join(r.dir, "sub/b.py")); err != nil {
				r.t.Fatal(err)
			}
		},
		"renamed":        func(r *userRepo) { r.git("mv", "a.py", "z.py") },
		"bytes":          func(r *userRepo) { r.write("bin", "\x00\xff\x00"); r.write("more", "\x00") },
		"line ends":      func(r *userRepo) { r.write("a.py", "one\r\ntwo\r\nthree\r\n") },
		"executable":     func(r *userRepo) { _ = os.Chmod(filepath.Join(r.dir, "a.py"), 0o755) },
		"a link":         func(r *userRepo) { _ = os.Symlink("a.py", filepath.Join(r.dir, "link")) },
		"a local commit": func(r *userRepo) { r.write("l.py", "l\n"); r.git("add", "-A"); r.git("commit", "-q", "-m", "l") },
		"on a branch": func(r *userRepo) {
			r.git("checkout", "-q", "-b", "topic")
			r.write("l.py", "l\n")
			r.git("add", "-A")
			r.git("commit", "-q", "-m", "l")
			r.write("a.py", "changed\n")
		},
		"detached": func(r *userRepo) { r.git("checkout", "-q", "--detach"); r.write("a.py", "changed\n") },
		"odd settings": func(r *userRepo) {
			r.git("config", "diff.noprefix", "true")
			r.git("config", "color.ui", "always")
			r.git("config", "diff.external", "false")
			r.write("a.py", "changed\n")
		},
	} {
		t.Run(about, func(t *testing.T) {
			r := newRepo(t)
			change(r)
			before := r.git("status", "--porcelain=v2") + r.git("count-objects", "-v")
			c, err := r.code(filepath.Join(r.dir, "a.py"))
			if about == "renamed" {
				c, err = r.code(filepath.Join(r.dir, "z.py"))
			}
			if err != nil {
				t.Fatal(err)
			}
			if after := r.git("status", "--porcelain=v2") + r.git("count-objects", "-v"); after != before {
				t.Errorf("the checkout was changed:\n%s\n%s", before, after)
			}
			other := filepath.Join(t.TempDir(), "other")
			r.run("/", "clone", "-q", c.script.Repository, other)
			r.run(other, "checkout", "-q", c.script.VersionNum)
			if c.script.Diff != "" {
				cmd := exec.Command("git", "-C", other, "apply", "--whitespace=nowarn")
				cmd.Stdin = strings.NewReader(c.script.Diff)
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Fatalf("the diff does not apply: %v\n%s\n%s", err, out, c.script.Diff)
				}
			}
			if diff := cmp.Diff(contents(t, r.dir), contents(t, other)); diff != "" {
				t.Errorf("here (-), at the agent (+):\n%s", diff)
			}
		})
	}
}

func TestIgnoredFilesAreNotSent(t *testing.T) {
	r := newRepo(t)
	r.write("key.secret", "hunter2")
	c, err := r.code(filepath.Join(r.dir, "a.py"))
	if err != nil || strings.Contains(c.script.Diff, "hunter2") {
		t.Errorf("%v: %s", err, c.script.Diff)
	}
	if _, err := r.code(filepath.Join(r.dir, "key.secret")); err == nil || !strings.Contains(err.Error(), "git ignores key.secret") {
		t.Errorf("a script that git ignores: %v", err)
	}
}

func TestPasswordsOfRemotesAreNotSent(t *testing.T) {
	r := newRepo(t)
	for _, row := range []struct{ set, want string }{
		{"https://me:hunter2@example.com/a.git", "https://example.com/a.git"},
		{"ssh://git@example.com/a.git", "ssh://git@example.com/a.git"},
		{"git@example.com:a/b.git", "git@example.com:a/b.git"},
		{"../remote.git", r.remotes},
	} {
		r.git("remote", "set-url", "origin", row.set)
		c, err := r.code(filepath.Join(r.dir, "a.py"))
		if err != nil || c.script.Repository != row.want {
			t.Errorf("%s: %s, %v", row.set, c.script.Repository, err)
		}
		if strings.Contains(strings.Join(c.notes, " "), "hunter2") {
			t.Errorf("a note tells the password: %q", c.notes)
		}
	}
}

func TestWhereAScriptIs(t *testing.T) {
	r := newRepo(t)
	outside := t.TempDir()
	c, err := openCheckout(t.Context(), r.dir)
	if err != nil {
		t.Fatal(err)
	}
	at := func(elem ...string) string { return filepath.Join(append([]string{r.dir}, elem...)...) }
	for _, row := range []struct{ dir, script, work, entry string }{
		{at(), "a.py", ".", "a.py"},
		{at("sub"), "b.py", "sub", "b.py"},
		{at("sub"), "../a.py", "sub", "../a.py"},
		{outside, at("sub", "b.py"), ".", "sub/b.py"},
		{at("sub"), "", "sub", ""},
	} {
		work, entry, err := c.place(t.Context(), row.dir, row.script)
		if err != nil || work != row.work || entry != row.entry {
			t.Errorf("%s in %s: %q, %q, %v", row.script, row.dir, work, entry, err)
		}
	}
}

func TestCheckoutsThatCanNotBeSent(t *testing.T) {
	r := newRepo(t)
	r.write("large.bin", string(bytes.Repeat([]byte("0123456789abcdef\n"), maxDiff/16)))
	if _, err := r.code(filepath.Join(r.dir, "a.py")); err == nil || !strings.Contains(err.Error(), "can be sent") {
		t.Errorf("too large: %v", err)
	}
	if err := os.Remove(filepath.Join(r.dir, "large.bin")); err != nil {
		t.Fatal(err)
	}
	r.git("remote", "add", "other", r.remotes)
	r.git("config", "branch.main.remote", "other")
	if _, err := r.code(filepath.Join(r.dir, "a.py")); err == nil || !strings.Contains(err.Error(), "git push") {
		t.Errorf("nothing was ever pushed there: %v", err)
	}
	r.git("remote", "remove", "other")
	r.git("remote", "remove", "origin")
	c, err := r.code(filepath.Join(r.dir, "a.py"))
	if err != nil || c.script.Repository != r.dir || !strings.Contains(strings.Join(c.notes, " "), "no remote") {
		t.Errorf("without a remote: %s, %q, %v", c.script.Repository, c.notes, err)
	}
	empty := t.TempDir()
	r.run(empty, "init", "-q")
	if _, err := openCheckout(t.Context(), empty); err == nil || !strings.Contains(err.Error(), "no commit yet") {
		t.Errorf("without a commit: %v", err)
	}
	if c, err := openCheckout(t.Context(), t.TempDir()); c != nil || err != nil {
		t.Errorf("no checkout: %v, %v", c, err)
	}
}

func TestRepositoriesInsideAreNamed(t *testing.T) {
	r := newRepo(t)
	inner := filepath.Join(r.dir, "inner")
	r.run(r.dir, "init", "-q", inner)
	if err := os.WriteFile(filepath.Join(inner, "x"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	c, err := r.code(filepath.Join(r.dir, "a.py"))
	if err != nil || !strings.Contains(strings.Join(c.notes, "\n"), "inner/ is a git repository of its own") || strings.Contains(c.script.Diff, "inner") {
		t.Errorf("%v, %q, %s", err, c.notes, c.script.Diff)
	}
}
