package conformance

import (
	"bytes"
	"crypto/rand"
	"io"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"
)

// The file server: upload by path, read whole and in parts, delete. At a URL it is
// looked at where CLEARML_FILES_HOST names it.
func TestFiles(t *testing.T) {
	at := theTarget(t)
	if at.files == "" {
		t.Log("no CLEARML_FILES_HOST: the file server is not looked at")
		return
	}
	path := "/conformance/" + rand.Text() + "/artifacts/key/a file.bin"
	at.upload(t, path, "0123456789")
	for _, row := range []struct {
		method, span string
		code         int
		body         string
	}{
		{http.MethodGet, "", 200, "0123456789"},
		{http.MethodGet, "bytes=2-4", 206, "234"},
		{http.MethodGet, "bytes=7-", 206, "789"},
		{http.MethodGet, "bytes=-2", 206, "89"},
		{http.MethodGet, "bytes=50-", 416, ""},
		{http.MethodHead, "", 200, ""},
	} {
		code, body := at.file(t, row.method, path, row.span, at.auth)
		if code != row.code || code < 300 && body != row.body {
			t.Errorf("%s %s: %d %q, want %d %q", row.method, row.span, code, body, row.code, row.body)
		}
	}
	at.upload(t, path, "another")
	if code, body := at.file(t, http.MethodGet, path, "", at.auth); code != 200 || body != "another" {
		t.Errorf("replaced: %d %q", code, body)
	}
	if at.ours { // the file server of a ClearML Server looks at credentials only where it is told to
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodDelete} {
			if code, _ := at.file(t, method, path, "", ""); code != 401 {
				t.Errorf("%s without credentials: %d", method, code)
			}
		}
	}
	if code, _ := at.file(t, http.MethodDelete, path, "", at.auth); code != 200 {
		t.Errorf("delete: %d", code)
	}
	for _, method := range []string{http.MethodGet, http.MethodDelete} {
		if code, _ := at.file(t, method, path, "", at.auth); code != 404 {
			t.Errorf("%s of what is not there: %d", method, code)
		}
	}
	if code, body := at.file(t, http.MethodGet, "/../server.db", "", at.auth); code < 400 {
		t.Errorf("a path out of the folder: %d %.20q", code, body)
	}
}

// upload sends one file as the SDK does: its part is named by its path.
func (at *target) upload(t *testing.T, path, content string) {
	t.Helper()
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	part, err := w.CreateFormFile(path, path)
	if err == nil {
		_, err = io.WriteString(part, content)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	code, body := at.exchange(t, http.MethodPost, "/", &form, http.Header{"Content-Type": {w.FormDataContentType()}, "Authorization": {at.auth}})
	if code != 200 {
		t.Fatalf("upload: %d %q", code, body)
	}
}

func (at *target) file(t *testing.T, method, path, span, auth string) (code int, body string) {
	t.Helper()
	header := http.Header{}
	if span != "" {
		header.Set("Range", span)
	}
	if auth != "" {
		header.Set("Authorization", auth)
	}
	return at.exchange(t, method, strings.ReplaceAll(path, " ", "%20"), nil, header)
}

func (at *target) exchange(t *testing.T, method, path string, body io.Reader, header http.Header) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, at.files+path, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = header
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}
