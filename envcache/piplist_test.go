package envcache

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// What an option of the list is for is seen in what it is resolved to.
func TestOptionsAreWishes(t *testing.T) {
	t.Parallel()
	c, req := indexed(t, "plain")
	x, more := newIndexServer(t, "", ""), newIndexServer(t, "", "")
	x.add(wheel("plain", "1.0"))
	x.add(wheel("plain", "2.0rc1"))
	x.add(sdist("plain", "1.0", nil))
	req.IndexURL = x.url()
	first := acquire(t, c, req.with("plain"))
	for _, options := range []string{"--extra-index-url " + more.url(), "--prefer-binary", "--only-binary :all:", "--trusted-host 127.0.0.1"} {
		if l := acquire(t, c, req.with(options, "plain")); !l.Hit || l.Key != first.Key {
			t.Errorf("%s: %+v", options, l)
		}
	}
	pre := acquire(t, c, req.with("--pre", "plain"))
	if pre.Hit || pre.Frozen[0] != "plain==2.0rc1" {
		t.Errorf("--pre: %+v", pre)
	}
	built := acquire(t, c, req.with("--no-binary plain", "plain"))
	if built.Hit || built.Key == first.Key || !built.Lock.Built {
		t.Errorf("--no-binary: %+v", built)
	}
	if again := acquire(t, c, req.with("--no-binary plain", "plain<3")); again.Hit {
		t.Errorf("what was built from source is shared: %+v", again)
	}
}

// Packages that are files: of the repository, and of the host.
func TestFindLinks(t *testing.T) {
	t.Parallel()
	x := newIndexServer(t, "", "")
	x.add(wheel("indexed", "1.0"))
	repo, host := filepath.Join(newState(t), "repo"), filepath.Join(newState(t), "wheels")
	put := func(dir, name string) {
		file, data := wheel(name, "1.0")
		writeFiles(t, dir, map[string]string{file: string(data)})
	}
	put(filepath.Join(repo, "vendor", "wheels"), "vendored")
	put(host, "hosted")
	writeFiles(t, repo, map[string]string{"vendor/r.txt": "--find-links wheels\nvendored\n"})
	c := newCache(t, Options{})
	req := Request{Python: hostPython(t, SameUser), IndexURL: x.url(), BaseDir: repo, UID: SameUser, GID: SameUser}
	l := acquire(t, c, req.with("-r vendor/r.txt", "-f "+host, "hosted", "indexed"))
	if want := []string{"hosted==1.0", "indexed==1.0", "vendored==1.0"}; !slices.Equal(l.Frozen, want) {
		t.Fatalf("%q", l.Frozen)
	}
	if left, err := filepath.Glob(filepath.Join(l.Path, "src", "*")); err != nil || len(left) > 0 {
		t.Fatalf("left of the repository: %q, %v", left, err)
	}
	req.Lock = l.Lock
	if again := acquire(t, c, req); !again.Hit || again.Key != l.Key {
		t.Fatalf("%+v", again)
	}
	for _, bad := range []string{"--find-links ../wheels", "--find-links nothing", "--find-links " + c.state, "--find-links file://" + c.state, "--find-links /nonexistent"} {
		if _, err := c.Acquire(t.Context(), Request{Python: req.Python, BaseDir: repo}.with(bad, "x"), nil); err == nil || !strings.Contains(err.Error(), "find-links") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// Names in every spelling, extras, markers and constraints, by the real pip.
func TestSpellingsExtrasMarkersConstraints(t *testing.T) {
	t.Parallel()
	x := newIndexServer(t, "", "")
	x.add(wheel("Some-Long.Name", "1.0"))
	x.add(wheel("Some-Long.Name", "2.0"))
	x.add(wheelWith("extras", "1.0", "Provides-Extra: more\nProvides-Extra: other_one\nRequires-Dist: moredep; extra == 'more'\nRequires-Dist: otherdep; extra == 'other-one'\n"))
	x.add(wheel("moredep", "1.0"))
	x.add(wheel("otherdep", "1.0"))
	c := newCache(t, Options{})
	req := Request{Python: hostPython(t, SameUser), IndexURL: x.url(), UID: SameUser, GID: SameUser, Constraints: []string{"some_long-name<2  # why\n"}}
	first := acquire(t, c, req.with("some_long.name", "Extras[MORE,other-one]", "nosuch; python_version < '3'", "nosuch2 ; sys_platform == 'win32'"))
	if want := []string{"extras==1.0", "moredep==1.0", "otherdep==1.0", "Some-Long.Name==1.0"}; !slices.Equal(first.Frozen, want) {
		t.Fatalf("%q", first.Frozen)
	}
	for _, name := range []string{"SOME-LONG-NAME", "some...long___name", "Some-Long.Name ", "some_long-name==1.0", "some.long.name (==1.*)"} {
		if l := acquire(t, c, req.with(name, "extras[other_one, more]")); !l.Hit || l.Key != first.Key {
			t.Errorf("%s: %+v", name, l)
		}
	}
	req.Constraints = nil
	if l := acquire(t, c, req.with("some_long.name", "extras[more,other-one]")); l.Hit || !slices.Contains(l.Frozen, "Some-Long.Name==2.0") {
		t.Errorf("without constraints: %+v", l)
	}
}

// interpreterWith makes an interpreter of its own, on the host's standard library,
// with packages in its site-packages.
func interpreterWith(t *testing.T, wheels ...[]byte) Interpreter {
	t.Helper()
	host := hostPython(t, SameUser)
	paths := strings.Fields(python(t, host.Path, "-I", "-c", "import os, sys, sysconfig; print(os.path.realpath(sys.executable), sysconfig.get_path('stdlib'), 'python%d.%d' % sys.version_info[:2])"))
	prefix := filepath.Join(newState(t), "py")
	lib := filepath.Join(prefix, "lib", paths[2])
	writeFiles(t, lib, map[string]string{"site-packages/README": ""})
	entries, err := os.ReadDir(paths[1])
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), "-packages") {
			if err := os.Symlink(filepath.Join(paths[1], e.Name()), filepath.Join(lib, e.Name())); err != nil {
				t.Fatal(err)
			}
		}
	}
	binary, err := os.ReadFile(paths[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range wheels {
		if err := unzip(w, filepath.Join(lib, "site-packages")); err != nil {
			t.Fatal(err)
		}
	}
	program := filepath.Join(prefix, "bin", paths[2])
	writeFiles(t, prefix, map[string]string{"bin/" + paths[2]: string(binary)})
	if err := os.Chmod(program, 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := NewFinder(newState(t), Options{})
	if err != nil {
		t.Fatal(err)
	}
	py, _, err := f.Find(t.Context(), program, OnMissingFail, SameUser, SameUser)
	if err != nil || py.Prefix != prefix {
		t.Skipf("the Python of this host runs from its own place only: %v", err)
	}
	return py
}

// What the interpreter has is seen where it is wanted, and is not installed again.
func TestSystemSitePackages(t *testing.T) {
	t.Parallel()
	x := newIndexServer(t, "", "")
	x.add(wheel("ofthehost", "1.0"))
	x.add(wheel("ofthehost", "2.0"))
	x.add(wheel("added", "1.0", "ofthehost"))
	_, data := wheel("ofthehost", "1.0")
	py := interpreterWith(t, data)
	c := newCache(t, Options{})
	req := Request{Python: py, IndexURL: x.url(), UID: SameUser, GID: SameUser}
	version := func(l *Lease) string {
		return python(t, l.Python, "-c", "import added, ofthehost; print(ofthehost.version)")
	}
	apart := acquire(t, c, req.with("added"))
	if got := version(apart); got != "2.0" || len(apart.Frozen) != 2 {
		t.Fatalf("apart from the host: %s, %q", got, apart.Frozen)
	}
	req.SystemSite = true
	seen := acquire(t, c, req.with("added"))
	if got := version(seen); seen.Hit || got != "1.0" || !slices.Equal(seen.Frozen, []string{"added==1.0"}) {
		t.Fatalf("over the host's: %s, %+v", got, seen)
	}
	own := acquire(t, c, req.with("added", "ofthehost>1"))
	if got := version(own); own.Hit || got != "2.0" {
		t.Fatalf("in place of the host's: %s, %+v", got, own)
	}
	// A package that is added to the interpreter changes what is seen.
	if err := unzip(data, filepath.Join(py.Sites[0], "more")); err != nil {
		t.Fatal(err)
	}
	if again := acquire(t, c, req.with("added")); again.Hit {
		t.Fatalf("%+v", again)
	}
}

// A long list, as of a real task: built once; its frozen form, as a clone asks
// for it, is the same environment.
func TestLongList(t *testing.T) {
	t.Parallel()
	x := newIndexServer(t, "", "")
	var lines []string
	for i := range 200 {
		name := fmt.Sprintf("Long_list.%d", i)
		x.add(wheel(name, "1.0"))
		lines = append(lines, name+">=1")
	}
	for manager, open := range map[string]func(testing.TB, Options) *Cache{ManagerPip: newCache, ManagerUV: newUVCache} {
		t.Run(manager, func(t *testing.T) {
			t.Parallel()
			watch := &spy{Exec: HostExec{}}
			c := open(t, Options{Exec: watch})
			req := uvRequest(t, x.url())
			req.Manager = manager
			first := acquire(t, c, req.with(lines...))
			if len(first.Frozen) != 200 || len(first.Lock.Packages) != 200 {
				t.Fatalf("%d packages, %d in the lock", len(first.Frozen), len(first.Lock.Packages))
			}
			programs := len(watch.ran())
			shuffled := slices.Clone(first.Frozen)
			slices.Reverse(shuffled)
			for name, r := range map[string]Request{"as it is": req.with(lines...), "frozen": req.with(first.Frozen...), "another order": req.with(shuffled...)} {
				if l := acquire(t, c, r); !l.Hit || l.Key != first.Key {
					t.Errorf("%s: %+v", name, l.Why)
				}
			}
			if n := len(watch.ran()); n != programs {
				t.Errorf("hits ran %d programs", n-programs)
			}
		})
	}
}
