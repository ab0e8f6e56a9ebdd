package image

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"agentctl/test/imagekit"
)

// A layer that is added to an image is made once, belongs inside to whom it belonged
// as it was made, and goes with its image, but not while it is leased.
func TestAddToAnImage(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	r := imagekit.Serve(t, &imagekit.Registry{})
	dir := filepath.Join(t.TempDir(), "store")
	now := time.Now()
	s := openStore(t, dir, func(o *Options) { o.Now = func() time.Time { return now } }, r)
	img := acquire(t, s, Request{Ref: r.Push(t, "kit:1", imagekit.Image(t, v1.Config{}, imagekit.Layer(t, imagekit.File{Name: "f", Body: "x"})))})
	const base, size = 700000, 1000
	made, fails := 0, errors.New("the packages contradict each other")
	a := Addition{Digest: img.Digest, What: "one", Base: base, Size: size, Make: func(_ context.Context, dir string, lock *os.File) error {
		made++
		if made == 1 {
			return errors.Join(os.WriteFile(filepath.Join(dir, "half"), nil, 0o600), fails)
		}
		program := filepath.Join(dir, "upper", "program")
		return errors.Join(
			os.MkdirAll(filepath.Join(dir, "work", "work"), 0o000), os.MkdirAll(filepath.Join(dir, "upper"), 0o755),
			os.WriteFile(program, []byte("program"), 0o755), os.Lchown(program, base+7, base+8), os.Chmod(program, 0o755|os.ModeSetuid),
			os.Symlink("/etc/shadow", filepath.Join(dir, "upper", "link")), os.Lchown(filepath.Join(dir, "upper", "link"), base, base+size),
			os.Lchown(filepath.Join(dir, "upper"), base, base),
		)
	}}
	if _, err := s.Add(t.Context(), a); !errors.Is(err, fails) {
		t.Fatal(err)
	}
	if bad := litter(t, dir); bad != nil {
		t.Errorf("a failure left %q", bad)
	}
	first, err := s.Add(t.Context(), a)
	if err != nil || first.Hit || first.Bytes != 7 {
		t.Fatalf("%+v, %v", first, err)
	}
	for name, want := range map[string][2]uint32{"": {0, 0}, "program": {7, 8}, "link": {0, base + size}} {
		var st syscall.Stat_t
		if err := syscall.Lstat(filepath.Join(first.Folder, name), &st); err != nil || st.Uid != want[0] || st.Gid != want[1] {
			t.Errorf("%q belongs to %d:%d, %v", name, st.Uid, st.Gid, err)
		}
	}
	if info, err := os.Lstat(filepath.Join(first.Folder, "program")); err != nil || info.Mode() != 0o755|os.ModeSetuid {
		t.Errorf("%v, %v", info, err)
	}
	again, err := s.Add(t.Context(), a)
	if err != nil || !again.Hit || made != 2 {
		t.Fatalf("%+v, %v, made %d times", again, err, made)
	}
	a.What = "two"
	other, err := s.Add(t.Context(), a)
	if err != nil || other.Hit || other.Folder == first.Folder {
		t.Fatalf("%+v, %v", other, err)
	}
	if err := errors.Join(other.Close(), again.Close()); err != nil {
		t.Fatal(err)
	}
	now = now.Add(100 * time.Hour)
	if _, err := s.Collect(t.Context(), Keep{Age: time.Hour}); err != nil {
		t.Fatal(err)
	}
	if stands(first) != true || stands(other) != false {
		t.Error("what is leased is gone, or what is old is not")
	}
	if err := errors.Join(first.Close(), img.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Collect(t.Context(), Keep{Images: 1}); err != nil || !stands(first) {
		t.Errorf("gone before its image: %v", err)
	}
	if done, err := s.Collect(t.Context(), Keep{Age: time.Hour}); err != nil || len(done.Removed) != 1 || stands(first) {
		t.Errorf("%+v, %v", done, err)
	}
	if bad := litter(t, dir); bad != nil {
		t.Errorf("left %q", strings.Join(bad, " "))
	}
}

func stands(a *Added) bool {
	_, err := os.Lstat(a.Folder)
	return err == nil
}
