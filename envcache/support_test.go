package envcache

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"agentctl/internal/tree"
)

// newState makes an empty state folder that every user can pass through, on a
// short path.
func newState(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ac")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tree.Remove(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// hostPython finds a Python that the user uid may run.
func hostPython(t testing.TB, uid int) Interpreter {
	t.Helper()
	f, err := NewFinder(newState(t), Options{})
	if err != nil {
		t.Fatal(err)
	}
	py, _, err := f.Find(t.Context(), "", OnMissingFail, uid, uid)
	if err != nil {
		t.Fatal(err)
	}
	return py
}

// withTools gives the state the pip that all tests share.
func withTools(t testing.TB, state string) {
	t.Helper()
	shared.once.Do(func() {
		if shared.dir, shared.err = os.MkdirTemp("", "actools"); shared.err != nil {
			return
		}
		if shared.err = os.Chmod(shared.dir, 0o755); shared.err != nil {
			return
		}
		tools := &pipTools{dir: shared.dir, exec: HostExec{}, env: CleanEnv(os.Getenv), now: time.Now}
		py := hostPython(t, SameUser)
		var tool pipTool
		tool, shared.err = tools.get(context.Background(), py, newAccess(os.Getenv, Request{}, nil), func(Progress) {})
		if shared.err == nil {
			shared.err = tools.compile(context.Background(), tool, py)
		}
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	if err := os.Symlink(shared.dir, filepath.Join(state, "tools")); err != nil {
		t.Fatal(err)
	}
}

// environ is an environment of the agent for a test: the real one, without
// settings of pip but its certificate, and what is given.
func environ(more map[string]string) func(string) string {
	return func(name string) string {
		if v, ok := more[name]; ok {
			return v
		}
		if strings.HasPrefix(name, "PIP_") && name != "PIP_CERT" {
			if name == "PIP_CONFIG_FILE" {
				return os.DevNull
			}
			return ""
		}
		return os.Getenv(name)
	}
}

// spy is an Exec that remembers what was run.
type spy struct {
	Exec
	mu   sync.Mutex
	cmds []Cmd
}

func (s *spy) Run(ctx context.Context, c Cmd) (Exit, error) {
	s.mu.Lock()
	s.cmds = append(s.cmds, c)
	s.mu.Unlock()
	return s.Exec.Run(ctx, c)
}

func (s *spy) ran() []Cmd {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.cmds)
}

// said collects progress.
type said struct {
	mu    sync.Mutex
	lines []string
}

func (s *said) hear(p Progress) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, p.String())
}

func (s *said) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.lines, "\n")
}

// newCache opens a cache with the shared tools.
func newCache(t testing.TB, opts Options) *Cache {
	t.Helper()
	state := newState(t)
	withTools(t, state)
	if opts.Getenv == nil {
		opts.Getenv = environ(nil)
	}
	c, err := Open(state, opts)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func acquire(t *testing.T, c *Cache, req Request) *Lease {
	t.Helper()
	var s said
	l, err := c.Acquire(t.Context(), req, s.hear)
	if err != nil {
		t.Fatalf("%v\n%s", err, s.text())
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// python runs an interpreter and gives what it prints.
func python(t *testing.T, program string, args ...string) string {
	t.Helper()
	out, err := exec.Command(program, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", program, args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// wheel makes a wheel of pure Python with one module of the package's name.
func wheel(name, version string, requires ...string) (file string, data []byte) {
	more := ""
	for _, r := range requires {
		more += "Requires-Dist: " + r + "\n"
	}
	return wheelWith(name, version, more)
}

// wheelWith makes a wheel with more lines of metadata.
func wheelWith(name, version, more string) (file string, data []byte) {
	module := strings.ToLower(strings.NewReplacer("-", "_", ".", "_").Replace(name))
	info := module + "-" + version + ".dist-info/"
	meta := "Metadata-Version: 2.1\nName: " + name + "\nVersion: " + version + "\n" + more
	files := [][2]string{
		{module + ".py", fmt.Sprintf("version = %q\n\ndef main():\n    print(%q, version)\n", version, name)},
		{info + "METADATA", meta},
		{info + "WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"},
		{info + "entry_points.txt", "[console_scripts]\n" + name + " = " + module + ":main\n"},
	}
	record := info + "RECORD,,\n"
	for _, f := range files {
		record = f[0] + ",,\n" + record
	}
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, f := range append(files, [2]string{info + "RECORD", record}) {
		w, _ := z.Create(f[0])
		_, _ = w.Write([]byte(f[1]))
	}
	_ = z.Close()
	return module + "-" + version + "-py3-none-any.whl", b.Bytes()
}

// backend is a build backend that needs nothing from an index (PEP 517, PEP
// 660). Files beside it say what goes wrong.
const backend = `
import os, sys, time, zipfile
NAME, VERSION = open("name.txt").read().split()
def make(directory, files):
    if os.path.exists("fail.txt"):
        sys.exit("the compiler of " + NAME + " is not happy")
    if os.path.exists("hang.txt"):
        time.sleep(600)
    while os.path.exists("talk.txt"):
        print("still here", flush=True)
        time.sleep(0.05)
    if os.path.exists("count.txt"):
        with open(open("count.txt").read().strip(), "a") as f:
            f.write("built\n")
    if os.path.exists("look.txt"):
        import looking
        files[NAME + "_looked.txt"] = looking.look()
    info = NAME + "-" + VERSION + ".dist-info/"
    files[info + "METADATA"] = "Metadata-Version: 2.1\nName: " + NAME + "\nVersion: " + VERSION + "\n"
    files[info + "WHEEL"] = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files[info + "RECORD"] = "".join(f + ",,\n" for f in files) + info + "RECORD,,\n"
    wheel = NAME + "-" + VERSION + "-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(directory, wheel), "w") as z:
        for name, text in files.items():
            z.writestr(name, text)
    return wheel
def build_wheel(directory, config_settings=None, metadata_directory=None):
    files = {NAME + ".py": "version = '%s'\n" % VERSION}
    if os.path.exists("big.txt"):
        files[NAME + ".bin"] = "x" * int(open("big.txt").read())
    open("left-behind-by-the-build.txt", "w").close()
    return make(directory, files)
def build_editable(directory, config_settings=None, metadata_directory=None):
    return make(directory, {"__editable__" + NAME + ".pth": os.getcwd() + "\n"})
`

// project are the files of a source package that builds by backend.
func project(name, version string, more map[string]string) map[string]string {
	files := map[string]string{
		"pyproject.toml": "[build-system]\nrequires = []\nbuild-backend = \"backend\"\nbackend-path = [\".\"]\n[project]\nname = \"" + name + "\"\nversion = \"" + version + "\"\n",
		"backend.py":     backend,
		"name.txt":       name + " " + version,
		name + ".py":     "version = '" + version + "'\n",
	}
	for k, v := range more {
		files[k] = v
	}
	return files
}

func sdist(name, version string, more map[string]string) (file string, data []byte) {
	var b bytes.Buffer
	gz := gzip.NewWriter(&b)
	w := tar.NewWriter(gz)
	top := name + "-" + version
	files := project(name, version, more)
	files["PKG-INFO"] = "Metadata-Version: 2.1\nName: " + name + "\nVersion: " + version + "\n"
	for f, text := range files {
		_ = w.WriteHeader(&tar.Header{Name: top + "/" + f, Mode: 0o644, Size: int64(len(text)), Typeflag: tar.TypeReg})
		_, _ = w.Write([]byte(text))
	}
	_ = w.Close()
	_ = gz.Close()
	return top + ".tar.gz", b.Bytes()
}

func writeFiles(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// indexServer is a simple index (PEP 503) of the files it was given.
type indexServer struct {
	*httptest.Server
	user, password string
	mu             sync.Mutex
	files          map[string][]byte
	python         map[string]string // what the page says that a file requires
	asked          []string          // paths
	closed         bool
}

// close makes the index one that does not answer, or one that does.
func (x *indexServer) close(closed bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.closed = closed
}

func newIndexServer(t testing.TB, user, password string) *indexServer {
	t.Helper()
	x := &indexServer{user: user, password: password, files: map[string][]byte{}}
	x.Server = httptest.NewServer(x)
	t.Cleanup(x.Close)
	return x
}

func (x *indexServer) add(file string, data []byte) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.files[file] = data
}

func (x *indexServer) requests() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.asked)
}

func (x *indexServer) url() string { return x.URL + "/simple" }

// urlWith is the URL with credentials in it.
func (x *indexServer) urlWith(userinfo string) string {
	return strings.Replace(x.url(), "http://", "http://"+userinfo+"@", 1)
}

func (x *indexServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.asked = append(x.asked, r.URL.Path)
	if x.closed {
		panic(http.ErrAbortHandler)
	}
	if user, password, _ := r.BasicAuth(); user != x.user || password != x.password {
		w.Header().Set("WWW-Authenticate", `Basic realm="index"`)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if x.user != "" { // a cache may keep what a request with this header got
		w.Header().Set("Cache-Control", "private, max-age=600")
		w.Header().Set("Vary", "Authorization")
	}
	if data, ok := x.files[filepath.Base(r.URL.Path)]; ok {
		_, _ = w.Write(data)
		return
	}
	name := strings.ReplaceAll(strings.Trim(strings.TrimPrefix(r.URL.Path, "/simple"), "/"), "-", "_")
	var links strings.Builder
	for f, data := range x.files {
		if strings.HasPrefix(strings.ToLower(strings.ReplaceAll(f, "-", "_")), name+"_") {
			tell := ""
			if python := x.python[f]; python != "" {
				tell = fmt.Sprintf(" data-requires-python=%q", html.EscapeString(python))
			}
			fmt.Fprintf(&links, "<a href=\"../../files/%s#sha256=%x\"%s>%s</a>\n", f, sha256.Sum256(data), tell, f)
		}
	}
	if links.Len() == 0 {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/html")
	_, _ = fmt.Fprintf(w, "<!DOCTYPE html><html><body>\n%s</body></html>", links.String())
}
