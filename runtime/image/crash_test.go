package image

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"agentctl/test/imagekit"
)

// child is what this test's program does when it is started to be killed: it pulls
// REF and, if OLD is there, collects all but one image.
func child(dir string) {
	err := func() error {
		s, err := Open(dir, Options{Getenv: noEnv, Insecure: []string{os.Getenv("IMAGE_TEST_HOST")}})
		if err != nil {
			return err
		}
		l, err := s.Acquire(context.Background(), Request{Ref: os.Getenv("IMAGE_TEST_REF")}, nil)
		if err != nil {
			return err
		}
		fmt.Println(l.Digest, l.Pulled)
		if err := s.flusher.wait(); err != nil {
			return err
		}
		if err := l.Close(); err != nil {
			return err
		}
		if os.Getenv("IMAGE_TEST_KEEP") != "" { // a child that comes late shares what the others fetched
			return s.Close()
		}
		if _, err := s.Collect(context.Background(), Keep{Images: 1}); err != nil {
			return err
		}
		return s.Close()
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// start starts the child, to be killed at a point, if one is given.
func start(bin, dir, ref, point string) *exec.Cmd {
	host, _, _ := strings.Cut(ref, "/")
	cmd := exec.Command(bin)
	cmd.Env = append(os.Environ(), "IMAGE_TEST_CHILD="+dir, "IMAGE_TEST_REF="+ref, "IMAGE_TEST_HOST="+host, "AGENTCTL_CRASH_AT="+point)
	return cmd
}

// crashing builds this test's program with crash points.
func crashing(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "crashing")
	if out, err := exec.Command("go", "test", "-c", "-tags", "crashpoints", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("cannot build with crash points: %v\n%s", err, out)
	}
	return bin
}

// Killed at any step, the next start leaves nothing behind, and the pull completes.
func TestKilledAtEachPoint(t *testing.T) {
	bin := crashing(t)
	r := imagekit.Serve(t, &imagekit.Registry{})
	base := imagekit.Layer(t, imagekit.File{Name: "base", Body: strings.Repeat("b", 100_000)})
	ref := r.Push(t, "kit:1", imagekit.Image(t, v1.Config{}, base, imagekit.Layer(t, imagekit.File{Name: "f", Body: "new"})))
	old := r.Push(t, "old:1", imagekit.Image(t, v1.Config{}, base, imagekit.Layer(t, imagekit.File{Name: "f", Body: "old"})))
	var points []string
	for _, p := range []string{"locked", "swept", "marked", "made", "recorded", "synced", "published", "leased", "remove.marked", "remove.moved", "remove.forgotten"} {
		points = append(points, "image."+p)
		if p != "leased" { // of a layer: the old image holds it
			points = append(points, "layer."+p)
		}
	}
	points = append(points, "layer.leased", "layer.leased#2", "image.resolved", "layer.begun", "layer.unpacked", "image.layers", "image.written", "image.named", "image.flushed", "collect.image", "collect.layers")
	for _, p := range points {
		t.Run(p, func(t *testing.T) {
			dir := t.TempDir()
			s := openStore(t, dir, nil, r)
			_ = acquire(t, s, Request{Ref: old}).Close()
			if err := s.flusher.wait(); err != nil {
				t.Fatal(err)
			}
			out, err := start(bin, dir, ref, p).CombinedOutput()
			var failed *exec.ExitError
			if !errors.As(err, &failed) || failed.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
				t.Fatalf("the child was not killed at %s: %v\n%s", p, err, out)
			}
			// A process that was running all along, and one that comes then.
			for _, s := range []*Store{s, openStore(t, dir, nil, r)} {
				l := acquire(t, s, Request{Ref: ref})
				if seen := files(t, l.Layers); seen["f"] != "-rw-r--r-- new" || len(l.Layers) != 2 || len(seen["base"]) < 100_000 {
					t.Errorf("%d layers: %q", len(l.Layers), seen["f"])
				}
				_ = l.Close()
			}
			if _, err := s.Collect(t.Context(), Keep{}); err != nil {
				t.Fatal(err)
			}
			if err := s.flusher.wait(); err != nil {
				t.Fatal(err)
			}
			if bad := litter(t, dir); bad != nil {
				t.Errorf("left over: %v", bad)
			}
			if l, err := s.Acquire(t.Context(), Request{Ref: old}, nil); err != nil || files(t, l.Layers)["f"] != "-rw-r--r-- old" || l.Close() != nil {
				t.Errorf("the old image: %v", err)
			}
		})
	}
}

// Processes that pull at once share what they fetch.
func TestTwoProcessesPullAtOnce(t *testing.T) {
	bin := crashing(t)
	r := imagekit.Serve(t, &imagekit.Registry{})
	var layers []v1.Layer
	for i := range 4 {
		layers = append(layers, imagekit.Layer(t, imagekit.File{Name: fmt.Sprint(i), Body: strings.Repeat(fmt.Sprint(i), 300_000)}))
	}
	one := r.Push(t, "one:1", imagekit.Image(t, v1.Config{Cmd: []string{"1"}}, layers...))
	two := r.Push(t, "two:1", imagekit.Image(t, v1.Config{Cmd: []string{"2"}}, layers...))
	dir := t.TempDir()
	var cmds []*exec.Cmd
	for _, ref := range []string{one, two, one, two} {
		cmd := start(bin, dir, ref, "")
		cmd.Env, cmd.Stderr = append(cmd.Env, "IMAGE_TEST_KEEP=all"), os.Stderr
		cmds = append(cmds, cmd)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
	}
	for _, cmd := range cmds {
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}
	s := openStore(t, dir, nil, r)
	if all, err := s.layers.Entries(); err != nil || len(all) != 4 {
		t.Errorf("%d layers, %v", len(all), err)
	}
	if bad := litter(t, dir); bad != nil {
		t.Errorf("left over: %v", bad)
	}
	seen := map[string]int{}
	for _, a := range r.Asked() {
		if strings.Contains(a, "/blobs/") {
			seen[a[strings.LastIndex(a, "sha256:"):]]++
		}
	}
	for _, l := range layers {
		if d, _ := l.Digest(); seen[d.String()] != 1 {
			t.Errorf("layer %s was fetched %d times", d, seen[d.String()])
		}
	}
}
