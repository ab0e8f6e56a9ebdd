package image

import (
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"agentctl/test/imagekit"
)

func TestPullThenHit(t *testing.T) {
	r := imagekit.Serve(t, &imagekit.Registry{})
	img := imagekit.Tiny(t)
	ref := r.Push(t, "kit/tiny:1", img)
	dir := t.TempDir()
	s := openStore(t, dir, nil, r)
	var said []string
	l, err := s.Acquire(t.Context(), Request{Ref: ref}, func(p Progress) { said = append(said, p.Text) })
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	want, _ := img.Digest()
	if !l.Pulled || l.Digest != want.String() || l.Ref != ref || len(l.Layers) != 2 || l.File() == nil || l.Bytes == 0 {
		t.Fatalf("%+v", l)
	}
	if l.Pinned() != r.Ref("kit/tiny@"+want.String()) {
		t.Errorf("pinned as %s", l.Pinned())
	}
	if !slices.Equal(l.Config.Entrypoint, []string{"/bin/probe"}) || l.Config.WorkingDir != "/tmp" || !slices.Contains(l.Config.Env, "KIT=tiny") {
		t.Errorf("config %+v", l.Config)
	}
	seen := files(t, l.Layers)
	if !strings.HasPrefix(seen["bin/probe"], "-rwxr-xr-x \x7fELF") || seen["tmp"] != "dtrwxrwxrwx" || seen["root"] != "drwx------" {
		t.Errorf("tmp %s, root %s, probe %.20q", seen["tmp"], seen["root"], seen["bin/probe"])
	}
	if text := strings.Join(said, "\n"); !strings.Contains(text, "pulling "+l.Pinned()) || !strings.Contains(text, "pulled ") {
		t.Errorf("said:\n%s", text)
	}
	asked := len(r.Asked())
	again := acquire(t, s, Request{Ref: ref})
	if again.Pulled || again.Digest != l.Digest || len(r.Asked()) != asked {
		t.Errorf("not a hit: %+v", again)
	}
	if bad := litter(t, dir); bad != nil {
		t.Errorf("left over: %v", bad)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	other := openStore(t, dir, nil) // may not speak to the registry
	if l := acquire(t, other, Request{Ref: l.Pinned(), Policy: Never}); l.Pulled || l.Digest != again.Digest {
		t.Errorf("by its digest: %+v", l)
	}
}

func TestHost(t *testing.T) {
	s := openStore(t, t.TempDir(), nil)
	l, err := s.Acquire(t.Context(), Request{Ref: Host, Local: true}, nil)
	if err != nil || !l.Host || l.Layers != nil || l.File() != nil || l.Close() != nil || l.Pinned() != Host {
		t.Errorf("%+v, %v", l, err)
	}
	if _, err := s.Acquire(t.Context(), Request{Ref: Host}, nil); err == nil {
		t.Error("a task chose the host")
	}
}

func TestSharedLayersAreFetchedOnce(t *testing.T) {
	r := imagekit.Serve(t, &imagekit.Registry{})
	base := imagekit.Layer(t, imagekit.File{Name: "base", Body: "b"})
	one := r.Push(t, "one:1", imagekit.Image(t, v1.Config{}, base, imagekit.Layer(t, imagekit.File{Name: "one", Body: "1"})))
	two := r.Push(t, "two:1", imagekit.Image(t, v1.Config{}, base, imagekit.Layer(t, imagekit.File{Name: "two", Body: "2"}), base))
	s := openStore(t, t.TempDir(), nil, r)
	a, b := acquire(t, s, Request{Ref: one}), acquire(t, s, Request{Ref: two})
	if a.Layers[1] != b.Layers[0] || len(b.Layers) != 2 {
		t.Errorf("%q and %q", a.Layers, b.Layers)
	}
	if n := r.Blobs(); n != 5 { // two configurations, three layers
		t.Errorf("%d blobs were fetched: %q", n, r.Asked())
	}
}
