package image

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"agentctl/test/imagekit"
)

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
			front := cutter(t, back)
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
func cutter(t *testing.T, r *imagekit.Registry) string {
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
	before, _ := cutting(1<<30, true)
	back := imagekit.Serve(t, &imagekit.Registry{Before: func(w http.ResponseWriter, r *http.Request) bool {
		before(w, r)
		if strings.Contains(r.URL.Path, "/blobs/") && strings.HasPrefix(r.Header.Get("Range"), "bytes=") {
			panic(http.ErrAbortHandler)
		}
		return false
	}})
	back.Push(t, "kit:1", small(t, "x"))
	dir := t.TempDir()
	front := cutter(t, back)
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
