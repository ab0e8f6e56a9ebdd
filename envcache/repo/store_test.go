package repo

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"agentctl/envcache"
)

// Offline what an earlier fetch brought is there, by whatever name, and nothing else.
func TestOffline(t *testing.T) {
	u := newUpstream(t, map[string]string{"a.py": "one\n"})
	one := u.git("rev-parse", "HEAD")
	u.git("checkout", "-q", "-b", "feature/x")
	u.write(map[string]string{"a.py": "feature\n"})
	feature := u.commit("feature")
	spy := newSpy()
	s := newStore(t, Options{Exec: spy})
	src := u.source()
	src.Offline = true
	if _, err := s.Acquire(t.Context(), src, nil); err == nil {
		t.Error("a repository that was never fetched is there")
	}
	src.Offline, src.Commit = false, one
	acquire(t, s, src)
	u.write(map[string]string{"a.py": "later\n"})
	later := u.commit("later")
	fetched := spy.times("fetch")
	src.Offline, src.Commit, src.Branch = true, "", "feature/x"
	if c := acquire(t, s, src); c.Commit != feature {
		t.Errorf("the branch is at %s, want %s as it was fetched", c.Commit, feature)
	}
	src.Commit = later
	if _, err := s.Acquire(t.Context(), src, nil); err == nil || !strings.Contains(err.Error(), "nothing is fetched") {
		t.Errorf("%v", err)
	}
	if spy.times("fetch") != fetched {
		t.Error("something was fetched")
	}
}

func TestByCommitTagBranchAndHead(t *testing.T) {
	u := newUpstream(t, map[string]string{"a.py": "one\n"})
	one := u.git("rev-parse", "HEAD")
	u.git("tag", "v1")
	u.git("tag", "-a", "-m", "annotated", "v1a")
	u.git("checkout", "-q", "-b", "feature/x")
	u.write(map[string]string{"a.py": "feature\n"})
	feature := u.commit("feature")
	u.git("checkout", "-q", "main")
	u.write(map[string]string{"a.py": "two\n"})
	two := u.commit("two")
	s := newStore(t, Options{})
	for _, tc := range []struct {
		name   string
		change func(*Source)
		commit string
	}{
		{"commit", func(src *Source) { src.Commit = one }, one},
		{"short commit", func(src *Source) { src.Commit = one[:8] }, one},
		{"tag", func(src *Source) { src.Tag = "v1" }, one},
		{"annotated tag", func(src *Source) { src.Tag = "v1a" }, one},
		{"branch", func(src *Source) { src.Branch = "feature/x" }, feature},
		{"remote branch", func(src *Source) { src.Branch = "origin/feature/x" }, feature},
		{"full branch", func(src *Source) { src.Branch = "refs/heads/feature/x" }, feature},
		{"nothing", func(*Source) {}, two},
		{"commit before tag and branch", func(src *Source) { src.Commit, src.Tag, src.Branch = two, "v1", "feature/x" }, two},
		{"tag before branch", func(src *Source) { src.Tag, src.Branch = "v1", "feature/x" }, one},
		{"file URL", func(src *Source) { src.URL, src.Commit = "file://"+u.dir, one }, one},
	} {
		t.Run(tc.name, func(t *testing.T) {
			src := u.source()
			tc.change(&src)
			c := acquire(t, s, src)
			if c.Commit != tc.commit || c.URL != u.dir {
				t.Fatalf("%+v", c)
			}
			if head := in(t, c.Path, "rev-parse", "HEAD"); head != tc.commit {
				t.Fatalf("HEAD is %s", head)
			}
			if status := in(t, c.Path, "status", "--porcelain"); status != "" {
				t.Fatalf("status: %s", status)
			}
		})
	}
	c := acquire(t, s, Source{URL: u.dir, Commit: two, UID: envcache.SameUser})
	if got := in(t, c.Path, "remote", "get-url", "origin"); got != u.dir {
		t.Errorf("the remote is %q", got)
	}
	if got := in(t, c.Path, "log", "--format=%s"); got != "two\none" {
		t.Errorf("the history is %q", got)
	}
	if got := in(t, c.Path, "describe", "--tags", "--match", "v1"); !strings.HasPrefix(got, "v1-1-g") {
		t.Errorf("described as %q", got)
	}
	if _, err := os.Stat(filepath.Join(c.Path, ".git", "objects", "info", "alternates")); err == nil {
		t.Error("the checkout needs another folder's objects")
	}
}

// With a full commit id, a hit starts no program and needs no remote.
func TestHitNeedsNothing(t *testing.T) {
	u := newUpstream(t, map[string]string{"a.py": "one\n"})
	watch := newSpy()
	s := newStore(t, Options{Exec: watch})
	src := u.source()
	src.Commit = u.git("rev-parse", "HEAD")
	first := acquire(t, s, src)
	n := len(watch.ran())
	if err := os.Rename(u.dir, u.dir+".gone"); err != nil {
		t.Fatal(err)
	}
	second := acquire(t, s, src)
	if first.Hit || !second.Hit || second.Path != first.Path || len(watch.ran()) != n {
		t.Fatalf("%+v, then %+v after %d programs", first, second, len(watch.ran())-n)
	}
	t.Logf("made in %s, hit in %s", first.Took, second.Took)
}

// A branch that moves, also backwards, is followed; what is known is not
// fetched again.
func TestMovingBranches(t *testing.T) {
	u := newUpstream(t, map[string]string{"a.py": "one\n"})
	one := u.git("rev-parse", "HEAD")
	watch := newSpy()
	s := newStore(t, Options{Exec: watch})
	src := u.source()
	src.Branch = "main"
	if c := acquire(t, s, src); c.Commit != one {
		t.Fatalf("%+v", c)
	}
	two := u.commit("two")
	if c := acquire(t, s, src); c.Commit != two {
		t.Fatalf("%+v", c)
	}
	u.git("reset", "-q", "--hard", one)
	three := u.commit("three, instead of two")
	u.git("branch", "dir/sub")
	if c := acquire(t, s, src); c.Commit != three {
		t.Fatalf("%+v", c)
	}
	u.git("branch", "-D", "dir/sub")
	u.git("branch", "dir")
	src.Branch = "dir"
	acquire(t, s, src)
	fetches := watch.times("fetch")
	src.Branch, src.Commit = "", two // no branch has it any more
	if c := acquire(t, s, src); c.Commit != two || watch.times("fetch") != fetches {
		t.Fatalf("%+v, %d fetches", c, watch.times("fetch")-fetches)
	}
}

// The tip of a pull request is on no branch.
func TestCommitThatNoBranchHas(t *testing.T) {
	u := newUpstream(t, map[string]string{"a.py": "one\n"})
	main := u.git("rev-parse", "HEAD")
	pull := u.commit("pull request")
	u.git("update-ref", "refs/pull/1/head", pull)
	u.git("reset", "-q", "--hard", main)
	u.git("config", "uploadpack.allowAnySHA1InWant", "true")
	s := newStore(t, Options{})
	src := u.source()
	src.Commit = pull
	if c := acquire(t, s, src); in(t, c.Path, "log", "-1", "--format=%s") != "pull request" {
		t.Fatal("not the pull request")
	}
}

func TestWhatIsNotThere(t *testing.T) {
	u := newUpstream(t, map[string]string{"a.py": "one\n"})
	s := newStore(t, Options{})
	blob := u.git("rev-parse", "HEAD:a.py")
	for name, tc := range map[string]struct {
		change func(*Source)
		says   string
	}{
		"commit":         {func(src *Source) { src.Commit = strings.Repeat("01", 20) }, "is not there: push it"},
		"short commit":   {func(src *Source) { src.Commit = "0123abc" }, "is not there: push it"},
		"a blob":         {func(src *Source) { src.Commit = blob }, "is not there"},
		"branch":         {func(src *Source) { src.Branch = "nope" }, "there is no branch nope"},
		"tag":            {func(src *Source) { src.Tag = "nope" }, "there is no tag nope"},
		"repository":     {func(src *Source) { src.URL += "-nope" }, "does not appear to be a git repository"},
		"server":         {func(src *Source) { src.URL = "http://127.0.0.1:1/x" }, "Failed to connect"},
		"commit's shape": {func(src *Source) { src.Commit = "HEAD~1" }, "no commit id"},
		"branch's shape": {func(src *Source) { src.Branch = "--upload-pack=x" }, "no valid name"},
		"diff":           {func(src *Source) { src.Diff = "print(1)" }, "no patch"},
	} {
		t.Run(name, func(t *testing.T) {
			src := u.source()
			tc.change(&src)
			_, err := s.Acquire(t.Context(), src, nil)
			if err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Fatalf("err = %v", err)
			}
		})
	}
	if left := litter(t, s); left != nil {
		t.Fatalf("left over: %v", left)
	}
}

func TestWithoutGit(t *testing.T) {
	s := newStore(t, Options{Getenv: func(name string) string {
		if name == "PATH" {
			return "/nonexistent"
		}
		return os.Getenv(name)
	}})
	_, err := s.Acquire(t.Context(), Source{URL: "https://host/x"}, nil)
	if err == nil || !strings.Contains(err.Error(), "apt-get install git") {
		t.Fatalf("err = %v", err)
	}
}

func knows(user, password string) Access {
	return Access{Login: func(context.Context, string) (Credentials, error) { return Credentials{user, password}, nil }}
}

func TestCredentials(t *testing.T) {
	root := newState(t)
	u := newUpstream(t, map[string]string{"a.py": "one\n"})
	u.serve(root, "private")
	server := newGitServer(t, root, "user", "hunter%22/x")
	path := "/private.git"
	for name, src := range map[string]Source{
		"in the URL": {URL: server.with("user:hunter%2522%2Fx", path)},
		"apart":      {URL: server.URL + path, Access: knows("user", "hunter%22/x")},
		"URL first":  {URL: server.with("user:hunter%2522%2Fx", path), Access: knows("other", "wrong")},
	} {
		t.Run(name, func(t *testing.T) {
			watch := newSpy()
			s := newStore(t, Options{Exec: watch})
			var talk said
			c, err := s.Acquire(t.Context(), src, talk.hear)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if c.URL != server.URL+path || in(t, c.Path, "remote", "get-url", "origin") != server.URL+path {
				t.Errorf("URL %q", c.URL)
			}
			for _, cmd := range watch.ran() {
				if all := strings.Join(append(cmd.Args, cmd.Env...), "\n"); strings.Contains(all, "hunter") {
					t.Errorf("a command holds the password:\n%s", all)
				}
			}
			if strings.Contains(talk.text(), "hunter") {
				t.Errorf("the progress holds the password:\n%s", talk.text())
			}
			if out, err := exec.Command("grep", "-rl", "hunter", s.state).Output(); err == nil {
				t.Errorf("files hold the password: %s", out)
			}
		})
	}
	s := newStore(t, Options{})
	asked := 0
	src := Source{URL: server.URL + path, Commit: u.git("rev-parse", "HEAD"), Access: Access{Login: func(context.Context, string) (Credentials, error) {
		asked++
		return Credentials{"user", "hunter%22/x"}, nil
	}}}
	for range 2 {
		if c := acquire(t, s, src); asked != 1 {
			t.Errorf("hit %t: the login was asked for %d times", c.Hit, asked)
		}
	}
	for name, url := range map[string]string{"none": server.URL + path, "wrong": server.with("user:wrong-password", path)} {
		var talk said
		_, err := s.Acquire(t.Context(), Source{URL: url}, talk.hear)
		if err == nil || strings.Contains(err.Error()+talk.text(), "wrong-password") || !strings.Contains(err.Error(), "Authentication failed") && !strings.Contains(err.Error(), "could not read Username") {
			t.Errorf("%s: %v\n%s", name, err, talk.text())
		}
	}
}

func TestATokenAloneIsEnough(t *testing.T) {
	root := newState(t)
	newUpstream(t, map[string]string{"a.py": "one\n"}).serve(root, "private")
	server := newGitServer(t, root, "x-oauth-basic", "tokentoken")
	s := newStore(t, Options{})
	acquire(t, s, Source{URL: server.with("tokentoken", "/private.git"), UID: envcache.SameUser})
}

// The task owns its checkout, and reads the objects that stay with the mirror.
func TestAnotherUsersCheckout(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root makes checkouts for other users")
	}
	u := newUpstream(t, map[string]string{"dir/a.py": "one\n"})
	s := newStore(t, Options{})
	src := u.source()
	src.UID, src.GID = 65534, 65534
	c := acquire(t, s, src)
	script := "cd " + c.Path + " && git status --porcelain && git log --format=%s && echo changed >> dir/a.py && git diff --stat && git gc -q && git fsck"
	cmd := envcache.Cmd{Args: []string{"sh", "-ec", script}, Env: []string{"PATH=/usr/bin:/bin", "HOME=/nonexistent"}, Dir: "/", UID: 65534, GID: 65534}
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	exit, err := envcache.HostExec{}.Run(t.Context(), cmd)
	if err != nil || exit.Code != 0 || !strings.HasPrefix(out.String(), "one\n") || !strings.Contains(out.String(), "1 file changed") {
		t.Fatalf("%+v, %v\n%s", exit, err, out.String())
	}
	own := u.source()
	own.Commit = c.Commit
	if c := acquire(t, s, own); c.Hit {
		t.Fatal("root got nobody's checkout")
	}
	// What nobody may not read, an agent that is root does not read for nobody.
	if err := os.Chmod(filepath.Dir(u.dir), 0o700); err != nil {
		t.Fatal(err)
	}
	u.commit("secret")
	if _, err := s.Acquire(t.Context(), src, nil); err == nil || !strings.Contains(err.Error(), "user with id 65534") {
		t.Fatalf("err = %v", err)
	}
}

func TestTheStoreItselfIsNoRepository(t *testing.T) {
	u := newUpstream(t, map[string]string{"a.py": "one\n"})
	s := newStore(t, Options{})
	c := acquire(t, s, u.source())
	mirrors, _ := filepath.Glob(filepath.Join(s.mirrors.Dir(), "*", "repo.git"))
	if len(mirrors) != 1 {
		t.Fatal(mirrors)
	}
	for _, url := range []string{c.Path, mirrors[0], "file://" + mirrors[0]} {
		if _, err := s.Acquire(t.Context(), Source{URL: url}, nil); err == nil || !strings.Contains(err.Error(), "agent's own folder") {
			t.Errorf("%s: %v", url, err)
		}
	}
}

func TestCopyIsIndependent(t *testing.T) {
	u := newUpstream(t, map[string]string{"a.py": "one\n", "run.sh": "#!/bin/sh\n"})
	u.git("update-index", "--chmod=+x", "run.sh")
	if err := errors.Join(os.Chmod(filepath.Join(u.dir, "run.sh"), 0o755), os.Symlink("a.py", filepath.Join(u.dir, "link"))); err != nil {
		t.Fatal(err)
	}
	u.commit("modes")
	s := newStore(t, Options{})
	c := acquire(t, s, u.source())
	dst := filepath.Join(newState(t), "copy")
	if err := s.Copy(t.Context(), c, dst); err != nil {
		t.Fatal(err)
	}
	if got := in(t, dst, "status", "--porcelain"); got != "" {
		t.Fatalf("status of the copy: %s", got)
	}
	if err := os.WriteFile(filepath.Join(dst, "a.py"), []byte("changed\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	in(t, dst, "gc", "-q", "--prune=now")
	if got := in(t, dst, "status", "--porcelain"); got != " M a.py" {
		t.Fatalf("status of the copy: %q", got)
	}
	if read(t, c, "a.py") != "one\n" || in(t, c.Path, "fsck") != "" {
		t.Fatal("the copy reached the original")
	}
	if err := s.Copy(t.Context(), c, dst); !errors.Is(err, os.ErrExist) {
		t.Fatalf("err = %v", err)
	}
	if _, err := os.Stat(filepath.Join(dst, "a.py")); err != nil {
		t.Fatal("a failed copy removed what was there")
	}
}

func TestCollectCheckoutsAndMirrors(t *testing.T) {
	s := newStore(t, Options{})
	var held *Checkout
	for i := range 3 {
		u := newUpstream(t, map[string]string{"a.py": strings.Repeat("x", i+1)})
		c, err := s.Acquire(t.Context(), u.source(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			held = c
		} else {
			_ = c.Close()
		}
	}
	done, err := s.Collect(t.Context(), envcache.Limits{MaxEntries: 1})
	if err != nil || len(done.Removed) != 4 || done.Kept != 2 {
		t.Fatalf("%+v, %v", done, err)
	}
	if in(t, held.Path, "fsck") != "" || read(t, held, "a.py") != "x" {
		t.Fatal("a leased checkout was harmed")
	}
	_ = held.Close()
	s.now = func() time.Time { return time.Now().Add(time.Hour) }
	if done, err = s.Collect(t.Context(), envcache.Limits{MaxAge: time.Minute}); err != nil || done.Kept != 0 {
		t.Fatalf("%+v, %v", done, err)
	}
	if left := litter(t, s); left != nil {
		t.Fatalf("left over: %v", left)
	}
}

// litter lists what is in the store besides whole entries.
func litter(t *testing.T, s *Store) []string {
	t.Helper()
	var bad []string
	for _, dir := range []string{s.mirrors.Dir(), s.checkouts.Dir()} {
		files, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			k, suffix, _ := strings.Cut(f.Name(), ".")
			_, err := os.Stat(filepath.Join(dir, k+".json"))
			if whole := k != "" && err == nil && suffix != "partial" && suffix != "dirty"; !whole && f.Name() != ".collect" {
				bad = append(bad, f.Name())
			}
		}
	}
	return bad
}

// Commits as old programs wrote them are no reason to refuse a repository.
func TestOldRepositories(t *testing.T) {
	u := newUpstream(t, map[string]string{"a.py": "one\n"})
	tree := u.git("rev-parse", "HEAD^{tree}")
	file := filepath.Join(newState(t), "commit")
	text := "tree " + tree + "\nauthor n<e@x> 1313584730 +051800\ncommitter n <e@x> 1313584730 +051800\n\nold\n"
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	u.git("reset", "-q", "--soft", u.git("hash-object", "-t", "commit", "-w", "--literally", file))
	c := acquire(t, newStore(t, Options{}), u.source())
	if got := in(t, c.Path, "log", "-1", "--format=%s"); got != "old" {
		t.Fatalf("got %q", got)
	}
}

// The disk fills up while a repository is fetched or checked out: nothing of it
// stays, and with more room the same works.
func TestDiskFull(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can mount a small disk")
	}
	u := newUpstream(t, map[string]string{"a.py": "one\n"})
	big := make([]byte, 5<<20)
	if _, err := rand.Read(big); err != nil {
		t.Fatal(err)
	}
	for name, size := range map[string]string{"fetch": "3m", "checkout": "8m"} {
		t.Run(name, func(t *testing.T) {
			state := newState(t)
			if err := syscall.Mount("tmpfs", state, "tmpfs", 0, "size="+size+",mode=755"); err != nil {
				t.Skipf("a small disk can't be mounted here: %v", err)
			}
			t.Cleanup(func() { _ = syscall.Unmount(state, syscall.MNT_DETACH) })
			s, err := Open(state, Options{})
			if err != nil {
				t.Fatal(err)
			}
			u.write(map[string]string{"big": string(big)})
			src := u.source()
			src.Commit = u.commit("big")
			if _, err = s.Acquire(t.Context(), src, nil); err == nil || !strings.Contains(err.Error(), "the disk is full") {
				t.Fatalf("err = %v", err)
			}
			if left := litter(t, s); left != nil {
				t.Fatalf("left over: %v", left)
			}
			if err := syscall.Mount("tmpfs", state, "tmpfs", syscall.MS_REMOUNT, "size=100m"); err != nil {
				t.Fatal(err)
			}
			if c := acquire(t, s, src); read(t, c, "big") != string(big) || in(t, c.Path, "fsck") != "" {
				t.Fatal("not the files")
			}
		})
	}
}

// BenchmarkHit is the whole way of a task that finds its checkout.
func BenchmarkHit(b *testing.B) {
	state, err := os.MkdirTemp("", "ac")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = os.RemoveAll(state) })
	up := filepath.Join(state, "up")
	script := "git init -q -b main " + up + " && cd " + up + " && for i in $(seq 500); do echo $i > $i; done && git add . && git -c user.name=n -c user.email=e@x commit -q -m one && git rev-parse HEAD"
	out, err := exec.Command("sh", "-ec", script).Output()
	if err != nil {
		b.Fatal(err)
	}
	s, err := Open(filepath.Join(state, "s"), Options{})
	if err != nil {
		b.Fatal(err)
	}
	src := Source{URL: up, Commit: strings.TrimSpace(string(out)), UID: envcache.SameUser, GID: envcache.SameUser}
	once := func() {
		c, err := s.Acquire(b.Context(), src, nil)
		if err != nil {
			b.Fatal(err)
		}
		_ = c.Close()
	}
	once()
	for b.Loop() {
		once()
	}
}
