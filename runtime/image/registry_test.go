package image

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
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
