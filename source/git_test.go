package source

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// gitNode is a node that follows a repository; it looks when it is told to.
type gitNode struct {
	*node
	repo *gitRepo
	g    Git
}

func newGitNode(t *testing.T) (*gitNode, *httpGit) {
	t.Helper()
	dir := t.TempDir()
	repo := newGitRepo(t, filepath.Join(dir, "fleet.git"))
	s := serveHTTP(t, repo)
	creds := filepath.Join(dir, "credentials")
	s.login(t, creds, "token-1")
	n := &gitNode{node: newNode(t), repo: repo, g: Git{URL: s.URL + "/fleet.git", Ref: "main", Path: "node.yaml", Interval: time.Hour, Credentials: creds}}
	return n, s
}

// now has the node look, and says the reason of its error, or the word of the text.
func (n *gitNode) now(rewind bool) (string, error) {
	n.t.Helper()
	u, err := n.m.Reload(n.t.Context(), rewind)
	must(n.t, err)
	n.take(u)
	return said(u), u.Err
}

func said(u Update) string {
	var known *ReadError
	if errors.As(u.Err, &known) {
		return known.Reason()
	}
	return word(u.Text)
}

func (n *gitNode) expect(want, good string) error {
	n.t.Helper()
	got, err := n.now(false)
	_, text, _ := n.m.LastGood()
	if got != want || word(text) != good {
		n.t.Fatalf("%s, good %s; want %s, good %s (%v)", got, word(text), want, good, err)
	}
	return err
}

func (n *gitNode) set(takeOver bool) {
	n.t.Helper()
	u, err := n.m.SetGit(n.t.Context(), n.g, "", takeOver)
	must(n.t, err)
	n.take(u)
}

// TestGit: what comes by push is taken; what is bad, rewritten or out of reach
// leaves the last good spec in force, says why, and is over when it is mended.
func TestGit(t *testing.T) {
	n, s := newGitNode(t)
	first := n.repo.commit("one", "node.yaml", string(text("one")))
	n.set(false)
	n.expect("one", "one")

	second := n.repo.commit("two", "node.yaml", string(text("two")))
	n.expect("two", "two")
	r, _, _ := n.m.LastGood()
	if r.Commit == nil || r.Commit.Hash != second || r.Commit.Author != "Ann <ann@example.com>" || r.Commit.Subject != "two" || r.URL != n.g.URL || r.Ref != "main" {
		t.Errorf("revision: %+v, %+v", r, r.Commit)
	}

	n.repo.commit("bad", "node.yaml", "kind: [")
	n.expect("invalid", "two")
	n.repo.git("reset", "-q", "--hard", second)
	n.repo.commit("mended by a rewritten bad commit", "node.yaml", string(text("three")))
	n.expect("three", "three")

	n.repo.git("reset", "-q", "--hard", first)
	n.repo.commit("rewritten", "node.yaml", string(text("four")))
	err := n.expect("NotDescendant", "three")
	for _, part := range []string{"Ann <ann@example.com>", "rewritten", "--accept-rewind"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q lacks %q", err, part)
		}
	}
	n.restart()
	n.expect("NotDescendant", "three")
	if got, err := n.now(true); got != "four" {
		t.Fatalf("told to go along: %s, %v", got, err)
	}
	n.expect("four", "four")

	// A rewind that changes nothing for this node is remembered as well.
	n.repo.git("commit", "-q", "--amend", "-m", "other words")
	n.repo.push()
	n.expect("NotDescendant", "four")
	n.now(true)
	n.restart()
	n.repo.commit("five", "node.yaml", string(text("five")))
	n.expect("five", "five")

	s.token.Store("token-2")
	n.repo.commit("six", "node.yaml", string(text("six")))
	if err := n.expect("GitAuth", "five"); strings.Contains(err.Error(), "token-1") {
		t.Errorf("a secret in %q", err)
	}
	s.login(t, n.g.Credentials, "token-2")
	n.expect("six", "six")

	s.Server.CloseClientConnections()
	s.Server.Close()
	n.expect("GitUnreachable", "six")
	one, two := n.expect("GitUnreachable", "six"), n.expect("GitUnreachable", "six")
	if one.Error() != two.Error() {
		t.Errorf("each try says something else: %q, %q", one, two)
	}
	n.repo.commit("seven", "node.yaml", string(text("seven")))
	s.back(t)
	n.expect("seven", "seven")

	must(t, os.Rename(n.repo.bare, n.repo.bare+".away"))
	n.expect("RepositoryNotFound", "seven")
	must(t, os.Rename(n.repo.bare+".away", n.repo.bare))
	n.expect("seven", "seven")

	for path := range tree(t, n.dir) {
		if data, err := os.ReadFile(path); err == nil && strings.Contains(string(data), "token-") {
			t.Errorf("%s holds a secret", path)
		}
	}
}

// TestGitFollows: without being told, at the interval.
func TestGitFollows(t *testing.T) {
	n, _ := newGitNode(t)
	n.g.Interval = minInterval
	n.repo.commit("one", "node.yaml", string(text("one")))
	n.set(false)
	n.repo.commit("two", "node.yaml", string(text("two")))
	n.want(n.m.Current().String(), "two", "two")
	n.repo.commit("bad", "node.yaml", "kind: [")
	n.want(n.m.Current().String(), "invalid", "two")
	n.restart()
	n.repo.commit("three", "node.yaml", string(text("three")))
	n.want(n.m.Current().String(), "three", "three")
}

// TestGitShallow: the newest commit alone is fetched, then what came after it; and
// where the copy is lost, as much of the history as shows what was applied.
func TestGitShallow(t *testing.T) {
	n, s := newGitNode(t)
	for i := range 5 {
		n.repo.commit(fmt.Sprint(i), "node.yaml", string(text(fmt.Sprint(i))), "old.txt", strings.Repeat(fmt.Sprint(i), 1000))
	}
	n.set(false)
	n.expect("4", "4")
	count := func() string {
		return n.repo.git("--git-dir", n.m.gitDir(&n.g), "rev-list", "--count", "newest")
	}
	if got := count(); got != "1" {
		t.Errorf("%s commits of the first look, want 1", got)
	}
	asked := s.asked.Load()
	for i := 5; i < 8; i++ {
		n.repo.commit(fmt.Sprint(i), "node.yaml", string(text(fmt.Sprint(i))))
	}
	n.expect("7", "7")
	if got := count(); got != "4" || s.asked.Load() != asked+1 {
		t.Errorf("%s commits, %d more answers, want 4 and 1", got, s.asked.Load()-asked)
	}
	n.repo.git("--git-dir", n.m.gitDir(&n.g), "fsck", "--strict")
	for i := 8; i < 70; i++ {
		n.repo.git("commit", "-q", "--allow-empty", "-m", fmt.Sprint(i))
	}
	n.repo.commit("70", "node.yaml", string(text("70")))
	must(t, os.RemoveAll(n.m.gitDir(&n.g)))
	n.expect("70", "70")
	n.repo.git("--git-dir", n.m.gitDir(&n.g), "fsck", "--strict")

	n.repo.git("checkout", "-q", "--orphan", "other")
	n.repo.commit("without a past", "node.yaml", string(text("71")))
	n.repo.git("push", "-q", "--force", "origin", "HEAD:main")
	must(t, os.RemoveAll(n.m.gitDir(&n.g)))
	n.expect("NotDescendant", "70")
}

// TestGitDamaged: a copy that can't be read, or has grown, is fetched again.
func TestGitDamaged(t *testing.T) {
	n, _ := newGitNode(t)
	n.repo.commit("one", "node.yaml", string(text("one")))
	n.set(false)
	packs, err := filepath.Glob(filepath.Join(n.m.gitDir(&n.g), "objects", "pack", "*.pack"))
	must(t, err)
	for _, p := range packs {
		must(t, os.Chmod(p, 0o600))
		must(t, os.Truncate(p, 20))
	}
	n.expect("one", "one")
	n.repo.commit("two", "node.yaml", string(text("two")))
	n.expect("two", "two")
	folder := filepath.Join(n.m.gitDir(&n.g), "objects", "pack")
	for i := range maxPacks { // what as many pushes leave
		put(t, filepath.Join(folder, fmt.Sprintf("pack-%d.pack", i)), "")
	}
	n.repo.commit("three", "node.yaml", string(text("three")))
	n.expect("three", "three")
	if packs, _ := filepath.Glob(filepath.Join(folder, "*.pack")); len(packs) > 2 {
		t.Errorf("the copy has grown to %d packs", len(packs))
	}
}

// TestGitRefs: branches, tags with and without a message, full names.
func TestGitRefs(t *testing.T) {
	n, _ := newGitNode(t)
	n.repo.commit("one", "node.yaml", string(text("one")))
	n.repo.git("tag", "plain")
	n.repo.git("tag", "-a", "-m", "x", "v1")
	n.repo.git("tag", "-a", "-m", "x", "v2", "v1")
	n.repo.commit("two", "node.yaml", string(text("two")))
	n.repo.git("tag", "both")
	n.repo.git("branch", "both")
	n.repo.git("push", "-q", "--all", "origin")
	n.repo.git("push", "-q", "--tags", "origin")
	for ref, want := range map[string]string{
		"": "two", "HEAD": "two", "main": "two", "refs/heads/main": "two", "plain": "one", "v1": "one", "refs/tags/v2": "one",
		"both": "RefNotFound", "refs/tags/both": "two", "nowhere": "RefNotFound",
	} {
		g := n.g
		g.Ref = ref
		text, _, err := n.m.FetchGit(t.Context(), g)
		if got := said(Update{Text: text, Err: err}); got != want {
			t.Errorf("%q: %s, want %s (%v)", ref, got, want, err)
		}
	}
}

// TestGitMovedTag: a tag that goes on is followed, one that goes back is not.
func TestGitMovedTag(t *testing.T) {
	n, _ := newGitNode(t)
	n.g.Ref = "live"
	move := func(to, word string) {
		n.repo.git("tag", "-f", "-a", "-m", word, "live", to)
		n.repo.git("push", "-q", "--force", "origin", "live")
	}
	first := n.repo.commit("one", "node.yaml", string(text("one")))
	move("HEAD", "first")
	n.set(false)
	n.expect("one", "one")
	n.repo.commit("two", "node.yaml", string(text("two")))
	n.expect("one", "one")
	move("HEAD", "on")
	n.expect("two", "two")
	move(first, "back")
	n.expect("NotDescendant", "two")
}

// TestGitPaths: what of a commit is read, and what never is.
func TestGitPaths(t *testing.T) {
	n, _ := newGitNode(t)
	put(t, filepath.Join(n.repo.work, "nodes", "b.yaml"), "b: 1\n")
	put(t, filepath.Join(n.repo.work, "nodes", "a.yml"), "a: 1")
	put(t, filepath.Join(n.repo.work, "nodes", ".hidden.yaml"), "h: 1")
	put(t, filepath.Join(n.repo.work, "nodes", "deep", "c.yaml"), "c: 1")
	put(t, filepath.Join(n.repo.work, "huge.yaml"), strings.Repeat("# x\n", 300_000))
	put(t, filepath.Join(n.repo.work, "many", "1.yaml"), strings.Repeat("# x\n", 200_000))
	put(t, filepath.Join(n.repo.work, "many", "2.yaml"), strings.Repeat("# y\n", 200_000))
	put(t, filepath.Join(n.repo.work, "empty", "README"), "x")
	put(t, filepath.Join(n.repo.work, "links", "x.yaml"), "x: 1")
	must(t, os.Symlink("/etc/passwd", filepath.Join(n.repo.work, "passwd")))
	must(t, os.Symlink("nodes", filepath.Join(n.repo.work, "there")))
	must(t, os.MkdirAll(filepath.Join(n.repo.work, "names"), 0o755), os.Symlink("x", filepath.Join(n.repo.work, "names", "a\x1b[31m\n.yaml")))
	must(t, os.Symlink("/etc/passwd", filepath.Join(n.repo.work, "links", "y.yaml")))
	n.repo.git("add", "-A")
	n.repo.git("update-index", "--add", "--cacheinfo", "160000,"+strings.Repeat("1", 40)+",sub")
	n.repo.git("commit", "-q", "-m", "x")
	n.repo.push()
	for path, want := range map[string]string{
		"nodes": "--- # file \"nodes/a.yml\"\na: 1\n--- # file \"nodes/b.yaml\"\nb: 1\n", "nodes/b.yaml": "b: 1\n", "nodes/deep": "--- # file \"nodes/deep/c.yaml\"\nc: 1\n",
		"huge.yaml": "TooLarge", "many": "TooLarge", "empty": "PathNotFound", "empty/x.yaml": "PathNotFound", "nodes/b.yaml/c": "NotAFile",
		"passwd": "NotAFile", "there/b.yaml": "NotAFile", "links": "NotAFile", "sub": "NotAFile", "sub/x": "NotAFile", "names": "NotAFile",
	} {
		g := n.g
		g.Path = path
		text, _, err := n.m.FetchGit(t.Context(), g)
		got := string(text)
		if err != nil {
			got = said(Update{Err: err})
			if !readable(err.Error()) {
				t.Errorf("a message that breaks a line: %q", err)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %v\n%.300s", path, err, diff)
		}
	}
}

// TestGitTakeOver: a repository gives way only when that is said, over restarts.
func TestGitTakeOver(t *testing.T) {
	n, _ := newGitNode(t)
	file := filepath.Join(t.TempDir(), "node.yaml")
	put(t, file, string(text("file")))
	n.apply(file)
	hash := n.repo.commit("one", "node.yaml", string(text("one")))
	if _, err := n.m.SetGit(t.Context(), n.g, strings.Repeat("0", 40), false); !errors.As(err, new(*ChangedError)) {
		t.Errorf("another commit than was shown: %v", err)
	}
	if n.m.Current().Kind != KindFile {
		t.Fatal("a refused source was recorded")
	}
	if u, err := n.m.SetGit(t.Context(), n.g, hash, false); err != nil {
		t.Fatal(err)
	} else {
		n.take(u)
	}
	n.restart()
	for name, try := range map[string]func(bool) (Update, error){
		"file": func(over bool) (Update, error) { return n.m.SetFile(file, nil, over) },
		"pin":  func(over bool) (Update, error) { return n.m.Pin("-", text("pinned"), over) },
		"ref": func(over bool) (Update, error) {
			g := n.g
			g.Ref = ""
			return n.m.SetGit(t.Context(), g, "", over)
		},
	} {
		if _, err := try(false); !errors.As(err, new(*TakeOverError)) {
			t.Errorf("%s took over without a word: %v", name, err)
		}
	}
	n.g.Interval = 2 * time.Hour // the same place
	n.set(false)
	if got := n.m.Current().Git.Interval; got != n.g.Interval {
		t.Errorf("the interval is still %s", got)
	}
	u, err := n.m.SetFile(file, nil, true)
	must(t, err)
	n.take(u)
	n.want("the file "+file, "file", "file")
}

// TestGitFlags: flags name a repository only where no source is recorded, and change
// how the one that they named is read.
func TestGitFlags(t *testing.T) {
	n, _ := newGitNode(t)
	n.repo.commit("one", "node.yaml", string(text("one")))
	if taken, err := n.m.UseFlagsGit(n.g); err != nil || !taken {
		t.Fatal(taken, err)
	}
	n.want(n.m.Current().String(), "one", "one")
	n.g.Interval = 3 * time.Hour
	if taken, err := n.m.UseFlagsGit(n.g); err != nil || !taken || n.m.Current().Git.Interval != n.g.Interval {
		t.Error("the interval of the flags is not taken", err)
	}
	other := n.g
	other.Ref = ""
	if taken, err := n.m.UseFlagsGit(other); err != nil || taken || n.m.Current().Git.Ref != "main" {
		t.Error("flags took over", err)
	}
	n.restart()
	n.want(n.m.Current().String(), "one", "one")
}

// TestGitSilent: a server that never answers holds nothing up for longer than ctx.
func TestGitSilent(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer func() { _ = l.Close() }()
	key := filepath.Join(t.TempDir(), "key")
	host := newSigner(t, key)
	known := filepath.Join(t.TempDir(), "known_hosts")
	put(t, known, knownLine(l.Addr().String(), host.PublicKey()))
	for _, url := range []string{"http://" + l.Addr().String() + "/x.git", "ssh://git@" + l.Addr().String() + "/x.git"} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		_, _, err := newNode(t).m.FetchGit(ctx, Git{URL: url, SSHKey: key, KnownHosts: known})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", url, err)
		}
		cancel()
	}
}

func TestGitChecked(t *testing.T) {
	good := Git{URL: "https://host.example/x.git"}
	for name, c := range map[string]struct {
		change func(*Git)
		want   string // part of the error, "" if there is none
	}{
		"plain":            {func(*Git) {}, ""},
		"scp":              {func(g *Git) { g.URL, g.SSHKey = "git@host.example:fleet/x.git", "/k" }, ""},
		"a folder":         {func(g *Git) { g.URL = "/srv/x.git" }, ""},
		"password":         {func(g *Git) { g.URL = "https://u:sekret@host.example/x" }, "user or a password"},
		"token":            {func(g *Git) { g.URL = "https://sekret@host.example/x" }, "user or a password"},
		"ssh password":     {func(g *Git) { g.URL, g.SSHKey = "ssh://u:sekret@host.example/x", "/k" }, "user or a password"},
		"ssh without key":  {func(g *Git) { g.URL = "ssh://host.example/x" }, "private key"},
		"ssh option":       {func(g *Git) { g.URL, g.SSHKey = "ssh://-oProxyCommand=x/y", "/k" }, "URL"},
		"quote":            {func(g *Git) { g.URL, g.SSHKey = "ssh://host.example/x'y", "/k" }, "URL"},
		"git protocol":     {func(g *Git) { g.URL = "git://host.example/x" }, "protocol"},
		"ext":              {func(g *Git) { g.URL = "ext::sh -c x" }, "URL"},
		"relative":         {func(g *Git) { g.URL = "../x" }, "not absolute"},
		"query":            {func(g *Git) { g.URL = "https://host.example/x?token=sekret" }, "?"},
		"plain login":      {func(g *Git) { g.URL, g.Credentials = "http://host.example/x", "/c" }, "https servers only"},
		"climbing":         {func(g *Git) { g.Path = "../x" }, "not one within"},
		"absolute":         {func(g *Git) { g.Path = "/etc/passwd" }, "not one within"},
		"its own folder":   {func(g *Git) { g.Path = "a/.GIT/config" }, "not one within"},
		"a commit":         {func(g *Git) { g.Ref = strings.Repeat("a", 40) }, "never changes"},
		"no ref":           {func(g *Git) { g.Ref = "a..b" }, "not the name"},
		"option":           {func(g *Git) { g.Ref = "refs/heads/../../config" }, "not the name"},
		"too often":        {func(g *Git) { g.Interval = time.Millisecond }, "out of range"},
		"relative keyring": {func(g *Git) { g.Keyring = "keys" }, "not absolute"},
	} {
		g := good
		c.change(&g)
		got, err := g.Checked()
		switch {
		case err != nil && strings.Contains(err.Error(), "sekret"):
			t.Errorf("%s: a secret in %q", name, err)
		case (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want):
			t.Errorf("%s: %v, want %q", name, err, c.want)
		case err == nil && (got.Path != "." || got.Interval != DefaultInterval):
			t.Errorf("%s: no defaults: %+v", name, got)
		}
	}
}
