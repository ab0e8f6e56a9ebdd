package envcache

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"agentctl/test/condakit"
)

// condaRequest asks for packages of the kit's channels.
func condaRequest(k condakit.Channels, channels ...string) Request {
	xy := strings.Join(strings.Split(k.Python, ".")[:2], ".")
	return Request{Manager: ManagerConda, PythonWanted: xy, CondaChannels: channels, UID: SameUser, GID: SameUser}
}

// condaCache opens a cache that has the client for a user already: the indexes of
// tests lack it.
func condaCache(t *testing.T, uid int, opts Options) *Cache {
	t.Helper()
	c := newCache(t, opts)
	req := Request{UID: uid, GID: uid}
	if _, err := c.tools.get(t.Context(), ManagerConda, req, newAccess(os.Getenv, req, nil), func(Progress) {}); err != nil {
		t.Fatal(err)
	}
	return c
}

func (r Request) conda(specs ...string) Request {
	r.CondaRequirements = specs
	return r
}

// What a conda environment is: packages of several kinds, linked, compiled and
// activated; asked for again it is there, and nothing is started.
func TestCondaBuildThenHit(t *testing.T) {
	t.Parallel()
	kit := condakit.Build(t)
	server := kit.Serve(t, &condakit.Server{})
	watch := &spy{Exec: HostExec{}}
	c := condaCache(t, SameUser, Options{Exec: watch})
	req := condaRequest(kit, server.Main(), server.Extra()).conda("hello", "Activates", "prefixed ==1.0", "post-linked", "pyyaml", "only_extra")
	var s said
	first, err := c.Acquire(t.Context(), req, s.hear)
	if err != nil {
		t.Fatalf("%v\n%s", err, s.text())
	}
	defer first.Close()
	// The channel that is named first wins, even with a lower version.
	want := []string{"hello==1.0", "only_extra==1.0", "PyYAML==6.0.2", "six==1.17.0"}
	if first.Hit || !slices.Equal(first.Frozen, want) || first.Version != kit.Python {
		t.Fatalf("%+v\n%s", first, s.text())
	}
	for _, want := range []string{
		"CONDA_PREFIX=" + first.Path, "KIT_HOME=" + first.Path + "/share/kit", "KIT_LINES=one\ntwo = 'three'",
		"KIT_FROM_JSON=$not expanded", "PATH=" + first.Path + "/kit-bin",
	} {
		if !slices.Contains(first.Variables, want) {
			t.Errorf("the variables %q lack %q", first.Variables, want)
		}
	}
	got := python(t, first.Python, "-c", "import hello, six, yaml, sys, os, json; print(sys.prefix, os.path.exists(six.__cached__), os.path.exists(hello.__cached__), os.path.exists(json.__cached__), yaml.CSafeLoader.__name__)")
	if got != first.Path+" True True True CSafeLoader" {
		t.Fatalf("the environment says %q", got)
	}
	if got := python(t, filepath.Join(first.Path, "bin", "hello")); got != "hello 1.0" {
		t.Fatalf("the program says %q", got)
	}
	if got := python(t, filepath.Join(first.Path, "bin", "prefixed")); got != first.Path {
		t.Fatalf("the prefix in a text is %q", got)
	}
	binary, err := os.ReadFile(filepath.Join(first.Path, "lib", "prefixed.bin"))
	if err != nil || !strings.HasPrefix(string(binary), "\x7fKIT\x00"+first.Path+"/share\x00") || !strings.HasSuffix(string(binary), "\x00after") {
		t.Fatalf("the prefix in a binary file: %q, %v", binary, err)
	}
	if data, err := os.ReadFile(filepath.Join(first.Path, "share", "post-link.txt")); string(data) != "post-linked 1.0\n" {
		t.Fatalf("the post-link script: %q, %v", data, err)
	}
	if got := python(t, first.Python, "-m", "pip", "list"); !strings.Contains(got, "PyYAML") {
		t.Fatalf("pip list says %q", got)
	}
	if err := c.VerifyFully(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	noLinks(t, first.Path)
	programs := len(watch.ran())
	second := acquire(t, c, req)
	if !second.Hit || second.Path != first.Path || len(watch.ran()) != programs || !slices.Equal(second.Variables, first.Variables) {
		t.Fatalf("%+v, programs: %+v", second, watch.ran()[programs:])
	}
	t.Logf("built in %s, hit in %s\n%s", first.Took, second.Took, s.text())
}

// noLinks fails for files that are those of the package cache: a task that
// writes into one would change every later environment.
func noLinks(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if target, _ := os.Readlink(path); filepath.IsAbs(target) {
			t.Errorf("%s leads to %s", path, target)
		}
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Sys().(*syscall.Stat_t).Nlink != 1 {
			t.Errorf("%s has %d names", path, info.Sys().(*syscall.Stat_t).Nlink)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
