package image

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"agentctl/test/imagekit"
)

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
