package image

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"agentctl/test/imagekit"
)

const agentUser, rangeBase = 65534, 300_000

// enter starts a command as newuidmap would have it for the user with the id 65534:
// he is root, and 65536 ids follow.
func enter(cmd *exec.Cmd) error {
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: agentUser, Size: 1}, {ContainerID: 1, HostID: rangeBase, Size: 65_536}}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWUSER, UidMappings: ids, GidMappings: ids, GidMappingsEnableSetgroups: true,
		Credential: &syscall.Credential{Uid: 0, Gid: 0},
	}
	cmd.Env = []string{"HOME=/nonexistent"}
	return cmd.Start()
}

// ordinary opens a store as an agent has it that is not root.
func ordinary(t *testing.T, registries ...*imagekit.Registry) (*Store, string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can make a user namespace of a whole range by itself")
	}
	dir := filepath.Join(t.TempDir(), "images")
	for up := filepath.Dir(dir); up != filepath.Clean(os.TempDir()); up = filepath.Dir(up) {
		if err := os.Chmod(up, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(dir, agentUser, agentUser); err != nil {
		t.Fatal(err)
	}
	return openStore(t, dir, func(o *Options) {
		o.Shift, o.IDs, o.Rootless, o.Enter, o.Inside = rangeBase, 65_536, true, enter, []string{"/proc/self/exe", "inside"}
	}, registries...), dir
}

func TestInTheRangeOfAnOrdinaryUser(t *testing.T) {
	r := imagekit.Serve(t, &imagekit.Registry{})
	s, dir := ordinary(t, r)
	owned := func(uid int) func(*tar.Header) { return func(h *tar.Header) { h.Uid = uid } }
	ref := r.Push(t, "kit:1", imagekit.Image(t, v1.Config{}, imagekit.Layer(t,
		imagekit.File{Name: "root/", Mode: 0o700}, imagekit.File{Name: "root/f", Body: "x", Mode: 0o600}, imagekit.File{Name: "d/", Mode: 0o700, Header: owned(1000)},
		imagekit.File{Name: "d/f", Body: "x", Mode: 0o4700, Header: owned(1000)}, imagekit.File{Name: ".wh.gone"}, imagekit.File{Name: "d/.wh..wh..opq"})))
	var said []string
	l, err := s.Acquire(t.Context(), Request{Ref: ref}, func(p Progress) { said = append(said, p.Text) })
	if err != nil {
		t.Fatal(err)
	}
	if !l.Pulled || len(said) < 3 || l.File() == nil {
		t.Errorf("%+v: %q", l, said)
	}
	for rel, want := range map[string]uint32{".": 0, "root/f": 0, "d": 1000, "d/f": 1000} {
		info, err := os.Stat(filepath.Join(l.Layers[0], rel))
		if err != nil || info.Sys().(*syscall.Stat_t).Uid != rangeBase+want {
			t.Errorf("%s: %+v, %v", rel, info, err)
		}
	}
	if info, err := os.Lstat(filepath.Join(l.Layers[0], "gone")); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		t.Errorf("the mark: %v, %v", info, err)
	}
	value := make([]byte, 8)
	if n, err := syscall.Getxattr(filepath.Join(l.Layers[0], "d"), "user.overlay.opaque", value); err != nil || string(value[:n]) != "y" {
		t.Errorf("opaque: %q, %v", value[:max(n, 0)], err)
	}
	if again := acquire(t, s, Request{Ref: ref}); again.Pulled {
		t.Error("not a hit")
	}
	e, err := s.Find(ref)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := s.Export(t.Context(), e, &out); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Remove(t.Context(), ref); !errors.Is(err, ErrInUse) {
		t.Errorf("removed under a lease: %v", err)
	}
	other, _ := ordinary(t)
	if i, err := other.Import(t.Context(), &out, ImportOptions{}, nil); err != nil || i.Digest != l.Digest || i.Close() != nil {
		t.Errorf("%+v, %v", i, err)
	}
	if _, err := s.Acquire(t.Context(), Request{Ref: r.Ref("none:1")}, nil); err == nil {
		t.Error("an image from nowhere")
	}
	if bad := litter(t, dir); bad != nil {
		t.Errorf("left over: %v", bad)
	}
}

func TestRemovedInTheRange(t *testing.T) {
	r := imagekit.Serve(t, &imagekit.Registry{})
	s, dir := ordinary(t, r)
	ref := r.Push(t, "kit:1", small(t, "x"))
	_ = acquire(t, s, Request{Ref: ref}).Close()
	if done, err := s.Collect(t.Context(), Keep{Images: 1}); err != nil || len(done.Removed) > 0 || done.Kept != 1 {
		t.Errorf("%+v, %v", done, err)
	}
	if _, err := s.Remove(t.Context(), ref); err != nil {
		t.Fatal(err)
	}
	if files, err := os.ReadDir(filepath.Join(dir, "layers")); err != nil || len(files) > 0 {
		t.Errorf("%v, %v", files, err)
	}
}

// late fails at the last of what is written to it, which the child has long written.
type late struct{ n, most int }

func (l *late) Write(p []byte) (int, error) {
	if l.n += len(p); l.n > l.most {
		return 0, errors.New("no room")
	}
	return len(p), nil
}

// An archive whose end could not be written is none.
func TestTheEndOfAnExport(t *testing.T) {
	r := imagekit.Serve(t, &imagekit.Registry{})
	s, _ := ordinary(t, r)
	ref := r.Push(t, "kit:1", small(t, "x"))
	_ = acquire(t, s, Request{Ref: ref}).Close()
	e, err := s.Find(ref)
	if err != nil {
		t.Fatal(err)
	}
	all := late{most: 1 << 30}
	if err := s.Export(t.Context(), e, &all); err != nil {
		t.Fatal(err)
	}
	if err := s.Export(t.Context(), e, &late{most: all.n - 1}); err == nil {
		t.Error("an export without its end is taken for whole")
	}
}

// A child ends with the one who wants its answer.
func TestACancelledOrder(t *testing.T) {
	r := imagekit.Serve(t, &imagekit.Registry{})
	s, dir := ordinary(t, r)
	ref := r.Push(t, "kit:1", small(t, "x"))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	enough := errors.New("enough")
	stop, end := context.WithCancelCause(ctx)
	if _, err := s.Acquire(stop, Request{Ref: ref}, func(Progress) { end(enough) }); err != nil && !errors.Is(err, enough) {
		t.Errorf("err = %v", err)
	}
	if bad := litter(t, dir); bad != nil {
		t.Errorf("left over: %v", bad)
	}
}
