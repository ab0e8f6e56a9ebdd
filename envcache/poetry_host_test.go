package envcache

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

// Poetry beside pyenv: the environment is made with the Python that `pyenv global`
// chose, neither with poetry's own nor with the first real one of PATH.
func TestPoetryBesidePyenv(t *testing.T) {
	t.Parallel()
	x := poetryIndex(t)
	plain := poetryCache(t, Options{})
	own := python(t, withPoetry(t, plain).python(), "-c", "import platform; print(platform.python_version())")
	host, err := NewFinder(newState(t), Options{})
	if err != nil {
		t.Fatal(err)
	}
	first := hostPython(t, SameUser)
	var global Interpreter
	for _, want := range []string{"3.13", "3.12", "3.11", "3.10"} {
		if py, _, err := host.Find(t.Context(), want, OnMissingFail, SameUser, SameUser); err == nil && py.Version != own && py.Version != first.Version {
			global = py
			break
		}
	}
	if global.Path == "" {
		t.Skip("the host has too few Pythons")
	}
	root, ahead := filepath.Join(newState(t), "pyenv"), newState(t)
	writeFiles(t, root, map[string]string{
		"version": global.Version + "\n",
		// Whoever runs a shim instead of what it stands for fails.
		"shims/python3": "#!/bin/sh\nexit 3\n", "shims/python": "#!/bin/sh\nexit 3\n",
	})
	for name, py := range map[string]Interpreter{
		filepath.Join(root, "versions", first.Version, "bin/python3"):  first,
		filepath.Join(root, "versions", global.Version, "bin/python3"): global,
		filepath.Join(ahead, "python3"):                                first,
	} {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(py.Path, name); err != nil {
			t.Fatal(err)
		}
	}
	for _, shim := range []string{"python", "python3"} {
		if err := os.Chmod(filepath.Join(root, "shims", shim), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	env := map[string]string{"PYENV_ROOT": root, "PYENV_VERSION": "", "PATH": filepath.Join(root, "shims") + ":" + ahead + ":/usr/bin:/bin"}
	finder, err := NewFinder(newState(t), Options{Getenv: environ(env)})
	if err != nil {
		t.Fatal(err)
	}
	c := poetryCache(t, Options{Getenv: environ(env)})
	req := poetryRequest(t, x, lockedProject(t, plain, x, map[string]string{"pyproject.toml": poetryDemo}))
	if req.Python, _, err = finder.Find(t.Context(), "", OnMissingFail, SameUser, SameUser); err != nil {
		t.Fatal(err)
	}
	l := acquire(t, c, req)
	got := python(t, l.Python, "-c", "import platform, sys, top_level; print(platform.python_version(), sys.prefix, sys.base_prefix)")
	if want := global.Version + " " + l.Path + " " + global.BasePrefix; got != want || l.Version != global.Version {
		t.Fatalf("the environment says %q, not %q", got, want)
	}
	env["PYENV_VERSION"] = first.Version
	other, err := NewFinder(newState(t), Options{Getenv: environ(env)})
	if err != nil {
		t.Fatal(err)
	}
	if py, _, err := other.Find(t.Context(), "", OnMissingFail, SameUser, SameUser); err != nil || py.Version != first.Version {
		t.Fatalf("PYENV_VERSION gives %s, %v", py, err)
	}
}

func TestPoetryForAnotherUser(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root builds for other users")
	}
	const nobody = 65534
	x, c := poetryIndex(t), poetryCache(t, Options{})
	repo := lockedProject(t, c, x, map[string]string{"pyproject.toml": poetryDemo})
	if err := os.Chmod(filepath.Join(repo, "pyproject.toml"), 0o600); err != nil { // a private checkout
		t.Fatal(err)
	}
	req := poetryRequest(t, x, repo)
	req.Python, req.UID, req.GID = hostPython(t, nobody), nobody, nobody
	l := acquire(t, c, req)
	if !slices.Equal(l.Frozen, []string{"below==1.0", "top-level==1.5"}) {
		t.Fatalf("%q", l.Frozen)
	}
	out, err := exec.Command("find", l.Path, "!", "-user", "nobody").Output()
	if err != nil || len(out) > 0 {
		t.Fatalf("not nobody's: %s, %v", out, err)
	}
}
