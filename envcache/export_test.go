package envcache

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"agentctl/internal/tree"
)

// longState is a state folder on the longest path that is possible; environments
// move there from a short one.
func longState(t *testing.T) string {
	t.Helper()
	dir := newState(t)
	for room := longestPython - len("/envs//bin/python") - 32 - len(dir); room > 1; {
		n := min(room-1, 20)
		dir, room = filepath.Join(dir, strings.Repeat("l", n)), room-n-1
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func openCache(t *testing.T, state string, vars map[string]string) *Cache {
	t.Helper()
	c, err := Open(state, Options{Getenv: environ(vars)})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// awayFromIndexes is a cache of a host without managers, whose index is closed; the
// private pip is there, since it takes seconds to compile.
func awayFromIndexes(t *testing.T, x *indexServer) *Cache {
	t.Helper()
	state, tools := newState(t), newState(t)
	withTools(t, tools)
	pip := filepath.Join("tools", "pip-"+pipVersion)
	err := os.Mkdir(filepath.Join(state, "tools"), 0o755)
	if err == nil {
		err = os.Symlink(filepath.Join(tools, pip), filepath.Join(state, pip))
	}
	if err != nil {
		t.Fatal(err)
	}
	return openCache(t, state, map[string]string{"PIP_INDEX_URL": x.url()})
}

func export(t *testing.T, c *Cache, key string) []byte {
	t.Helper()
	var b bytes.Buffer
	done, err := c.Export(t.Context(), key, &b)
	if err != nil || done.Files == 0 || done.Key[:len(key)] != key {
		t.Fatalf("%+v, %v", done, err)
	}
	return b.Bytes()
}

// imported imports an archive, and leases what the request finds then: no program
// may be needed for it, and nothing of the first host.
func imported(t *testing.T, c *Cache, archive []byte, req Request, opts ImportOptions) *Lease {
	t.Helper()
	var s said
	l, err := c.Import(t.Context(), bytes.NewReader(archive), opts, s.hear)
	if err != nil {
		t.Fatalf("%v\n%s", err, s.text())
	}
	_ = l.Close()
	found := acquire(t, c, req)
	if !found.Hit || found.Key != l.Key {
		t.Fatalf("the request finds %s, which was imported as %s: %s", found.Key, l.Key, found.Why)
	}
	if err := c.VerifyFully(t.Context(), found); err != nil {
		t.Fatal(err)
	}
	return found
}

// speaksOf lists the files of a tree that hold a text, bytecode left out.
func speaksOf(t *testing.T, top, text string) (names []string) {
	t.Helper()
	err := tree.Walk(top, func(n tree.Node) error {
		if n.Info.Mode().IsRegular() && !strings.HasSuffix(n.Name, ".pyc") {
			data, err := n.Dir.ReadFile(n.Name)
			if bytes.Contains(data, []byte(text)) {
				names = append(names, n.Rel)
			}
			return err
		}
		return nil
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestThePinnedPipIsKnown(t *testing.T) {
	t.Parallel()
	state := newState(t)
	withTools(t, state)
	dir := filepath.Join(state, "tools", "pip-"+pipVersion)
	if !isDir(dir) {
		t.Skip("the index of this host has not the pinned pip")
	}
	files, err := readTool(dir)
	if err != nil || digestTool(files) != pipTree {
		t.Fatalf("the files of pip %s have the digest %s, not %s: %v", pipVersion, digestTool(files), pipTree, err)
	}
}

// An environment with an editable package, a program and a list that is not
// pinned goes to a host with neither index nor tools, on a longer path, and from
// there back to a shorter one.
func TestExportAndImport(t *testing.T) {
	t.Parallel()
	x := newIndexServer(t, "", "")
	x.add(wheel("shown", "1.0"))
	x.add(wheel("added", "1.0"))
	src := newCache(t, Options{})
	repo := filepath.Join(newState(t), "repo")
	writeFiles(t, repo, project("edited", "1.0", nil))
	req := Request{
		Python: hostPython(t, SameUser), IndexURL: x.url(), Requirements: []string{"shown", "-e ."}, BaseDir: repo, UID: SameUser, GID: SameUser,
	}
	first := acquire(t, src, req)
	archive := export(t, src, first.Key[:10])
	x.Close() // the other hosts have no index

	away := map[string]string{"PIP_INDEX_URL": x.url()}
	far := openCache(t, longState(t), away)
	there := imported(t, far, archive, req, ImportOptions{UID: SameUser, GID: SameUser})
	near := newState(t)
	withTools(t, near)
	again := imported(t, openCache(t, near, away), export(t, far, there.Key), req, ImportOptions{UID: SameUser, GID: SameUser})
	for _, l := range []*Lease{there, again} {
		if got := python(t, filepath.Join(l.Path, "bin", "shown")); got != "shown 1.0" {
			t.Errorf("the program says %q", got)
		}
		got := python(t, l.Python, "-c", "import sys, shown, edited; print(sys.prefix, shown.version, edited.__file__)")
		if got != l.Path+" 1.0 "+l.Path+"/src/checkout/edited.py" {
			t.Errorf("the environment says %q", got)
		}
		if got := python(t, filepath.Join(l.Path, "bin", "pip"), "list", "--format=freeze"); !strings.Contains(got, "shown==1.0") {
			t.Errorf("pip says %q", got)
		}
		if !slices.Equal(l.Frozen, first.Frozen) || l.Bytes == 0 || l.Version != req.Python.Version {
			t.Errorf("%+v", l)
		}
		if left := speaksOf(t, l.Path, src.state); left != nil {
			t.Errorf("these speak of the first host: %v", left)
		}
		if bad := litter(t, filepath.Dir(filepath.Dir(l.Path))); bad != nil {
			t.Errorf("left over: %v", bad)
		}
	}
	// Once more is no harm.
	l, err := far.Import(t.Context(), bytes.NewReader(archive), ImportOptions{UID: SameUser, GID: SameUser}, nil)
	if err != nil || !l.Hit || l.Key != there.Key {
		t.Fatalf("imported twice: %+v, %v", l, err)
	}
	_ = l.Close()
	entries, err := far.Entries()
	if err != nil || len(entries) != 1 || !strings.Contains(entries[0].Origin, first.Path) {
		t.Fatalf("%+v, %v", entries, err)
	}
}

// Bytecode stays valid: Python goes by the second of the source.
func TestAnImportKeepsBytecodeAndTimes(t *testing.T) {
	t.Parallel()
	c, req := indexed(t, "timed")
	first := acquire(t, c, req.with("timed==1.0"))
	l := imported(t, newCache(t, Options{}), export(t, c, first.Key), req.with("timed==1.0"), ImportOptions{UID: SameUser, GID: SameUser})
	for _, name := range []string{"timed.py", "timed-1.0.dist-info/METADATA"} {
		pattern := filepath.Join("lib", "*", "site-packages", name)
		a, _ := filepath.Glob(filepath.Join(first.Path, pattern))
		b, _ := filepath.Glob(filepath.Join(l.Path, pattern))
		was, err1 := os.Stat(a[0])
		is, err2 := os.Stat(b[0])
		if err := errors.Join(err1, err2); err != nil || !was.ModTime().Equal(is.ModTime()) || was.Mode() != is.Mode() {
			t.Errorf("%s: %v, %v; %v", name, was, is, err)
		}
	}
	out := python(t, l.Python, "-v", "-c", "import timed")
	if !strings.Contains(out, "timed") || strings.Contains(out, "bytecode is stale") {
		t.Fatalf("compiled anew:\n%s", out)
	}
}

// What a request names no index for is found on a host whose pip looks elsewhere.
func TestAnImportIsFoundUnderTheIndexOfTheHost(t *testing.T) {
	t.Parallel()
	x := newIndexServer(t, "", "")
	x.add(wheel("one", "1.0"))
	src := newCache(t, Options{Getenv: environ(map[string]string{"PIP_INDEX_URL": x.url(), "PIP_EXTRA_INDEX_URL": x.url() + "/more"})})
	req := Request{Python: hostPython(t, SameUser), Requirements: []string{"one==1.0"}, ExtraIndexURLs: []string{x.url() + "/"}, UID: SameUser, GID: SameUser}
	first := acquire(t, src, req)
	archive := export(t, src, first.Key)
	for _, vars := range []map[string]string{
		{"PIP_INDEX_URL": "https://mirror.invalid/simple"},
		{"PIP_INDEX_URL": "https://user:secret@mirror.invalid/simple", "PIP_EXTRA_INDEX_URL": "https://b.invalid/x https://c.invalid/y"},
		{"PIP_INDEX_URL": x.url(), "PIP_EXTRA_INDEX_URL": x.url() + "/more"},
	} {
		l := imported(t, newCache(t, Options{Getenv: environ(vars)}), archive, req, ImportOptions{UID: SameUser, GID: SameUser})
		if strings.Contains(valueOf(l.Parts, indexPart), "secret") {
			t.Errorf("a secret is in the key: %+v", l.Parts)
		}
	}
}
