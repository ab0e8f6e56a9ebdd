package harness

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path"
	"strings"
	"sync"
	"testing"
)

// Index is a package index (PEP 503) of wheels that the test makes up.
type Index struct {
	*httptest.Server
	// User and Password that a client needs; none if User is empty.
	User, Password string

	mu    sync.Mutex
	files map[string][]byte
	asked int
}

// NewIndex starts an index without packages.
func NewIndex(t testing.TB) *Index {
	x := &Index{files: map[string][]byte{}}
	x.Server = httptest.NewServer(x)
	t.Cleanup(x.Close)
	return x
}

// Simple is the URL that package managers want.
func (x *Index) Simple() string { return x.URL + "/simple" }

// Asked is how many requests there were.
func (x *Index) Asked() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.asked
}

// Add makes a package of one module, of its own name, that knows its version.
func (x *Index) Add(name, version string, requires ...string) {
	info := name + "-" + version + ".dist-info/"
	metadata := "Metadata-Version: 2.1\nName: " + name + "\nVersion: " + version + "\n"
	for _, r := range requires {
		metadata += "Requires-Dist: " + r + "\n"
	}
	files := [][2]string{
		{name + ".py", fmt.Sprintf("version = %q\n", version)},
		{info + "METADATA", metadata},
		{info + "WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"},
		{info + "RECORD", name + ".py,,\n" + info + "METADATA,,\n" + info + "WHEEL,,\n" + info + "RECORD,,\n"},
	}
	var data bytes.Buffer
	z := zip.NewWriter(&data)
	for _, f := range files {
		w, _ := z.Create(f[0]) // writes to memory do not fail
		_, _ = w.Write([]byte(f[1]))
	}
	_ = z.Close()
	x.mu.Lock()
	defer x.mu.Unlock()
	x.files[name+"-"+version+"-py3-none-any.whl"] = data.Bytes()
}

// ServeHTTP answers for files and for the page of a project.
func (x *Index) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.asked++
	if user, password, _ := r.BasicAuth(); user != x.User || password != x.Password {
		w.Header().Set("WWW-Authenticate", `Basic realm="index"`)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if data, ok := x.files[path.Base(r.URL.Path)]; ok {
		_, _ = w.Write(data)
		return
	}
	name := path.Base(r.URL.Path)
	var links strings.Builder
	for file, data := range x.files {
		if strings.HasPrefix(file, name+"-") {
			fmt.Fprintf(&links, "<a href=\"../../files/%s#sha256=%x\">%s</a>\n", file, sha256.Sum256(data), file)
		}
	}
	if links.Len() == 0 {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/html")
	_, _ = fmt.Fprintf(w, "<!DOCTYPE html>\n%s", links.String())
}
