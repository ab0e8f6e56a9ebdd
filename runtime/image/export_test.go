package image

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	ocilayout "github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"agentctl/test/imagekit"
)

// exported pulls an image and exports it.
func exported(t *testing.T, s *Store, ref string) (*Lease, []byte) {
	t.Helper()
	l := acquire(t, s, Request{Ref: ref})
	e, err := s.Find(ref)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := s.Export(t.Context(), e, &out); err != nil {
		t.Fatal(err)
	}
	return l, out.Bytes()
}

// What is exported comes back as it was, by its name and by its digest, where no
// registry is.
func TestExportAndImport(t *testing.T) {
	r := imagekit.Serve(t, &imagekit.Registry{})
	base := imagekit.Layer(t, imagekit.File{Name: "a/"}, imagekit.File{Name: "a/empty"}, imagekit.File{Name: "a/.wh.gone"}, imagekit.File{Name: "odd", Body: string(make([]byte, 1234))})
	top := imagekit.Layer(t, imagekit.File{Name: "l", Link: "a"}, imagekit.File{Name: "l/through", Body: "x"}, imagekit.File{Name: "big", Body: string(bytes.Repeat([]byte("0123456789"), 100_000))})
	ref := r.Push(t, "kit:1", imagekit.Image(t, v1.Config{Cmd: []string{"x"}}, base, top, base))
	here := openStore(t, t.TempDir(), nil, r)
	l, data := exported(t, here, ref)

	there := openStore(t, t.TempDir(), nil)
	i, err := there.Import(t.Context(), bytes.NewReader(data), ImportOptions{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	if i.Digest != l.Digest || !i.Pulled || i.Config.Cmd[0] != "x" {
		t.Errorf("%+v, was %+v", i, l)
	}
	if a, b := files(t, i.Layers), files(t, l.Layers); len(a) != len(b) || a["a/through"] != b["a/through"] || a["big"] != b["big"] {
		t.Errorf("%d files, %d", len(a), len(b))
	}
	for _, ref := range []string{ref, l.Pinned()} {
		if again := acquire(t, there, Request{Ref: ref, Policy: Never}); again.Digest != l.Digest || again.Pulled {
			t.Errorf("%s: %+v", ref, again)
		}
	}
	if _, twice := exported(t, there, ref); !bytes.Equal(twice, data) {
		t.Error("exported again it is another archive")
	}
	if l, err := there.Import(t.Context(), bytes.NewReader(data), ImportOptions{Name: "other:2"}, nil); err != nil || l.Pulled || l.Close() != nil {
		t.Errorf("%+v, %v", l, err)
	}
	// Others read it by the rules of layouts.
	file := filepath.Join(t.TempDir(), "oci.tar")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if l := acquire(t, there, Request{Ref: "oci-archive:" + file + ":" + ref, Local: true}); l.Digest != i.Digest || l.Pulled {
		t.Errorf("%+v", l)
	}
}

func TestChangedFilesAreNotExported(t *testing.T) {
	r := imagekit.Serve(t, &imagekit.Registry{})
	ref := r.Push(t, "kit:1", imagekit.Image(t, v1.Config{}, imagekit.Layer(t, imagekit.File{Name: "f", Body: "good"})))
	s := openStore(t, t.TempDir(), nil, r)
	l := acquire(t, s, Request{Ref: ref})
	if err := os.WriteFile(filepath.Join(l.Layers[0], "f"), []byte("evil"), 0o600); err != nil {
		t.Fatal(err)
	}
	e, err := s.Find(l.Digest)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Export(t.Context(), e, new(bytes.Buffer)); !errors.Is(err, ErrDigest) {
		t.Errorf("err = %v", err)
	}
}

// The archives and layouts of other tools.
func TestLocalImages(t *testing.T) {
	img := imagekit.Tiny(t)
	want, _ := img.ConfigName()
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	tag, err := name.NewTag("kit/tiny:1")
	if err == nil {
		err = tarball.WriteToFile(file("docker.tar"), tag, img)
	}
	if err != nil {
		t.Fatal(err)
	}
	l, err := ocilayout.Write(file("oci"), empty.Index)
	if err == nil {
		err = l.AppendImage(img, ocilayout.WithAnnotations(map[string]string{nameAnnotation: "v1"}))
	}
	if err != nil {
		t.Fatal(err)
	}
	s := openStore(t, t.TempDir(), nil)
	for _, ref := range []string{"docker-archive:" + file("docker.tar"), "docker-archive:" + file("docker.tar") + ":docker.io/kit/tiny:1", "oci:" + file("oci"), "oci:" + file("oci") + ":v1"} {
		if _, err := s.Acquire(t.Context(), Request{Ref: ref}, nil); err == nil {
			t.Errorf("a task may have %s", ref)
		}
		l := acquire(t, s, Request{Ref: ref, Local: true})
		e, err := s.Find(l.Digest)
		if err != nil {
			t.Fatal(err)
		}
		config, err := s.RawConfig(e)
		if err != nil || check(config, want.String()) != nil || len(l.Layers) != 2 {
			t.Errorf("%s: %+v, %v", ref, l, err)
		}
		if pinned := acquire(t, s, Request{Ref: l.Pinned(), Policy: Always}); pinned.Digest != l.Digest {
			t.Errorf("%s is %s", l.Pinned(), pinned.Digest)
		}
		if again := acquire(t, s, Request{Ref: ref, Local: true}); again.Pulled {
			t.Errorf("%s was read again", ref)
		}
	}
	if _, err := s.Acquire(t.Context(), Request{Ref: "oci:" + file("oci") + ":v2", Local: true}, nil); err == nil {
		t.Error("an image of another name was taken")
	}
	f, err := os.Open(file("docker.tar"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	i, err := s.Import(t.Context(), f, ImportOptions{}, nil)
	if err != nil || i.Ref != "docker.io/kit/tiny:1" || i.Pulled {
		t.Fatalf("%+v, %v", i, err)
	}
	_ = i.Close()
	all, err := s.Entries()
	if err != nil || !slices.ContainsFunc(all, func(e Entry) bool { return slices.Contains(e.Refs, "docker.io/kit/tiny:1") }) {
		t.Errorf("%+v, %v", all, err)
	}
}
