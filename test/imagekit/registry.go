package imagekit

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	reg "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// Registry serves images on loopback. Set its fields before Serve.
type Registry struct {
	User, Password string // asked of those who pull; empty: of nobody
	Token          bool   // by a token of a token server, as Docker's registry does, not by basic authentication
	TLS            bool   // with a certificate of a CA of its own
	// Before, if not nil, sees each request first, and answers it if it returns true.
	Before func(w http.ResponseWriter, r *http.Request) bool

	server  *httptest.Server
	handler http.Handler
	secret  string // tells our own pushes, which need no login
	mu      sync.Mutex
	tokens  map[string]bool
	asked   []string
}

// Serve starts a registry that ends with the test.
func Serve(t testing.TB, r *Registry) *Registry {
	t.Helper()
	r.start()
	t.Cleanup(r.server.Close)
	return r
}

// Start starts a registry for as long as this process lives, for programs and scripts.
func Start(r *Registry) *Registry {
	r.start()
	return r
}

func (r *Registry) start() {
	r.handler = reg.New(reg.Logger(log.New(io.Discard, "", 0)))
	r.secret, r.tokens = random(), map[string]bool{}
	r.server = httptest.NewUnstartedServer(r)
	r.server.Config.ErrorLog = log.New(io.Discard, "", 0) // clients that don't trust it are among the tests
	if r.TLS {
		r.server.StartTLS()
	} else {
		r.server.Start()
	}
}

// Close ends the registry.
func (r *Registry) Close() { r.server.Close() }

// Host is HOST:PORT.
func (r *Registry) Host() string {
	return strings.TrimPrefix(strings.TrimPrefix(r.server.URL, "https://"), "http://")
}

// Certificate is what vouches for a registry with TLS.
func (r *Registry) Certificate() *x509.Certificate { return r.server.Certificate() }

// Ref is the reference of an image in the registry.
func (r *Registry) Ref(image string) string { return r.Host() + "/" + image }

// Push puts an image into the registry, as "repository:tag", and gives its reference.
func (r *Registry) Push(t testing.TB, image string, img v1.Image) string {
	t.Helper()
	if err := r.Put(image, img); err != nil {
		t.Fatal(err)
	}
	return r.Ref(image)
}

// Put is Push for those who have no test.
func (r *Registry) Put(image string, img v1.Image) error {
	ref, err := name.ParseReference(r.Ref(image), name.Insecure)
	if err != nil {
		return err
	}
	return remote.Write(ref, img, remote.WithTransport(ours{r.server.Client().Transport, r.secret}))
}

// PushIndex is Push of an index.
func (r *Registry) PushIndex(t testing.TB, image string, index v1.ImageIndex) string {
	t.Helper()
	ref, err := name.ParseReference(r.Ref(image), name.Insecure)
	if err == nil {
		err = remote.WriteIndex(ref, index, remote.WithTransport(ours{r.server.Client().Transport, r.secret}))
	}
	if err != nil {
		t.Fatal(err)
	}
	return r.Ref(image)
}

// ours marks requests of the kit.
type ours struct {
	next   http.RoundTripper
	secret string
}

func (o ours) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set("X-Imagekit", o.secret)
	return o.next.RoundTrip(req)
}

// Asked lists what was asked for by others than the kit, as "GET /v2/…".
func (r *Registry) Asked() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.asked...)
}

// Blobs counts the blobs that were asked for.
func (r *Registry) Blobs() (n int) {
	for _, a := range r.Asked() {
		if strings.Contains(a, "/blobs/") {
			n++
		}
	}
	return n
}

func (r *Registry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if req.Header.Get("X-Imagekit") == r.secret {
		r.handler.ServeHTTP(w, req)
		return
	}
	r.mu.Lock()
	r.asked = append(r.asked, req.Method+" "+req.URL.Path)
	r.mu.Unlock()
	if r.Before != nil && r.Before(w, req) {
		return
	}
	if req.URL.Path == "/token" {
		r.token(w, req)
		return
	}
	if !r.allowed(req) {
		challenge := `Basic realm="kit"`
		if r.Token {
			challenge = fmt.Sprintf(`Bearer realm="%s/token",service="kit",scope="%s"`, r.server.URL, scope(req.URL))
		}
		w.Header().Set("WWW-Authenticate", challenge)
		http.Error(w, `{"errors":[{"code":"UNAUTHORIZED","message":"log in"}]}`, http.StatusUnauthorized)
		return
	}
	r.handler.ServeHTTP(w, req)
}

func scope(u *url.URL) string {
	rest := strings.TrimPrefix(u.Path, "/v2/")
	for _, part := range []string{"/manifests/", "/blobs/"} {
		if repo, _, ok := strings.Cut(rest, part); ok {
			return "repository:" + repo + ":pull"
		}
	}
	return ""
}

func (r *Registry) allowed(req *http.Request) bool {
	if r.User == "" {
		return true
	}
	if r.Token {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.tokens[strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer ")]
	}
	user, password, _ := req.BasicAuth()
	return user == r.User && password == r.Password
}

// token gives a token to who logs in.
func (r *Registry) token(w http.ResponseWriter, req *http.Request) {
	if user, password, _ := req.BasicAuth(); user != r.User || password != r.Password {
		http.Error(w, `{"errors":[{"code":"DENIED","message":"wrong login"}]}`, http.StatusForbidden)
		return
	}
	token := random()
	r.mu.Lock()
	r.tokens[token] = true
	r.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]string{"token": token})
}

func random() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b)
	return hex.EncodeToString(b)
}
