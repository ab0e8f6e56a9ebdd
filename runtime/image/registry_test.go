package image

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"agentctl/test/imagekit"
)

// small is an image of one layer.
func small(t *testing.T, text string) v1.Image {
	t.Helper()
	return imagekit.Image(t, v1.Config{Cmd: []string{text}}, imagekit.Layer(t, imagekit.File{Name: "f", Body: text}))
}

// login writes credentials in the form of docker's config.json.
func login(t *testing.T, path, host, user, password string) string {
	t.Helper()
	auth := base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
	data, err := json.Marshal(map[string]any{"auths": map[string]any{host: map[string]string{"auth": auth}}})
	if err == nil {
		err = os.MkdirAll(filepath.Dir(path), 0o700)
	}
	if err == nil {
		err = os.WriteFile(path, data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCredentials(t *testing.T) {
	for _, tokens := range []bool{false, true} {
		for _, tls := range []bool{false, true} {
			t.Run(fmt.Sprintf("token %v tls %v", tokens, tls), func(t *testing.T) {
				r := imagekit.Serve(t, &imagekit.Registry{User: "kit", Password: "sesame", Token: tokens, TLS: tls})
				ref := r.Push(t, "kit:1", small(t, "x"))
				home := t.TempDir()
				env := map[string]string{"HOME": home}
				s := openStore(t, t.TempDir(), func(o *Options) { o.Getenv = func(k string) string { return env[k] } }, r)
				refused := func(why string) {
					t.Helper()
					_, err := s.Acquire(t.Context(), Request{Ref: ref, Policy: Always}, nil)
					if err == nil || strings.Contains(err.Error(), "sesame") || strings.Contains(err.Error(), "wrong-one") {
						t.Errorf("%s: %v", why, err)
					}
				}
				refused("without credentials")
				login(t, filepath.Join(home, ".docker", "config.json"), r.Host(), "kit", "wrong-one")
				refused("with wrong ones")
				login(t, filepath.Join(home, ".docker", "config.json"), "elsewhere.example.com", "kit", "sesame")
				refused("with those of another registry")
				if err := os.WriteFile(filepath.Join(home, ".docker", "config.json"), []byte(`{"auths": {"sesame`), 0o600); err != nil {
					t.Fatal(err)
				}
				refused("with a broken file")
				_ = os.RemoveAll(filepath.Join(home, ".docker"))
				// They are read anew each time.
				login(t, filepath.Join(home, ".config", "containers", "auth.json"), r.Host(), "kit", "sesame")
				if l := acquire(t, s, Request{Ref: ref, Policy: Always}); !l.Pulled {
					t.Errorf("%+v", l)
				}
			})
		}
	}
}

func TestCredentialHelper(t *testing.T) {
	r := imagekit.Serve(t, &imagekit.Registry{User: "kit", Password: "sesame"})
	ref := r.Push(t, "kit:1", small(t, "x"))
	dir := t.TempDir()
	script := "#!/bin/sh\nread host\n[ \"$1 $host\" = \"get " + r.Host() + "\" ] || exit 1\necho '{\"ServerURL\":\"x\",\"Username\":\"kit\",\"Secret\":\"sesame\"}'\n"
	for path, text := range map[string]string{"docker-credential-kit": script, "own.json": `{"credHelpers": {"` + r.Host() + `": "kit"}}`} {
		if err := os.WriteFile(filepath.Join(dir, path), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	s := openStore(t, t.TempDir(), func(o *Options) { o.Credentials = filepath.Join(dir, "own.json") }, r)
	acquire(t, s, Request{Ref: ref})
	s = openStore(t, t.TempDir(), func(o *Options) { o.Credentials = filepath.Join(dir, "none.json") }, r)
	if _, err := s.Acquire(t.Context(), Request{Ref: ref}, nil); err == nil || !strings.Contains(err.Error(), "none.json") {
		t.Errorf("without the file that was named: %v", err)
	}
}

func TestWithoutTLSOnlyWhereNamed(t *testing.T) {
	r := imagekit.Serve(t, &imagekit.Registry{})
	ref := r.Push(t, "kit:1", small(t, "x"))
	s := openStore(t, t.TempDir(), nil)
	if _, err := s.Acquire(t.Context(), Request{Ref: ref}, nil); err == nil || !strings.Contains(err.Error(), "without TLS") {
		t.Errorf("err = %v", err)
	}
	if asked := r.Asked(); len(asked) > 0 {
		t.Errorf("it was asked: %q", asked)
	}
}

func TestMirrors(t *testing.T) {
	up := imagekit.Serve(t, &imagekit.Registry{User: "kit", Password: "up"})
	near := imagekit.Serve(t, &imagekit.Registry{User: "kit", Password: "near"})
	img := small(t, "x")
	ref := up.Push(t, "kit:1", img)
	only := up.Push(t, "only:1", small(t, "only up there"))
	near.Push(t, "prefix/kit:1", img)
	dir := t.TempDir()
	file := login(t, filepath.Join(dir, "c.json"), near.Host(), "kit", "near")
	s := openStore(t, t.TempDir(), func(o *Options) {
		o.Credentials = file
		o.Mirrors = map[string][]string{up.Host(): {"127.0.0.1:1", near.Host() + "/prefix/"}}
		o.Insecure = append(o.Insecure, "127.0.0.1:1")
	}, up, near)
	l := acquire(t, s, Request{Ref: ref})
	if l.Ref != ref || len(up.Asked()) > 0 {
		t.Errorf("%s; the registry was asked %q", l.Ref, up.Asked())
	}
	if _, err := s.Acquire(t.Context(), Request{Ref: only}, nil); err == nil || !strings.Contains(err.Error(), near.Host()) || !strings.Contains(err.Error(), up.Host()) {
		t.Errorf("not all are told: %v", err)
	}
	login(t, file, up.Host(), "kit", "up")
	acquire(t, s, Request{Ref: only})
}

// cutting cuts the connection in the middle of blobs, at first some times.
func cutting(times int32, ranges bool) (func(http.ResponseWriter, *http.Request) bool, *atomic.Int32) {
	cuts := new(atomic.Int32)
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/blobs/") {
			return false
		}
		if !ranges {
			r.Header.Del("Range")
		}
		if cuts.Add(1) > times {
			cuts.Add(-1)
			return false
		}
		r.Header.Set("X-Cut", "yes")
		return false
	}, cuts
}

// halved sends half of what the handler sends, and hangs up.
type halved struct {
	http.ResponseWriter
	left int
}

func (h *halved) Write(p []byte) (int, error) {
	if h.left <= len(p) {
		_, _ = h.ResponseWriter.Write(p[:h.left])
		panic(http.ErrAbortHandler)
	}
	h.left -= len(p)
	return h.ResponseWriter.Write(p)
}

func TestGoesOnAfterACut(t *testing.T) {
	random := make([]byte, 300_000)
	for i := range random {
		random[i] = byte(i * i >> 3)
	}
	img := imagekit.Image(t, v1.Config{}, imagekit.Layer(t, imagekit.File{Name: "f", Body: string(random)}))
	for _, ranges := range []bool{true, false} {
		t.Run(fmt.Sprintf("ranges %v", ranges), func(t *testing.T) {
			before, cuts := cutting(6, ranges)
			back := imagekit.Serve(t, &imagekit.Registry{Before: before})
			back.Push(t, "kit:1", img)
			front := cutter(t, back, cuts)
			s := openStore(t, t.TempDir(), func(o *Options) { o.Insecure = []string{front} })
			if l := acquire(t, s, Request{Ref: front + "/kit:1"}); l.Bytes != int64(len(random)) {
				t.Errorf("%+v", l)
			}
			if n := cuts.Load(); n != 6 {
				t.Errorf("%d cuts", n)
			}
		})
	}
}

// cutter is a proxy before a registry that cuts what the registry marks.
func cutter(t *testing.T, r *imagekit.Registry, _ *atomic.Int32) string {
	t.Helper()
	front := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		rec := httptest.NewRecorder()
		r.ServeHTTP(rec, req)
		for k, v := range rec.Header() {
			w.Header()[k] = v
		}
		body := rec.Body.Bytes()
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		w.WriteHeader(rec.Code)
		if req.Header.Get("X-Cut") != "" && len(body) > 1 {
			(&halved{w, len(body) / 2}).Write(body)
			return
		}
		_, _ = w.Write(body)
	}))
	front.Start()
	t.Cleanup(front.Close)
	return strings.TrimPrefix(front.URL, "http://")
}

func TestAServerThatCutsForEver(t *testing.T) {
	before, cuts := cutting(1<<30, true)
	back := imagekit.Serve(t, &imagekit.Registry{Before: func(w http.ResponseWriter, r *http.Request) bool {
		before(w, r)
		if strings.Contains(r.URL.Path, "/blobs/") && strings.HasPrefix(r.Header.Get("Range"), "bytes=") {
			panic(http.ErrAbortHandler)
		}
		return false
	}})
	back.Push(t, "kit:1", small(t, "x"))
	dir := t.TempDir()
	front := cutter(t, back, cuts)
	s := openStore(t, dir, func(o *Options) { o.Insecure = []string{front} })
	if _, err := s.Acquire(t.Context(), Request{Ref: front + "/kit:1"}, nil); err == nil {
		t.Error("no error")
	}
	if bad := litter(t, dir); bad != nil {
		t.Errorf("left over: %v", bad)
	}
}

func TestRequestsAreTriedAgain(t *testing.T) {
	var failures atomic.Int32
	r := imagekit.Serve(t, &imagekit.Registry{Before: func(w http.ResponseWriter, r *http.Request) bool {
		if failures.Add(1)%3 != 0 {
			http.Error(w, "busy", http.StatusServiceUnavailable)
			return true
		}
		return false
	}})
	ref := r.Push(t, "kit:1", small(t, "x"))
	acquire(t, openStore(t, t.TempDir(), nil, r), Request{Ref: ref})
}

// Blobs may be somewhere else, where the login must not go; but not on this host.
func TestRedirects(t *testing.T) {
	var elsewhere, target string
	var told atomic.Bool
	r := imagekit.Serve(t, &imagekit.Registry{User: "kit", Password: "sesame", Before: func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/blobs/") {
			return false
		}
		http.Redirect(w, r, target+r.URL.Path, http.StatusTemporaryRedirect)
		return true
	}})
	other := imagekit.Serve(t, &imagekit.Registry{Before: func(_ http.ResponseWriter, r *http.Request) bool {
		told.Store(told.Load() || r.Header.Get("Authorization") != "")
		return false
	}})
	elsewhere = "http://" + strings.Replace(other.Host(), "127.0.0.1", "localhost", 1)
	img := small(t, "x")
	ref := r.Push(t, "kit:1", img)
	other.Push(t, "kit:1", img)
	file := login(t, filepath.Join(t.TempDir(), "c.json"), r.Host(), "kit", "sesame")
	s := openStore(t, t.TempDir(), func(o *Options) {
		o.Credentials = file
		o.Insecure = append(o.Insecure, strings.TrimPrefix(elsewhere, "http://"), "169.254.169.254")
	}, r, other)
	for _, to := range []string{"http://169.254.169.254", "http://[::1]:1", "http://127.0.0.2:1", "http://0.0.0.0:1"} {
		target = to
		if _, err := s.Acquire(t.Context(), Request{Ref: ref}, nil); err == nil || !strings.Contains(err.Error(), "is refused") {
			t.Errorf("%s: %v", to, err)
		}
	}
	target = elsewhere
	acquire(t, s, Request{Ref: ref})
	if told.Load() {
		t.Error("the login went to another server")
	}
}

func TestProxy(t *testing.T) {
	r := imagekit.Serve(t, &imagekit.Registry{})
	r.Push(t, "kit:1", small(t, "x"))
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Host != "registry.invalid" {
			http.Error(w, "who?", http.StatusBadGateway)
			return
		}
		resp, err := http.Get("http://" + r.Host() + req.URL.Path)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer resp.Body.Close()
		w.Header().Set("Content-Type", resp.Header.Get("Content-Type"))
		w.WriteHeader(resp.StatusCode)
		_, _ = io.Copy(w, resp.Body)
	}))
	defer http.DefaultClient.CloseIdleConnections()
	defer proxy.Close()
	at, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	s := openStore(t, t.TempDir(), func(o *Options) {
		o.Proxy, o.Insecure = http.ProxyURL(at), []string{"registry.invalid"}
	})
	acquire(t, s, Request{Ref: "registry.invalid/kit:1"})
}

func TestPlatforms(t *testing.T) {
	r := imagekit.Serve(t, &imagekit.Registry{})
	var index v1.ImageIndex = empty.Index
	for _, p := range []string{"windows/" + goruntime.GOARCH, "linux/m68k", "linux/" + goruntime.GOARCH, "linux/arm/v7", "linux/arm/v6"} {
		platform, err := v1.ParsePlatform(p)
		if err != nil {
			t.Fatal(err)
		}
		img := small(t, p)
		cf, err := img.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		cf.OS, cf.Architecture, cf.Variant = platform.OS, platform.Architecture, platform.Variant
		if img, err = mutate.ConfigFile(img, cf); err != nil {
			t.Fatal(err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: platform}})
	}
	outer := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: index})
	ref := r.PushIndex(t, "kit:all", index)
	nested := r.PushIndex(t, "kit:nested", outer)
	s := openStore(t, t.TempDir(), nil, r)
	for want, platform := range map[string]string{"linux/" + goruntime.GOARCH: "", "linux/m68k": "linux/m68k", "linux/arm/v7": "linux/arm", "linux/arm/v6": "linux/arm/v6"} {
		for _, ref := range []string{ref, nested} {
			l := acquire(t, s, Request{Ref: ref, Platform: platform})
			if !slices.Equal(l.Config.Cmd, []string{want}) {
				t.Errorf("%s for %q is %q", ref, platform, l.Config.Cmd)
			}
			again := acquire(t, s, Request{Ref: ref, Platform: platform, Policy: Never})
			if again.Digest != l.Digest {
				t.Errorf("%s for %q is %s now", ref, platform, again.Digest)
			}
		}
	}
	for _, bad := range []string{"linux/s390x", "linux", "a/b/c/d"} {
		if _, err := s.Acquire(t.Context(), Request{Ref: ref, Platform: bad}, nil); err == nil {
			t.Errorf("an image for %s", bad)
		}
	}
}

func TestPolicies(t *testing.T) {
	r := imagekit.Serve(t, &imagekit.Registry{})
	ref := r.Push(t, "kit:1", small(t, "old"))
	s := openStore(t, t.TempDir(), nil, r)
	if _, err := s.Acquire(t.Context(), Request{Ref: ref, Policy: Never}, nil); err == nil {
		t.Error("an image from nowhere")
	}
	old := acquire(t, s, Request{Ref: ref})
	r.Push(t, "kit:1", small(t, "new"))
	if l := acquire(t, s, Request{Ref: ref}); l.Digest != old.Digest || l.Pulled {
		t.Errorf("ifNotPresent: %+v", l)
	}
	now := acquire(t, s, Request{Ref: ref, Policy: Always})
	if now.Digest == old.Digest || !now.Pulled {
		t.Errorf("always: %+v", now)
	}
	blobs := r.Blobs()
	if l := acquire(t, s, Request{Ref: ref, Policy: Always}); l.Digest != now.Digest || l.Pulled || r.Blobs() != blobs {
		t.Errorf("always, again: %+v", l)
	}
	if l := acquire(t, s, Request{Ref: old.Pinned(), Policy: Never}); l.Digest != old.Digest {
		t.Errorf("pinned: %+v", l)
	}
	if _, err := s.Acquire(t.Context(), Request{Ref: ref, Policy: "sometimes"}, nil); err == nil {
		t.Error("a policy of no kind")
	}
}

// Docker's own registry, and an image of Debian's packages.
func TestDockersRegistry(t *testing.T) {
	host := imagekit.DockerRegistry(t)
	img := imagekit.Busybox(t)
	ref := imagekit.PushTo(t, host, "kit/busybox:1", img)
	file := login(t, filepath.Join(t.TempDir(), "c.json"), host, imagekit.DockerUser, imagekit.DockerPassword)
	plain := openStore(t, t.TempDir(), func(o *Options) { o.Insecure = []string{host} })
	if _, err := plain.Acquire(t.Context(), Request{Ref: ref}, nil); err == nil || !strings.Contains(err.Error(), "UNAUTHORIZED") {
		t.Errorf("without a login: %v", err)
	}
	s := openStore(t, t.TempDir(), func(o *Options) { o.Credentials, o.Insecure = file, []string{host} })
	l := acquire(t, s, Request{Ref: ref})
	seen := files(t, l.Layers)
	if want, _ := img.Digest(); l.Digest != want.String() || !strings.HasPrefix(seen["bin/sh"], "L") || !strings.HasPrefix(seen["bin/busybox"], "-rwxr-xr-x \x7fELF") {
		t.Errorf("%+v: sh %q", l, seen["bin/sh"])
	}
}
