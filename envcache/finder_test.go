package envcache

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fakeHost is a host with interpreters that are shell scripts. Each writes a
// line to the file "asked" when it is run.
type fakeHost struct {
	t    *testing.T
	dir  string
	path []string
	env  map[string]string
}

func newFakeHost(t *testing.T) *fakeHost {
	dir := newState(t)
	return &fakeHost{t: t, dir: dir, env: map[string]string{"HOME": filepath.Join(dir, "home")}}
}

// python makes an interpreter in a folder; the folder goes to PATH if onPath.
func (h *fakeHost) python(name, version string) {
	h.t.Helper()
	file := filepath.Join(h.dir, name)
	script := fmt.Sprintf("#!/bin/sh\necho %s >> %s\n[ \"$1\" = -I ] || exit 9\nprintf '%%s' '{\"version\":\"%s\",\"implementation\":\"cpython\",\"prefix\":\"/p\",\"basePrefix\":\"/p\",\"build\":\"%s\"}'\n",
		name, filepath.Join(h.dir, "asked"), version, version)
	writeFiles(h.t, h.dir, map[string]string{name: script})
	if err := os.Chmod(file, 0o755); err != nil {
		h.t.Fatal(err)
	}
}

func (h *fakeHost) onPath(dirs ...string) {
	for _, d := range dirs {
		h.path = append(h.path, filepath.Join(h.dir, d))
	}
}

func (h *fakeHost) finder() *Finder {
	h.t.Helper()
	f, err := NewFinder(h.dir, Options{Getenv: func(name string) string {
		if name == "PATH" {
			return strings.Join(append(h.path, "/nowhere", "relative"), ":")
		}
		return h.env[name]
	}})
	if err != nil {
		h.t.Fatal(err)
	}
	// The real interpreters of this machine are not part of the fake host.
	f.usual = nil
	return f
}

func (h *fakeHost) asked() []string {
	data, _ := os.ReadFile(filepath.Join(h.dir, "asked"))
	return strings.Fields(string(data))
}

func (h *fakeHost) find(f *Finder, want, onMissing string) (string, string, error) {
	py, note, err := f.Find(h.t.Context(), want, onMissing, SameUser, SameUser)
	rel, _ := filepath.Rel(h.dir, py.Path)
	if err != nil {
		rel = ""
	}
	return rel, note, err
}

func standardHost(t *testing.T) *fakeHost {
	h := newFakeHost(t)
	h.python("one/python3.11", "3.11.4")
	h.python("one/python3", "3.10.9")
	h.python("two/python3.11", "3.11.9")
	h.python("two/python3.12", "3.12.1")
	h.python("two/python", "2.7.18")
	h.python("home/.pyenv/versions/3.13.0/bin/python3.13", "3.13.0")
	h.python("home/.pyenv/versions/3.8.2/bin/python3.8", "3.8.2")
	h.python("home/.pyenv/versions/pypy3.10-7/bin/python3", "3.10.13")
	h.python("home/.pyenv/shims/python3", "3.99.0")
	h.onPath("one", "two", "home/.pyenv/shims")
	return h
}

func TestFindByWish(t *testing.T) {
	h := standardHost(t)
	f := h.finder()
	for _, tc := range []struct{ want, path string }{
		{"", "one/python3"},
		{"3", "one/python3"},
		{"python3", "one/python3"},
		{"python", "one/python3"},
		{"3.11", "one/python3.11"},
		{"python3.11", "one/python3.11"},
		{" 3.11 ", "one/python3.11"},
		{"3.11.9", "two/python3.11"},
		{"Python 3.12", "two/python3.12"},
		{"3.13", "home/.pyenv/versions/3.13.0/bin/python3.13"},
		{"3.8.2", "home/.pyenv/versions/3.8.2/bin/python3.8"},
		{filepath.Join(h.dir, "two/python3.12"), "two/python3.12"},
		{"/elsewhere/venv/bin/python3.12", "two/python3.12"},
		{"venv/bin/python3.11", "one/python3.11"},
		{"/elsewhere/venv/bin/python", "one/python3"},
	} {
		path, _, err := h.find(f, tc.want, OnMissingFail)
		if err != nil || path != tc.path {
			t.Errorf("%q: %s, %v; want %s", tc.want, path, err, tc.path)
		}
	}
	for _, a := range h.asked() {
		if strings.Contains(a, "shims") {
			t.Fatal("a pyenv shim was run")
		}
	}
}

func TestPathOfAnotherMachineIsNoted(t *testing.T) {
	h := standardHost(t)
	_, note, err := h.find(h.finder(), "/elsewhere/bin/python3.12", OnMissingFail)
	if err != nil || !strings.Contains(note, "/elsewhere/bin/python3.12 can't be used here") || !strings.Contains(note, "3.12.1") {
		t.Fatalf("note %q, %v", note, err)
	}
}

func TestMissingVersionListsWhatIsThere(t *testing.T) {
	h := standardHost(t)
	h.python("bad/python3.14", "")
	h.onPath("bad")
	_, _, err := h.find(h.finder(), "3.14", OnMissingFail)
	if err == nil {
		t.Fatal("found")
	}
	for _, want := range []string{"Python 3.14 is not on this host", "3.11.4", "3.12.1", "3.13.0", "bad/python3.14", "did not answer", "onMissing: nearest"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q lacks %q", err, want)
		}
	}
}

func TestNearest(t *testing.T) {
	h := standardHost(t)
	f := h.finder()
	for want, version := range map[string]string{"3.14": "3.13.0", "3.9": "3.10", "3.7": "3.8.2", "3.12.9": "3.12.1"} {
		py, note, err := f.Find(t.Context(), want, OnMissingNearest, SameUser, SameUser)
		if err != nil || !strings.HasPrefix(py.Version, version) || !strings.Contains(note, "nearest") {
			t.Errorf("%s: %s, %q, %v", want, py.Version, note, err)
		}
	}
	if _, _, err := f.Find(t.Context(), "2.7", OnMissingNearest, SameUser, SameUser); err == nil {
		t.Error("a Python 3 was taken for 2.7")
	}
}

func TestPyenvGlobalDecides(t *testing.T) {
	h := newFakeHost(t)
	h.python("home/.pyenv/versions/3.12.4/bin/python3", "3.12.4")
	h.python("home/.pyenv/versions/3.12.10/bin/python3", "3.12.10")
	h.python("home/.pyenv/versions/3.9.1/bin/python3", "3.9.1")
	h.python("sys/python3", "3.11.2")
	writeFiles(t, h.dir, map[string]string{"home/.pyenv/shims/python3": "", "home/.pyenv/version": "3.9.1\n3.12\n"})
	h.onPath("home/.pyenv/shims", "sys")
	for env, want := range map[string]string{"": "3.9.1", "3.12": "3.12.10", "3.12.4:3.9.1": "3.12.4", "system": "3.11.2", "5.5": "3.11.2"} {
		h.env["PYENV_VERSION"] = env
		py, _, err := h.finder().Find(t.Context(), "", OnMissingFail, SameUser, SameUser)
		if err != nil || py.Version != want {
			t.Errorf("PYENV_VERSION=%s: %s, %v; want %s", env, py.Version, err, want)
		}
	}
}

func TestProbedOnceEvenOverProcesses(t *testing.T) {
	h := newFakeHost(t)
	h.python("one/python3.11", "3.11.4")
	h.onPath("one")
	for range 3 { // as three processes
		f := h.finder()
		for range 3 {
			if _, _, err := h.find(f, "3.11", OnMissingFail); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := len(h.asked()); n != 1 {
		t.Fatalf("probed %d times", n)
	}
	h.python("one/python3.11", "3.11.55") // an upgrade
	py, _, err := h.finder().Find(t.Context(), "3.11", OnMissingFail, SameUser, SameUser)
	if err != nil || py.Version != "3.11.55" {
		t.Fatalf("after an upgrade: %s, %v", py.Version, err)
	}
}

func TestAnInterpreterThatGoesIsNotFoundAgain(t *testing.T) {
	h := newFakeHost(t)
	h.python("one/python3.11", "3.11.4")
	h.onPath("one")
	f := h.finder()
	if _, _, err := h.find(f, "3.11", OnMissingFail); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(h.dir, "one/python3.11")); err != nil {
		t.Fatal(err)
	}
	if path, _, err := h.find(f, "3.11", OnMissingFail); err == nil {
		t.Fatalf("found %s", path)
	}
}

func TestHostileWishes(t *testing.T) {
	h := standardHost(t)
	f := h.finder()
	for _, want := range []string{"$(touch x)", "-c", "3.11; rm -rf /", "../../bin/sh", "3.11\n", "a\x00b", "python3.11 -m x", strings.Repeat("9", 5000), "3.11\nimport", "/bin/sh", "/etc/passwd", "/dev/zero"} {
		py, _, err := f.Find(t.Context(), want, OnMissingFail, SameUser, SameUser)
		switch {
		case want == "3.11\n": // blanks around it are no harm
		case err == nil && !strings.HasPrefix(py.Path, h.dir):
			t.Errorf("%q: %s", want, py.Path)
		}
	}
}

func TestOnlyWhatTheUserMayRun(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root runs programs for other users")
	}
	h := newFakeHost(t)
	h.python("private/python3.11", "3.11.4")
	h.python("public/python3.10", "3.10.1")
	if err := os.Chmod(filepath.Join(h.dir, "private"), 0o700); err != nil {
		t.Fatal(err)
	}
	writeFiles(t, h.dir, map[string]string{"asked": ""})
	_ = os.Chmod(filepath.Join(h.dir, "asked"), 0o666)
	h.onPath("private", "public")
	f := h.finder()
	if py, _, err := f.Find(t.Context(), "", OnMissingFail, 65534, 65534); err != nil || py.Version != "3.10.1" {
		t.Fatalf("for nobody: %s, %v", py.Version, err)
	}
	if py, _, err := f.Find(t.Context(), "3.11", OnMissingFail, SameUser, SameUser); err != nil || py.Version != "3.11.4" {
		t.Fatalf("for root: %s, %v", py.Version, err)
	}
	_, _, err := f.Find(t.Context(), "3.11", OnMissingFail, 65534, 65534)
	if err == nil || !strings.Contains(err.Error(), "user with id 65534") || !strings.Contains(err.Error(), "permission denied") {
		t.Fatalf("err = %v", err)
	}
}

func TestTheRealInterpreterOfThisHost(t *testing.T) {
	py := hostPython(t, SameUser)
	if py.Numbers()[0] != 3 || py.ABI == "" || py.Platform == "" || py.Libc == "" || py.BasePrefix == "" || py.Build == "" || len(py.Sites) == 0 {
		t.Fatalf("%+v", py)
	}
	if strings.Contains(py.Path, "/shims/") {
		t.Fatalf("a shim: %s", py.Path)
	}
}
