package repo

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"agentctl/envcache"
)

func TestSubmodulesOfSubmodules(t *testing.T) {
	inner := newUpstream(t, map[string]string{"deep.py": "deep\n"})
	lib := newUpstream(t, map[string]string{"lib.py": "lib\n"})
	lib.git("submodule", "add", "-q", inner.dir, "vendor/inner")
	lib.commit("inner")
	u := newUpstream(t, map[string]string{"a.py": "one\n"})
	u.git("submodule", "add", "-q", "--name", "a name.with dots", lib.dir, "libs/the lib")
	one := u.commit("lib")
	lib.write(map[string]string{"lib.py": "newer\n"})
	lib.commit("newer")
	s := newStore(t, Options{})
	src := u.source()
	src.Commit = one
	c := acquire(t, s, src)
	if read(t, c, "libs/the lib/lib.py") != "lib\n" || read(t, c, "libs/the lib/vendor/inner/deep.py") != "deep\n" {
		t.Fatal("not the committed files")
	}
	status := in(t, c.Path, "submodule", "status", "--recursive")
	if lines := strings.Split(status, "\n"); len(lines) != 2 || !strings.HasPrefix(lines[0], " ") || !strings.HasPrefix(lines[1], " ") {
		t.Fatalf("submodule status:\n%s", status)
	}
	if got := in(t, c.Path, "status", "--porcelain"); got != "" {
		t.Fatalf("status: %s", got)
	}
	// An update of the submodule is another commit; its mirror is fetched into.
	u.git("-C", "libs/the lib", "pull", "-q", "origin", "main")
	src.Commit = u.commit("newer lib")
	if c := acquire(t, s, src); read(t, c, "libs/the lib/lib.py") != "newer\n" {
		t.Fatal("not the newer files")
	}
}

// Submodules by relative URL, over HTTP, with the credentials of the repository
// that names them; a submodule on another host gets none.
func TestRelativeSubmodulesAndCredentials(t *testing.T) {
	root, other := newState(t), newState(t)
	newUpstream(t, map[string]string{"lib.py": "lib\n"}).serve(root, "lib")
	newUpstream(t, map[string]string{"ext.py": "ext\n"}).serve(other, "ext")
	server, foreign := newGitServer(t, root, "user", "hunter22"), newGitServer(t, other, "", "")
	u := newUpstream(t, map[string]string{"a.py": "one\n"})
	u.git("submodule", "add", "-q", filepath.Join(root, "lib.git"), "lib")
	u.git("submodule", "add", "-q", foreign.URL+"/ext.git", "ext")
	u.git("config", "-f", ".gitmodules", "submodule.lib.url", "../lib.git")
	u.commit("submodules")
	u.serve(root, "super")
	s := newStore(t, Options{})
	c := acquire(t, s, Source{URL: server.with("user:hunter22", "/super.git"), UID: envcache.SameUser})
	if read(t, c, "lib/lib.py") != "lib\n" || read(t, c, "ext/ext.py") != "ext\n" {
		t.Fatal("not the files")
	}
	if !strings.Contains(server.seen(), "user:hunter22") || foreign.seen() != "" {
		t.Fatalf("credentials went to %q and %q", server.seen(), foreign.seen())
	}
	if out, err := exec.Command("grep", "-rl", "hunter22", s.state).Output(); err == nil {
		t.Fatalf("files hold the password: %s", out)
	}
}

func TestDiffOfSubmodules(t *testing.T) {
	sub := newUpstream(t, map[string]string{"lib.py": "lib\n"})
	u := newUpstream(t, map[string]string{"a.py": "one\n"})
	u.git("submodule", "add", "-q", sub.dir, "sub")
	src := u.source()
	src.Commit = u.commit("sub")
	u.write(map[string]string{"a.py": "two\n", "sub/lib.py": "changed\n"})
	src.Diff = u.git("diff", "--submodule=diff", "HEAD")
	if !strings.Contains(src.Diff, "Submodule sub contains modified content") {
		t.Fatal(src.Diff)
	}
	s := newStore(t, Options{})
	c := acquire(t, s, src)
	if read(t, c, "a.py") != "two\n" || read(t, c, "sub/lib.py") != "changed\n" {
		t.Fatal("not the changed files")
	}
	src.Diff = "Submodule sub 0123abc..4567def:\n  > something\n"
	c = acquire(t, s, src)
	if len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0], "submodules differ") || read(t, c, "sub/lib.py") != "lib\n" {
		t.Fatalf("%+v", c)
	}
}

func TestSubmodulesThatCantBeHad(t *testing.T) {
	sub := newUpstream(t, map[string]string{"lib.py": "lib\n"})
	make := func(edit func(u *upstream)) (*Store, Source) {
		u := newUpstream(t, map[string]string{"a.py": "one\n"})
		u.git("submodule", "add", "-q", sub.dir, "sub")
		edit(u)
		src := u.source()
		src.Commit = u.commit("sub")
		return newStore(t, Options{}), src
	}
	set := func(key, value string) func(*upstream) {
		return func(u *upstream) { u.git("config", "-f", ".gitmodules", "submodule.sub."+key, value) }
	}
	for name, tc := range map[string]struct {
		edit func(*upstream)
		says string
	}{
		"gone":   {set("url", sub.dir+"-gone"), "submodule sub: git fetch failed"},
		"helper": {set("url", "ext::sh -c touch% /tmp/x"), "blanks or control"},
		"option": {set("url", "-u./payload"), "disallowed submodule url"},
		"commit": {func(u *upstream) {
			u.git("update-index", "--cacheinfo", "160000,"+strings.Repeat("01", 20)+",sub")
			u.git("config", "status.submoduleSummary", "false")
		}, "is not there: push it"},
	} {
		t.Run(name, func(t *testing.T) {
			s, src := make(tc.edit)
			if name == "commit" {
				u := &upstream{t, src.URL}
				u.git("reset", "-q", "--soft", "HEAD~1")
				u.git("update-index", "--cacheinfo", "160000,"+strings.Repeat("01", 20)+",sub")
				u.git("commit", "-q", "-m", "a commit that nobody pushed")
				src.Commit = u.git("rev-parse", "HEAD")
			}
			_, err := s.Acquire(t.Context(), src, nil)
			if err == nil || !strings.Contains(err.Error(), tc.says) || !strings.Contains(err.Error(), "submodule") {
				t.Fatalf("err = %v", err)
			}
			if left := litter(t, s); left != nil {
				t.Fatalf("left over: %v", left)
			}
		})
	}
	s, src := make(func(u *upstream) {
		u.git("config", "-f", ".gitmodules", "--remove-section", "submodule.sub")
		u.write(map[string]string{".gitmodules": "# nothing\n"})
	})
	if c := acquire(t, s, src); len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0], "stays empty") {
		t.Fatalf("%+v", c.Warnings)
	}
	s, src = make(set("update", "none"))
	if c := acquire(t, s, src); there(c, "sub/lib.py") {
		t.Fatal("a submodule with update = none was made")
	}
}

// What a repository from elsewhere says must not reach files of this host, run
// programs of it, or write outside its folder.
func TestHostileRepositories(t *testing.T) {
	canary := filepath.Join(newState(t), "canary")
	secret := newUpstream(t, map[string]string{"secret.txt": "secret\n"})
	evil := "#!/bin/sh\ntouch " + canary + "\n"
	for name, tc := range map[string]struct {
		plant func(u *upstream)
		fails bool
	}{
		"submodule by file URL": {func(u *upstream) { gitlink(u, "sub", "sub", "file://"+secret.dir, secret.git("rev-parse", "HEAD")) }, true},
		"submodule by path":     {func(u *upstream) { gitlink(u, "sub", "sub", secret.dir, secret.git("rev-parse", "HEAD")) }, true},
		"submodule by path upwards": {func(u *upstream) {
			gitlink(u, "sub", "sub", "../../../../../../.."+secret.dir, secret.git("rev-parse", "HEAD"))
		}, true},
		"submodule's name upwards": {func(u *upstream) { gitlink(u, "../../x", "sub", "http://127.0.0.1:1/x", strings.Repeat("01", 20)) }, true},
		"submodule by helper": {func(u *upstream) {
			gitlink(u, "sub", "sub", "ext::sh%20-c%20touch%20"+canary, strings.Repeat("01", 20))
		}, true},
		"submodule with a command": {func(u *upstream) {
			gitlink(u, "sub", "sub", "http://127.0.0.1:1/x", strings.Repeat("01", 20))
			u.git("config", "-f", ".gitmodules", "submodule.sub.update", "!touch "+canary)
		}, true},
		"submodule's path with a CR": {func(u *upstream) { gitlink(u, "sub", "sub\r", "http://127.0.0.1:1/x", strings.Repeat("01", 20)) }, true},
		"filter": {func(u *upstream) {
			u.write(map[string]string{".gitattributes": "* filter=evil\n", ".gitconfig": "[filter \"evil\"]\nsmudge = touch " + canary})
		}, false},
		"hooks in the tree": {func(u *upstream) {
			u.write(map[string]string{"hooks/post-checkout": evil, ".githooks/post-checkout": evil})
			_ = os.Chmod(filepath.Join(u.dir, "hooks/post-checkout"), 0o755)
		}, false},
		"link out":     {func(u *upstream) { _ = os.Symlink("/etc/passwd", filepath.Join(u.dir, "link")); u.git("add", "-A") }, false},
		"link to .git": {func(u *upstream) { _ = os.Symlink(".git", filepath.Join(u.dir, "link")); u.git("add", "-A") }, false},
	} {
		t.Run(name, func(t *testing.T) {
			root := newState(t)
			u := newUpstream(t, map[string]string{"a.py": "one\n"})
			tc.plant(u)
			u.git("commit", "-q", "--allow-empty", "-m", "evil")
			u.serve(root, "evil")
			server := newGitServer(t, root, "", "")
			s := newStore(t, Options{})
			c, err := s.Acquire(t.Context(), Source{URL: server.URL + "/evil.git", UID: envcache.SameUser}, nil)
			if err == nil {
				defer c.Close()
			}
			if (err != nil) != tc.fails {
				t.Errorf("err = %v", err)
			}
			if _, serr := os.Stat(canary); serr == nil {
				t.Fatal("the repository ran a program")
			}
			if out, gerr := exec.Command("grep", "-rl", "secret.txt", s.state).Output(); gerr == nil && tc.fails {
				t.Fatalf("the repository reached another one: %s", out)
			}
		})
	}
}

// gitlink plants a submodule entry as nobody's git would write it.
func gitlink(u *upstream, name, path, url, commit string) {
	u.t.Helper()
	u.write(map[string]string{".gitmodules": fmt.Sprintf("[submodule %q]\n\tpath = %s\n\turl = %s\n", name, strings.ReplaceAll(path, "\r", "\"\r\""), url)})
	u.git("add", "-A")
	u.git("update-index", "--add", "--cacheinfo", "160000,"+commit+","+path)
}

func TestFolderForASubmoduleMustBePlain(t *testing.T) {
	top, outside := t.TempDir(), t.TempDir()
	for _, dir := range []string{"plain/sub", "full", "a/.git/x", "a/.GIT"} {
		if err := os.MkdirAll(filepath.Join(top, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	_ = os.WriteFile(filepath.Join(top, "full", "file"), nil, 0o644)
	_ = os.Symlink(outside, filepath.Join(top, "link"))
	_ = os.Mkdir(filepath.Join(outside, "sub"), 0o755)
	if got, err := emptyFolder(top, "plain/sub"); err != nil || got != filepath.Join(top, "plain/sub") {
		t.Fatalf("%q, %v", got, err)
	}
	for _, rel := range []string{"", ".", "..", "../x", "/etc", "link", "link/sub", "full", "full/file", "none", "a/.git/x", "a/.GIT", "plain/../../x", "a\x00"} {
		if got, err := emptyFolder(top, rel); err == nil {
			t.Errorf("%q was taken: %s", rel, got)
		}
	}
}

func FuzzModules(f *testing.F) {
	f.Add("submodule.a.path\nlibs/a\x00submodule.a.url\n../a\x00")
	f.Add("submodule..path\n\x00submodule.x\ny")
	f.Fuzz(func(t *testing.T, settings string) {
		for path, m := range parseModules(settings) {
			if path == "" || m.path != path {
				t.Fatalf("%q: %+v", path, m)
			}
		}
	})
}
