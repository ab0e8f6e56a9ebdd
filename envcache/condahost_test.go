package envcache

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"agentctl/test/condakit"
)

// What is assumed of the host decides what can be had, and is in the key.
func TestCondaVirtualPackages(t *testing.T) {
	t.Parallel()
	kit := condakit.Build(t)
	server := kit.Serve(t, &condakit.Server{})
	c := condaCache(t, SameUser, Options{Getenv: environ(map[string]string{"CONDA_OVERRIDE_CUDA": "12.4"})})
	req := condaRequest(kit, server.Main()).conda("needs-cuda")
	first := acquire(t, c, req)
	entries, err := c.Entries()
	if err != nil || len(entries) != 1 || !slices.ContainsFunc(entries[0].Parts, func(p Part) bool {
		return p.Name == "virtual packages" && slices.Contains(p.Lines, "__cuda=12.4=0") && slices.ContainsFunc(p.Lines, func(l string) bool { return strings.HasPrefix(l, "__glibc=") })
	}) {
		t.Fatalf("%+v, %v", entries, err)
	}
	without, err := Open(c.state, Options{Getenv: environ(nil)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := without.Acquire(t.Context(), req, nil); err == nil || !strings.Contains(err.Error(), "__cuda >=12") {
		t.Fatalf("without CUDA: %v", err)
	}
	newer, err := Open(c.state, Options{Getenv: environ(map[string]string{"CONDA_OVERRIDE_CUDA": "12.6"})})
	if err != nil {
		t.Fatal(err)
	}
	// Another key; the packages are the same.
	if l := acquire(t, newer, req); !l.Hit || l.Key != first.Key || !strings.Contains(l.Why, "resolved") {
		t.Fatalf("with another CUDA: %+v", l)
	}
}

// Requirements in pip's words come from the channels where these have them.
func TestCondaTakesRequirements(t *testing.T) {
	t.Parallel()
	kit := condakit.Build(t)
	server := kit.Serve(t, &condakit.Server{})
	x := newIndexServer(t, "", "")
	for _, name := range []string{"activates", "needs-cuda", "clashes"} { // in the channel, but no Python packages
		x.add(wheel(name, "1.0"))
	}
	x.add(wheel("six", "1.15.0"))
	x.add(wheel("marked", "1.0"))
	c := condaCache(t, SameUser, Options{})
	req := condaRequest(kit, server.Main()).conda("pyyaml ==6.0.2")
	req.IndexURL = x.url()
	req.Constraints = []string{"hello<2"}
	l := acquire(t, c, req.with("PyYAML==5.4", "Six==1.15.0", "Hello", "activates", "marked; python_version>'3'"))
	want := []string{"activates==1.0", "hello==1.0", "marked==1.0", "PyYAML==6.0.2", "six==1.15.0"}
	if !slices.Equal(l.Frozen, want) {
		t.Fatalf("frozen %q", l.Frozen)
	}
	if !slices.ContainsFunc(l.Lock.Conda, func(s string) bool { return strings.Contains(s, "/hello-1.0-") }) || len(l.Lock.Packages) != 3 {
		t.Fatalf("lock %+v", l.Lock)
	}
}

func TestCondaOfTheHost(t *testing.T) {
	t.Parallel()
	kit := condakit.Build(t)
	private := kit.Serve(t, &condakit.Server{User: "me", Password: "s3same-open"})
	// By another name, it is another host.
	foreign := kit.Serve(t, &condakit.Server{User: "me", Password: "s3same-open"})
	foreign.URL = strings.Replace(foreign.URL, "127.0.0.1", "localhost", 1)
	home := t.TempDir()
	writeFiles(t, home, map[string]string{
		".netrc":   "default login me password s3same-open\n",
		".condarc": "channels:\n  - extra\n  - main\nchannel_alias: ${KIT}\nchannel_priority: disabled\n",
	})
	host := Options{Getenv: environ(map[string]string{"HOME": home, "KIT": private.URL})}
	c := condaCache(t, SameUser, host)
	l := acquire(t, c, condaRequest(kit).conda("six"))
	if !slices.Contains(l.Frozen, "six==1.99.0") {
		t.Fatalf("frozen %q", l.Frozen)
	}
	// A list of files of the host's channels is let in as well.
	if l := acquire(t, c, condaRequest(kit).conda(explicit(t, kit, private.URL))); l.Hit {
		t.Fatalf("%+v", l)
	}
	// A task's own channel does not get what the host's user may read.
	c = condaCache(t, SameUser, host) // without the packages
	for name, req := range map[string]Request{
		"channel": condaRequest(kit, foreign.Main()).conda("hello"), "list": condaRequest(kit).conda(explicit(t, kit, foreign.URL)),
		"spec": condaRequest(kit).conda(foreign.Main() + "::hello"),
	} {
		if _, err := c.Acquire(t.Context(), req, nil); err == nil || !strings.Contains(err.Error(), "credentials") {
			t.Errorf("%s: err = %v", name, err)
		}
	}
	if foreign.LoggedIn() {
		t.Error("a foreign channel was sent the host's login")
	}
}

// The environment of another user: built, owned and used as that user.
func TestCondaOfAnotherUser(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root builds for other users")
	}
	const nobody = 65534
	kit := condakit.Build(t)
	server := kit.Serve(t, &condakit.Server{Token: "tk-1234-abcd"})
	x := newIndexServer(t, "", "")
	x.add(wheel("added", "1.0"))
	c := condaCache(t, nobody, Options{})
	req := condaRequest(kit, server.URL+"/t/tk-1234-abcd/main").conda("post-linked", "activates")
	req.UID, req.GID, req.IndexURL = nobody, nobody, x.url()
	l := acquire(t, c, req)
	for _, dir := range []string{l.Path, filepath.Join(c.state, "cache", "conda-65534")} {
		if out, err := exec.Command("find", dir, "!", "-user", "nobody").Output(); err != nil || len(out) > 0 {
			t.Fatalf("not nobody's: %s, %v", out, err)
		}
	}
	own := filepath.Join(newState(t), "copy")
	child, err := c.Child(t.Context(), l, own, nobody, nobody)
	if err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) string {
		t.Helper()
		var out strings.Builder
		exit, err := HostExec{}.Run(t.Context(), Cmd{
			Args: args, Dir: "/", UID: nobody, GID: nobody, Stdout: &out, Stderr: &out,
			Env: []string{"HOME=/nonexistent", "PATH=" + strings.Join(append(child.PathDirs, defaultPath), ":")},
		})
		if err != nil || exit.Code != 0 {
			t.Fatalf("%q: %+v, %v\n%s", args, exit, err, out.String())
		}
		return strings.TrimSpace(out.String())
	}
	run("pip", "install", "-q", "added")
	got := run("python", "-c", "import sys, added; print(sys.prefix, sys.base_prefix, added.version)")
	if got != own+" "+own+" 1.0" || !slices.Contains(child.Variables, "KIT_HOME="+own+"/share/kit") {
		t.Fatalf("the copy says %q, variables %q", got, child.Variables)
	}
	if err := c.Verify(t.Context(), l); err != nil {
		t.Fatal(err)
	}
}

// Unpacked packages go as a whole, by their age, and not under an installation.
func TestCondaPackagesAreTrimmed(t *testing.T) {
	t.Parallel()
	c := newCache(t, Options{})
	dir := filepath.Join(c.state, "cache", "conda-0", "packages")
	writeFiles(t, dir, map[string]string{".cache.lock": "", "a-1-0.lock": "", "a-1-0/lib/x": "xx", "a-1-0/info/y": "yyy", "b-1-0/z": "z"})
	past := time.Now().Add(-48 * time.Hour)
	for _, f := range []string{"a-1-0", "a-1-0.lock", ".cache.lock", "b-1-0/z"} { // b was unpacked today
		if err := os.Chtimes(filepath.Join(dir, f), past, past); err != nil {
			t.Fatal(err)
		}
	}
	held, err := os.Open(filepath.Join(dir, ".cache.lock"))
	if err != nil {
		t.Fatal(err)
	}
	collect := func() int64 {
		t.Helper()
		done, err := c.Collect(t.Context(), Limits{MaxAge: 24 * time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		return done.Freed
	}
	if err := unix.Flock(int(held.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if freed := collect(); freed != 0 {
		t.Fatalf("%d bytes went under an installation", freed)
	}
	_ = held.Close()
	if freed := collect(); freed != 5 {
		t.Fatalf("freed %d bytes", freed)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 3 || left[2].Name() != "b-1-0" {
		t.Fatalf("left %v, %v", left, err)
	}
}
