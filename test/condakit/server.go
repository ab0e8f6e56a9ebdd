package condakit

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// Server serves the channels over HTTP to whoever logs in. The zero login is
// asked of nobody.
type Server struct {
	*httptest.Server
	User, Password string // for basic authentication
	Token          string // in the path: /t/TOKEN/main
	// Change, if not nil, changes what is sent as the file of a path.
	Change func(path string, data []byte) []byte

	files http.Handler
	mu    sync.Mutex
	asked []string
	in    bool
}

// Serve starts a server that ends with the test.
func (c Channels) Serve(t testing.TB, s *Server) *Server {
	t.Helper()
	s.files = http.FileServer(http.Dir(c.Dir))
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

// Main and Extra are the channels' URLs, without logins.
func (s *Server) Main() string  { return s.URL + "/main" }
func (s *Server) Extra() string { return s.URL + "/extra" }

// Asked lists the paths that were asked for, without a token.
func (s *Server) Asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.asked...)
}

// LoggedIn tells whether anybody had the right login.
func (s *Server) LoggedIn() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.in
}

// Packages counts the packages that were asked for.
func (s *Server) Packages() int {
	n := 0
	for _, p := range s.Asked() {
		if filepath.Ext(p) == ".conda" {
			n++
		}
	}
	return n
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.Token != "" {
		rest, ok := strings.CutPrefix(r.URL.Path, "/t/"+s.Token+"/")
		if !ok {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		r.URL.Path = "/" + rest
	}
	s.mu.Lock()
	s.asked = append(s.asked, r.URL.Path)
	s.mu.Unlock()
	if user, password, _ := r.BasicAuth(); user != s.User || password != s.Password {
		w.Header().Set("WWW-Authenticate", `Basic realm="channel"`)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	s.mu.Lock()
	s.in = true
	s.mu.Unlock()
	if s.Change == nil {
		s.files.ServeHTTP(w, r)
		return
	}
	record := httptest.NewRecorder()
	r.Header.Del("Range")
	r.Header.Del("If-Modified-Since")
	s.files.ServeHTTP(record, r)
	body := s.Change(r.URL.Path, record.Body.Bytes())
	w.WriteHeader(record.Code)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body)
	}
}
