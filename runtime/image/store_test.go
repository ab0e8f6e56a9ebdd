package image

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"agentctl/internal/shelf"
	"agentctl/test/imagekit"
)

// noise is a body that can't be packed.
func noise(n int) string {
	rnd := rand.New(rand.NewPCG(3, 4))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rnd.Uint32())
	}
	return string(b)
}

// What was not on the disk when the machine went down is thrown away, and nothing else.
func TestAfterAPowerCut(t *testing.T) {
	r := imagekit.Serve(t, &imagekit.Registry{})
	kept, lost := r.Push(t, "kept:1", small(t, "kept")), r.Push(t, "lost:1", small(t, "lost"))
	dir := t.TempDir()
	s := openStore(t, dir, nil, r)
	_ = acquire(t, s, Request{Ref: kept}).Close()
	l := acquire(t, s, Request{Ref: lost})
	if err := s.flusher.wait(); err != nil {
		t.Fatal(err)
	}
	e, err := s.Find(lost)
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	// As if it had gone down between the pull and the mark, with files cut short.
	for _, err := range []error{
		os.Remove(s.images.Path(e.key) + syncedSuffix), os.Truncate(filepath.Join(l.Layers[0], "f"), 0), os.WriteFile(filepath.Join(dir, bootFile), []byte("another\n"), 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	s = openStore(t, dir, nil, r)
	if l := acquire(t, s, Request{Ref: kept, Policy: Never}); l.Pulled {
		t.Error("the image that was on the disk is gone")
	}
	again := acquire(t, s, Request{Ref: lost})
	if !again.Pulled || files(t, again.Layers)["f"] != "-rw-r--r-- lost" {
		t.Errorf("%+v", again)
	}
	if bad := litter(t, dir); bad != nil {
		t.Errorf("left over: %v", bad)
	}
}

func TestNames(t *testing.T) {
	r := imagekit.Serve(t, &imagekit.Registry{})
	img := small(t, "x")
	one, two := r.Push(t, "one:1", img), r.Push(t, "two:1", img)
	s := openStore(t, t.TempDir(), nil, r)
	l := acquire(t, s, Request{Ref: one})
	acquire(t, s, Request{Ref: two})
	e, err := s.Find(l.Digest[7:14])
	if err != nil || !slices.Equal(e.Refs, []string{one, two}) {
		t.Fatalf("%+v, %v", e, err)
	}
	if _, err := s.Remove(t.Context(), one); err != nil { // the other name holds it, and the lease
		t.Fatal(err)
	}
	if _, err := s.Find(one); !errors.Is(err, ErrNotFound) {
		t.Errorf("%v", err)
	}
	if _, err := s.Remove(t.Context(), two); !errors.Is(err, ErrInUse) {
		t.Errorf("%v", err)
	}
	for _, bad := range []string{"", "..", "sha256:", "zz", "/etc/passwd"} {
		if _, err := s.Find(bad); !errors.Is(err, ErrNotFound) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestDiskFull(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can mount a small disk")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=4m,mode=755"); err != nil {
		t.Skipf("a small disk can't be mounted here: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	r := imagekit.Serve(t, &imagekit.Registry{})
	fits := r.Push(t, "fits:1", small(t, "x"))
	body := noise(1 << 20)
	large := r.Push(t, "large:1", imagekit.Image(t, v1.Config{}, imagekit.Layer(t, imagekit.File{Name: "a", Body: body}), imagekit.Layer(t, imagekit.File{Name: "b", Body: "b" + body}, imagekit.File{Name: "c", Body: body}, imagekit.File{Name: "d", Body: body})))
	s := openStore(t, dir, nil, r)
	l := acquire(t, s, Request{Ref: fits})
	free := shelf.Free(dir)
	for range 2 {
		_, err := s.Acquire(t.Context(), Request{Ref: large}, nil)
		if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "no space left on device") {
			t.Fatalf("err = %v", err)
		}
		if _, err := s.Collect(t.Context(), Keep{}); err != nil {
			t.Fatal(err)
		}
		if now := shelf.Free(dir); free-now > 64<<10 {
			t.Errorf("%d bytes are not free any more", free-now)
		}
		if bad := litter(t, dir); bad != nil {
			t.Errorf("left over: %v", bad)
		}
	}
	if again := acquire(t, s, Request{Ref: fits}); again.Pulled || again.Digest != l.Digest {
		t.Errorf("%+v", again)
	}
}

func TestTheRangeIsRemembered(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	r := imagekit.Serve(t, &imagekit.Registry{})
	ref := r.Push(t, "kit:1", small(t, "x"))
	dir := t.TempDir()
	agent := openStore(t, dir, func(o *Options) { o.Shift, o.IDs = 100_000, 65_536 }, r)
	tool := openStore(t, dir, func(o *Options) { o.Recorded = true }, r)
	l := acquire(t, tool, Request{Ref: ref})
	info, err := os.Stat(filepath.Join(l.Layers[0], "f"))
	if err != nil || info.Sys().(*syscall.Stat_t).Uid != 100_000 {
		t.Errorf("%+v, %v", info, err)
	}
	agents := acquire(t, agent, Request{Ref: ref})
	if agents.Pulled {
		t.Error("the agent pulls again")
	}
	without := openStore(t, dir, nil, r)
	if l := acquire(t, without, Request{Ref: ref}); !l.Pulled {
		t.Error("what was unpacked for a range is used without")
	}
	// What no agent wants any more goes, once it is not used.
	if all, err := without.Entries(); err != nil || len(all) != 1 {
		t.Errorf("%+v, %v", all, err)
	}
	_ = l.Close()
	if done, err := without.Collect(t.Context(), Keep{}); err != nil || len(done.Removed) > 0 {
		t.Errorf("%+v, %v", done, err)
	}
	_ = agents.Close()
	if done, err := without.Collect(t.Context(), Keep{}); err != nil || len(done.Removed) != 1 || done.Layers != 1 {
		t.Errorf("%+v, %v", done, err)
	}
}

func TestACancelledPullLeavesNothing(t *testing.T) {
	entered := make(chan struct{})
	var once sync.Once
	slow := &imagekit.Registry{}
	slow.Before = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/blobs/") || r.Header.Get("Range") != "" {
			return false
		}
		once.Do(func() { close(entered) })
		<-r.Context().Done() // until the client goes away
		return true
	}
	r := imagekit.Serve(t, slow)
	ref := r.Push(t, "kit:1", small(t, "x"))
	dir := t.TempDir()
	s := openStore(t, dir, nil, r)
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	go func() {
		<-entered
		cancel(enough)
	}()
	if _, err := s.Acquire(ctx, Request{Ref: ref}, nil); !errors.Is(err, enough) {
		t.Errorf("err = %v", err)
	}
	if bad := litter(t, dir); bad != nil {
		t.Errorf("left over: %v", bad)
	}
}
