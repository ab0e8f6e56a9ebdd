package image

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"agentctl/test/imagekit"
)

// An image that is made of another and a folder goes where it is to, over what was there
// of that name, and is read back as any other.
func TestCompose(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("images are made by root")
	}
	r := imagekit.Serve(t, &imagekit.Registry{})
	s := openStore(t, t.TempDir(), nil, r)
	ref := r.Push(t, "kit:1", imagekit.Image(t, v1.Config{Env: []string{"A=1"}}, imagekit.Layer(t, imagekit.File{Name: "base", Body: "b"})))
	_ = acquire(t, s, Request{Ref: ref}).Close()
	base, err := s.Find(ref)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	folder := filepath.Join(dir, "piece")
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	for i, target := range []string{"oci:" + dir + "/layout:job", "oci:" + dir + "/layout:job", "oci-archive:" + dir + "/job.tar:job", "docker-archive:" + dir + "/docker.tar:job:1", r.Ref("made:1")} {
		text := string(rune('a' + i))
		if err := os.WriteFile(filepath.Join(folder, "f"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		to, err := ParseReference(target)
		if err != nil {
			t.Fatal(err)
		}
		digest, err := s.Compose(t.Context(), Composition{
			Base: base, Pieces: []Piece{{Folder: folder, At: "/opt/piece"}}, To: to, Change: func(p *Programs) { p.Env = append(p.Env, "B=2") },
		}, func(string) {})
		if err != nil {
			t.Fatalf("%s: %v", target, err)
		}
		l := acquire(t, openStore(t, t.TempDir(), nil, r), Request{Ref: target, Local: true})
		got := files(t, l.Layers)
		if !strings.HasSuffix(got["opt/piece/f"], " "+text) || !strings.HasSuffix(got["base"], " b") || !slices.Equal(l.Config.Env, []string{"A=1", "B=2"}) {
			t.Errorf("%s: %v, variables %q", target, got, l.Config.Env)
		}
		if l.Digest != digest && to.where != inDockerArchive { // which keeps no manifest
			t.Errorf("%s is %s, made was %s", target, l.Digest, digest)
		}
	}
	if left, err := filepath.Glob(filepath.Join(s.dir, composeFolder+"*")); err != nil || !slices.Equal(left, []string{filepath.Join(s.dir, composeFolder+".lock")}) {
		t.Errorf("left over: %q, %v", left, err)
	}
}
