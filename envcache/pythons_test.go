package envcache

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strings"
	"sync"
	"testing"
)

// pythonMirror packs a Python of this host as the source of uv's interpreters does,
// and gives the folder and uv's list of what there is.
func pythonMirror(t *testing.T, py Interpreter) (mirror, list string) {
	t.Helper()
	dir := newState(t)
	archive := filepath.Join(dir, "mirror", "1", "python.tar.gz")
	if err := os.MkdirAll(filepath.Dir(archive), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(archive)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.New()
	z, _ := gzip.NewWriterLevel(multi{f, sum}, gzip.BestSpeed)
	w := tar.NewWriter(z)
	packPython(t, w, py)
	for _, c := range []interface{ Close() error }{w, z, f} {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	n := py.Numbers()
	arch := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[goruntime.GOARCH]
	libc := "gnu"
	if strings.Contains(py.Libc, "musl") {
		libc = "musl"
	}
	list = filepath.Join(dir, "list.json")
	text := fmt.Sprintf(`{"cpython-%s-linux-%s-%s": {"name": "cpython", "arch": {"family": %q, "variant": null}, "os": "linux", "libc": %q,
		"major": %d, "minor": %d, "patch": %d, "prerelease": "", "variant": null, "build": "1", "sha256": "%x",
		"url": "https://github.com/astral-sh/python-build-standalone/releases/download/1/python.tar.gz"}}`,
		py.Version, arch, libc, arch, libc, n[0], n[1], n[2], sum.Sum(nil))
	writeFiles(t, dir, map[string]string{"list.json": text})
	return filepath.Join(dir, "mirror"), list
}

type multi []interface{ Write(p []byte) (int, error) }

func (m multi) Write(p []byte) (n int, err error) {
	for _, w := range m {
		if n, err = w.Write(p); err != nil {
			break
		}
	}
	return n, err
}

// notPacked are folders of the standard library that no test here imports.
var notPacked = []string{
	"__pycache__", "test", "tests", "site-packages", "dist-packages", "asyncio", "unittest", "xml", "multiprocessing", "distutils", "idlelib",
	"tkinter", "sqlite3", "curses", "dbm", "wsgiref", "xmlrpc", "pydoc_data", "lib2to3", "ensurepip", "turtledemo", "http", "_pyrepl",
}

func packPython(t *testing.T, w *tar.Writer, py Interpreter) {
	t.Helper()
	n := py.Numbers()
	name := fmt.Sprintf("python%d.%d", n[0], n[1])
	pack := func(file, as string, mode int64) {
		data, err := os.ReadFile(file)
		if err != nil {
			return // a link to nowhere
		}
		err = w.WriteHeader(&tar.Header{Name: "python/" + as, Mode: mode, Size: int64(len(data)), Typeflag: tar.TypeReg})
		if err == nil {
			_, err = w.Write(data)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	pack(py.Path, "bin/"+name, 0o755)
	libs, _ := filepath.Glob(filepath.Join(py.BasePrefix, "lib", "libpython*.so*"))
	for _, l := range libs {
		pack(l, "lib/"+filepath.Base(l), 0o755)
	}
	lib := filepath.Join(py.BasePrefix, "lib", name)
	err := filepath.WalkDir(lib, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			if err == nil && (slices.Contains(notPacked, d.Name()) || strings.HasPrefix(d.Name(), "config-")) {
				return fs.SkipDir
			}
			return err
		}
		rel, _ := filepath.Rel(lib, path)
		pack(path, "lib/"+name+"/"+rel, 0o644)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A Python that the host lacks is installed by uv, once for all who ask, and found
// from then on.
func TestAMissingPythonIsInstalled(t *testing.T) {
	t.Parallel()
	user := SameUser
	if os.Geteuid() == 0 {
		user = 65534
	}
	py := hostPython(t, user)
	mirror, list := pythonMirror(t, py)
	watch := &spy{Exec: HostExec{}}
	c := newUVCache(t, Options{Exec: watch, Getenv: environ(map[string]string{"UV_PYTHON_DOWNLOADS_JSON_URL": list})})
	if user != SameUser {
		needUV(t, c, user)
	}
	c.finder = blindFinder(c.state, watch)
	req := Request{UID: user, GID: user}
	wish := PythonWish{Version: py.Version, OnMissing: OnMissingFail, Mirror: "file://" + mirror}
	if _, _, err := c.Python(t.Context(), wish, req, nil); err == nil || !strings.Contains(err.Error(), "nearest or install") {
		t.Fatalf("err = %v", err)
	}
	wish.OnMissing = OnMissingInstall
	// What an agent leaves that is killed on the way is not taken for whole.
	killed := agent(t, crashing(t), order{State: c.state, Request: req, Python: wish}, "AGENTCTL_CRASH_AT=python.installed", "UV_PYTHON_DOWNLOADS_JSON_URL="+list)
	if out, err := killed.CombinedOutput(); !wasKilled(err) {
		t.Fatalf("the agent was not killed: %v\n%s", err, out)
	}
	if py, _, err := c.finder.Find(t.Context(), py.Version, OnMissingFail, user, user); err == nil {
		t.Fatalf("found %+v", py)
	}
	next, err := Open(c.state, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	if left, err := os.ReadDir(c.finder.installs); err != nil || len(left) != 2 { // the lock, and uv's link
		t.Fatalf("left over: %v, %v", left, err)
	}
	found := installedAtOnce(t, c, watch, wish, req)
	if again, _, err := blindFinder(c.state, watch).Find(t.Context(), py.Version, OnMissingFail, user, user); err != nil || again.Path != found.Path {
		t.Fatalf("found %+v, %v", again, err)
	}
	x := newIndexServer(t, "", "")
	x.add(wheel("here", "1.0"))
	l := acquire(t, c, Request{Manager: ManagerUV, Python: found, IndexURL: x.url(), Requirements: []string{"here"}, UID: user, GID: user})
	if got := python(t, l.Python, "-c", "import here, sys; print(sys.base_prefix)"); !slices.Contains(l.Reads, got) {
		t.Errorf("a task may read %q, and the Python is in %s", l.Reads, got)
	}
}

// installedAtOnce is what some find who ask at once: uv runs for one of them.
func installedAtOnce(t *testing.T, c *Cache, watch *spy, wish PythonWish, req Request) Interpreter {
	t.Helper()
	var group sync.WaitGroup
	got := make([]Interpreter, 3)
	for i := range got {
		group.Go(func() {
			var err error
			if got[i], _, err = c.Python(t.Context(), wish, req, nil); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	installs := 0
	for _, cmd := range watch.ran() {
		if slices.Contains(cmd.Args, "install") && slices.Contains(cmd.Args, "--no-bin") {
			installs++
		}
	}
	if installs != 1 || got[0].Path != got[1].Path || got[1].Path != got[2].Path || got[0].Version != wish.Version || !inside(c.state, got[0].Path) {
		t.Fatalf("%d installations: %+v", installs, got)
	}
	return got[0]
}

// blindFinder sees no interpreters but those that were installed.
func blindFinder(state string, e Exec) *Finder {
	f, err := NewFinder(state, Options{Exec: e, Getenv: environ(map[string]string{"PATH": "/nonexistent", "HOME": "/nonexistent", "PYENV_ROOT": "/nonexistent"})})
	if err != nil {
		panic(err) // the folder is absolute
	}
	f.usual = nil
	return f
}

func TestAPythonThatCannotBeInstalled(t *testing.T) {
	t.Parallel()
	const secretive = "hunter22"
	watch := &spy{Exec: HostExec{}}
	c := newUVCache(t, Options{Exec: watch, Getenv: environ(map[string]string{
		"UV_PYTHON_INSTALL_MIRROR": "http://user:" + secretive + "@127.0.0.1:1", "PIP_RETRIES": "0",
	})})
	seeing := c.finder
	var said said
	text := ""
	for version, says := range map[string][]string{
		"3.13.999": {"Python 3.13.999 is not on this host; found: 3.", "uv can't install it", "3.13.999"},
		"3.13":     {"no Python 3 was found", "uv can't install it", "127.0.0.1:1"},
	} {
		if c.finder = seeing; version == "3.13" {
			c.finder = blindFinder(c.state, watch)
		}
		_, _, err := c.Python(t.Context(), PythonWish{Version: version, OnMissing: OnMissingInstall}, Request{UID: SameUser, GID: SameUser}, said.hear)
		for _, want := range says {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, without %q", version, err, want)
			}
		}
		text += fmt.Sprint(err)
	}
	text += said.text()
	for _, cmd := range watch.ran() {
		text += strings.Join(append(cmd.Args, cmd.Env...), "\n")
	}
	if strings.Contains(text, secretive) {
		t.Errorf("the mirror's password is shown:\n%s", text)
	}
	files, err := os.ReadDir(c.finder.installs)
	if err != nil || len(files) != 1 {
		t.Errorf("left over: %v, %v", files, err)
	}
}
