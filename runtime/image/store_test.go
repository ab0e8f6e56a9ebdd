package image

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

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

func TestCollect(t *testing.T) {
	r := imagekit.Serve(t, &imagekit.Registry{})
	dir := t.TempDir()
	s := openStore(t, dir, nil, r)
	base := imagekit.Layer(t, imagekit.File{Name: "base", Body: strings.Repeat("b", 1000)})
	now := time.Now()
	var digests []string
	for i := range 4 {
		ref := r.Push(t, fmt.Sprintf("kit:%d", i), imagekit.Image(t, v1.Config{}, base, imagekit.Layer(t, imagekit.File{Name: "f", Body: strings.Repeat("x", 100+i)})))
		l := acquire(t, s, Request{Ref: ref})
		digests = append(digests, l.Digest)
		if err := s.flusher.wait(); err != nil {
			t.Fatal(err)
		}
		if i != 1 { // this one is in use
			_ = l.Close()
		}
		used := now.Add(time.Duration(i-10) * time.Hour)
		if err := os.Chtimes(s.images.Path(l.held.Key)+".lock", used, used); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		name string
		keep Keep
		gone []int
	}{
		{"nothing", Keep{}, nil},
		{"number", Keep{Images: 3}, []int{0}},
		{"bytes, of which the common ones count once", Keep{Bytes: 1350}, []int{0}},
		{"few bytes", Keep{Bytes: 1}, []int{0, 2}},
		{"age", Keep{Age: 9*time.Hour + time.Minute}, []int{0}},
		{"room that no disk has", Keep{Free: 1 << 60}, []int{0, 2}},
	} {
		p, err := s.Preview(t.Context(), tc.keep)
		want := []string(nil)
		for _, i := range tc.gone {
			want = append(want, digests[i])
		}
		if err != nil || !slices.Equal(p.Removed, want) || p.Kept != 4-len(want) {
			t.Errorf("%s: %+v, %v", tc.name, p, err)
		}
	}
	done, err := s.Collect(t.Context(), Keep{Bytes: 1})
	if err != nil || len(done.Removed) != 2 || done.Layers != 2 || done.Freed != 202 {
		t.Errorf("%+v, %v", done, err)
	}
	if layers, err := s.layers.Entries(); err != nil || len(layers) != 3 {
		t.Errorf("%d layers, %v", len(layers), err)
	}
	if refs, err := s.refs(); err != nil || len(refs) != 2 {
		t.Errorf("%d references, %v", len(refs), err)
	}
	if _, err := s.Remove(t.Context(), digests[1]); !errors.Is(err, ErrInUse) {
		t.Errorf("removed under a lease: %v", err)
	}
	if bad := litter(t, dir); bad != nil {
		t.Errorf("left over: %v", bad)
	}
}

// A child that was given the descriptor holds the image when this process gave it up.
func TestALeaseIsInherited(t *testing.T) {
	r := imagekit.Serve(t, &imagekit.Registry{})
	ref := r.Push(t, "kit:1", small(t, "x"))
	s := openStore(t, t.TempDir(), nil, r)
	l := acquire(t, s, Request{Ref: ref})
	shim := exec.Command("sleep", "600")
	shim.ExtraFiles = []*os.File{l.File()}
	if err := shim.Start(); err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	if done, err := s.Collect(t.Context(), Keep{Age: 1}); err != nil || len(done.Removed) > 0 || done.Layers > 0 {
		t.Errorf("%+v, %v", done, err)
	}
	_ = shim.Process.Kill()
	_ = shim.Wait()
	s.opts.Now = func() time.Time { return time.Now().Add(time.Hour) }
	if done, err := s.Collect(t.Context(), Keep{Age: time.Minute}); err != nil || len(done.Removed) != 1 || done.Layers != 1 {
		t.Errorf("%+v, %v", done, err)
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

// Whatever pulls, collections and removals do at once: what is leased is whole.
func TestNothingLeasedIsCollected(t *testing.T) {
	r := imagekit.Serve(t, &imagekit.Registry{})
	base := imagekit.Layer(t, imagekit.File{Name: "base", Body: "b"})
	var refs []string
	for i := range 3 {
		refs = append(refs, r.Push(t, fmt.Sprintf("kit:%d", i), imagekit.Image(t, v1.Config{}, base, imagekit.Layer(t, imagekit.File{Name: "f", Body: fmt.Sprint(i)}))))
	}
	dir := t.TempDir()
	s := openStore(t, dir, nil, r)
	stop := make(chan struct{})
	var collector, pullers sync.WaitGroup
	collector.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				if _, err := s.Collect(t.Context(), Keep{Images: 1}); err != nil {
					t.Error(err)
				}
			}
		}
	})
	for w := range 4 {
		pullers.Go(func() {
			for i := range 12 {
				l, err := s.Acquire(t.Context(), Request{Ref: refs[(w+i)%3]}, nil)
				if err != nil {
					t.Error(err)
					return
				}
				for _, name := range []string{"base", "f"} {
					if _, err := os.Stat(filepath.Join(l.Layers[map[string]int{"base": 1, "f": 0}[name]], name)); err != nil {
						t.Errorf("leased, but %v", err)
					}
				}
				_ = l.Close()
			}
		})
	}
	pullers.Wait()
	close(stop)
	collector.Wait()
	if err := s.flusher.wait(); err != nil {
		t.Fatal(err)
	}
	if bad := litter(t, dir); bad != nil {
		t.Errorf("left over: %v", bad)
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
