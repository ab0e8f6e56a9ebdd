package server

import (
	"bytes"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// upload posts content under path as the SDK does: the path is the part's name
// and its file name.
func (s *testServer) upload(path, content string) *httptest.ResponseRecorder {
	s.t.Helper()
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	h := textproto.MIMEHeader{}
	h.Set("Content-Disposition", fmt.Sprintf(`form-data; name="%s"; filename="%s"`, path, path))
	part, err := form.CreatePart(h)
	if err != nil {
		s.t.Fatal(err)
	}
	_, _ = io.WriteString(part, content)
	if err := form.Close(); err != nil {
		s.t.Fatal(err)
	}
	return s.file(http.MethodPost, "/", &body, http.Header{"Content-Type": {form.FormDataContentType()}})
}

func (s *testServer) file(method, path string, body io.Reader, header http.Header) *httptest.ResponseRecorder {
	s.t.Helper()
	r := httptest.NewRequest(method, "http://files/", body)
	r.URL.Path = path
	r.Header.Set("Authorization", "Bearer "+s.token)
	for k, v := range header {
		r.Header[k] = v
	}
	w := httptest.NewRecorder()
	s.filesHandler().ServeHTTP(w, r)
	return w
}

func TestFiles(t *testing.T) {
	s := newServer(t)
	const path = "/some project/a task.0123/artifacts/ärt/file one.txt"
	if w := s.upload(path, "0123456789"); w.Code != 200 {
		t.Fatal(w.Code, w.Body)
	}
	if w := s.file("GET", path, nil, nil); w.Code != 200 || w.Body.String() != "0123456789" || w.Header().Get("X-Content-Type-Options") != "nosniff" {
		t.Error(w.Code, w.Body, w.Header())
	}
	if w := s.file("GET", path, nil, http.Header{"Range": {"bytes=2-4"}}); w.Code != 206 || w.Body.String() != "234" {
		t.Error(w.Code, w.Body)
	}
	if w := s.file("HEAD", path, nil, nil); w.Code != 200 || w.Header().Get("Content-Length") != "10" || w.Body.Len() != 0 {
		t.Error(w.Code, w.Header())
	}
	if w := s.upload(path, "new"); w.Code != 200 || s.file("GET", path, nil, nil).Body.String() != "new" {
		t.Error("not replaced")
	}
	if w := s.file("DELETE", path, nil, nil); w.Code != 200 {
		t.Error(w.Code, w.Body)
	}
	if w := s.file("GET", path, nil, nil); w.Code != 404 {
		t.Error(w.Code)
	}
	if left, err := os.ReadDir(filepath.Join(s.cfg.Dir, "files")); err != nil || len(left) != 2 || left[0].Name() != contentDir || left[1].Name() != receivedDir {
		t.Errorf("empty folders are left: %v %v", left, err)
	}
}

func TestFilesNeedCredentials(t *testing.T) {
	s := newServer(t)
	s.upload("/a/b", "x")
	for name, header := range map[string]http.Header{
		"none": {"Authorization": {""}}, "bad": {"Authorization": {"Bearer x"}}, "bad cookie": {"Authorization": {""}, "Cookie": {cookieName + "=x"}},
	} {
		for _, method := range []string{"GET", "HEAD", "POST", "DELETE"} {
			if w := s.file(method, "/a/b", nil, header); w.Code != 401 {
				t.Errorf("%s %s: %d", method, name, w.Code)
			}
		}
	}
	if w := s.file("GET", "/a/b", nil, http.Header{"Authorization": {""}, "Cookie": {cookieName + "=" + s.token}}); w.Code != 200 {
		t.Errorf("cookie of a login: %d", w.Code)
	}
}

func TestHostilePaths(t *testing.T) {
	s := newServer(t)
	outside := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(outside, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(s.cfg.Dir, "files")
	for name, target := range map[string]string{"link": outside, "dir": filepath.Dir(outside), "up": ".."} {
		if err := os.Symlink(target, filepath.Join(data, name)); err != nil {
			t.Fatal(err)
		}
	}
	s.upload("/a/file", "x")
	for _, path := range []string{
		"", "/", "..", "/../x", "/a/../../x", "/a/../../../server.db", "/\x00", "/link", "/dir/secret", "/dir/new", "/up/up/server.db",
		"/a/file/below", "/a", "/" + receivedDir, "/" + contentDir, "/" + contentDir + "/x", "/" + receivedDir + "/x", "/a/../" + receivedDir + "/x", "/" + strings.Repeat("n", 300), "/" + strings.Repeat("d/", 3000) + "x",
	} {
		if w := s.upload(path, "evil"); w.Code == 200 && path != "/link" {
			t.Errorf("stored %.60q", path)
		}
		if w := s.file("GET", path, nil, nil); w.Code < 400 && path != "/link" || strings.Contains(w.Body.String(), "secret") {
			t.Errorf("GET %.60q: %d %.60s", path, w.Code, w.Body)
		}
		if w := s.file("DELETE", path, nil, nil); w.Code == 500 {
			t.Errorf("DELETE %.60q: %d", path, w.Code)
		}
	}
	if got, err := os.ReadFile(outside); err != nil || string(got) != "secret" {
		t.Errorf("outside: %q %v", got, err)
	}
	if tmp, err := os.ReadDir(filepath.Join(s.cfg.Dir, "files", receivedDir)); err != nil || len(tmp) != 0 {
		t.Errorf("left of refused uploads: %v %v", tmp, err)
	}
}

func TestUploadThatBreaksOff(t *testing.T) {
	s := newServer(t)
	body := "--b\r\nContent-Disposition: form-data; name=\"/a/x\"; filename=\"/a/x\"\r\n\r\nhalf of i"
	w := s.file("POST", "/", strings.NewReader(body), http.Header{"Content-Type": {"multipart/form-data; boundary=b"}})
	if w.Code == 200 || s.file("GET", "/a/x", nil, nil).Code != 404 {
		t.Errorf("half a file is stored: %d %s", w.Code, w.Body)
	}
}

func TestTaskTokenAndFiles(t *testing.T) {
	s := newServer(t)
	own, foreign := s.newTask("own"), s.newTask("foreign")
	task := s.as(s.call("auth.task_token", m{"task": own})["token"].(string))
	if w := task.upload("/p/n."+own+"/artifacts/a", "x"); w.Code != 200 {
		t.Error(w.Code, w.Body)
	}
	if w := task.upload("/p/n."+foreign+"/artifacts/a", "x"); w.Code != 403 {
		t.Error(w.Code, w.Body)
	}
	s.upload("/p/n."+foreign+"/a", "x")
	if w := task.file("DELETE", "/p/n."+foreign+"/a", nil, nil); w.Code != 403 {
		t.Error(w.Code)
	}
}

func TestPages(t *testing.T) {
	s := newServer(t)
	id := s.call("tasks.create", m{"name": "<script>alert(1)</script>", "type": "training"})["id"].(string)
	s.do("events.add_batch", batchOf(m{"type": "log", "task": id, "msg": "<b>line</b> one"}))
	get := func(path string, header http.Header) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		for k, v := range header {
			r.Header[k] = v
		}
		w := httptest.NewRecorder()
		s.webHandler().ServeHTTP(w, r)
		return w
	}
	keys := basic(s.Credentials())
	for _, path := range []string{"/", "/projects/*/experiments/" + id, "/projects/x/experiments/" + id + "/output/log", "/projects/x/tasks/" + id + "/output/log"} {
		w := get(path, keys)
		text := w.Body.String()
		if w.Code != 200 || strings.Contains(text, "<script>") || !strings.Contains(text, "&lt;script&gt;") || !strings.Contains(w.Header().Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("%s: %d %.300s", path, w.Code, text)
		}
		if path != "/" && !strings.Contains(text, "&lt;b&gt;line&lt;/b&gt; one") {
			t.Errorf("%s: the console is missing: %s", path, text)
		}
		if w := get(path, nil); w.Code != 401 || w.Header().Get("WWW-Authenticate") == "" {
			t.Errorf("%s without keys: %d", path, w.Code)
		}
	}
	taskToken, _ := s.keys.issue(tokenLife, id)
	if w := get("/", bearer(taskToken)); w.Code != 403 {
		t.Errorf("list with a task's token: %d", w.Code)
	}
	for path, code := range map[string]int{"/projects/x/tasks/nope": 404, "/nope": 404, "/healthz": 200} {
		if w := get(path, keys); w.Code != code {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}

// The same bytes under many names lie on the disk once, each name goes by itself,
// and the last one takes the bytes along.
func TestFilesAreStoredByContent(t *testing.T) {
	s := newServer(t)
	contents := func() int {
		n := 0
		_ = filepath.WalkDir(filepath.Join(s.cfg.Dir, "files", contentDir), func(_ string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				n++
			}
			return nil
		})
		return n
	}
	for _, name := range []string{"/p/a", "/p/b", "/q/c"} {
		if w := s.upload(name, "the same"); w.Code != 200 {
			t.Fatal(w.Code, w.Body)
		}
	}
	var inodes []uint64
	for _, name := range []string{"p/a", "p/b", "q/c"} {
		info, err := os.Stat(filepath.Join(s.cfg.Dir, "files", name))
		if err != nil {
			t.Fatal(err)
		}
		inodes = append(inodes, info.Sys().(*syscall.Stat_t).Ino)
	}
	if inodes[0] != inodes[1] || inodes[1] != inodes[2] || contents() != 1 {
		t.Errorf("inodes %v, %d contents", inodes, contents())
	}
	etag := s.file("GET", "/p/a", nil, nil).Header().Get("ETag")
	s.upload("/p/a", "another")
	if w := s.file("GET", "/p/b", nil, nil); w.Body.String() != "the same" {
		t.Errorf("another name of the content has %q", w.Body)
	}
	if w := s.file("GET", "/p/a", nil, http.Header{"If-None-Match": {etag}}); w.Code != 200 || w.Body.String() != "another" {
		t.Errorf("what was replaced: %d %q", w.Code, w.Body)
	}
	s.file("DELETE", "/p/b", nil, nil)
	s.files.sweep(t.Context(), s.log)
	if contents() != 2 {
		t.Errorf("%d contents while each has a name", contents())
	}
	s.file("DELETE", "/q/c", nil, nil)
	s.file("DELETE", "/p/a", nil, nil)
	s.files.sweep(t.Context(), s.log)
	if n := contents(); n != 0 {
		t.Errorf("%d contents without names are left", n)
	}
}
