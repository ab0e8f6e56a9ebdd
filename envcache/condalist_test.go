package envcache

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"agentctl/test/condakit"
)

func digestOf(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func uidName() string { return strconv.Itoa(os.Geteuid()) }

func md5Of(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	sum := md5.Sum(data)
	return hex.EncodeToString(sum[:])
}

// kitURL is the URL of a package's file on a server of the kit's folder.
func kitURL(t *testing.T, kit condakit.Channels, server, prefix string) string {
	t.Helper()
	rel, err := filepath.Rel(kit.Dir, kit.File(t, prefix))
	if err != nil {
		t.Fatal(err)
	}
	return server + "/" + filepath.ToSlash(rel)
}

// An environment.yml with everything it may hold, in a folder of a repository.
func TestCondaEnvironmentFile(t *testing.T) {
	t.Parallel()
	kit := condakit.Build(t)
	server := kit.Serve(t, &condakit.Server{})
	x := newIndexServer(t, "", "")
	for _, v := range []string{"1.0", "2.0"} {
		x.add(wheel("limited", v))
	}
	x.add(wheel("listed", "1.0"))
	repo := filepath.Join(newState(t), "repo")
	files := map[string]string{
		"conda/environment.yml": "name: x\nprefix: /somewhere\nchannels:\n  - " + server.Main() + "\n  - nodefaults\ndependencies:\n" +
			"  - python=" + kit.Python + "\n  - six=1.16\n  - pip\n  - pip:\n    - -r more.txt\n    - -c limits.txt\n    - -e ../lib\n    - limited\n" +
			"variables:\n  MY_SETTING: 12\n",
		"conda/more.txt": "listed\n", "conda/limits.txt": "limited<2\n",
	}
	for name, text := range project("inrepo", "6.0", nil) {
		files["lib/"+name] = text
	}
	writeFiles(t, repo, files)
	c := condaCache(t, SameUser, Options{})
	l := acquire(t, c, Request{
		Manager: ManagerConda, Project: Project{Kind: ProjectConda, File: "conda/environment.yml"}, BaseDir: repo, IndexURL: x.url(),
		PythonWanted: "3.7", UID: SameUser, GID: SameUser, // the file names another
	})
	want := []string{"-e ./lib", "limited==1.0", "listed==1.0", "pip==24.0", "six==1.16.0"}
	if !slices.Equal(l.Frozen, want) || !slices.Contains(l.Variables, "MY_SETTING=12") {
		t.Fatalf("frozen %q, variables %q", l.Frozen, l.Variables)
	}
	if got := python(t, l.Python, "-c", "import inrepo, limited, os; print(limited.version, os.path.exists(limited.__cached__))"); got != "1.0 True" {
		t.Fatalf("the environment says %q", got)
	}
}

// What a request is resolved to is found by other words and installed offline.
func TestCondaLock(t *testing.T) {
	t.Parallel()
	kit := condakit.Build(t)
	server := kit.Serve(t, &condakit.Server{})
	x := newIndexServer(t, "", "")
	x.add(wheel("fromindex", "1.0"))
	c := condaCache(t, SameUser, Options{})
	req := condaRequest(kit, server.Main()).conda("six ==1.16.0")
	req.IndexURL = x.url()
	first := acquire(t, c, req.with("fromindex"))
	lock := first.Lock
	if lock == nil || len(lock.Conda) != 2 || !strings.HasSuffix(lock.Conda[1], "#sha256:"+digestOf(t, kit.File(t, "six-1.16.0"))) ||
		len(lock.Packages) != 1 || lock.Python != kit.Python || lock.Manager != ManagerConda {
		t.Fatalf("lock %+v", lock)
	}
	second := acquire(t, c, req.conda("six<1.17", "python").with("fromindex==1.*"))
	if !second.Hit || second.Key != first.Key || !strings.Contains(second.Why, "resolved to the same packages") {
		t.Fatalf("other words: %+v", second)
	}
	third := acquire(t, c, req.conda("six ==1.17.0").with("fromindex"))
	if third.Hit || third.Key == first.Key || !slices.Contains(third.Frozen, "six==1.17.0") {
		t.Fatalf("another version: %+v", third)
	}
	// The channel and the index are gone, and so is the environment.
	_, _ = first.Close(), second.Close()
	if err := c.Discard(t.Context(), first.Key); err != nil {
		t.Fatal(err)
	}
	server.Close()
	again := req
	again.Lock = lock
	fourth := acquire(t, c, again)
	if fourth.Hit || !slices.Equal(fourth.Frozen, first.Frozen) {
		t.Fatalf("from the lock: %+v", fourth)
	}
	if got := acquire(t, c, again); !got.Hit {
		t.Fatalf("the lock again: %+v", got)
	}
}

// Explicit lists, as conda writes them, are installed as they are.
func TestCondaExplicitList(t *testing.T) {
	t.Parallel()
	kit := condakit.Build(t)
	server := kit.Serve(t, &condakit.Server{})
	list := func(digest func(*testing.T, string) string, sep string) string {
		text := "# This file may be used to create an environment using:\n@EXPLICIT\n"
		for _, p := range []string{"python", "six-1.16.0", "hello"} {
			text += kitURL(t, kit, server.URL, p)
			if digest != nil {
				text += sep + digest(t, kit.File(t, p))
			}
			text += "\n"
		}
		return text
	}
	c := condaCache(t, SameUser, Options{})
	repo := filepath.Join(newState(t), "repo")
	writeFiles(t, repo, map[string]string{"conda.lock": list(md5Of, "#")})
	req := Request{
		Manager: ManagerConda, Project: Project{Kind: ProjectConda, File: "conda.lock"}, BaseDir: repo, UID: SameUser, GID: SameUser,
	}
	l := acquire(t, c, req)
	if !slices.Equal(l.Frozen, []string{"hello==1.0", "six==1.16.0"}) || len(l.Lock.Conda) != 3 {
		t.Fatalf("%+v, lock %+v", l, l.Lock)
	}
	for _, asked := range server.Asked() {
		if strings.HasPrefix(path.Base(asked), "repodata") {
			t.Errorf("something was solved: %s", asked)
		}
	}
	// A package that a list vouches for by MD5 only is not kept for others.
	if _, err := os.Stat(filepath.Join(c.state, "cache", "conda-"+uidName(), "packages")); err == nil {
		t.Error("packages without a SHA-256 are in the cache")
	}
	bare := Request{Manager: ManagerConda, CondaRequirements: []string{list(nil, "")}, UID: SameUser, GID: SameUser}
	if l := acquire(t, c, bare); l.Hit || l.Lock != nil {
		t.Fatalf("packages without digests were locked: %+v", l)
	}
	wrong := bare
	wrong.CondaRequirements = []string{strings.Replace(list(md5Of, "#"), md5Of(t, kit.File(t, "hello")), strings.Repeat("0", 32), 1)}
	if _, err := c.Acquire(t.Context(), wrong, nil); err == nil || !strings.Contains(err.Error(), "whose hash was asked for") {
		t.Fatalf("a file of another digest: %v", err)
	}
}
