package server

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestLimits(t *testing.T) {
	s := newServer(t)
	a, _ := s.request(http.MethodPost, "/tasks.create", `{"comment":"`+strings.Repeat("x", maxBody)+`"}`, bearer(s.token))
	if a.Code != 413 {
		t.Errorf("a body of more than %d bytes: %d %s", maxBody, a.Code, a.Msg)
	}
	r := httptest.NewRequest(http.MethodPost, "/tasks.create", io.MultiReader(bytes.NewReader(make([]byte, maxBody)), strings.NewReader("x")))
	r.ContentLength = -1
	r.Header = bearer(s.token)
	w := httptest.NewRecorder()
	s.api.ServeHTTP(w, r)
	if a := readAnswer(t, w); a.Code != 400 {
		t.Errorf("a body of unknown length that is too long: %d %s", a.Code, a.Msg)
	}
	if a, _ := s.request(http.MethodDelete, "/tasks.create", "", bearer(s.token)); a.Code != 405 {
		t.Errorf("another method: %d", a.Code)
	}
}

// deadlines is a connection that notes until when it waits for bytes.
type deadlines struct {
	*httptest.ResponseRecorder
	last time.Time
}

func (d *deadlines) SetReadDeadline(at time.Time) error { d.last = at; return nil }

// No body is waited for without a bound, that of a refused request and that of an
// upload among them; a request that is there whole may be held.
func TestBodiesAreNotWaitedForWithoutABound(t *testing.T) {
	s := newServer(t)
	form := http.Header{"Content-Type": {"multipart/form-data; boundary=b"}, "Authorization": {"Bearer " + s.token}}
	for name, tc := range map[string]struct {
		listener int
		header   http.Header
		bounded  bool
	}{
		"an upload": {1, form, true}, "without a token": {0, nil, true}, "a page": {2, nil, true}, "a request": {0, bearer(s.token), false},
	} {
		w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
		r := httptest.NewRequest(http.MethodPost, "/debug.no", strings.NewReader("{}"))
		if tc.header != nil {
			r.Header = tc.header
			r.URL.Path = "/tasks.get_all"
		}
		s.handlers()[tc.listener].ServeHTTP(w, r)
		if w.last.IsZero() == tc.bounded {
			t.Errorf("%s: waits until %v", name, w.last)
		}
	}
}
